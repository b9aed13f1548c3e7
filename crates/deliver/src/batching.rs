//! What goes to endpoints that get several events in one request: batches, made of what waits and leased like deliveries.
//!
//! ```text
//! due batches ─► leased        what waits ─┬─► tried before: leased, goes alone again
//!                                          └─► enough, or for long enough: a batch, leased
//! ```
//! A batch is made in one transaction: lock what waits, hold it against what is recorded ([`settled`]), decide ([`forming`]),
//! write the bytes. So whoever dies before it is sent, or while it is, leaves a row that is sent again as it is, and two
//! replicas make batches of different deliveries. An endpoint that does not want batches any more still gets those that
//! were made.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bus::Message as _;
use chrono::{DateTime, TimeDelta, Utc};
use model::{BatchId, Batching, ClickId, DeliveryId, EndpointId, EnrichedClick};
use store::batches::{self, Candidate, LeasedBatch, Line, NewBatch};
use store::leases::Leased;
use store::{AsyncConnection as _, Connection, settling};
use tracing::error;
use uuid::Uuid;
use webhook::batch;

use crate::endpoint::Endpoint;
use crate::endpoints::EndpointTable;
use crate::forming::{self, Waiting};
use crate::runs::type_of;
use crate::settled;

/// Deliveries that are looked at beyond a batch, so that those that go alone are found among those that do not.
const SEEN_BEYOND: usize = 64;

/// A line in which nothing was ripe is left alone for so long: it may be a thousand deliveries long.
const LOOK_PAUSE: TimeDelta = TimeDelta::milliseconds(100);

/// How often it is asked who still has batches that were made before they were switched off.
const OPEN_LOOK_PAUSE: TimeDelta = TimeDelta::seconds(10);

/// Most endpoints that are remembered for that.
const OPEN_MAX: i64 = 10_000;

/// Who wants how much.
pub type Wanted = [(Arc<Endpoint>, usize)];

/// A lease of ours.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Who we are in `leased_by`.
    pub by: Uuid,
    /// Since when.
    pub now: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
}

/// What was leased for endpoints that get batches.
#[derive(Debug, Default)]
pub struct Taken {
    /// Batches.
    pub batches: Vec<LeasedBatch>,
    /// Deliveries that go alone.
    pub alone: Vec<Leased>,
    /// How many deliveries tell more than they did, or are not told, by what is recorded.
    pub changed: usize,
}

/// What this process remembers between two looks at the lines; bounded by the number of endpoints.
#[derive(Debug, Default)]
pub struct Batches {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When a line is worth a look again.
    not_before: HashMap<EndpointId, DateTime<Utc>>,
    /// Who had batches that have not ended, when that was asked last.
    open: HashSet<EndpointId>,
    open_asked_at: Option<DateTime<Utc>>,
}

/// What came of a look at the deliveries of a line.
#[derive(Debug, Default)]
struct Formed {
    batch: Option<BatchId>,
    /// Deliveries whose events are gone; they end as those do that go alone.
    lost: Vec<Leased>,
    changed: usize,
}

