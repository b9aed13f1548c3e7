//! Results of leased deliveries: gathered, and stored many at a time; and the leases themselves, kept alive.
//!
//! A delivery is *in hand* from the moment its lease is ours until its result is stored. Results are only taken
//! while the lease is still ours, so a process that was frozen cannot overwrite what another has done since.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use model::DeliveryId;
use store::Pool;
use store::attempts::NewAttempt;
use store::deliveries::Owed;
use store::leases::{self, Finished};
use tokio::sync::mpsc;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::attempter::Settlement;
use crate::endpoint::Endpoint;
use crate::metrics::Metrics;

/// Most results in one statement.
const RESULTS_MAX: usize = 256;

/// Pause before results are stored again when that failed.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Leases are renewed three times before they end.
const RENEWALS: u32 = 3;

/// What became of a delivery in hand.
#[derive(Debug)]
enum Result {
    Attempted(Box<(Finished, Option<NewAttempt>)>),
    /// It could not be tried after all.
    NotTried(DeliveryId),
}

/// Takes results, and knows what is in hand.
pub struct Recorder {
    /// Who we are in `leased_by`.
    leased_by: Uuid,
    lease: Duration,
    pool: Pool,
    metrics: Metrics,
    /// Bounded by what the lanes let in.
    in_hand: Mutex<HashSet<DeliveryId>>,
    results: mpsc::UnboundedSender<Result>,
}

/// The end that stores them; run it with [`Recording::run`].
pub struct Recording {
    recorder: Arc<Recorder>,
    results: mpsc::UnboundedReceiver<Result>,
}

impl Recorder {
    /// A recorder with an identity of its own, and the end that must be run.
    pub fn new(pool: Pool, lease: Duration, metrics: Metrics) -> (Arc<Self>, Recording) {
        let (sender, results) = mpsc::unbounded_channel();
        let leased_by = Uuid::from_u128(rand::random());
        let in_hand = Mutex::default();
        let recorder = Arc::new(Self { leased_by, lease, pool, metrics, in_hand, results: sender });
        (Arc::clone(&recorder), Recording { recorder, results })
    }

    /// Who we are in `leased_by`.
    pub fn leased_by(&self) -> Uuid {
        self.leased_by
    }

    /// How long a lease lasts.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Takes a leased delivery in hand; `false` when it is in hand already, because we were late to renew.
    pub fn take(&self, id: DeliveryId) -> bool {
        self.in_hand().insert(id)
    }

    /// Stores the result of a delivery in hand, soon.
    pub fn settle(
        &self,
        id: DeliveryId,
        owed: Owed,
        endpoint: &Endpoint,
        settlement: Settlement,
        body: Option<Vec<u8>>,
    ) {
        let mut progress = settlement.progress.clone();
        progress.body = body;
        let finished = Finished { id, workspace_id: endpoint.workspace_id, owed, progress };
        self.send(Result::Attempted(Box::new((finished, settlement.into_attempt_row(id, endpoint)))));
    }

    /// Stores that a delivery in hand ended without an attempt.
    pub fn settle_without_attempt(&self, finished: Finished) {
        self.send(Result::Attempted(Box::new((finished, None))));
    }

    /// Gives a delivery in hand back as it was.
    pub fn give_back(&self, id: DeliveryId) {
        self.send(Result::NotTried(id));
    }

    /// Gives back all that is still in hand, at the end.
    ///
    /// # Errors
    /// When the database is away; then the leases end by themselves.
    pub async fn give_back_all(&self) -> anyhow::Result<()> {
        let ids: Vec<DeliveryId> = mem::take(&mut *self.in_hand()).into_iter().collect();
        if ids.is_empty() {
            return Ok(());
        }
        warn!(deliveries = ids.len(), "requests were broken off; their deliveries will be tried again");
        let mut conn = self.pool.get().await?;
        leases::release(&mut conn, &ids, self.leased_by).await.context("failed to release leases")
    }

    /// Keeps the leases of what is in hand alive, for ever.
    pub async fn renew(&self) {
        loop {
            tokio::time::sleep(self.lease / RENEWALS).await;
            let ids: Vec<DeliveryId> = self.in_hand().iter().copied().collect();
            if ids.is_empty() {
                continue;
            }
            match self.renew_once(&ids).await {
                Ok(renewed) if renewed < ids.len() => {
                    debug!(
                        lost = ids.len() - renewed,
                        "leases have ended, or their results are being stored"
                    );
                }
                Ok(_) => {}
                Err(error) => warn!(error = format!("{error:#}"), "failed to renew leases"),
            }
        }
    }

    async fn renew_once(&self, ids: &[DeliveryId]) -> anyhow::Result<usize> {
        let mut conn = self.pool.get().await?;
        let renewed = leases::renew(&mut conn, ids, self.leased_by, Utc::now() + self.lease).await?;
        Ok(renewed.len())
    }

    fn send(&self, result: Result) {
        // nobody receives only after the end; then the lease ends by itself
        let _ = self.results.send(result);
    }

    fn in_hand(&self) -> std::sync::MutexGuard<'_, HashSet<DeliveryId>> {
        self.in_hand.lock().expect("nobody panics with this in hand")
    }
}

impl Recording {
    /// Stores results as they come, and with them all that came meanwhile; ends when nobody can send any more
    /// or, with nothing left, when `finish` says so.
    pub async fn run(mut self, finish: tokio_util::sync::CancellationToken) {
        let mut results = Vec::with_capacity(RESULTS_MAX);
        loop {
            tokio::select! {
                biased;
                received = self.results.recv_many(&mut results, RESULTS_MAX) => if received == 0 { return },
                () = finish.cancelled() => return,
            }
            while let Err(error) = self.store(&results).await {
                self.recorder.metrics.store_failures.inc();
                warn!(
                    error = format!("{error:#}"),
                    results = results.len(),
                    "failed to store results; trying again"
                );
                tokio::time::sleep(STORE_PAUSE).await;
            }
            results.clear();
        }
    }

    async fn store(&self, results: &[Result]) -> anyhow::Result<()> {
        let recorder = &self.recorder;
        let (mut finished, mut attempts, mut not_tried) = (Vec::new(), Vec::new(), Vec::new());
        for result in results {
            match result {
                Result::Attempted(attempted) => {
                    finished.push(attempted.0.clone());
                    attempts.extend(attempted.1.clone());
                }
                Result::NotTried(id) => not_tried.push(*id),
            }
        }
        let mut conn = recorder.pool.get().await?;
        if !finished.is_empty() {
            let stored =
                leases::finish(&mut conn, &finished, &attempts, recorder.leased_by, Utc::now()).await?;
            recorder.metrics.leases_lost.inc_by((finished.len() - stored.len()) as u64);
        }
        if !not_tried.is_empty() {
            leases::release(&mut conn, &not_tried, recorder.leased_by).await?;
        }
        let mut in_hand = recorder.in_hand();
        for id in finished.iter().map(|f| &f.id).chain(&not_tried) {
            in_hand.remove(id);
        }
        Ok(())
    }
}
