//! A worker's way into the spool: the clicks of one turn of its loop become one write.
//!
//! A worker of the HTTP server is one thread. The requests that its sockets had ready run one after the other;
//! each leaves its click in the batch and waits. The task that the first of them started runs after the last, writes
//! the batch and wakes them all, so that a write is shared by as many clicks as came at once, and
//! nothing crosses a thread. A click that comes alone is written at once: there is nobody to share with. Only with
//! `sync = "always"` the batch goes to the thread that flushes ([`super::commit`]).

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bus::Parts;
use tracing::error;

use super::commit::{Flushed, Submitted};
use super::{Spool, segment};
use crate::settings::SyncMode;

/// A click that comes so long after the one before comes alone.
const ALONE: Duration = Duration::from_micros(50);

/// Room that a batch keeps from one turn to the next.
const BATCH_BYTES: usize = 64 * 1024;

/// Appends to a spool from one worker.
#[derive(Debug)]
pub struct Appender {
    spool: Arc<Spool>,
    worker: usize,
    batch: RefCell<Batch>,
}

#[derive(Debug, Default)]
struct Batch {
    records: Vec<u8>,
    count: u64,
    /// Which batch this is.
    number: u64,
    /// Those before it are in the spool.
    written: u64,
    /// Who waits, and for which batch.
    waiting: Vec<(u64, Waker)>,
    /// Whether the task runs that will write this batch.
    is_taken_care_of: bool,
    /// When the last click came.
    last_at: Option<Instant>,
}

impl Appender {
    /// An empty batch for this worker.
    pub fn new(spool: Arc<Spool>) -> Rc<Self> {
        let worker = spool.commits.worker();
        Rc::new(Self { spool, worker, batch: RefCell::default() })
    }

    /// Adds a message that came at a moment to the batch; it is in the spool when the future is done. Runs within the
    /// worker's loop.
    pub fn append(self: &Rc<Self>, message: &impl Parts, at: Instant) -> Appended {
        let mut batch = self.batch.borrow_mut();
        match segment::encode(message, self.spool.seed, &mut batch.records) {
            Ok(()) => batch.count += 1,
            Err(refusal) => {
                let mut id = Vec::new();
                message.append_id(&mut id);
                error!(click.id = %String::from_utf8_lossy(&id), error = %refusal, "a click is lost");
                self.spool.metrics.clicks_lost.inc();
                return Appended { appender: self.clone(), batch: None };
            }
        }
        let before = batch.last_at.replace(at);
        if !batch.is_taken_care_of {
            let is_alone = before.is_none_or(|before| at.saturating_duration_since(before) >= ALONE);
            if is_alone && self.spool.sync != SyncMode::Always {
                drop(batch);
                self.write_now();
                return Appended { appender: self.clone(), batch: None };
            }
            batch.is_taken_care_of = true;
            let appender = self.clone();
            actix_web::rt::spawn(async move { appender.write().await });
        }
        Appended { appender: self.clone(), batch: Some(batch.number) }
    }

    /// Writes the batch. Waits for nothing unless each click is flushed.
    async fn write(&self) {
        match self.spool.sync {
            SyncMode::Os | SyncMode::Interval => self.write_now(),
            SyncMode::Always => {
                let (records, count, number) = self.take();
                self.commit(records, count, number).await;
            }
        }
    }

    fn write_now(&self) {
        let (records, count, number) = self.take();
        self.finish(self.spool.append(records, count), number);
    }

    /// The batch and how many clicks it is; the next one begins.
    fn take(&self) -> (Vec<u8>, u64, u64) {
        let mut batch = self.batch.borrow_mut();
        batch.is_taken_care_of = false;
        batch.number += 1;
        (std::mem::take(&mut batch.records), std::mem::take(&mut batch.count), batch.number)
    }

