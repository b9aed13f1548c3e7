//! The slow lane: deliveries that wait in PostgreSQL, attempted when they are due and their endpoint is ready.
//!
//! [`Courier::step`] does one round: which endpoints have something due, what may each of them take on now, lease
//! that much, begin the attempts. It does not wait for them, so that a slow endpoint holds up nobody. The loop
//! around it goes again when there is work, when a request has ended, and every `poll_interval`.
//!
//! Workspaces have equal shares of a step, and so have their endpoints ([`fair`]). Of more endpoints than one look
//! shows, the next look shows the next.
//!
//! Endpoints that get several events in one request have their deliveries made into batches ([`batching`](crate::batching)),
//! each of which is one attempt, as a delivery that goes alone is. What an endpoint is owed that is sent to in order goes by its
//! [`lines`](crate::lines), through one courier of all replicas.
//!
//! Endpoints that are paused, that fetch their events, whose circuit is open or that are not in the table (disabled, or
//! unreadable) are not leased for: their rows stay as they are until that changes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::Message as _;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use model::delivery::{DeliveryStatus, Timings};
use model::event_type::{self, LINK_CLICKED};
use model::{DeliveryId, EndpointId, EnrichedClick, EventId};
use store::batches::LeasedBatch;
use store::deliveries::{self, Progress};
use store::leases::{self, Finished, Leased, Waiting};
use store::{Connection, Pool, endpoint_state};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};
use webhook::batch::BATCH;

use crate::attempter::Attempter;
use crate::batching::{Batches, Lease};
use crate::endpoint::Endpoint;
use crate::endpoints::{EndpointTable, Endpoints};
use crate::lanes::Lanes;
use crate::lines::Lines;
use crate::metrics::Metrics;
use crate::recorder::Recorder;
use crate::sender::{Batched, Shipment};
use crate::{fair, settled};

/// Most endpoints that are looked at in one step.
const ENDPOINTS_MAX: i64 = 10_000;

/// Most deliveries that one step begins.
const LEASED_MAX: usize = 1024;

/// Most deliveries of a strict order that are sent at a time: one that is live, and one that is replayed.
const STRICT_MAX: usize = 2;

/// Shortest pause between two steps, so that what ends at the same time is one step.
const STEP_PAUSE: Duration = Duration::from_millis(5);

