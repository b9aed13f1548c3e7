//! The slow lane: deliveries that wait in PostgreSQL, attempted when they are due and their endpoint is ready.
//!
//! [`Courier::step`] does one round: which endpoints have something due, what may each of them take on now, lease
//! that much, begin the attempts. It does not wait for them, so that a slow endpoint holds up nobody. The loop
//! around it goes again when there is work, when a request has ended, and every `poll_interval`.
//!
//! Workspaces have equal shares of a step, and so have their endpoints ([`fair`]). Of more endpoints than one look
//! shows, the next look shows the next.
//!
//! Endpoints that are paused, whose circuit is open or that are not in the table (disabled, or unreadable) are
//! not leased for: their rows stay as they are until that changes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::Message as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use model::delivery::{DeliveryStatus, Timings};
use model::event_type::{self, LINK_CLICKED};
use model::{EndpointId, EnrichedClick};
use store::deliveries::{self, Progress};
use store::leases::{self, Finished, Leased, Waiting};
use store::{Connection, Pool, endpoint_state, held};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::attempter::Attempter;
use crate::endpoint::Endpoint;
use crate::endpoints::{EndpointTable, Endpoints};
use crate::lanes::Lanes;
use crate::metrics::Metrics;
use crate::recorder::Recorder;
use crate::sender::Shipment;
use crate::{fair, settled};

/// Most endpoints that are looked at in one step.
const ENDPOINTS_MAX: i64 = 10_000;

/// Most deliveries that one step begins.
const LEASED_MAX: usize = 1024;

/// Shortest pause between two steps, so that what ends at the same time is one step.
const STEP_PAUSE: Duration = Duration::from_millis(5);

/// Pause after a step that failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// How often waiting deliveries are counted, and those of deleted endpoints ended.
const TIDY_INTERVAL: Duration = Duration::from_secs(30);

/// Waiting deliveries are counted no further.
const COUNTED_MAX: i64 = 100_000;

/// Most deliveries of deleted, paused or disabled endpoints that are ended at a time.
const BURIED_MAX: i64 = 10_000;

/// Works off what waits.
pub struct Courier {
    /// Who is to be sent to.
    pub endpoints: Arc<Endpoints>,
    /// How much room there is.
    pub lanes: Lanes,
    /// Sends.
    pub attempter: Arc<Attempter>,
    /// Takes results, keeps leases.
    pub recorder: Arc<Recorder>,
    /// Holds what waits.
    pub pool: Pool,
    /// How long a leased delivery may wait for its slot.
    pub patience: Duration,
    /// How often to look.
    pub poll_interval: Duration,
    /// How long what a paused or disabled endpoint is owed waits for it.
    pub pause_hold: Duration,
    /// Requests that are under way.
    pub tasks: TaskTracker,
    /// Says that there is work.
    pub work: Arc<Notify>,
    /// Where it stands in going round.
    pub round: Mutex<Round>,
    /// Counts.
    pub metrics: Metrics,
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub struct Round {
    /// Steps so far.
    turn: usize,
    /// The last endpoint that the last look showed, if there were more than it can show.
    shown: Option<EndpointId>,
}

/// What a step found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing that could be sent now.
    Idle,
    /// So many attempts were begun.
    Worked(usize),
}

