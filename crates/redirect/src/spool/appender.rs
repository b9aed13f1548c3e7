//! A worker's way into the spool: the clicks of one turn of its loop become one write.
//!
//! A worker of the HTTP server is one thread. The requests that its sockets had ready run one after the other;
//! each leaves its click in the batch and waits. The task that the first of them started runs after the last, writes
//! the batch and wakes them all, so that a write is shared by as many clicks as came at once, and
//! nothing crosses a thread.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bus::Outgoing;
use tracing::error;

use super::{Spool, segment};

/// Room that a batch keeps from one turn to the next.
const BATCH_BYTES: usize = 64 * 1024;

/// Appends to a spool from one worker.
#[derive(Debug)]
pub struct Appender {
    spool: Arc<Spool>,
    batch: RefCell<Batch>,
}

#[derive(Debug, Default)]
struct Batch {
    records: Vec<u8>,
    count: u64,
    /// Which batch this is; those before it have been written.
    number: u64,
    waiting: Vec<Waker>,
}

impl Appender {
    /// An empty batch for this worker.
    pub fn new(spool: Arc<Spool>) -> Rc<Self> {
        Rc::new(Self { spool, batch: RefCell::default() })
    }

    /// Adds a message to the batch; it is in the spool when the future is done. Runs within the worker's loop.
    pub fn append(self: &Rc<Self>, message: &Outgoing) -> Appended {
        let mut batch = self.batch.borrow_mut();
        let is_first = batch.count == 0;
        match segment::encode(message, self.spool.seed, &mut batch.records) {
            Ok(()) => batch.count += 1,
            Err(refusal) => {
                error!(click.id = %message.id, error = %refusal, "a click is lost");
                self.spool.metrics.clicks_lost.inc();
                return Appended { appender: self.clone(), batch: None };
            }
        }
        if is_first {
            let appender = self.clone();
            actix_web::rt::spawn(async move { appender.write() });
        }
        Appended { appender: self.clone(), batch: Some(batch.number) }
    }

    fn write(&self) {
        let (records, count, waiting) = {
            let mut batch = self.batch.borrow_mut();
            let count = std::mem::take(&mut batch.count);
            (std::mem::take(&mut batch.records), count, std::mem::take(&mut batch.waiting))
        };
        let records = self.spool.append(records, count);
        let mut batch = self.batch.borrow_mut();
        batch.number += 1;
        // a burst's room is given back
        if records.capacity() <= BATCH_BYTES {
            batch.records = records;
        }
        drop(batch);
        waiting.into_iter().for_each(Waker::wake);
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
        if batch.number > awaited {
            return Poll::Ready(());
        }
        batch.waiting.push(context.waker().clone());
        Poll::Pending
    }
}