impl Batches {
    /// Leases due batches of whoever is wanted and has any, and makes more where enough waits; of each endpoint no more requests
    /// than it wants.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn take(
        &self,
        conn: &mut Connection,
        table: &EndpointTable,
        wanted: &Wanted,
        lease: Lease,
    ) -> anyhow::Result<Taken> {
        let open = self.open(conn, lease.now).await?;
        let mut left: HashMap<EndpointId, usize> = wanted
            .iter()
            .filter(|(endpoint, _)| endpoint.batching().is_some() || open.contains(&endpoint.id))
            .map(|(endpoint, room)| (endpoint.id, *room))
            .collect();
        if left.is_empty() {
            return Ok(Taken::default());
        }
        let mut taken = Taken { batches: lease_batches(conn, &left, lease).await?, ..Taken::default() };
        for batch in &taken.batches {
            take_one(&mut left, batch.endpoint_id);
        }
        let lines = self.lines(conn, wanted, &left, lease.now).await?;
        self.take_alone(conn, &lines, &mut left, lease, &mut taken).await?;
        let made = self.form(conn, table, lines, &mut left, lease, &mut taken).await?;
        taken.batches.extend(lease_batches(conn, &made, lease).await?);
        Ok(taken)
    }

    /// Who has batches that have not ended, as of a few seconds ago.
    async fn open(&self, conn: &mut Connection, now: DateTime<Utc>) -> anyhow::Result<HashSet<EndpointId>> {
        let is_known = self.state().open_asked_at.is_some_and(|asked_at| now - asked_at < OPEN_LOOK_PAUSE);
        if !is_known {
            let open = batches::with_open(conn, OPEN_MAX).await?;
            let mut state = self.state();
            (state.open, state.open_asked_at) = (open, Some(now));
        }
        Ok(self.state().open.clone())
    }

    /// The lines of those who may take on more and are worth a look.
    async fn lines(
        &self,
        conn: &mut Connection,
        wanted: &Wanted,
        left: &HashMap<EndpointId, usize>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Vec<(Batching, Line)>> {
        let rules: HashMap<EndpointId, Batching> = {
            let mut state = self.state();
            state.not_before.retain(|_, not_before| *not_before > now);
            let is_worth = |id: EndpointId| {
                left.get(&id).is_some_and(|left| *left > 0) && !state.not_before.contains_key(&id)
            };
            let rule = |(endpoint, _): &(Arc<Endpoint>, usize)| {
                Some((endpoint.id, endpoint.batching().filter(|_| is_worth(endpoint.id))?))
            };
            wanted.iter().filter_map(rule).collect()
        };
        let heads: Vec<(EndpointId, usize)> =
            rules.iter().map(|(id, rule)| (*id, events_max(*rule) + SEEN_BEYOND)).collect();
        let lines = batches::lines(conn, &heads, now).await?;
        self.state().not_before.extend(heads.iter().map(|(id, _)| (*id, now + LOOK_PAUSE)));
        Ok(lines.into_iter().filter_map(|line| Some((*rules.get(&line.endpoint_id)?, line))).collect())
    }

    async fn take_alone(
        &self,
        conn: &mut Connection,
        lines: &[(Batching, Line)],
        left: &mut HashMap<EndpointId, usize>,
        lease: Lease,
        taken: &mut Taken,
    ) -> anyhow::Result<()> {
        let tried: HashSet<EndpointId> =
            lines.iter().filter(|(_, line)| line.tried > 0).map(|(_, line)| line.endpoint_id).collect();
        let rooms = tried.into_iter().filter_map(|id| Some((id, *left.get(&id)?))).collect::<Vec<_>>();
        let seen = events_max(Batching { max_events: Batching::EVENTS_MAX, ..Batching::default() });
        let leased =
            batches::lease_tried(conn, &rooms, seen + SEEN_BEYOND, lease.by, lease.now, lease.until).await?;
        for delivery in &leased {
            take_one(left, delivery.owed.endpoint_id);
        }
        taken.alone.extend(leased);
        Ok(())
    }

    /// Makes batches of what is ripe; tells of which endpoints how many.
    async fn form(
        &self,
        conn: &mut Connection,
        table: &EndpointTable,
        lines: Vec<(Batching, Line)>,
        left: &mut HashMap<EndpointId, usize>,
        lease: Lease,
        taken: &mut Taken,
    ) -> anyhow::Result<HashMap<EndpointId, usize>> {
        let envelope = batch::envelope_bytes();
        let mut made: HashMap<EndpointId, usize> = HashMap::new();
        for (rule, line) in lines {
            if !forming::is_ripe(&line, rule, envelope, lease.now) {
                continue;
            }
            while left.get(&line.endpoint_id).is_some_and(|left| *left > 0) {
                let formed = form(conn, table, &line, rule, lease).await?;
                taken.changed += formed.changed;
                taken.alone.extend(formed.lost);
                if formed.batch.is_none() {
                    break;
                }
                take_one(left, line.endpoint_id);
                *made.entry(line.endpoint_id).or_default() += 1;
            }
        }
        let mut state = self.state();
        // where something was ripe, there may be more
        state.not_before.retain(|id, _| !made.contains_key(id));
        state.open.extend(made.keys().copied());
        drop(state);
        Ok(made)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with this in hand")
    }
}

async fn lease_batches(
    conn: &mut Connection,
    wanted: &HashMap<EndpointId, usize>,
    lease: Lease,
) -> anyhow::Result<Vec<LeasedBatch>> {
    let wanted: Vec<(EndpointId, usize)> = wanted.iter().map(|(id, room)| (*id, *room)).collect();
    Ok(batches::lease_due(conn, &wanted, lease.by, lease.now, lease.until).await?)
}

/// One request less that the endpoint may take on.
fn take_one(left: &mut HashMap<EndpointId, usize>, id: EndpointId) {
    if let Some(left) = left.get_mut(&id) {
        *left = left.saturating_sub(1);
    }
}

