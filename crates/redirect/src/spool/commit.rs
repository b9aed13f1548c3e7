//! `sync = "always"`: an answer waits until its click has been flushed, and many answers share one flush.
//!
//! One thread commits. A worker hands it the batch of a turn of its loop and goes on; what it hands over while the
//! thread is busy adds to that batch. The thread takes what all workers have handed over, writes it with one write,
//! flushes once, and wakes each worker once.
//!
//! What the system says of a file after one flush of it has failed is not to be trusted: it may have let go of what it
//! could not write. So nothing more is appended to such a file, and what was to be flushed is written to the next one,
//! again and again, until a flush has succeeded. Visitors are answered meanwhile.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::Spool;
use crate::settings::SyncMode;

/// Pause after a flush that failed: each takes a file.
const FAILED_PAUSE: Duration = Duration::from_millis(100);

/// Clicks that are kept to be written again, in bytes. What comes beyond is in its file, flushed or not.
const OWED_BYTES_MAX: usize = 4 * 1024 * 1024;

type FlushFn = dyn Fn(&File) -> io::Result<()> + Send + Sync;

/// Flushes a file's data to the disk; another one stands in for it in tests.
#[derive(Clone)]
pub(super) struct Flush(pub Arc<FlushFn>);

impl Default for Flush {
    fn default() -> Self {
        Self(Arc::new(File::sync_data))
    }
}

impl std::fmt::Debug for Flush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flush")
    }
}

/// What workers have handed over: one batch each at most, of the requests that wait for it.
#[derive(Debug, Default)]
pub(super) struct Commits {
    queue: Mutex<Queue>,
    arrived: Condvar,
    workers: AtomicUsize,
}

/// What comes of handing a batch over.
#[derive(Debug)]
pub(super) enum Submitted {
    /// Resolves when it has been flushed.
    New(oneshot::Receiver<Flushed>),
    /// It goes with what the worker handed over before. Gives the emptied room back.
    Added(Vec<u8>),
    /// Nobody commits: before the thread runs, and after it has ended. Gives the records back.
    Refused(Vec<u8>),
}

/// What a worker has handed over is on the disk.
#[derive(Debug)]
pub(super) struct Flushed {
    /// Emptied room.
    pub room: Vec<u8>,
    /// The last of the worker's batches that are.
    pub number: u64,
}

#[derive(Debug, Default)]
struct Queue {
    batches: Vec<Batch>,
    /// Whether somebody commits them.
    is_open: bool,
}

/// What a worker has handed over.
#[derive(Debug)]
pub(super) struct Batch {
    worker: usize,
    number: u64,
    records: Vec<u8>,
    clicks: u64,
    done: oneshot::Sender<Flushed>,
}

/// Clicks that were written and whose flush has failed.
#[derive(Debug, Default)]
pub(super) struct Owed {
    records: Vec<u8>,
    clicks: u64,
    /// Whether they stand in the file that is flushed next.
    is_written: bool,
    /// When it is flushed, if there are any.
    due_at: Option<Instant>,
}

impl Owed {
    /// How long to wait for more clicks; `None`: until some come.
    fn patience(&self) -> Option<Duration> {
        self.due_at.map(|due_at| due_at.saturating_duration_since(Instant::now()))
    }

    fn keep(&mut self, records: &[u8], clicks: u64) {
        if self.records.len() + records.len() <= OWED_BYTES_MAX {
            self.records.extend_from_slice(records);
            self.clicks += clicks;
        }
    }
}

#[cfg(test)]
impl Owed {
    /// Whether something was written and not flushed.
    pub(super) fn is_any(&self) -> bool {
        self.due_at.is_some()
    }

    /// The pause after the flush that failed is over.
    pub(super) fn end_pause(&mut self) {
        self.due_at = self.due_at.map(|_| Instant::now());
    }
}

