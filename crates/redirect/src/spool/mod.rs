//! Clicks on disk before the visitor is answered, and from there to the stream CLICKS.
//!
//! A click is appended to a file ([`segment`], [`writer`]) by the worker that answers it: all clicks of one turn of
//! the worker's loop in one `write(2)`, which lands in the page cache and so outlives the process. The
//! [`Shipper`] reads the files in order, publishes what it reads and moves the [`cursor`] when the
//! stream has confirmed. Whatever ends the process, the next one begins at the cursor: a click may be published
//! twice (the stream knows its id), and none is left out.
//!
//! When the spool cannot take a click (its limit, a full or broken disk), the click is handed over in memory and
//! published directly while the broker lives ([`direct`]). The visitor notices neither.

mod appender;
mod backlog;
mod cursor;
mod direct;
mod segment;
mod shipper;
mod writer;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::metrics::Metrics;
use crate::settings::{SpoolSettings, SyncMode};

pub use appender::Appender;
pub use direct::Direct;
pub use shipper::Shipper;

use cursor::{Cursor, Position};
use writer::{AppendError, Sizes, Writer};

/// Held by the process that uses the directory.
const LOCK_FILE: &str = "lock";

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two processes would ship each other's clicks and remove each other's files.
    #[error("another process uses the spool in {}; give each its own redirect.spool.dir", .0.display())]
    InUse(PathBuf),
    /// The directory cannot be made, read or written.
    #[error("failed to open the spool in {}", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The files that clicks are appended to. Shared by all workers.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    writer: Mutex<Writer>,
    seed: u32,
    appended: Notify,
    direct: mpsc::Sender<Bytes>,
    is_failing: AtomicBool,
    metrics: Metrics,
    // released by the system when the process ends, however it ends
    _lock: File,
}

/// A spool with the parts that empty it.
#[derive(Debug)]
pub struct Opened {
    /// What workers append to.
    pub spool: Arc<Spool>,
    /// Publishes what was appended.
    pub shipper: Shipper,
    /// Publishes what could not be appended.
    pub direct: Direct,
}

impl Spool {
    /// Opens the directory, makes it if it is not there, and locks it for this process.
    ///
    /// # Errors
    /// [`OpenError`] names the directory.
    pub fn open(settings: &SpoolSettings, metrics: &Metrics) -> Result<Opened, OpenError> {
        let dir = settings.dir.as_path();
        let failed = |source| OpenError::Io { dir: dir.to_path_buf(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = lock(dir)?;
        let (cursor, position) = Cursor::open(dir).map_err(failed)?;
        let sizes = Sizes { segment_bytes_max: settings.segment_bytes_max, bytes_max: settings.bytes_max };
        let seed = rand::random();
        let writer = Writer::open(dir, sizes, seed, position.segment + 1).map_err(failed)?;
        let backlog_bytes = writer.bytes_after(position.segment, position.offset);
        if backlog_bytes > 0 {
            info!(spool.backlog_bytes = backlog_bytes, "clicks of an earlier run wait in the spool");
        }
        let (sender, receiver) = mpsc::channel(settings.direct_max);
        let spool = Arc::new(Self {
            dir: dir.to_path_buf(),
            writer: Mutex::new(writer),
            seed,
            appended: Notify::new(),
            direct: sender,
            is_failing: AtomicBool::new(false),
            metrics: metrics.clone(),
            _lock: lock,
        });
        spool.note_sizes(position);
        let shipper = Shipper::new(spool.clone(), cursor, position, settings);
        let direct = Direct::new(receiver, metrics.clone(), settings.window_max);
        Ok(Opened { spool, shipper, direct })
    }

    /// What is wrong with the spool, for the readiness check.
    ///
    /// # Errors
    /// A sentence, when the last append failed.
    pub fn writable(&self) -> Result<(), String> {
        match self.is_failing.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(format!("clicks cannot be written to {}", self.dir.display())),
        }
    }

    /// Flushes what was appended to the disk, every `interval` until `stop` and once more then.
    pub async fn keep_synced(self: Arc<Self>, sync: SyncMode, interval: Duration, stop: CancellationToken) {
        match sync {
            SyncMode::Os => stop.cancelled().await,
            SyncMode::Interval => {
                while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
                    self.clone().sync().await;
                }
            }
        }
        self.sync().await;
    }

    async fn sync(self: Arc<Self>) {
        let files = self.writer().take_unsynced();
        if files.is_empty() {
            return;
        }
        let flushed = tokio::task::spawn_blocking(move || files.iter().try_for_each(|file| file.sync_data()));
        if let Err(error) = flushed.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            self.metrics.spool_sync_failures.inc();
            error!(error = %error, "failed to flush the spool: the last clicks may not outlive a power loss");
        }
    }

    /// Writes a batch of encoded clicks, or hands them over to be published directly. Gives the emptied room back.
    fn append(&self, mut records: Vec<u8>, count: u64) -> Vec<u8> {
        let result = self.writer().append(&records);
        match result {
            Ok(()) => {
                self.metrics.clicks_spooled.inc_by(count);
                self.set_failing(None);
                self.appended.notify_one();
                records.clear();
                records
            }
            Err(error) => {
                self.set_failing(Some(&error));
                self.hand_over(records);
                // the shipper makes room, if what it keeps for safety takes it
                self.appended.notify_one();
                Vec::new()
            }
        }
    }

    fn hand_over(&self, records: Vec<u8>) {
        let scan = segment::scan(&Bytes::from(records), self.seed, true, usize::MAX);
        for (body, _) in scan.bodies {
            if self.direct.try_send(body).is_err() {
                self.metrics.clicks_lost.inc();
            }
        }
    }

    /// One line when it begins and one when it ends, however many clicks there are.
    fn set_failing(&self, failure: Option<&AppendError>) {
        if self.is_failing.load(Ordering::Relaxed) == failure.is_some() {
            return;
        }
        self.is_failing.store(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(failure) => {
                let failure: &dyn std::error::Error = failure;
                error!(error = failure, "clicks are not spooled: they are lost while the broker is away");
            }
            None => info!("clicks are spooled again"),
        }
    }

    fn note_sizes(&self, position: Position) {
        let writer = self.writer();
        let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.metrics.spool_bytes.set(gauge(writer.bytes()));
        self.metrics.spool_unshipped_bytes.set(gauge(writer.bytes_after(position.segment, position.offset)));
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // its fields are consistent between any two statements: a panic elsewhere must not end recording
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Io { dir: dir.to_path_buf(), source };
    let file = File::create(dir.join(LOCK_FILE)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse(dir.to_path_buf())),
        Err(fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}