/// Pause after a step that failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

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
    /// Requests that are under way.
    pub tasks: TaskTracker,
    /// Says that there is work.
    pub work: Arc<Notify>,
    /// Where it stands in going round.
    pub round: Mutex<Round>,
    /// Makes batches.
    pub batches: Batches,
    /// What goes next where there is an order.
    pub lines: Lines,
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

    /// Begins what is due at `now` and may be sent.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn step(&self, now: DateTime<Utc>) -> anyhow::Result<Step> {
        let mut conn = self.pool.get().await?;
        let waiting = self.waiting(&mut conn).await?;
        let table = self.endpoints.current();
        self.observe(&table, &waiting, now);
        let ready = self.ready(&table, &waiting, now);
        let ready = self.with_no_other_courier(&mut conn, ready, now).await?;
        let wanted = self.wanted(ready);
        if wanted.is_empty() {
            return Ok(Step::Idle);
        }
        let lease = Lease { by: self.recorder.leased_by(), now, until: now + self.recorder.lease() };
        let taken = self.batches.take(&mut conn, &table, &wanted, lease).await?;
        let mut leased = taken.alone;
        leased.extend(self.lease(&mut conn, &wanted, lease).await?);
        let taken_over = leased.iter().filter(|leased| leased.is_taken_over).count()
            + taken.batches.iter().filter(|batch| batch.is_taken_over).count();
        self.metrics.leases_taken_over.inc_by(taken_over as u64);
        let settled = settled::as_known(&mut conn, &table, leased, lease.by).await?;
        drop(conn);
        self.metrics.settled.inc_by((taken.changed + settled.changed) as u64);
        let begun = taken.batches.len() + settled.leased.len();
        for batch in taken.batches {
            if let Some(endpoint) = table.get(batch.endpoint_id)
                && self.recorder.take_batch(batch.id)
            {
                endpoint.lane.take(1);
                self.begin_batch(Arc::clone(endpoint), batch);
            }
        }
        for leased in settled.leased {
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

    /// Who has something due and may be sent to, and how much its lane has room for. Whoever is sent to in order is among them
    /// without room too: he stays ours while something of his is under way.
    fn ready(
        &self,
        table: &EndpointTable,
        waiting: &[Waiting],
        now: DateTime<Utc>,
    ) -> Vec<(Arc<Endpoint>, usize)> {
        waiting
            .iter()
            .filter(|waiting| waiting.due_at <= now)
            .filter_map(|waiting| table.get(waiting.endpoint_id))
            .filter(|endpoint| endpoint.is_sendable())
            .map(|endpoint| {
                let room = endpoint.lane.room(now, self.patience);
                let most = if endpoint.ordering.is_strict() { STRICT_MAX } else { usize::MAX };
                (Arc::clone(endpoint), room.min(most))
            })
            .filter(|(endpoint, room)| *room > 0 || endpoint.ordering.is_kept())
            .collect()
    }

    /// Who may take on how much: no endpoint more than its lane has room for, and none more than its share.
    fn wanted(&self, mut ready: Vec<(Arc<Endpoint>, usize)>) -> Vec<(Arc<Endpoint>, usize)> {
        ready.retain(|(_, room)| *room > 0);
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

    /// Leaves out endpoints with a rate or an order that another process sends to: both hold for all processes together.
    async fn with_no_other_courier(
        &self,
        conn: &mut Connection,
        ready: Vec<(Arc<Endpoint>, usize)>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Vec<(Arc<Endpoint>, usize)>> {
        let alone = ready.iter().filter(|(endpoint, _)| endpoint.has_one_courier());
        let ids: Vec<_> = alone.map(|(endpoint, _)| (endpoint.id, endpoint.workspace_id)).collect();
        if ids.is_empty() {
            return Ok(ready);
        }
        let until = now + self.recorder.lease();
        let ours = endpoint_state::hold(conn, &ids, self.recorder.leased_by(), now, until).await?;
        let is_ours = |endpoint: &Endpoint| !endpoint.has_one_courier() || ours.contains(&endpoint.id);
        Ok(ready.into_iter().filter(|(endpoint, _)| is_ours(endpoint)).collect())
    }

    /// Lets others send at once to the endpoints that it alone has sent to, at the end.
    ///
    /// # Errors
    /// When the database is away; then that ends by itself.
    pub async fn let_go(&self) -> anyhow::Result<()> {
        let mut conn = self.pool.get().await?;
        endpoint_state::let_go(&mut conn, self.recorder.leased_by()).await?;
        Ok(())
    }

    /// Leases of each endpoint that gets no batches as much as is wanted: what is due the longest, or what goes next in its
    /// lines.
    async fn lease(
        &self,
        conn: &mut Connection,
        wanted: &[(Arc<Endpoint>, usize)],
        lease: Lease,
    ) -> anyhow::Result<Vec<Leased>> {
        let (mut due, mut in_line) = (Vec::new(), Vec::new());
        for (endpoint, quota) in wanted {
            if endpoint.ordering.is_kept() {
                in_line.push((&**endpoint, *quota));
            } else if endpoint.batching().is_none() {
                due.push((endpoint.id, *quota));
            }
        }
        let mut leased = self.lines.lease(conn, &in_line, lease.by, lease.now, lease.until).await?;
        if !due.is_empty() {
            leased.extend(leases::lease_due(conn, &due, lease.by, lease.now, lease.until).await?);
        }
        Ok(leased)
    }

    /// What is in line behind something that failed is due for long without being late.
    fn observe(&self, table: &EndpointTable, waiting: &[Waiting], now: DateTime<Utc>) {
        let is_in_line = |id| table.get(id).is_some_and(|endpoint| endpoint.ordering.is_kept());
        let late = |waiting: &Waiting| {
            let batching = table.get(waiting.endpoint_id).and_then(|endpoint| endpoint.batching());
            // until then it waits for others to go with
            let wait_ms = batching.map_or(0, |batching| batching.max_wait_ms.into());
            (now - waiting.due_at - TimeDelta::milliseconds(wait_ms)).num_seconds()
        };
        let others = waiting.iter().filter(|waiting| !is_in_line(waiting.endpoint_id));
        let oldest = others.map(late).max();
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
                Ok(slot) => match body(&pool, &endpoint, &leased).await {
                    Ok(Some(body)) => {
                        let body = numbered(body, leased.sequence);
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

    fn begin_batch(&self, endpoint: Arc<Endpoint>, batch: LeasedBatch) {
        let (attempter, recorder) = (Arc::clone(&self.attempter), Arc::clone(&self.recorder));
        let (work, patience) = (Arc::clone(&self.work), self.patience);
        self.tasks.spawn(async move {
            match endpoint.lane.admit_soon(patience).await {
                Err(_) => recorder.give_back_batch(batch.id),
                Ok(slot) => {
                    let settlement = attempter.attempt(&endpoint, &shipment_of(&batch), slot).await;
                    recorder.settle_batch(&batch, &endpoint, settlement);
                }
            }
            work.notify_one();
        });
    }
}

fn shipment_of(batch: &LeasedBatch) -> Shipment {
    let uuid = batch.id.uuid();
    Shipment {
        event_id: EventId::from_parts(uuid, 0),
        event_type: BATCH,
        delivery_id: DeliveryId::from_uuid(uuid),
        number: batch.attempt_count.saturating_add(1),
        throttled: batch.throttled,
        traceparent: None,
        body: Bytes::from(batch.body.clone()),
        is_replay: batch.is_replay,
        batch: Some(Batched { id: batch.id, deliveries: batch.events }),
        sequence: None,
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
        batch: None,
        sequence: leased.sequence,
    }
}

/// Where what the endpoint is owed is counted, the body says its number.
fn numbered(body: Bytes, sequence: Option<u64>) -> Bytes {
    match sequence {
        Some(sequence) => webhook::numbering::numbered(body.into(), sequence).into(),
        None => body,
    }
}

/// The type of its event.
pub(crate) fn type_of(leased: &Leased) -> &'static str {
    event_type::known(&leased.event_type).unwrap_or(LINK_CLICKED)
}

/// The bytes to send: those that are kept, else rendered again from the recorded click, in the shape that the endpoint has now.
async fn body(pool: &Pool, endpoint: &Endpoint, leased: &Leased) -> anyhow::Result<Option<Bytes>> {
    if let Some(body) = &leased.body {
        return Ok(Some(Bytes::from(body.clone())));
    }
    let Some(click_id) = leased.click_id else { return Ok(None) };
    let mut conn = pool.get().await?;
    let Some(event) = deliveries::recorded_event(&mut conn, click_id).await? else { return Ok(None) };
    let click = EnrichedClick::decode(&event)?;
    let body = endpoint.body_again(type_of(leased), &click, leased.owed.event_id.revision());
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