/// Makes one batch of a line, if its deliveries are enough or have waited; in one transaction.
async fn form(
    conn: &mut Connection,
    table: &EndpointTable,
    line: &Line,
    rule: Batching,
    lease: Lease,
) -> anyhow::Result<Formed> {
    conn.transaction::<_, anyhow::Error, _>(async |conn| {
        let (endpoint_id, is_replay) = (line.endpoint_id, line.is_replay);
        let found = batches::take(conn, endpoint_id, is_replay, events_max(rule), lease.now).await?;
        let due_at: HashMap<DeliveryId, DateTime<Utc>> =
            found.iter().map(|candidate| (candidate.delivery.id, candidate.due_at)).collect();
        let found: Vec<Leased> = found.into_iter().map(|Candidate { delivery, .. }| delivery).collect();
        let known = settled::known(conn, table, found).await?;
        let mut formed = Formed { changed: known.unwanted.len(), ..Formed::default() };
        if !known.unwanted.is_empty() {
            batches::lease_locked(conn, &known.unwanted, lease.by, lease.until).await?;
            settling::withdraw(conn, &known.unwanted, lease.by).await?;
        }
        let (mut events, lost) = rendered(conn, table, known.leased).await?;
        if !lost.is_empty() {
            let ids: Vec<DeliveryId> = lost.iter().map(|lost| lost.id).collect();
            batches::lease_locked(conn, &ids, lease.by, lease.until).await?;
            formed.lost = lost;
        }
        let waiting: Vec<Waiting> = events
            .iter()
            .map(|(leased, body)| {
                let due_at = due_at.get(&leased.id).copied().unwrap_or(lease.now);
                Waiting { due_at, bytes: body.len() }
            })
            .collect();
        let Some(count) = forming::next(&waiting, rule, batch::envelope_bytes(), lease.now) else {
            return Ok(formed);
        };
        events.truncate(count);
        let Some(new) = new_batch(line, events, lease.now) else { return Ok(formed) };
        batches::make(conn, &new, lease.now).await?;
        let told: Vec<_> = known
            .told
            .iter()
            .filter(|(id, ..)| new.deliveries.contains(id))
            .map(|(id, revision, body)| (*id, *revision, &body[..]))
            .collect();
        if !told.is_empty() {
            // the batch has their lease now
            settling::retell(conn, &told, new.id.uuid()).await?;
        }
        formed.changed += told.len();
        formed.batch = Some(new.id);
        Ok(formed)
    })
    .await
}

/// The batch of these deliveries, in the order of their events.
fn new_batch(line: &Line, mut events: Vec<(Leased, Vec<u8>)>, now: DateTime<Utc>) -> Option<NewBatch> {
    events.sort_by_key(|(leased, _)| leased.id);
    let (newest, _) = events.last()?;
    let id = BatchId::generate_at(newest.id.timestamp());
    Some(NewBatch {
        id,
        workspace_id: newest.workspace_id,
        endpoint_id: line.endpoint_id,
        is_replay: line.is_replay,
        deliveries: events.iter().map(|(leased, _)| leased.id).collect(),
        body: batch::body(id, now, events.iter().map(|(_, body)| &body[..])),
    })
}

/// Deliveries with their bodies, those that were not kept rendered again; and those of which nothing is there to be rendered.
async fn rendered(
    conn: &mut Connection,
    table: &EndpointTable,
    leased: Vec<Leased>,
) -> anyhow::Result<(Vec<(Leased, Vec<u8>)>, Vec<Leased>)> {
    let clicks: Vec<ClickId> =
        leased.iter().filter(|leased| leased.body.is_none()).filter_map(|leased| leased.click_id).collect();
    let recorded = batches::recorded_events(conn, &clicks).await?;
    let (mut events, mut lost) = (Vec::with_capacity(leased.len()), Vec::new());
    for mut leased in leased {
        let body = match leased.body.take() {
            Some(body) => Some(body),
            None => again(table, &leased, leased.click_id.and_then(|id| recorded.get(&id))),
        };
        match body {
            Some(body) => events.push((leased, body)),
            None => lost.push(leased),
        }
    }
    Ok((events, lost))
}

fn again(table: &EndpointTable, leased: &Leased, event: Option<&Vec<u8>>) -> Option<Vec<u8>> {
    let endpoint = table.get(leased.owed.endpoint_id)?;
    let click = EnrichedClick::decode(event?)
        .inspect_err(|error| error!(delivery.id = %leased.id, %error, "a recorded click cannot be read"))
        .ok()?;
    endpoint.body_again(type_of(leased), &click, leased.owed.event_id.revision())
}

fn events_max(rule: Batching) -> usize {
    usize::try_from(rule.max_events).unwrap_or(usize::MAX)
}