/// Batches for which nobody waits any more are not left behind, however the thread ends.
struct Closing<'a>(&'a Commits);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Commits {
    /// A number for a worker that will hand batches over.
    pub(super) fn worker(&self) -> usize {
        self.workers.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands over batch `number` of a worker.
    pub(super) fn submit(&self, worker: usize, number: u64, mut records: Vec<u8>, clicks: u64) -> Submitted {
        let mut queue = self.queue();
        if !queue.is_open {
            return Submitted::Refused(records);
        }
        if let Some(waiting) = queue.batches.iter_mut().find(|batch| batch.worker == worker) {
            waiting.records.append(&mut records);
            waiting.clicks += clicks;
            waiting.number = number;
            return Submitted::Added(records);
        }
        let (done, flushed) = oneshot::channel();
        queue.batches.push(Batch { worker, number, records, clicks, done });
        drop(queue);
        self.arrived.notify_one();
        Submitted::New(flushed)
    }

    /// Somebody commits from now on.
    pub(super) fn open(&self) {
        self.queue().is_open = true;
    }

    fn close(&self) {
        self.queue().is_open = false;
        self.arrived.notify_one();
    }

    /// What has been handed over, once there is something, or nothing after `patience`; `None` after [`Self::close`].
    pub(super) fn next(&self, patience: Option<Duration>) -> Option<Vec<Batch>> {
        let mut queue = self.queue();
        while queue.batches.is_empty() && queue.is_open {
            let Some(patience) = patience else {
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = self.arrived.wait_timeout(queue, patience).unwrap_or_else(PoisonError::into_inner);
            queue = waited.0;
            if waited.1.timed_out() {
                break;
            }
        }
        let batches = std::mem::take(&mut queue.batches);
        (!batches.is_empty() || queue.is_open).then_some(batches)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // its fields are consistent between any two statements
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spool {
    /// Commits what workers hand over until `stop`, and then what is left.
    pub(super) async fn commit_until(self: Arc<Self>, stop: &CancellationToken) {
        self.commits.open();
        let (ended, end) = oneshot::channel::<()>();
        let spool = self.clone();
        let thread = std::thread::Builder::new().name("spool-commit".into()).spawn(move || {
            let _ended = ended;
            let _closing = Closing(&spool.commits);
            let (mut all, mut owed) = (Vec::new(), Owed::default());
            while let Some(batches) = spool.commits.next(owed.patience()) {
                spool.commit(batches, &mut all, &mut owed);
            }
        });
        if let Err(error) = thread {
            self.commits.close();
            error!(error = %error, "failed to start the thread that flushes the spool: each worker flushes by itself");
        }
        stop.cancelled().await;
        self.commits.close();
        // an error says that the thread has ended, which is what is waited for
        let _ = end.await;
    }

    /// Writes batches with one write and flushes them together, with what is owed. `all` is room for that.
    pub(super) fn commit(&self, mut batches: Vec<Batch>, all: &mut Vec<u8>, owed: &mut Owed) {
        let clicks = batches.iter().map(|batch| batch.clicks).sum();
        if let [only] = batches.as_mut_slice() {
            only.records = self.write(std::mem::take(&mut only.records), clicks);
            self.settle(&only.records, clicks, owed);
            only.records.clear();
        } else {
            for batch in &mut batches {
                all.append(&mut batch.records);
            }
            if clicks > 0 {
                *all = self.write(std::mem::take(all), clicks);
            }
            self.settle(all, clicks, owed);
            all.clear();
        }
        for batch in batches {
            // nobody there: the visitor has gone
            let _ = batch.done.send(Flushed { room: batch.records, number: batch.number });
        }
    }

    /// Flushes what was written, unless an earlier flush has just failed.
    fn settle(&self, written: &[u8], clicks: u64, owed: &mut Owed) {
        let is_due = owed.patience().is_none_or(|patience| patience.is_zero());
        if !is_due {
            return owed.keep(written, clicks);
        }
        if owed.due_at.is_some() && !owed.is_written {
            self.write_again(owed);
        }
        let is_flushed = self.flush();
        if is_flushed && (owed.due_at.is_none() || owed.is_written) {
            *owed = Owed::default();
            return;
        }
        if !is_flushed {
            owed.keep(written, clicks);
            self.write_again(owed);
        }
        owed.due_at = Some(Instant::now() + FAILED_PAUSE);
    }

    /// Writes what is owed to the next file; after a failure it is tried again before the next flush.
    fn write_again(&self, owed: &mut Owed) {
        owed.is_written = self.writer().append(&owed.records, owed.clicks).is_ok();
        self.appended.notify_one();
    }

    /// Flushes what has been appended, in the thread that asks; tells whether that succeeded.
    pub(super) fn flush(&self) -> bool {
        let files = self.writer().take_unsynced();
        if files.is_empty() {
            return true;
        }
        let flush = |file: &Arc<File>| (self.flush.0)(file).err();
        // all of them, whatever becomes of the first
        let failure = files.iter().filter_map(flush).reduce(|first, _| first);
        let is_flushed = failure.is_none();
        if !is_flushed {
            self.metrics.spool_sync_failures.inc();
            self.writer().close();
        }
        self.set_unflushed(failure);
        is_flushed
    }

    /// Flushes what an earlier process wrote, and the names of its files: it may have been killed before it did.
    pub(super) fn flush_found(&self) {
        let paths = self.writer().files.paths();
        if paths.is_empty() || self.sync == SyncMode::Os {
            return;
        }
        let flush = |path: PathBuf| File::open(path).and_then(|file| (self.flush.0)(&file)).err();
        let failures = paths.into_iter().chain([self.dir.clone()]).filter_map(flush);
        let failure = failures.reduce(|first, _| first);
        if failure.is_some() {
            self.metrics.spool_sync_failures.inc();
        }
        self.set_unflushed(failure);
    }
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
