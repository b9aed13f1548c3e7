//! What is in hand: its leases, kept alive, and its results, handed on to be stored.
//!
//! A delivery, or a batch of them, is *in hand* from the moment its lease is ours until its result is stored, or it is given back.
//! Results are only taken while the lease is still ours, so a process that was frozen cannot overwrite what another has done since.
//!
//! Of what is in hand it is known until when its lease lasts at the latest. A lease that lasts longer was got anew after that one had
//! ended, by the courier of this process: it is neither renewed nor given back before it is in hand itself.

mod in_hand;
mod recording;

use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use model::{BatchId, DeliveryId};
use store::Pool;
use store::attempts::NewAttempt;
use store::batches::{self, FinishedBatch, LeasedBatch};
use store::deliveries::Owed;
use store::leases::{self, Finished};
use tokio::sync::{Notify, mpsc};
use tracing::{debug, warn};
use uuid::Uuid;

use self::in_hand::{Held, pairs, prolong, renewed_at_most, take};
pub use self::recording::Recording;
use crate::attempter::Settlement;
use crate::endpoint::Endpoint;
use crate::metrics::Metrics;

/// Leases are renewed three times before they end.
const RENEWALS: u32 = 3;

/// What became of a delivery in hand.
#[derive(Debug)]
enum Result {
    Attempted(Box<Attempted>),
    /// It could not be tried after all.
    NotTried(DeliveryId),
    /// Nor could these, which are in line.
    NotTriedInLine(Vec<DeliveryId>),
    AttemptedBatch(Box<(FinishedBatch, NewAttempt)>),
    NotTriedBatch(BatchId),
}

impl Result {
    /// Whether something can go on when it is stored.
    fn is_awaited(&self) -> bool {
        match self {
            Self::Attempted(attempted) => attempted.is_awaited,
            Self::NotTriedInLine(_) => true,
            Self::NotTried(_) | Self::AttemptedBatch(_) | Self::NotTriedBatch(_) => false,
        }
    }
}

/// What came of a delivery in hand.
#[derive(Debug)]
struct Attempted {
    finished: Finished,
    attempt: Option<NewAttempt>,
    /// What is behind it in line goes when this is stored.
    is_awaited: bool,
}

/// What is being given back.
#[derive(Debug, Default)]
struct GivenBack {
    deliveries: Held<DeliveryId>,
    batches: Held<BatchId>,
}

/// Takes results, and knows what is in hand.
pub struct Recorder {
    /// Who we are in `leased_by`.
    leased_by: Uuid,
    lease: Duration,
    pool: Pool,
    /// Tells the courier that something can go on.
    work: Arc<Notify>,
    metrics: Metrics,
    /// Bounded by what the lanes let in.
    in_hand: Mutex<Held<DeliveryId>>,
    batches_in_hand: Mutex<Held<BatchId>>,
    /// Whoever renews leases has it, and whoever gives them back: by what was known before the other, a lease would not be found.
    /// It is taken with a connection in hand.
    changing: tokio::sync::Mutex<()>,
    results: mpsc::UnboundedSender<Result>,
}

impl Recorder {
    /// A recorder with an identity of its own, and the end that must be run.
    pub fn new(pool: Pool, lease: Duration, work: Arc<Notify>, metrics: Metrics) -> (Arc<Self>, Recording) {
        let (sender, results) = mpsc::unbounded_channel();
        let leased_by = Uuid::from_u128(rand::random());
        let (in_hand, batches_in_hand) = (Mutex::default(), Mutex::default());
        let recorder = Arc::new(Self {
            leased_by,
            lease,
            pool,
            work,
            metrics,
            in_hand,
            batches_in_hand,
            changing: tokio::sync::Mutex::default(),
            results: sender,
        });
        (Arc::clone(&recorder), Recording::new(recorder, results))
    }

    /// Who we are in `leased_by`.
    pub fn leased_by(&self) -> Uuid {
        self.leased_by
    }

