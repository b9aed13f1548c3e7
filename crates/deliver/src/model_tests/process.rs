//! What the cases share, and a process: all that it holds in memory.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use model::delivery::{Attempt, ErrorClass};
use model::secret::SigningSecret;
use model::{DeliveryId, EndpointId, WorkspaceId};
use prometheus::Registry;
use serde_json::json;
use store::deliveries::Owed;
use store::endpoints::{EndpointOptions, State};
use store::leases::Leased;
use store::{Pool, endpoints, secrets};
use testkit::{TestDatabase, given};
use tokio::sync::Notify;
use webhook::Keyring;

use super::Answer;
use crate::attempter::{Place, Settlement, settle};
use crate::batch::Dispatch;
use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::lanes::Lanes;
use crate::matching::Matching;
use crate::metrics::Metrics;
use crate::outcome;
use crate::recorder::{Recorder, Recording};
use crate::replayer::Replayer;

/// How long a lease lasts.
pub(super) const LEASE: Duration = Duration::from_secs(5);

/// Pauses between attempts, in seconds.
const SCHEDULE: [u32; 2] = [5, 60];

/// Attempts that a delivery gets by itself.
pub(super) const ATTEMPTS_MAX: u32 = 3;

/// How long who waits for evidence waits.
const SETTLE_MS: u32 = 5000;

/// What all cases stand on.
pub(super) struct Ground {
    pub pool: Pool,
    keyring: Keyring,
    metrics: Metrics,
}

impl Ground {
    pub(super) async fn new() -> Self {
        let database = TestDatabase::new().await;
        let pool = Pool::through_indexes(&database.settings()).expect("the URL is ours");
        let keyring = Keyring::new(&webhook::sealing::generate_key(), &[]).expect("a key");
        let metrics = Metrics::register(&Registry::new()).expect("metrics");
        Self { pool, keyring, metrics }
    }

    /// An endpoint that wants every click, or one that wants people only and waits for evidence.
    pub(super) async fn endpoint(
        &self,
        workspace_id: WorkspaceId,
        settles: bool,
        now: DateTime<Utc>,
    ) -> EndpointId {
        let (id, secret) = (EndpointId::generate(), SigningSecret::generate());
        let options = EndpointOptions {
            retry_schedule: Some(SCHEDULE.to_vec()),
            permanent_statuses: vec![400],
            settle_ms: if settles { SETTLE_MS } else { 0 },
            filter: settles.then(|| json!({"verdicts": ["human"]})),
            ..given::endpoint_options("https://crm.example.com/hooks")
        };
        let mut conn = self.pool.get().await.expect("a connection");
        endpoints::insert(&mut conn, workspace_id, id, &options, State::Active, None, now)
            .await
            .expect("an endpoint");
        let sealed = self.keyring.seal_secret(workspace_id, id, &secret);
        secrets::insert(&mut conn, workspace_id, id, &sealed, now).await.expect("a secret");
        id
    }

    pub(super) fn replayer(&self) -> Replayer {
        Replayer { pool: self.pool.clone(), work: Arc::default(), metrics: self.metrics.clone() }
    }
}

/// Tellings of clicks that are being dispatched.
pub(super) struct Batch {
    /// Which of all.
    pub tellings: Vec<usize>,
    /// Which of them came before what they amend.
    pub early: Vec<usize>,
    /// To whom it is owed.
    pub owed: Vec<Owed>,
    pub dispatches: Vec<Dispatch>,
}

/// A delivery whose lease is a process's.
pub(super) struct InHand {
    pub id: DeliveryId,
    pub owed: Owed,
    pub endpoint: Arc<Endpoint>,
    /// `None`: its request, the first, is under way.
    pub leased: Option<Leased>,
    /// Somebody else may have it by now, and nobody has told us.
    pub is_lost: bool,
}

impl InHand {
    /// Where its attempt stands.
    pub(super) fn place(&self) -> Place {
        let (attempts, throttled) =
            self.leased.as_ref().map_or((0, 0), |leased| (leased.attempt_count, leased.throttled));
        Place { number: attempts + 1, throttled }
    }
}

/// A process.
pub(super) struct Process {
    pub endpoints: Arc<Endpoints>,
    pub matching: Matching,
    pub recorder: Arc<Recorder>,
    pub recording: Recording,
    pub batch: Option<Batch>,
    pub in_hand: Vec<InHand>,
}

impl Process {
    pub(super) async fn start(ground: &Ground) -> Self {
        let (pool, metrics) = (&ground.pool, &ground.metrics);
        let (keyring, lanes) = (ground.keyring.clone(), Lanes::new(100, 10));
        let endpoints = Arc::new(Endpoints::new(pool.clone(), keyring, lanes, 1_000_000, metrics.clone()));
        endpoints.refresh().await.expect("the endpoints");
        let matching =
            Matching { endpoints: Arc::clone(&endpoints), pool: pool.clone(), metrics: metrics.clone() };
        let work = Arc::new(Notify::new());
        let (recorder, recording) = Recorder::new(pool.clone(), LEASE, work, metrics.clone());
        Self { endpoints, matching, recorder, recording, batch: None, in_hand: Vec::new() }
    }
}

impl Answer {
    /// What it means.
    pub(super) fn settlement(self, endpoint: &Endpoint, place: Place, now: DateTime<Utc>) -> Settlement {
        let (status, error) = match self {
            Self::Accepted => (Some(200), None),
            Self::Failed => (Some(500), Some(ErrorClass::Status)),
            Self::Unwanted => (Some(400), Some(ErrorClass::Status)),
            Self::TooOften => (Some(429), Some(ErrorClass::Status)),
            Self::Missing => (None, Some(ErrorClass::Timeout)),
        };
        let attempt = Attempt { status, error, ..Attempt::begun(now) };
        let outcome = outcome::judge(&attempt, &endpoint.permanent_statuses, now, Duration::from_secs(3600));
        settle(&endpoint.schedule, attempt, outcome, place, now, 0.5)
    }
}
