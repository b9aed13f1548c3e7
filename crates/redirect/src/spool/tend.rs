//! Keeps a spool in shape while others fill and empty it: closes the growing file by its age, makes room when there
//! is little left, finds out when there is room again, keeps it from filling the machine's memory, and says how much there is.
//!
//! It waits for nobody, so that there is room whatever database and broker do.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Spool;
use super::contents::{self, Contents};
use super::page_cache::PageCache;
use super::segment::{self, HEADER_BYTES, SegmentFile};

/// How often the spool is looked at; more often if files are closed sooner.
const EVERY: Duration = Duration::from_secs(1);

impl Spool {
    /// Does so until `stop`.
    pub async fn tend(self: Arc<Self>, segment_age_max: Duration, stop: CancellationToken) {
        let every = EVERY.min(segment_age_max / 2).max(Duration::from_millis(10));
        let mut oldest = None;
        let mut page_cache = PageCache::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.crowded.notified() => {}
                () = tokio::time::sleep(every) => {}
            }
            if self.writer().close_if_older(segment_age_max) {
                self.closed.notify_one();
            }
            let spool = self.clone();
            let tended = tokio::task::spawn_blocking(move || {
                spool.make_room();
                spool.try_again();
                spool.leave_page_cache(&mut page_cache);
                (spool.oldest_click(oldest), page_cache)
            });
            match tended.await {
                Ok(found) => (oldest, page_cache) = found,
                Err(panic) => error!(error = %panic, "looking after the spool failed"),
            }
            self.note_sizes(oldest.map(|(_, at)| at));
        }
    }

    /// Lets go of the oldest files that the stream has taken, as long as the spool is crowded: new clicks need the
    /// room more than copies that nobody has asked for yet.
    pub(super) fn make_room(&self) {
        loop {
            let number = {
                let writer = self.writer();
                if !writer.is_crowded() {
                    return;
                }
                let Some((number, _)) = writer.shipped().next() else { return };
                number
            };
            let unconfirmed = self.writer().files.unconfirmed(number);
            let clicks = unconfirmed.unwrap_or_else(|| self.count_clicks(number));
            self.metrics.clicks_freed_unconfirmed.inc_by(clicks);
            warn!(
                spool.segment = number,
                clicks, "the spool is nearly full: a file gave way before the database confirmed its clicks"
            );
            self.remove(number);
        }
    }

    fn count_clicks(&self, number: u64) -> u64 {
        let Some((path, end)) = self.file_of(number) else { return 0 };
        Contents::of(&path, 0, end).unwrap_or_default().clicks
    }

    /// When the oldest click of the spool happened, with its file; `known` is what was found before.
    fn oldest_click(&self, known: Option<(u64, DateTime<Utc>)>) -> Option<(u64, DateTime<Utc>)> {
        let (number, _) = {
            let writer = self.writer();
            let mut from = 0;
            loop {
                let (number, end) = writer.files.from(from)?;
                if end > HEADER_BYTES {
                    break (number, end);
                }
                from = number + 1;
            }
        };
        if let Some((known, at)) = known
            && known == number
        {
            return Some((known, at));
        }
        self.first_click(number).ok().flatten().map(|at| (number, at))
    }

    fn first_click(&self, number: u64) -> Result<Option<DateTime<Utc>>, segment::OpenError> {
        let Some((path, end)) = self.file_of(number) else { return Ok(None) };
        let scan = SegmentFile::open(&path)?.read(HEADER_BYTES, end, 1)?;
        Ok(scan.bodies.first().and_then(|(body, _)| contents::moment(body)))
    }

    /// Removes a file.
    pub(super) fn remove(&self, number: u64) {
        // the lock is not held while the file goes: visitors would wait for the disk
        let path = self.writer().forget(number);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(path = %path.display(), error = %error, "failed to remove a spool file");
        }
    }
}