    /// How long a lease lasts.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Whether what is taken in hand now is renewed before its lease ends.
    pub fn is_renewed_before(&self, until: DateTime<Utc>) -> bool {
        Utc::now() + self.lease / RENEWALS < until
    }

    /// No lease that was got by now lasts longer.
    pub fn latest_end(&self) -> DateTime<Utc> {
        Utc::now() + self.lease
    }

    /// Takes a delivery in hand whose lease lasts no longer than `until`; `false` when it is in hand already, because we were late to
    /// renew.
    pub fn take(&self, id: DeliveryId, until: DateTime<Utc>) -> bool {
        take(&mut self.in_hand(), id, until)
    }

    /// Takes a leased batch in hand; likewise.
    pub fn take_batch(&self, id: BatchId, until: DateTime<Utc>) -> bool {
        take(&mut self.batches_in_hand(), id, until)
    }

    /// Stores the result of a delivery in hand, soon; at once if it is awaited: then what is behind it in line goes on.
    pub fn settle(
        &self,
        id: DeliveryId,
        owed: Owed,
        endpoint: &Endpoint,
        settlement: Settlement,
        body: Option<Vec<u8>>,
        is_awaited: bool,
    ) {
        let mut progress = settlement.progress.clone();
        progress.body = body;
        let finished = Finished { id, workspace_id: endpoint.workspace_id, owed, progress };
        let attempt = settlement.into_attempt_row(id, endpoint);
        self.send(Result::Attempted(Box::new(Attempted { finished, attempt, is_awaited })));
    }

    /// Stores that a delivery in hand ended without an attempt.
    pub fn settle_without_attempt(&self, finished: Finished) {
        self.send(Result::Attempted(Box::new(Attempted { finished, attempt: None, is_awaited: true })));
    }

    /// Stores the result of a batch in hand, soon.
    pub fn settle_batch(&self, batch: &LeasedBatch, endpoint: &Endpoint, settlement: Settlement) {
        let finished = FinishedBatch {
            id: batch.id,
            first_day: batch.first_day,
            workspace_id: batch.workspace_id,
            endpoint_id: batch.endpoint_id,
            progress: settlement.progress.clone(),
        };
        // its attempts are kept under its id
        let attempt = settlement.into_row_of_batch(DeliveryId::from_uuid(batch.id.uuid()), endpoint);
        self.send(Result::AttemptedBatch(Box::new((finished, attempt))));
    }

    /// Gives a batch in hand back as it was.
    pub fn give_back_batch(&self, id: BatchId) {
        self.send(Result::NotTriedBatch(id));
    }

    /// Gives a delivery in hand back as it was.
    pub fn give_back(&self, id: DeliveryId) {
        self.send(Result::NotTried(id));
    }

    /// Gives deliveries in line back as they were; whoever looks at the line next finds them.
    pub fn give_back_in_line(&self, ids: Vec<DeliveryId>) {
        if !ids.is_empty() {
            self.send(Result::NotTriedInLine(ids));
        }
    }

    /// How many deliveries are in hand.
    pub fn in_hand_count(&self) -> usize {
        self.in_hand().len()
    }

    /// Ends the leases of all that is still in hand, at the end: others take it over at once, and know that it may have arrived.
    ///
    /// # Errors
    /// When the database is away; then the leases end by themselves.
    pub async fn give_back_all(&self) -> anyhow::Result<()> {
        let (deliveries, batches) = (self.in_hand().len(), self.batches_in_hand().len());
        if deliveries == 0 && batches == 0 {
            return Ok(());
        }
        warn!(deliveries, batches, "requests were broken off; what they carried will be tried again");
        let mut conn = self.pool.get().await?;
        // a renewal that is under way says until when they last
        let _alone = self.changing.lock().await;
        let held: Vec<_> = mem::take(&mut *self.in_hand()).into_iter().collect();
        let batches_held: Vec<_> = mem::take(&mut *self.batches_in_hand()).into_iter().collect();
        let now = Utc::now();
        leases::renew(&mut conn, &held, self.leased_by, now).await.context("failed to end leases")?;
        batches::renew(&mut conn, &batches_held, self.leased_by, now)
            .await
            .context("failed to end leases of batches")?;
        Ok(())
    }

