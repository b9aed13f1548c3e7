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

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use model::{BatchId, DeliveryId, EndpointId};
use store::batches::{self, LeasedBatch};
use store::leases::{self, Leased, Waiting};
use store::{Connection, Pool, endpoint_state};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::batching::{Batches, Lease, Taken};
use crate::endpoint::Endpoint;
use crate::endpoints::{EndpointTable, Endpoints};
use crate::lanes::Lanes;
use crate::lines::{InLine, Lines};
use crate::metrics::Metrics;
use crate::order::Run;
use crate::runs::{self, Runner};
use crate::{fair, settled};

/// Most endpoints that are looked at in one step.
const ENDPOINTS_MAX: i64 = 10_000;

/// Most deliveries that one step begins, less what was begun before and has not ended.
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
    /// Sends what is leased.
    pub runner: Runner,
    /// Holds what waits.
    pub pool: Pool,
    /// How often to look.
    pub poll_interval: Duration,
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
    /// When the database is away, or so slow that leases end before anything is begun.
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
        let lease = self.lease(now);
        let Taken { mut batches, alone, changed } =
            self.batches.take(&mut conn, &table, &wanted, lease).await?;
        let due = self.lease_due(&mut conn, &wanted, self.lease(now)).await?;
        let in_line = self.lease_in_line(&mut conn, &wanted, self.lease(now)).await?;
        let mut of_lines: HashSet<DeliveryId> = in_line.leased.iter().map(|leased| leased.id).collect();
        let leased: Vec<Leased> = alone.into_iter().chain(due).chain(in_line.leased).collect();
        let taken_over = leased.iter().filter(|leased| leased.is_taken_over).count()
            + batches.iter().filter(|batch| batch.is_taken_over).count();
        self.metrics.leases_taken_over.inc_by(taken_over as u64);
        let mut settled = settled::as_known(&mut conn, &table, leased, lease.by).await?;
        self.metrics.settled.inc_by((changed + settled.changed) as u64);
        self.keep_ours(&mut conn, lease, &mut settled.leased, &mut of_lines, &mut batches).await?;
        drop(conn);
        let begun = batches.len() + settled.leased.len();
        for batch in batches {
            if let Some(endpoint) = table.get(batch.endpoint_id) {
                self.runner.begin_batch(endpoint, batch);
            }
        }
        self.begin(&table, settled.leased, &in_line.runs, &of_lines);
        Ok(if begun == 0 { Step::Idle } else { Step::Worked(begun) })
    }

    /// A lease that begins when it is asked for: what was waited for before does not shorten it.
    fn lease(&self, now: DateTime<Utc>) -> Lease {
        let recorder = &self.runner.recorder;
        Lease { by: recorder.leased_by(), now, until: Utc::now() + recorder.lease() }
    }

    /// Leaves of what was leased since `first` what may be begun: all, unless that took so long that leases may end before they
    /// are renewed. Then they are renewed here, and what somebody else has by now is left to him.
    async fn keep_ours(
        &self,
        conn: &mut Connection,
        first: Lease,
        leased: &mut Vec<Leased>,
        of_lines: &mut HashSet<DeliveryId>,
        batches: &mut Vec<LeasedBatch>,
    ) -> anyhow::Result<()> {
        let recorder = &self.runner.recorder;
        if recorder.is_renewed_before(first.until) {
            return Ok(());
        }
        let until = Utc::now() + recorder.lease();
        // none of these leases lasts longer yet
        let held: Vec<(DeliveryId, DateTime<Utc>)> = leased.iter().map(|leased| (leased.id, until)).collect();
        let ours = leases::renew(conn, &held, first.by, until).await?;
        leased.retain(|leased| ours.contains(&leased.id));
        for (lost, _) in held.iter().filter(|(id, _)| !ours.contains(id)) {
            // nothing is sent behind it
            of_lines.remove(lost);
        }
        let held: Vec<(BatchId, DateTime<Utc>)> = batches.iter().map(|batch| (batch.id, until)).collect();
        let ours = batches::renew(conn, &held, first.by, until).await?;
        batches.retain(|batch| ours.contains(&batch.id));
        anyhow::ensure!(Utc::now() < until, "what was leased could not be begun in time");
        Ok(())
    }

    /// Begins what was leased: of the lines their runs, the rest one by one.
    fn begin(
        &self,
        table: &EndpointTable,
        leased: Vec<Leased>,
        runs: &[Run],
        of_lines: &HashSet<DeliveryId>,
    ) {
        let begin = |run: Vec<Leased>| {
            if let Some(endpoint) = run.first().and_then(|leased| table.get(leased.owed.endpoint_id)) {
                self.runner.begin(endpoint, run);
            }
        };
        let (in_line, alone): (Vec<_>, Vec<_>) =
            leased.into_iter().partition(|leased| of_lines.contains(&leased.id));
        alone.into_iter().for_each(|leased| begin(vec![leased]));
        let mut in_line = in_line.into_iter().map(|leased| (leased.id, leased)).collect();
        for run in runs {
            let (sent, given_back) = runs::gathered(run, of_lines, &mut in_line);
            self.runner.give_back(given_back);
            begin(sent);
        }
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
                let room = endpoint.lane.room(now, self.runner.patience);
                let most = if endpoint.ordering.is_strict() { STRICT_MAX } else { usize::MAX };
                (Arc::clone(endpoint), room.min(most))
            })
            .filter(|(endpoint, room)| *room > 0 || endpoint.ordering.is_kept())
            .collect()
    }

    /// Who may take on how much: no endpoint more than its lane has room for, and none more than its share. Of the fast lane
    /// counts what it has in flight, and not who waits there for an answer.
    fn wanted(&self, mut ready: Vec<(Arc<Endpoint>, usize)>) -> Vec<(Arc<Endpoint>, usize)> {
        ready.retain(|(_, room)| *room > 0);
        let of_all = LEASED_MAX.saturating_sub(self.runner.begun.len()).min(self.lanes.free());
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

    /// Leaves out endpoints with a rate or an order that another process sends to: both hold for all processes together. Whoever
    /// takes an endpoint over goes on with its rate where the other has left it.
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
        let lease = self.lease(now);
        let ours = endpoint_state::hold(conn, &ids, lease.by, now, lease.until).await?;
        let allowed = |(endpoint, room): (Arc<Endpoint>, usize)| {
            if !endpoint.has_one_courier() {
                return Some((endpoint, room));
            }
            let Some(others_until) = *ours.get(&endpoint.id)? else { return Some((endpoint, room)) };
            endpoint.lane.was_used_until(others_until);
            let left = endpoint.lane.room(now, self.runner.patience);
            Some((endpoint, room.min(left)))
        };
        Ok(ready.into_iter().filter_map(allowed).collect())
    }

    /// Lets others send at once to the endpoints that it alone has sent to, at the end.
    ///
    /// # Errors
    /// When the database is away; then that ends by itself.
    pub async fn let_go(&self) -> anyhow::Result<()> {
        let mut conn = self.pool.get().await?;
        endpoint_state::let_go(&mut conn, self.runner.recorder.leased_by(), Utc::now()).await?;
        Ok(())
    }

    /// Leases of each endpoint that gets neither batches nor an order as much as is wanted of what is due the longest.
    async fn lease_due(
        &self,
        conn: &mut Connection,
        wanted: &[(Arc<Endpoint>, usize)],
        lease: Lease,
    ) -> anyhow::Result<Vec<Leased>> {
        let is_alone = |endpoint: &Endpoint| !endpoint.ordering.is_kept() && endpoint.batching().is_none();
        let due: Vec<_> = wanted
            .iter()
            .filter(|(endpoint, _)| is_alone(endpoint))
            .map(|(endpoint, quota)| (endpoint.id, *quota))
            .collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        Ok(leases::lease_due(conn, &due, lease.by, lease.now, lease.until).await?)
    }

    /// Leases of each endpoint that is sent to in order what goes next in so many of its lines.
    async fn lease_in_line(
        &self,
        conn: &mut Connection,
        wanted: &[(Arc<Endpoint>, usize)],
        lease: Lease,
    ) -> anyhow::Result<InLine> {
        let in_line: Vec<(&Endpoint, usize)> = wanted
            .iter()
            .filter(|(endpoint, _)| endpoint.ordering.is_kept())
            .map(|(endpoint, quota)| (&**endpoint, *quota))
            .collect();
        let room = LEASED_MAX.saturating_sub(self.runner.recorder.in_hand_count());
        Ok(self.lines.lease(conn, &in_line, room, lease).await?)
    }

    /// What is in line behind something that failed is due for long without being late, and so is what waits for its endpoint: one
    /// that is paused, disabled or unreadable, or does not answer.
    fn observe(&self, table: &EndpointTable, waiting: &[Waiting], now: DateTime<Utc>) {
        let late = |waiting: &Waiting| {
            let endpoint = table.get(waiting.endpoint_id)?;
            if endpoint.ordering.is_kept() || !endpoint.is_sendable() || endpoint.lane.is_waited_for(now) {
                return None;
            }
            // until then it waits for others to go with
            let wait_ms = endpoint.batching().map_or(0, |batching| batching.max_wait_ms.into());
            Some((now - waiting.due_at - TimeDelta::milliseconds(wait_ms)).num_seconds())
        };
        let oldest = waiting.iter().filter_map(late).max();
        self.metrics.oldest_due_seconds.set(oldest.unwrap_or(0).max(0));
        self.metrics.endpoints_waiting.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
