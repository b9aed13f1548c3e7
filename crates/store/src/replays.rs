//! Replays: jobs that put deliveries of one endpoint in line again, at a rate, until all that matches is in line.
//!
//! `running` ends as `done`, `cancelled` or `failed`. Whoever works on a job locks its row for one step, puts some
//! deliveries in line and moves the job's position in the same transaction: a process that dies at any point leaves
//! either all of a step or nothing of it, and the lock dies with its connection. What a job offers is asked in
//! [`crate::replay_source`].

mod steps;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::event_type::EventTypePattern;
use model::{DeliveryId, EndpointId, ReplayId, WorkspaceId};

use crate::parse::parsed;
use crate::schema::replays;
use crate::{Connection, QueryResult};

pub use steps::{Advance, advance, count_running, due, finish, lock_due, postpone};

/// Deliveries a second that a replay puts in line unless it says otherwise.
pub const RATE_DEFAULT: u32 = 100;

/// Most deliveries a second that a replay may ask for.
pub const RATE_MAX: u32 = 1000;

/// How far a replay has come: the delivery or the click that was looked at last.
pub type Position = Uuid;

/// What of an endpoint is offered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Events whose newest delivery is dead.
    Dead,
    /// Events whose newest delivery was accepted.
    Delivered,
    /// Both; what waits for its next attempt needs no replay.
    Any,
    /// Recorded clicks that the endpoint wants and has no delivery of, owed or not.
    Missing,
}

impl What {
    /// The word in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Delivered => "delivered",
            Self::Any => "any",
            Self::Missing => "missing",
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "delivered" => Self::Delivered,
            "any" => Self::Any,
            "missing" => Self::Missing,
            _ => Self::Dead,
        }
    }
}

/// Which events a replay is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Whom they are offered to.
    pub endpoint_id: EndpointId,
    /// Which of them.
    pub what: What,
    /// At this moment or later.
    pub since: DateTime<Utc>,
    /// Before this moment.
    pub until: DateTime<Utc>,
    /// Only of these types.
    pub event_type: Option<EventTypePattern>,
    /// Only of clicks of this campaign.
    pub campaign_id: Option<String>,
    /// Only of these deliveries; empty: of all.
    pub delivery_ids: Vec<DeliveryId>,
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayState {
    /// It puts deliveries in line.
    Running,
    /// All that matched is in line.
    Done,
    /// Somebody ended it.
    Cancelled,
    /// It cannot go on.
    Failed,
}

impl ReplayState {
    /// The word in the API and in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "running" => Self::Running,
            "done" => Self::Done,
            "cancelled" => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}

/// A replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// What it is about.
    pub selection: Selection,
    /// Most deliveries a second that it puts in line.
    pub rate_per_second: u32,
    /// Where it stands.
    pub state: ReplayState,
    /// Why it failed.
    pub error: Option<String>,
    /// How many matched when it was asked for; `None`: more than are counted.
    pub total: Option<u64>,
    /// Deliveries that it has put in line.
    pub done: u64,
    /// The last delivery or click that was looked at.
    pub position: Option<Position>,
    /// Who asked for it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Last step.
    pub updated_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = replays)]
struct Row {
    id: Uuid,
    workspace_id: Uuid,
    endpoint_id: Uuid,
    what: String,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    event_type: Option<String>,
    campaign_id: Option<String>,
    delivery_ids: Vec<Uuid>,
    rate_per_second: i32,
    state: String,
    error: Option<String>,
    total: Option<i64>,
    done: i64,
    position: Option<Uuid>,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

fn read(row: Row) -> QueryResult<Replay> {
    // the columns' checks keep them positive
    let natural = |number: i64| u64::try_from(number).unwrap_or_default();
    Ok(Replay {
        id: ReplayId::from_uuid(row.id),
        selection: Selection {
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            endpoint_id: EndpointId::from_uuid(row.endpoint_id),
            what: What::from_word(&row.what),
            since: row.since,
            until: row.until,
            event_type: row.event_type.as_deref().map(parsed).transpose()?,
            campaign_id: row.campaign_id,
            delivery_ids: row.delivery_ids.into_iter().map(DeliveryId::from_uuid).collect(),
        },
        rate_per_second: u32::try_from(row.rate_per_second).unwrap_or(1),
        state: ReplayState::from_word(&row.state),
        error: row.error,
        total: row.total.map(natural),
        done: natural(row.done),
        position: row.position,
        created_by: row.created_by,
        created_at: row.created_at,
        updated_at: row.updated_at,
        finished_at: row.finished_at,
    })
}

/// Begins a replay; `None` when one of the endpoint is running: two would offer the same events twice.
pub async fn insert(
    conn: &mut Connection,
    selection: &Selection,
    rate_per_second: u32,
    total: Option<u64>,
    created_by: &str,
    now: DateTime<Utc>,
) -> QueryResult<Option<ReplayId>> {
    let id = ReplayId::generate_at(now);
    let delivery_ids: Vec<Uuid> = selection.delivery_ids.iter().map(|id| id.uuid()).collect();
    let inserted = diesel::insert_into(replays::table)
        .values((
            replays::id.eq(id.uuid()),
            replays::workspace_id.eq(selection.workspace_id.uuid()),
            replays::endpoint_id.eq(selection.endpoint_id.uuid()),
            replays::what.eq(selection.what.as_str()),
            replays::since.eq(selection.since),
            replays::until.eq(selection.until),
            replays::event_type.eq(selection.event_type.as_ref().map(EventTypePattern::as_str)),
            replays::campaign_id.eq(selection.campaign_id.as_deref()),
            replays::delivery_ids.eq(delivery_ids),
            replays::rate_per_second.eq(rate_per_second.cast_signed()),
            replays::total.eq(total.map(u64::cast_signed)),
            replays::due_at.eq(now),
            replays::created_by.eq(created_by),
            replays::created_at.eq(now),
            replays::updated_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok((inserted > 0).then_some(id))
}

/// The workspace's replay with this id.
pub async fn find(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: ReplayId,
) -> QueryResult<Option<Replay>> {
    let row: Option<Row> = replays::table
        .find(id.uuid())
        .filter(replays::workspace_id.eq(workspace_id.uuid()))
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    row.map(read).transpose()
}

/// The newest replays, or those older than `before`, of one endpoint or of all; at most `limit`.
pub async fn list(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: Option<EndpointId>,
    before: Option<ReplayId>,
    limit: i64,
) -> QueryResult<Vec<Replay>> {
    let mut query = replays::table
        .filter(replays::workspace_id.eq(workspace_id.uuid()))
        .order(replays::id.desc())
        .limit(limit)
        .select(Row::as_select())
        .into_boxed();
    if let Some(endpoint_id) = endpoint_id {
        query = query.filter(replays::endpoint_id.eq(endpoint_id.uuid()));
    }
    if let Some(before) = before {
        query = query.filter(replays::id.lt(before.uuid()));
    }
    let rows: Vec<Row> = query.load(conn).await?;
    rows.into_iter().map(read).collect()
}

/// Ends a running replay; what it has put in line stays there. `false` when it is not running.
pub async fn cancel(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: ReplayId,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let own = replays::table.find(id.uuid()).filter(replays::workspace_id.eq(workspace_id.uuid()));
    let running = own.filter(replays::state.eq(ReplayState::Running.as_str()));
    let changed = diesel::update(running)
        .set((
            replays::state.eq(ReplayState::Cancelled.as_str()),
            replays::updated_at.eq(now),
            replays::finished_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(changed > 0)
}