    /// Keeps the leases of what is in hand alive, for ever.
    pub async fn renew(&self) {
        loop {
            tokio::time::sleep(self.lease / RENEWALS).await;
            if self.in_hand().is_empty() && self.batches_in_hand().is_empty() {
                continue;
            }
            match self.renew_once(Utc::now).await {
                Ok(0) => {}
                Ok(lost) => debug!(lost, "leases have ended, or their results are being stored"),
                Err(error) => warn!(error = format!("{error:#}"), "failed to renew leases"),
            }
        }
    }

    /// Prolongs the leases of what is in hand once there is a connection, from the moment that it is by `clock` then; tells how many
    /// could not be.
    pub(crate) async fn renew_once(&self, clock: impl Fn() -> DateTime<Utc>) -> anyhow::Result<usize> {
        let mut conn = self.pool.get().await?;
        let _alone = self.changing.lock().await;
        let (held, batches_held) = (pairs(&self.in_hand()), pairs(&self.batches_in_hand()));
        let (until, mut lost) = (clock() + self.lease, held.len() + batches_held.len());
        if !held.is_empty() {
            let renewed = leases::renew(&mut conn, &held, self.leased_by, until).await;
            prolong(&mut self.in_hand(), &renewed_at_most(&renewed, &held), until);
            lost -= renewed?.len();
        }
        if !batches_held.is_empty() {
            let renewed = batches::renew(&mut conn, &batches_held, self.leased_by, until).await;
            prolong(&mut self.batches_in_hand(), &renewed_at_most(&renewed, &batches_held), until);
            lost -= renewed?.len();
        }
        Ok(lost)
    }

    /// What is about to be given back is in hand no more.
    fn let_go(&self, results: &[Result]) -> GivenBack {
        let mut given_back = GivenBack::default();
        let (mut in_hand, mut batches_in_hand) = (self.in_hand(), self.batches_in_hand());
        for result in results {
            match result {
                Result::NotTried(id) => given_back.deliveries.extend(in_hand.remove_entry(id)),
                Result::NotTriedInLine(ids) => {
                    given_back.deliveries.extend(ids.iter().filter_map(|id| in_hand.remove_entry(id)));
                }
                Result::NotTriedBatch(id) => given_back.batches.extend(batches_in_hand.remove_entry(id)),
                Result::Attempted(_) | Result::AttemptedBatch(_) => {}
            }
        }
        given_back
    }

    /// What could not be given back is in hand again; but for what a courier has in hand by now: that was given back after all.
    fn take_again(&self, result: &mut Result, GivenBack { deliveries, batches }: &GivenBack) -> bool {
        let is_taken = |id: &DeliveryId| deliveries.get(id).is_some_and(|until| self.take(*id, *until));
        match result {
            Result::NotTried(id) => is_taken(id),
            Result::NotTriedInLine(ids) => {
                ids.retain(is_taken);
                !ids.is_empty()
            }
            Result::NotTriedBatch(id) => batches.get(id).is_some_and(|until| self.take_batch(*id, *until)),
            Result::Attempted(_) | Result::AttemptedBatch(_) => true,
        }
    }

    fn send(&self, result: Result) {
        // nobody receives only after the end; then the lease ends by itself
        let _ = self.results.send(result);
    }

    fn in_hand(&self) -> std::sync::MutexGuard<'_, Held<DeliveryId>> {
        self.in_hand.lock().expect("nobody panics with this in hand")
    }

    fn batches_in_hand(&self) -> std::sync::MutexGuard<'_, Held<BatchId>> {
        self.batches_in_hand.lock().expect("nobody panics with this in hand")
    }
}
