//! Clicks on disk before the visitor is answered, and there until the database holds them.
//!
//! A click is appended to a file ([`segment`], [`writer`]) by the worker that answers it: all clicks of one turn of
//! the worker's loop in one `write(2)`, which lands in the page cache and so outlives the process. With
//! `sync = "always"` one thread writes and flushes for all workers before they answer ([`commit`]), into files that were
//! filled with zeros beforehand ([`spare`]). The
//! [`Shipper`] reads the files in order, publishes what it reads and moves the [`cursor`] when the
//! stream has taken it. Whatever ends the process, the next one begins at the cursor: a click may be published
//! twice (the stream knows its id), and none is left out.
//!
//! A stream may lose what it has taken: a broker acknowledges before it flushes. So a file that was shipped stays
//! until the [`Confirmer`] has found each of its clicks in the database; what does not get there it publishes again.
//! What is in a file when it is removed is therefore in the database, with two exceptions that are counted: shipped
//! files give way when the spool is nearly full ([`tend`]), and a file whose clicks could not be confirmed for very
//! long is put aside under another name. A file that was not shipped is never removed.
//!
//! The way of a file ([`files`]): it grows, until it is full or old enough; it is closed; it is shipped to its end; its
//! clicks are confirmed; it goes. One that waits for long leaves the page cache meanwhile ([`page_cache`]).
//!
//! When the spool cannot take a click (its limit, a full or broken disk), the click is handed over in memory and
//! published directly while the broker lives ([`failures`], [`direct`]). The visitor notices neither. For people there are
//! [`inspect`] and [`ship`].

mod appender;
mod backlog;
mod commit;
mod confirm;
mod contents;
mod cursor;
mod direct;
mod evidence;
mod failures;
mod files;
mod inspect;
mod page_cache;
mod segment;
mod ship;
mod shipper;
mod spare;
mod tend;
mod writer;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod model_tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::metrics::Metrics;
use crate::settings::{SpoolSettings, SyncMode};

pub use appender::Appender;
pub use confirm::Confirmer;
pub use contents::{Contents, Left};
pub use direct::Direct;
pub use inspect::{Inspection, PutAside, inspect};
pub use ship::{ShipError, Shipped, ship};
pub use shipper::Shipper;

use commit::{Commits, Flush};
use cursor::{Cursor, Position};
use failures::is_full;
use spare::Spare;
use writer::{AppendError, Sizes, Writer};

/// Held by the process that uses the directory.
const LOCK_FILE: &str = "lock";

/// What the name of a file ends with that cannot be read as one of ours.
const DAMAGED: &str = "damaged";

/// What the name of a file ends with whose clicks never reached the database.
const UNCONFIRMED: &str = "unconfirmed";

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
    /// There is something to ship.
    appended: Notify,
    /// A file may have become one to confirm.
    closed: Notify,
    /// There is little room left.
    crowded: Notify,
    direct: mpsc::Sender<Bytes>,
    is_failing: AtomicBool,
    is_unreadable: AtomicBool,
    is_unflushed: AtomicBool,
    sync: SyncMode,
    commits: Commits,
    /// There is to be another spare file.
    spare_taken: Notify,
    flush: Flush,
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
    /// Lets go of what the database holds.
    pub confirmer: Confirmer,
    /// Publishes what could not be appended.
    pub direct: Direct,
}

impl Spool {
    /// Opens the directory, makes it if it is not there, and locks it for this process.
    ///
    /// # Errors
    /// [`OpenError`] names the directory.
    pub fn open(settings: &SpoolSettings, metrics: &Metrics) -> Result<Opened, OpenError> {
        Self::open_with(settings, metrics, Flush::default())
    }

    fn open_with(settings: &SpoolSettings, metrics: &Metrics, flush: Flush) -> Result<Opened, OpenError> {
        let opened = Self::assemble(settings, metrics, flush, |_, _| Ok(()))?;
        let failed = |source| OpenError::Io { dir: settings.dir.clone(), source };
        opened.spool.flush_found();
        // a directory that cannot be written to shows now, not with the first click
        let begun = opened.spool.writer().begin_segment();
        match begun {
            // links redirect without a spool, and room may come
            Err(error) if is_full(&error) => opened.spool.set_failing(Some(&AppendError::Io(error))),
            begun => begun.map_err(failed)?,
        }
        let backlog_bytes = opened.spool.writer().files.unshipped_bytes();
        if backlog_bytes > 0 {
            info!(spool.backlog_bytes = backlog_bytes, "clicks of an earlier run wait in the spool");
        }
        opened.spool.note_sizes(None);
        Ok(opened)
    }