impl Courier {
    /// Works until `stop`; then begins nothing more.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.step(Utc::now()).await {
                Ok(_) => STEP_PAUSE,
                Err(error) => {
                    warn!(error = format!("{error:#}"), "failed to work off waiting deliveries");
                    FAILURE_PAUSE
                }
            };
            let next = async {
                tokio::time::sleep(pause).await;
                // a request that ended makes room, a batch makes work; what is due by itself is found by looking
                let _ = tokio::time::timeout(self.poll_interval, self.work.notified()).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = next => {}
            }
        }
    }

    /// Counts what waits and ends what nobody waits for, until `stop`.
    pub async fn tidy(&self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.tidy_once().await {
                warn!(error = format!("{error:#}"), "failed to count waiting deliveries");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TIDY_INTERVAL) => {}
            }
        }
    }

    async fn tidy_once(&self) -> anyhow::Result<()> {
        let mut conn = self.pool.get().await?;
        let buried = held::bury_of_deleted(&mut conn, Utc::now(), BURIED_MAX).await?;
        self.metrics.buried(buried);
        for held in held::bury(&mut conn, self.pause_hold, Utc::now(), BURIED_MAX).await? {
            self.metrics.held_too_long(&held);
        }
        self.metrics.pending.set(deliveries::count_waiting(&mut conn, COUNTED_MAX).await?);
        Ok(())
    }

    /// Begins what is due at `now` and may be sent.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn step(&self, now: DateTime<Utc>) -> anyhow::Result<Step> {
        let mut conn = self.pool.get().await?;
        let waiting = self.waiting(&mut conn).await?;
        self.observe(&waiting, now);
        let table = self.endpoints.current();
        let wanted = self.wanted(&table, &waiting, now);
        let wanted = self.alone_at_rated(&mut conn, wanted, now).await?;
        if wanted.is_empty() {
            return Ok(Step::Idle);
        }
        let until = now + self.recorder.lease();
        let quotas: Vec<_> = wanted.iter().map(|(endpoint, quota)| (endpoint.id, *quota)).collect();
        let leased_by = self.recorder.leased_by();
        let leased = leases::lease_due(&mut conn, &quotas, leased_by, now, until).await?;
        let taken_over = leased.iter().filter(|leased| leased.is_taken_over).count();
        self.metrics.leases_taken_over.inc_by(taken_over as u64);
        let settled = settled::as_known(&mut conn, &table, leased, leased_by).await?;
        drop(conn);
        self.metrics.settled.inc_by(settled.changed as u64);
        let leased = settled.leased;
        let begun = leased.len();
        for leased in leased {
            match table.get(leased.owed.endpoint_id) {
                Some(endpoint) if self.recorder.take(leased.id) => {
                    endpoint.lane.take(1);
                    self.begin(Arc::clone(endpoint), leased);
                }
                // we were late to renew, and hold it anew: its attempt is under way
                _ => {}
            }
        }
        Ok(if begun == 0 { Step::Idle } else { Step::Worked(begun) })
    }

    /// Who has something due, and since when: the next of them, if there are very many.
    async fn waiting(&self, conn: &mut Connection) -> anyhow::Result<Vec<Waiting>> {
        let shown = self.round().shown;
        let waiting = leases::waiting(conn, shown, ENDPOINTS_MAX).await?;
        let is_full = i64::try_from(waiting.len()).is_ok_and(|found| found >= ENDPOINTS_MAX);
        self.round().shown = waiting.last().filter(|_| is_full).map(|last| last.endpoint_id);
        Ok(waiting)
    }

    /// Who may take on how much: no endpoint more than its lane has room for, and none more than its share.
    fn wanted(
        &self,
        table: &EndpointTable,
        waiting: &[Waiting],
        now: DateTime<Utc>,
    ) -> Vec<(Arc<Endpoint>, usize)> {
        let ready: Vec<_> = waiting
            .iter()
            .filter(|waiting| waiting.due_at <= now)
            .filter_map(|waiting| table.get(waiting.endpoint_id))
            .filter(|endpoint| endpoint.is_sendable())
            .map(|endpoint| (Arc::clone(endpoint), endpoint.lane.room(now, self.patience)))
            .filter(|(_, room)| *room > 0)
            .collect();
        let of_all = if self.lanes.free() == 0 { 0 } else { LEASED_MAX.saturating_sub(self.tasks.len()) };
        let turn = {
            let mut round = self.round();
            round.turn = round.turn.wrapping_add(1);
            round.turn
        };
        let rooms: Vec<_> = ready.iter().map(|(endpoint, room)| (endpoint.workspace_id, *room)).collect();
        let shares = fair::shares(&rooms, of_all, turn);
        let endpoints = ready.into_iter().map(|(endpoint, _)| endpoint);
        endpoints.zip(shares).filter(|(_, share)| *share > 0).collect()
    }

    fn round(&self) -> std::sync::MutexGuard<'_, Round> {
        self.round.lock().expect("nobody panics with this in hand")
    }

    /// Leaves out endpoints with a rate that another process sends to: the rate holds for all processes together.
    async fn alone_at_rated(
        &self,
        conn: &mut Connection,
        wanted: Vec<(Arc<Endpoint>, usize)>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Vec<(Arc<Endpoint>, usize)>> {
        let rated: Vec<_> = wanted.iter().filter(|(endpoint, _)| endpoint.lane.is_rated()).collect();
        if rated.is_empty() {
            return Ok(wanted);
        }
        let ids: Vec<_> = rated.iter().map(|(endpoint, _)| (endpoint.id, endpoint.workspace_id)).collect();
        let until = now + self.recorder.lease();
        let ours = endpoint_state::hold(conn, &ids, self.recorder.leased_by(), now, until).await?;
        let is_ours = |endpoint: &Endpoint| !endpoint.lane.is_rated() || ours.contains(&endpoint.id);
        Ok(wanted.into_iter().filter(|(endpoint, _)| is_ours(endpoint)).collect())
    }

    fn observe(&self, waiting: &[Waiting], now: DateTime<Utc>) {
        let oldest = waiting.iter().map(|waiting| (now - waiting.due_at).num_seconds()).max();
        self.metrics.oldest_due_seconds.set(oldest.unwrap_or(0).max(0));
        self.metrics.endpoints_waiting.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
    }

    fn begin(&self, endpoint: Arc<Endpoint>, leased: Leased) {
        let (attempter, recorder) = (Arc::clone(&self.attempter), Arc::clone(&self.recorder));
        let (pool, work, metrics) = (self.pool.clone(), Arc::clone(&self.work), self.metrics.clone());
        let patience = self.patience;
        self.tasks.spawn(async move {
            match endpoint.lane.admit_soon(patience).await {
                Err(_) => recorder.give_back(leased.id),
                Ok(slot) => match body(&pool, &leased).await {
                    Ok(Some(body)) => {
                        let shipment = shipment(&leased, body.clone());
                        let settlement = attempter.attempt(&endpoint, &shipment, slot).await;
                        let kept = leased.body.is_none().then(|| body.to_vec());
                        recorder.settle(leased.id, leased.owed, &endpoint, settlement, kept);
                    }
                    Ok(None) => {
                        error!(delivery_id = %leased.id, "the event of a delivery is gone; it cannot be sent again");
                        metrics.body_lost();
                        recorder.settle_without_attempt(lost(&leased));
                    }
                    Err(error) => {
                        warn!(error = format!("{error:#}"), "failed to render a body again");
                        recorder.give_back(leased.id);
                    }
                },
            }
            work.notify_one();
        });
    }
}

