//! Publishes the spool to CLICKS, in order, and lets go of what the stream has confirmed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{PublishError, Publisher};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::backlog::{Backlog, Window};
use super::cursor::{Cursor, Position};
use super::{Spool, segment};
use crate::settings::SpoolSettings;

/// Pauses while the broker does not take clicks: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often the cursor is saved and files are let go of. What was confirmed since is published again after a crash.
const HOUSEKEEPING: Duration = Duration::from_millis(200);

/// How often files are let go of while nothing is shipped.
const HOUSEKEEPING_IDLE: Duration = Duration::from_secs(5);

/// Publishes what is appended to a spool.
#[derive(Debug)]
pub struct Shipper {
    spool: Arc<Spool>,
    // away while a blocking thread reads
    backlog: Option<Backlog>,
    cursor: Cursor,
    confirmed: Position,
    window_max: usize,
    keep_confirmed: Duration,
    /// Since when a file has been wholly confirmed, as far as this process knows.
    confirmed_since: BTreeMap<u64, Instant>,
    kept_house_at: Instant,
    is_held_up: bool,
}

impl Shipper {
    pub(super) fn new(
        spool: Arc<Spool>,
        cursor: Cursor,
        position: Position,
        settings: &SpoolSettings,
    ) -> Self {
        Self {
            backlog: Some(Backlog::new(spool.clone(), position)),
            spool,
            cursor,
            confirmed: position,
            window_max: settings.window_max,
            keep_confirmed: settings.keep_confirmed,
            confirmed_since: BTreeMap::new(),
            kept_house_at: Instant::now(),
            is_held_up: false,
        }
    }