    /// Opens and locks the directory; `prepare` may change it and the place to begin at before it is looked at.
    fn assemble(
        settings: &SpoolSettings,
        metrics: &Metrics,
        flush: Flush,
        prepare: impl FnOnce(&Path, &mut Position) -> io::Result<()>,
    ) -> Result<Opened, OpenError> {
        let dir = settings.dir.as_path();
        let failed = |source| OpenError::Io { dir: dir.to_path_buf(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = lock(dir)?;
        Spare::remove_leftover(dir).map_err(failed)?;
        let (cursor, mut position) = Cursor::open(dir).map_err(failed)?;
        prepare(dir, &mut position).map_err(failed)?;
        let sizes = Sizes { segment_bytes_max: settings.segment_bytes_max, bytes_max: settings.bytes_max };
        let seed = rand::random();
        let writer = Writer::open(dir, sizes, settings.sync, seed, position).map_err(failed)?;
        let (sender, receiver) = mpsc::channel(settings.direct_max);
        let spool = Arc::new(Self {
            dir: dir.to_path_buf(),
            writer: Mutex::new(writer),
            seed,
            appended: Notify::new(),
            closed: Notify::new(),
            crowded: Notify::new(),
            direct: sender,
            is_failing: AtomicBool::new(false),
            is_unreadable: AtomicBool::new(false),
            is_unflushed: AtomicBool::new(false),
            sync: settings.sync,
            commits: Commits::default(),
            spare_taken: Notify::new(),
            flush,
            metrics: metrics.clone(),
            _lock: lock,
        });
        let shipper = Shipper::new(spool.clone(), cursor, position, settings);
        let confirmer = Confirmer::new(spool.clone(), settings);
        let direct = Direct::new(receiver, metrics.clone(), settings.window_max);
        Ok(Opened { spool, shipper, confirmer, direct })
    }

    /// Flushes what was appended to the disk, as the spool's mode says, until `stop`; if it does, once more then.
    pub async fn keep_synced(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        match self.sync {
            SyncMode::Os => stop.cancelled().await,
            SyncMode::Interval => {
                while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
                    self.clone().sync().await;
                }
            }
            SyncMode::Always => {
                tokio::join!(self.clone().commit_until(&stop), self.clone().keep_spare(&stop));
            }
        }
        self.clone().sync().await;
        // cuts off what was filled beforehand
        self.writer().close();
    }

    async fn sync(self: Arc<Self>) {
        if !self.writer().is_unsynced() {
            return;
        }
        let flushed = tokio::task::spawn_blocking(move || self.flush());
        if let Err(panic) = flushed.await {
            error!(error = %panic, "flushing the spool failed");
        }
    }

    /// Writes a batch of encoded clicks, or hands them over to be published directly. Gives the emptied room back.
    fn append(&self, records: Vec<u8>, count: u64) -> Vec<u8> {
        let mut records = self.write(records, count);
        records.clear();
        records
    }

    /// Like [`Self::append`]; gives back what was written, and nothing of what was handed over.
    fn write(&self, records: Vec<u8>, count: u64) -> Vec<u8> {
        let (result, is_crowded, wants_spare) = {
            let mut writer = self.writer();
            (writer.append(&records, count), writer.is_crowded(), writer.spare_wanted().is_some())
        };
        if is_crowded {
            self.crowded.notify_one();
        }
        if wants_spare && self.sync == SyncMode::Always {
            self.spare_taken.notify_one();
        }
        match result {
            Ok(()) => {
                self.metrics.clicks_spooled.inc_by(count);
                self.set_failing(None);
                self.appended.notify_one();
                records
            }
            Err(error) => {
                self.set_failing(Some(&error));
                self.hand_over(records);
                Vec::new()
            }
        }
    }

    /// The stream has taken what is before this place.
    fn note_shipped(&self, place: Position) {
        let mut writer = self.writer();
        let before = writer.files.shipped();
        writer.files.note_shipped(place);
        let may_end_a_file = before.segment != place.segment || !writer.is_active(place.segment);
        if before != place && may_end_a_file {
            self.closed.notify_one();
        }
    }

    /// The database holds so many more clicks of a file.
    fn note_confirmed(&self, number: u64, clicks: u64) {
        self.writer().files.note_confirmed(number, clicks);
        self.metrics.clicks_confirmed.inc_by(clicks);
    }

    fn note_sizes(&self, oldest: Option<DateTime<Utc>>) {
        let writer = self.writer();
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.spool_bytes.set(gauge(writer.files.bytes()));
        self.metrics.spool_unshipped_bytes.set(gauge(writer.files.unshipped_bytes()));
        self.metrics.spool_unconfirmed_clicks.set(gauge(writer.files.all_unconfirmed()));
        let age = oldest.map_or(0, |oldest| (Utc::now() - oldest).num_seconds().max(0));
        self.metrics.spool_oldest_click_age_seconds.set(age);
    }

    /// Where a file is, and how much of it has been written.
    fn file_of(&self, number: u64) -> Option<(PathBuf, u64)> {
        let writer = self.writer();
        let (found, end) = writer.files.from(number)?;
        (found == number).then(|| (writer.files.path(number), end))
    }

    /// Gives a file a name under which it is left alone, and tells it.
    fn put_aside(&self, number: u64, extension: &str) -> io::Result<PathBuf> {
        let path = self.writer().forget(number);
        let aside = path.with_extension(extension);
        fs::rename(&path, &aside)?;
        Ok(aside)
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
