//! A worker's way into the spool: the clicks of one turn of its loop become one write.
//!
//! A worker of the HTTP server is one thread. The requests that its sockets had ready run one after the other;
//! each leaves its click in the batch and waits. The task that the first of them started runs after the last, writes
//! the batch and wakes them all, so that a write is shared by as many clicks as came at once, and
//! nothing crosses a thread; only with `sync = "always"` the batch goes to the thread that flushes ([`super::commit`]).

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bus::Parts;
use tracing::error;

use super::commit::{Flushed, Submitted};
use super::{Spool, segment};
use crate::settings::SyncMode;

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
}

impl Appender {
    /// An empty batch for this worker.
    pub fn new(spool: Arc<Spool>) -> Rc<Self> {
        let worker = spool.commits.worker();
        Rc::new(Self { spool, worker, batch: RefCell::default() })
    }

    /// Adds a message to the batch; it is in the spool when the future is done. Runs within the worker's loop.
    pub fn append(self: &Rc<Self>, message: &impl Parts) -> Appended {
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
        if !batch.is_taken_care_of {
            batch.is_taken_care_of = true;
            let appender = self.clone();
            actix_web::rt::spawn(async move { appender.write().await });
        }
        Appended { appender: self.clone(), batch: Some(batch.number) }
    }

    /// Writes the batch. Waits for nothing unless each click is flushed.
    async fn write(&self) {
        let (records, count, number) = {
            let mut batch = self.batch.borrow_mut();
            batch.is_taken_care_of = false;
            batch.number += 1;
            (std::mem::take(&mut batch.records), std::mem::take(&mut batch.count), batch.number)
        };
        match self.spool.sync {
            SyncMode::Os | SyncMode::Interval => self.finish(self.spool.append(records, count), number),
            SyncMode::Always => self.commit(records, count, number).await,
        }
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