fn shipment(leased: &Leased, body: Bytes) -> Shipment {
    Shipment {
        event_id: leased.owed.event_id,
        event_type: type_of(leased),
        delivery_id: leased.id,
        number: leased.attempt_count.saturating_add(1),
        throttled: leased.throttled,
        traceparent: None,
        body,
        is_replay: leased.is_replay,
    }
}

fn type_of(leased: &Leased) -> &'static str {
    event_type::known(&leased.event_type).unwrap_or(LINK_CLICKED)
}

/// The bytes to send: those that are kept, else rendered again from the recorded click.
async fn body(pool: &Pool, leased: &Leased) -> anyhow::Result<Option<Bytes>> {
    if let Some(body) = &leased.body {
        return Ok(Some(Bytes::from(body.clone())));
    }
    let Some(click_id) = leased.click_id else { return Ok(None) };
    let mut conn = pool.get().await?;
    let Some(event) = deliveries::recorded_event(&mut conn, click_id).await? else { return Ok(None) };
    let click = EnrichedClick::decode(&event)?;
    let body = webhook::payload::again(type_of(leased), &click, leased.owed.event_id.revision());
    Ok(body.map(Bytes::from))
}

fn lost(leased: &Leased) -> Finished {
    Finished {
        id: leased.id,
        workspace_id: leased.workspace_id,
        owed: leased.owed,
        progress: Progress {
            status: DeliveryStatus::Dead,
            attempt_count: leased.attempt_count,
            next_attempt_at: None,
            attempted_at: None,
            finished_at: Some(Utc::now()),
            duration_ms: None,
            last_status: None,
            last_error: Some("event_lost"),
            response_body: None,
            body: None,
            throttled: leased.throttled,
            timings: Timings::default(),
        },
    }
}
