//! What goes wrong with a spool: what is done about it, when it is tried again, and who hears of it.
//!
//! A click that cannot be appended is handed over in memory. Whether there is room again shows with the next click, and
//! without one when [`tend`](super::tend) asks. Whatever fails is told when it begins and when it ends, in one line each.

use std::io;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tracing::{error, info};

use super::backlog::Unreadable;
use super::writer::AppendError;
use super::{Spool, segment};

impl Spool {
    /// What is wrong with the spool, for those who look after it. Visitors are sent on nevertheless.
    ///
    /// # Errors
    /// A sentence, when the last append failed, or the last attempt to read what was appended.
    pub fn in_order(&self) -> Result<(), String> {
        if self.is_failing.load(Ordering::Relaxed) {
            return Err(format!("clicks cannot be written to {}", self.dir.display()));
        }
        if self.is_unreadable.load(Ordering::Relaxed) {
            return Err(format!("clicks cannot be read from {}: none is shipped", self.dir.display()));
        }
        Ok(())
    }

    /// Hands clicks over to be published directly; those that there is no room for in memory are lost, and counted.
    pub(super) fn hand_over(&self, records: Vec<u8>) {
        let scan = segment::scan(&Bytes::from(records), self.seed, true, usize::MAX);
        self.metrics.clicks_unspooled.inc_by(scan.bodies.len() as u64);
        for (body, _) in scan.bodies {
            // first: it may be published before the next line
            self.metrics.clicks_in_memory.inc();
            if self.direct.try_send(body).is_err() {
                self.metrics.clicks_in_memory.dec();
                self.metrics.clicks_lost.inc();
            }
        }
    }

    /// Looks, after an append has failed, whether the next one would: no click may come that finds it out.
    pub(super) fn try_again(&self) {
        if !self.is_failing.load(Ordering::Relaxed) {
            return;
        }
        let tried = self.writer().try_again();
        self.set_failing(tried.as_ref().err());
    }

    /// One line when it begins and one when it ends, however many clicks there are.
    pub(super) fn set_failing(&self, failure: Option<&AppendError>) {
        if self.is_failing.load(Ordering::Relaxed) == failure.is_some() {
            return;
        }
        self.is_failing.store(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(failure) => {
                let failure: &dyn std::error::Error = failure;
                error!(
                    error = failure,
                    "clicks are not spooled: they wait in memory, and are lost if the broker stays away"
                );
            }
            None => info!("clicks are spooled again"),
        }
    }

    /// One line when it begins and one when it ends.
    pub(super) fn set_unreadable(&self, failure: Option<&Unreadable>) {
        if self.is_unreadable.load(Ordering::Relaxed) == failure.is_some() {
            return;
        }
        self.is_unreadable.store(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(failure) => {
                let failure: &dyn std::error::Error = failure;
                error!(error = failure, "the spool cannot be read: clicks wait in it");
            }
            None => info!("the spool is read again"),
        }
    }

    /// One line when it begins and one when it ends.
    pub(super) fn set_unflushed(&self, failure: Option<io::Error>) {
        if self.is_unflushed.swap(failure.is_some(), Ordering::Relaxed) == failure.is_some() {
            return;
        }
        match failure {
            Some(failure) => {
                error!(error = %failure, "failed to flush the spool: clicks may not outlive a loss of power");
            }
            None => info!("the spool is flushed again"),
        }
    }
}

/// Whether the system would write, if it had room.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};

    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