    /// Ships until `stop`, then what is left for up to `drain_timeout`. Tells how many bytes wait for the next start.
    ///
    /// `stop` comes when nothing is appended any more.
    pub async fn run(
        mut self,
        publisher: Publisher,
        stop: CancellationToken,
        drain_timeout: Duration,
    ) -> u64 {
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(drain_timeout).await;
        };
        tokio::select! {
            () = self.ship(&publisher, &stop) => {}
            () = over => {}
        }
        self.keep_house();
        let left = self.spool.writer().bytes_after(self.confirmed.segment, self.confirmed.offset);
        match left {
            0 => info!("every click of the spool has been shipped"),
            left => warn!(spool.backlog_bytes = left, "clicks wait in the spool for the next start"),
        }
        left
    }

    async fn ship(&mut self, publisher: &Publisher, stop: &CancellationToken) {
        loop {
            // asked before reading, so that what was appended until then is read
            let is_stopping = stop.is_cancelled();
            let window = match self.read().await {
                Ok(window) => window,
                Err(error) => {
                    error!(error = %error, "failed to read the spool");
                    tokio::time::sleep(PAUSES.1).await;
                    continue;
                }
            };
            if window.records.is_empty() {
                if is_stopping {
                    return;
                }
                self.wait(stop).await;
            } else {
                self.publish(window, publisher).await;
            }
            if self.kept_house_at.elapsed() >= HOUSEKEEPING {
                self.keep_house();
            }
        }
    }

    /// Waits for an append, for `stop`, or for something to be tidied up.
    async fn wait(&self, stop: &CancellationToken) {
        let idle = if self.cursor.is_saved(self.confirmed) { HOUSEKEEPING_IDLE } else { HOUSEKEEPING };
        tokio::select! {
            () = self.spool.appended.notified() => {}
            () = stop.cancelled() => {}
            () = tokio::time::sleep(idle) => {}
        }
    }

    async fn read(&mut self) -> io::Result<Window> {
        // a cancelled read has taken the backlog along: begin again where the stream has confirmed
        let mut backlog =
            self.backlog.take().unwrap_or_else(|| Backlog::new(self.spool.clone(), self.confirmed));
        let window_max = self.window_max;
        let reading = tokio::task::spawn_blocking(move || {
            let window = backlog.next(window_max);
            (backlog, window)
        });
        let (backlog, window) = reading.await.map_err(io::Error::other)?;
        self.backlog = Some(backlog);
        window
    }

    /// Publishes until the stream has confirmed every click of the window.
    async fn publish(&mut self, window: Window, publisher: &Publisher) {
        let mut pending = window.records;
        let mut pause = PAUSES.0;
        loop {
            let results =
                publisher.publish_all(pending.iter().map(|(body, _)| segment::decode(body)).collect()).await;
            let (left, failure) = self.settle(pending, results);
            if let Some(confirmed_up_to) = left.confirmed_up_to {
                self.confirmed = confirmed_up_to;
            }
            pending = left.records;
            let Some(failure) = failure else { break };
            self.set_held_up(Some(&failure));
            self.spool.metrics.publish_failures.inc();
            self.spool.note_sizes(self.confirmed);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        self.set_held_up(None);
    }

    /// Sorts out which clicks are done with and which have to be published again.
    fn settle(
        &self,
        pending: Vec<(Bytes, Position)>,
        results: Vec<Result<(), PublishError>>,
    ) -> (Left, Option<PublishError>) {
        let mut left = Left::default();
        let mut failure = None;
        for ((body, end), result) in pending.into_iter().zip(results) {
            match result {
                Ok(()) => self.spool.metrics.clicks_shipped.inc(),
                Err(refusal) if refusal.is_permanent() => {
                    let id = segment::decode(&body).id;
                    error!(click.id = id, error = %refusal, "the stream will never take a click; it is lost");
                    self.spool.metrics.clicks_lost.inc();
                }
                Err(refusal) => {
                    failure.get_or_insert(refusal);
                    left.records.push((body, end));
                    continue;
                }
            }
            // the cursor stops before the first click that is still owed
            if left.records.is_empty() {
                left.confirmed_up_to = Some(end);
            }
        }
        (left, failure)
    }

    /// One line when it begins and one when it ends.
    fn set_held_up(&mut self, failure: Option<&PublishError>) {
        match (self.is_held_up, failure) {
            (false, Some(failure)) => warn!(error = %failure, "clicks wait in the spool"),
            (true, None) => info!("clicks are shipped again"),
            _ => {}
        }
        self.is_held_up = failure.is_some();
    }

    /// Saves the cursor and removes files whose clicks have been confirmed for long enough.
    fn keep_house(&mut self) {
        self.kept_house_at = Instant::now();
        if let Err(error) = self.cursor.save(self.confirmed) {
            warn!(error = %error, "failed to save the cursor of the spool: clicks may be shipped twice");
        }
        while let Some(first) = self.first_confirmed() {
            if !self.may_remove(first) {
                break;
            }
            if let Err(error) = self.spool.writer().remove(first) {
                warn!(spool.segment = first, error = %error, "failed to remove a spool file");
            }
            self.confirmed_since.remove(&first);
        }
        self.spool.note_sizes(self.confirmed);
    }

    /// The oldest file whose clicks have all been confirmed. The lock is not held when this returns.
    fn first_confirmed(&self) -> Option<u64> {
        let first = self.spool.writer().segment_from(0);
        first.map(|(number, _)| number).filter(|number| *number < self.confirmed.segment)
    }

    fn may_remove(&mut self, segment: u64) -> bool {
        // files behind the first become free no earlier than it: their time begins now as well
        for number in segment..self.confirmed.segment {
            self.confirmed_since.entry(number).or_insert_with(Instant::now);
        }
        let since = self.confirmed_since.get(&segment);
        self.spool.writer().is_crowded() || since.is_some_and(|since| since.elapsed() >= self.keep_confirmed)
    }
}

/// What remains of a window.
#[derive(Debug, Default)]
struct Left {
    records: Vec<(Bytes, Position)>,
    confirmed_up_to: Option<Position>,
}
