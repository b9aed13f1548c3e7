//! Publishes the spool to CLICKS, in order, and remembers how far the stream has taken it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{PublishError, Publisher};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::backlog::{Backlog, Unreadable, Window};
use super::contents::Left;
use super::cursor::{Cursor, Position};
use super::{Spool, segment};
use crate::settings::SpoolSettings;

/// Pauses while the broker does not take clicks: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Pause before a file is read again that could not be.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// How often the cursor is saved. What the stream took since is published again after a crash.
const SAVE_CURSOR: Duration = Duration::from_millis(200);

/// Publishes what is appended to a spool.
#[derive(Debug)]
pub struct Shipper {
    spool: Arc<Spool>,
    // away while a blocking thread reads
    backlog: Option<Backlog>,
    cursor: Cursor,
    shipped: Position,
    window_max: usize,
    saved_at: Instant,
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
            shipped: position,
            window_max: settings.window_max,
            saved_at: Instant::now(),
            is_held_up: false,
        }
    }

    /// Ships until `stop`, then what is left for up to `drain_timeout`. Tells what is left.
    ///
    /// `stop` comes when nothing is appended any more.
    pub async fn run(
        mut self,
        publisher: Publisher,
        stop: CancellationToken,
        drain_timeout: Duration,
    ) -> Left {
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(drain_timeout).await;
        };
        tokio::select! {
            () = self.ship(&publisher, &stop) => {}
            () = over => {}
        }
        self.save_cursor();
        let (spool, shipped) = (self.spool.clone(), self.shipped);
        let left = tokio::task::spawn_blocking(move || spool.left(shipped)).await.unwrap_or_default();
        self.tell(left);
        left
    }

    fn tell(&self, left: Left) {
        if left.bytes == 0 {
            return info!("NATS has taken every click of the spool");
        }
        let (dir, at_least) = (self.spool.dir.display(), if left.is_counted { "" } else { "at least " });
        warn!(
            clicks = left.clicks,
            bytes = left.bytes,
            dir = %dir,
            "{at_least}{} clicks wait in the spool: start a redirect with this directory again, or run \
             `clickwire spool ship --dir {dir}`",
            left.clicks
        );
    }

    async fn ship(&mut self, publisher: &Publisher, stop: &CancellationToken) {
        loop {
            // asked before reading, so that what was appended until then is read
            let is_stopping = stop.is_cancelled();
            let window = match self.read_on().await {
                Ok(window) => window,
                Err(failure) => {
                    self.spool.set_unreadable(Some(&failure));
                    tokio::time::sleep(READ_PAUSE).await;
                    continue;
                }
            };
            self.spool.set_unreadable(None);
            if window.records.is_empty() {
                if is_stopping {
                    return;
                }
                self.wait(stop).await;
            } else {
                self.publish(window, publisher).await;
            }
            if self.saved_at.elapsed() >= SAVE_CURSOR {
                self.save_cursor();
            }
        }
    }

    /// Waits for an append, for `stop`, or until the cursor is to be saved.
    async fn wait(&self, stop: &CancellationToken) {
        let is_saved = self.cursor.is_saved(self.shipped);
        tokio::select! {
            () = self.spool.appended.notified() => {}
            () = stop.cancelled() => {}
            () = tokio::time::sleep(SAVE_CURSOR), if !is_saved => {}
        }
    }

    /// The stream has taken everything before this place.
    fn note_shipped(&mut self, place: Position) {
        self.shipped = place;
        self.spool.note_shipped(place);
    }

    /// What is to be published next. If it is nothing, the stream has taken all there is.
    pub(super) async fn read_on(&mut self) -> Result<Window, Unreadable> {
        let window = self.read().await?;
        if window.records.is_empty() {
            self.note_shipped(self.backlog.as_ref().map_or(self.shipped, Backlog::position));
        }
        Ok(window)
    }

    async fn read(&mut self) -> Result<Window, Unreadable> {
        // a cancelled read has taken the backlog along: begin again where the stream has got to
        let mut backlog =
            self.backlog.take().unwrap_or_else(|| Backlog::new(self.spool.clone(), self.shipped));
        let window_max = self.window_max;
        let reading = tokio::task::spawn_blocking(move || {
            let window = backlog.next(window_max);
            (backlog, window)
        });
        let panicked = |panic| Unreadable { path: self.spool.dir.clone(), source: io::Error::other(panic) };
        let (backlog, window) = reading.await.map_err(panicked)?;
        self.backlog = Some(backlog);
        window
    }

    /// Publishes until the stream has taken every click of the window.
    async fn publish(&mut self, window: Window, publisher: &Publisher) {
        let mut pending = window.records;
        let mut pause = PAUSES.0;
        loop {
            let results =
                publisher.publish_all(pending.iter().map(|(body, _)| segment::decode(body)).collect()).await;
            let (left, failure) = self.answered(pending, results);
            pending = left;
            let Some(failure) = failure else { break };
            self.set_held_up(Some(&failure));
            self.spool.metrics.publish_failures.inc();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        self.set_held_up(None);
    }

    /// Takes the stream's answers to what was published, in the same order. Gives back what has to be published again, and
    /// why.
    pub(super) fn answered(
        &mut self,
        published: Vec<(Bytes, Position)>,
        answers: Vec<Result<(), PublishError>>,
    ) -> (Vec<(Bytes, Position)>, Option<PublishError>) {
        let (left, failure) = self.settle(published, answers);
        if let Some(place) = left.shipped_up_to {
            self.note_shipped(place);
        }
        (left.records, failure)
    }

    /// Sorts out which clicks are done with and which have to be published again.
    fn settle(
        &self,
        pending: Vec<(Bytes, Position)>,
        results: Vec<Result<(), PublishError>>,
    ) -> (Unsettled, Option<PublishError>) {
        let mut left = Unsettled::default();
        let mut failure = None;
        for ((body, end), result) in pending.into_iter().zip(results) {
            match result {
                Ok(()) => self.spool.metrics.clicks_shipped.inc(),
                Err(refusal) if refusal.is_permanent() => {
                    let lost = segment::decode(&body);
                    let trace_id = lost.traceparent.as_deref().and_then(bus::trace_id);
                    error!(
                        click.id = lost.id,
                        trace_id,
                        error = %refusal,
                        "the stream will never take a click; it is lost"
                    );
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
                left.shipped_up_to = Some(end);
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

    /// What comes before is not published again after a crash.
    pub(super) fn save_cursor(&mut self) {
        self.saved_at = Instant::now();
        if let Err(error) = self.cursor.save(self.shipped) {
            warn!(error = %error, "failed to save the cursor of the spool: clicks may be shipped twice");
        }
    }
}

/// What remains of a window.
#[derive(Debug, Default)]
struct Unsettled {
    records: Vec<(Bytes, Position)>,
    shipped_up_to: Option<Position>,
}
