//! The one consumer loop: pulls batches, hands them to a [`Handler`] and answers for every message.
//!
//! - The permit comes before the message: what nobody can work on yet stays on the server.
//! - A batch is what is there; nobody waits for it to fill up. But a batch of one costs nearly as much as a batch of a hundred:
//!   while several are in hand the next gathers for some milliseconds, and where nobody waits for the effect each does
//!   ([`Limits::gather`]).
//! - While a batch is in hand the broker is told so; what a dead process held comes back after
//!   [`ACK_WAIT`](crate::topology::ACK_WAIT).
//! - What cannot be decoded, is rejected, or makes the handler panic, is published to QUARANTINE and then terminated.
//!   Only when it stands there is it let go of.
//! - When all of a batch is to be retried, something that everyone needs is away: pulling pauses. What only came too early
//!   ([`Verdict::NotYet`]) says nothing of that.
//! - A request that fails is made again after a pause. Nothing that the broker does ends the loop.
//! - Where a stream is partitioned, the broker gives each partition to one replica at a time ([`Handler::taken_over`]); replicas
//!   give up what is beyond their share.
//! - On `stop`: take no more, finish what is in hand, hand back at once what is not finished in time.

mod batch;
mod metrics;
mod progress;
mod pull;
mod sharing;
mod sources;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::connect::Bus;
use crate::messages::Message;
use crate::topology::{ConsumerName, PULL_MESSAGES_MAX, Partition};
use batch::Batch;
use metrics::Counters;
use progress::Progress;
use pull::Puller;
use sharing::{Holdings, share};
use sources::{Gathered, Sources};

pub use metrics::ConsumerMetrics;

/// Pause before a failed pull request is made again.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between pulls while a dependency is away.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Batches in hand that the next one does not wait for, and how long it gathers for each beyond them.
const AT_ONCE: usize = 2;
const GATHER_EACH: Duration = Duration::from_millis(2);

/// For how long after a refusal of the broker's a consumer is not ready: what is not acknowledged comes again, and is refused
/// again, after [`ACK_WAIT`](crate::topology::ACK_WAIT).
const REFUSED_LATELY: Duration = Duration::from_secs(60);

/// How long acknowledgements may take to reach the broker.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What a service does with messages. The same message may come twice, also at the same time on two machines.
pub trait Handler: Send + Sync + 'static {
    /// The kind of message.
    type Message: Message;

    /// Works on a batch and says for each message what became of it. May be dropped at shutdown.
    fn handle(&self, batch: &[Self::Message]) -> impl Future<Output = Verdicts> + Send;

    /// A partition has become ours, and another may have handled its messages until now. Comes before the first batch with
    /// such messages; other batches may be in hand.
    fn taken_over(&self, _takeover: &Takeover) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// A partition that has become ours, and with which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Takeover {
    /// Which one.
    pub partition: Partition,
    /// The place of that message in the stream.
    pub sequence: u64,
    /// When it was published.
    pub published_at: DateTime<Utc>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its effect is stored.
    Done,
    /// It could not be handled now; it comes again after this time.
    Retry(Duration),
    /// It came before its time, and comes again after this one. Nothing is away: the others go on.
    NotYet(Duration),
    /// It can never be handled, for this reason: it is put aside on QUARANTINE.
    Reject(&'static str),
}

/// The verdicts on a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdicts(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    All(Verdict),
    Each(Vec<Verdict>),
}

impl Verdicts {
    /// One verdict on every message.
    pub fn all(verdict: Verdict) -> Self {
        Self(Kind::All(verdict))
    }

    /// A verdict on each message, in the batch's order.
    pub fn each(verdicts: Vec<Verdict>) -> Self {
        Self(Kind::Each(verdicts))
    }
}

/// How much a consumer takes in hand at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages of one pull, at most [`PULL_MESSAGES_MAX`]; a batch is one of each partition at most.
    pub batch_max: usize,
    /// Batches in hand at once.
    pub batches_max: usize,
    /// After a batch the next is asked for so much later, unless it was full.
    pub gather: Duration,
    /// A batch that takes longer comes again.
    pub handle_timeout: Duration,
    /// How long `stop` waits for what is in hand.
    pub drain_timeout: Duration,
}

/// Why a consumer cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// The limits make no sense.
    #[error("a consumer needs batches of 1 to {PULL_MESSAGES_MAX} messages, and at least one at once")]
    Limits,
}

/// One consumer of ours in this process.
pub struct Consumer {
    bus: Bus,
    name: ConsumerName,
    limits: Limits,
    counters: Counters,
    progress: Progress,
}

impl Consumer {
    /// Prepares the loop; [`Consumer::run`] starts it.
    pub fn new(bus: &Bus, name: ConsumerName, limits: Limits, metrics: ConsumerMetrics) -> Self {
        Self { bus: bus.clone(), name, limits, counters: metrics.of(name), progress: Progress::new(name) }
    }