    async fn commit(&self, records: Vec<u8>, count: u64, number: u64) {
        match self.spool.commits.submit(self.worker, number, records, count) {
            Submitted::New(flushed) => match flushed.await {
                Ok(Flushed { room, number }) => self.finish(room, number),
                // the thread has ended with what it held: nobody must wait for it
                Err(_) => {
                    let number = self.batch.borrow().number;
                    self.finish(Vec::new(), number);
                }
            },
            Submitted::Added(room) => self.keep_room(room),
            Submitted::Refused(records) => {
                let room = self.spool.append(records, count);
                self.spool.flush();
                self.finish(room, number);
            }
        }
    }

    /// The batches up to this one are in the spool; `room` is what held them.
    fn finish(&self, room: Vec<u8>, number: u64) {
        self.keep_room(room);
        let mut batch = self.batch.borrow_mut();
        batch.written = batch.written.max(number);
        let written = batch.written;
        let ready: Vec<_> = batch.waiting.extract_if(.., |(number, _)| *number < written).collect();
        drop(batch);
        ready.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// A burst's room is given back.
    fn keep_room(&self, room: Vec<u8>) {
        let mut batch = self.batch.borrow_mut();
        if batch.records.capacity() == 0 && room.capacity() <= BATCH_BYTES {
            batch.records = room;
        }
    }
}

/// A click on its way into the spool.
#[derive(Debug)]
#[must_use = "the answer waits until the click is in the spool"]
pub struct Appended {
    appender: Rc<Appender>,
    batch: Option<u64>,
}

impl Future for Appended {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(awaited) = self.batch else { return Poll::Ready(()) };
        let mut batch = self.appender.batch.borrow_mut();
        if batch.written > awaited {
            return Poll::Ready(());
        }
        batch.waiting.push((awaited, context.waker().clone()));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use bus::{Message, Outgoing};
    use bytes::Bytes;
    use model::Click;
    use prometheus::Registry;

    use super::*;
    use crate::metrics::Metrics;
    use crate::settings::{Settings, SpoolSettings};
    use crate::spool::Opened;

    fn message(number: u32) -> Outgoing {
        Outgoing {
            subject: "s".into(),
            id: format!("clk_{number}"),
            schema: Click::SCHEMA,
            payload: Bytes::from_static(b"click"),
            traceparent: None,
        }
    }

    fn spool(dir: &std::path::Path) -> Arc<Spool> {
        let settings: Settings =
            service::settings::load_from(Settings::DEFAULTS, None, []).expect("the defaults are valid");
        let settings =
            SpoolSettings { dir: dir.to_path_buf(), sync: SyncMode::Os, ..settings.redirect.spool };
        let metrics = Metrics::register(&Registry::new()).expect("metrics");
        let Opened { spool, .. } = Spool::open(&settings, &metrics).expect("it opens");
        spool
    }

    #[test]
    fn a_click_that_comes_alone_is_written_at_once_and_those_that_come_together_are_written_together() {
        actix_web::rt::System::new().block_on(async {
            let dir = tempfile::tempdir().expect("a directory");
            let spool = spool(dir.path());
            let appender = Appender::new(spool.clone());
            let (first_at, written) = (Instant::now(), || spool.metrics.clicks_spooled.get());

            appender.append(&message(0), first_at).await;
            assert_eq!(written(), 1);
            let second = appender.append(&message(1), first_at + ALONE / 2);
            // however late it comes, those before it are written first
            let third = appender.append(&message(2), first_at + ALONE * 10);
            assert_eq!(written(), 1);
            futures::join!(third, second);
            assert_eq!(written(), 3);
            let last = appender.append(&message(3), first_at + ALONE * 20);
            assert_eq!(written(), 4);
            last.await;

            let (path, end) = spool.file_of(1).expect("a file");
            let file = segment::SegmentFile::open(&path).expect("a spool file");
            let bodies = file.read(segment::HEADER_BYTES, end, usize::MAX).expect("readable").bodies;
            let ids: Vec<_> = bodies.iter().map(|(body, _)| segment::id(body).to_owned()).collect();
            assert_eq!(ids, ["clk_0", "clk_1", "clk_2", "clk_3"]);
        });
    }
}