    /// The readiness check: fails when for 20 s no batch was finished although there are messages, or when the broker
    /// has not been heard of for so long; where the stream is partitioned, in any partition. A batch that is to be retried as a whole is not finished.
    /// It fails as well while the broker refuses what this process needs: an acknowledgement that is refused shows nowhere else.
    pub fn progress(&self) -> impl Fn() -> Result<(), String> + Send + Sync + use<> {
        let (progress, bus) = (self.progress.clone(), self.bus.clone());
        move || {
            progress.check()?;
            let lately = Instant::now().into_std().checked_sub(REFUSED_LATELY);
            let refused = lately.and_then(|lately| bus.refused_since(lately));
            refused.map_or(Ok(()), |forbidden| Err(forbidden.to_string()))
        }
    }

    /// Works until `stop`, then drains.
    ///
    /// # Errors
    /// [`ConsumeError`] when the limits make no sense; nothing else ends it.
    pub async fn run<H: Handler>(self, handler: Arc<H>, stop: CancellationToken) -> Result<(), ConsumeError> {
        let Limits { batch_max, batches_max, .. } = self.limits;
        if !(1..=PULL_MESSAGES_MAX).contains(&batch_max)
            || !(1..=Semaphore::MAX_PERMITS).contains(&batches_max)
        {
            return Err(ConsumeError::Limits);
        }
        let hand = Hand {
            handler,
            permits: Arc::new(Semaphore::new(batches_max)),
            batches: TaskTracker::new(),
            hand_back: CancellationToken::new(),
            resume_at: watch::channel(Instant::now()).0,
        };
        let holdings = Holdings::default();
        let mut sources =
            Sources::new(&self.bus, self.name, &self.progress, &holdings, &self.counters, &stop);
        let mut sharing = Box::pin(share(self.bus.clone(), self.name, holdings));
        let mut is_full = false;
        loop {
            let next = async {
                let permit = hand.permit().await;
                let gathering = gathering(hand.batches.len()).max(self.limits.gather);
                if !is_full && !gathering.is_zero() {
                    tokio::time::sleep(gathering).await;
                }
                (permit, sources.next(batch_max).await)
            };
            let gathered = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                gathered = next => gathered,
                () = &mut sharing => continue,
            };
            let (permit, gathered) = gathered;
            is_full = gathered.messages.len() >= batch_max;
            self.hand_over(&hand, gathered, permit);
        }
        let pullers = tokio::time::timeout(ANSWER_LIMIT, sources.hand_back()).await;
        self.drain(hand).await;
        // whoever has a partition next finds all told that was in hand
        join_all(pullers.unwrap_or_default().into_iter().map(Puller::give_up_partition)).await;
        Ok(())
    }

    fn hand_over<H: Handler>(&self, hand: &Hand<H>, gathered: Gathered, permit: OwnedSemaphorePermit) {
        let batch = Batch {
            bus: self.bus.clone(),
            consumer: self.name,
            counters: self.counters.clone(),
            handle_timeout: self.limits.handle_timeout,
            hand_back: hand.hand_back.clone(),
            messages: gathered.messages,
            taken_over: gathered.taken_over,
        };
        let handler = hand.handler.clone();
        let resume_at = hand.resume_at.clone();
        let (progress, durables) = (self.progress.clone(), gathered.durables);
        hand.batches.spawn(async move {
            let pause = batch.run(&*handler).await;
            match pause {
                None => durables.into_iter().for_each(|durable| progress.made(durable)),
                Some(pause) => {
                    let at = Instant::now() + pause.min(PAUSE_MAX);
                    resume_at.send_modify(|resume_at| *resume_at = at.max(*resume_at));
                }
            }
            drop(permit);
        });
    }

    async fn drain<H: Handler>(&self, hand: Hand<H>) {
        hand.batches.close();
        debug!(consumer = %self.name, batches = hand.batches.len(), "draining");
        if tokio::time::timeout(self.limits.drain_timeout, hand.batches.wait()).await.is_err() {
            warn!(consumer = %self.name, batches = hand.batches.len(), "not finished in time; handing back");
            hand.hand_back.cancel();
            let _ = tokio::time::timeout(ANSWER_LIMIT, hand.batches.wait()).await;
        }
        // acknowledgements wait in the client's buffer
        let _ = tokio::time::timeout(ANSWER_LIMIT, self.bus.client().flush()).await;
        info!(consumer = %self.name, "stopped");
    }
}

/// How long the next batch gathers when so many are in hand.
fn gathering(in_hand: usize) -> Duration {
    GATHER_EACH * u32::try_from(in_hand.saturating_sub(AT_ONCE)).unwrap_or_default()
}

/// What is in hand.
struct Hand<H> {
    handler: Arc<H>,
    permits: Arc<Semaphore>,
    batches: TaskTracker,
    hand_back: CancellationToken,
    resume_at: watch::Sender<Instant>,
}

impl<H> Hand<H> {
    /// Waits until one more batch may be taken in hand.
    async fn permit(&self) -> OwnedSemaphorePermit {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let mut resume_at = self.resume_at.subscribe();
        loop {
            let at = *resume_at.borrow_and_update();
            tokio::time::sleep_until(at).await;
            if !resume_at.has_changed().unwrap_or(false) {
                return permit;
            }
        }
    }
}
