//! Deliveries: what is owed to endpoints, from the first attempt to the last.
//!
//! A row is `pending` until it is `delivered` or `dead`, or from the beginning `offered`, to an endpoint that fetches its events
//! (`pulled`). What there is of a batch is asked before it is sent (`standing`). Whoever works on a pending row holds its lease:
//! that is `leases`. People read the same rows through `delivery_log`.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Binary, Date, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use model::delivery::{DeliveryStatus, Timings};
use model::{ClickId, DeliveryId, EndpointId, EventId, WorkspaceId};

use crate::attempts::{self, NewAttempt};
use crate::schema::clicks;
use crate::sequences::{self, Line, Numbers};
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// An event that an endpoint is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owed {
    /// Whom.
    pub endpoint_id: EndpointId,
    /// What.
    pub event_id: EventId,
}

/// Where a delivery stands after an attempt, or before its first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Attempts so far.
    pub attempt_count: u32,
    /// When it is tried next; only while it is pending.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Last attempt.
    pub attempted_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Length of the last attempt.
    pub duration_ms: Option<u32>,
    /// Status of the last answer.
    pub last_status: Option<u16>,
    /// Class of the last failure.
    pub last_error: Option<&'static str>,
    /// Body of the last answer.
    pub response_body: Option<String>,
    /// The bytes that are sent; `None` when they need not be kept.
    pub body: Option<Vec<u8>>,
    /// Attempts that were answered 429 and do not count against the schedule.
    pub throttled: u32,
    /// Where the time of the last attempt went. It is kept with a success at first try, which has no other record.
    pub timings: Timings,
}

impl Progress {
    /// Not tried yet, and due at `at`; `body` is what will be sent, unless it can be rendered then.
    pub fn due(at: DateTime<Utc>, body: Option<Vec<u8>>) -> Self {
        Self {
            status: DeliveryStatus::Pending,
            attempt_count: 0,
            next_attempt_at: Some(at),
            attempted_at: None,
            finished_at: None,
            duration_ms: None,
            last_status: None,
            last_error: None,
            response_body: None,
            body,
            throttled: 0,
            timings: Timings::default(),
        }
    }

    /// Never sent: the endpoint fetches it; `body` is what it gets, unless it can be rendered then.
    pub fn offered(body: Option<Vec<u8>>) -> Self {
        let due = Self::due(DateTime::<Utc>::UNIX_EPOCH, body);
        Self { status: DeliveryStatus::Offered, next_attempt_at: None, ..due }
    }
}

/// A delivery that is not in the table yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its id, made at the event's moment: it must live in the event's partition.
    pub id: DeliveryId,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// What is owed to whom.
    pub owed: Owed,
    /// Type of the event.
    pub event_type: &'static str,
    /// The click that the event tells of.
    pub click_id: Option<ClickId>,
    /// Revision of the click that it tells: that of its event, or a higher one in the first telling of an amended click.
    pub told_revision: u32,
    /// Where it stands.
    pub progress: Progress,
    /// Its first attempt is under way: it is leased until then.
    pub leased_until: Option<DateTime<Utc>>,
    /// Where it comes in line, if its endpoint counts what it is owed.
    pub line: Option<Line>,
}

#[derive(QueryableByName)]
pub(crate) struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
}

/// Stores the results of a batch: new deliveries, with the attempts that failed and the events that tell of ends.
///
/// Tells which of them are new; of the others somebody else was first, and their attempts are not kept.
pub async fn insert(
    conn: &mut Connection,
    new: &[NewDelivery],
    attempts: &[NewAttempt],
    leased_by: Uuid,
    now: DateTime<Utc>,
) -> QueryResult<HashSet<DeliveryId>> {
    let ends: Vec<Ended<'_>> = new
        .iter()
        .filter_map(|d| Ended::of(d.id, d.workspace_id, d.owed, d.event_type, &d.progress))
        .collect();
    let is_counted = new.iter().any(|d| d.line.is_some());
    if attempts.is_empty() && ends.is_empty() && !is_counted {
        return insert_rows(conn, new, &Numbers::new(), leased_by, now).await;
    }
    let tell_of = async |conn: &mut Connection, made: &HashSet<DeliveryId>| {
        attempts::insert(conn, attempts.iter().filter(|a| made.contains(&a.delivery_id))).await?;
        tell(conn, ends.iter().filter(|end| made.contains(&end.id)), now).await
    };
    if is_counted {
        let made = conn.transaction(async |conn| {
            let numbers = sequences::numbers(conn, new).await?;
            let made = insert_rows(conn, new, &numbers, leased_by, now).await?;
            if !numbers.keys().all(|id| made.contains(id)) {
                return Err(diesel::result::Error::RollbackTransaction);
            }
            tell_of(conn, &made).await?;
            QueryResult::Ok(made)
        });
        match made.await {
            // some were there already, and their numbers would be missing
            Err(diesel::result::Error::RollbackTransaction) => {}
            made => return made,
        }
    }
    conn.transaction(async |conn| {
        sequences::lock(conn, new).await?;
        let made = insert_rows(conn, new, &Numbers::new(), leased_by, now).await?;
        sequences::number(conn, new, &made).await?;
        tell_of(conn, &made).await?;
        QueryResult::Ok(made)
    })
    .await
}

async fn insert_rows(
    conn: &mut Connection,
    new: &[NewDelivery],
    numbers: &Numbers,
    leased_by: Uuid,
    now: DateTime<Utc>,
) -> QueryResult<HashSet<DeliveryId>> {
    let progress = Columns::of(new.iter().map(|d| &d.progress));
    let rows: Vec<IdRow> = statement(
        "INSERT INTO deliveries (status, attempt_count, next_attempt_at, attempted_at, finished_at, duration_ms, \
             last_status, last_error, response_body, body, id, day, workspace_id, endpoint_id, event_id, \
             event_revision, event_type, click_id, leased_until, throttled, timings, told_revision, sequence, \
             order_key, leased_by, created_at) \
         SELECT d.*, CASE WHEN d.leased_until IS NOT NULL THEN $25 END, $26 \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, \
             $22, $23, $24) \
             AS d (status, attempt_count, next_attempt_at, attempted_at, finished_at, duration_ms, last_status, \
             last_error, response_body, body, id, day, workspace_id, endpoint_id, event_id, event_revision, \
             event_type, click_id, leased_until, throttled, timings, told_revision, sequence, order_key) \
         ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind::<Array<Text>, _>(progress.status)
    .bind::<Array<Integer>, _>(progress.attempt_count)
    .bind::<Array<Nullable<Timestamptz>>, _>(progress.next_attempt_at)
    .bind::<Array<Nullable<Timestamptz>>, _>(progress.attempted_at)
    .bind::<Array<Nullable<Timestamptz>>, _>(progress.finished_at)
    .bind::<Array<Nullable<Integer>>, _>(progress.duration_ms)
    .bind::<Array<Nullable<SmallInt>>, _>(progress.last_status)
    .bind::<Array<Nullable<Text>>, _>(progress.last_error)
    .bind::<Array<Nullable<Text>>, _>(progress.response_body)
    .bind::<Array<Nullable<Binary>>, _>(progress.body)
    .bind::<Array<SqlUuid>, _>(new.iter().map(|d| d.id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Date>, _>(new.iter().map(|d| d.owed.event_id.day()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(new.iter().map(|d| d.workspace_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(new.iter().map(|d| d.owed.endpoint_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(new.iter().map(|d| d.owed.event_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(
        new.iter().map(|d| d.owed.event_id.revision().cast_signed()).collect::<Vec<_>>(),
    )
    .bind::<Array<Text>, _>(new.iter().map(|d| d.event_type).collect::<Vec<_>>())
    .bind::<Array<Nullable<SqlUuid>>, _>(new.iter().map(|d| d.click_id.map(ClickId::uuid)).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(new.iter().map(|d| d.leased_until).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(progress.throttled)
    .bind::<Array<Nullable<Binary>>, _>(progress.timings)
    .bind::<Array<Integer>, _>(new.iter().map(|d| d.told_revision.cast_signed()).collect::<Vec<_>>())
    .bind::<Array<Nullable<BigInt>>, _>(new.iter().map(|d| numbers.get(&d.id).copied()).collect::<Vec<_>>())
    .bind::<Array<Nullable<SqlUuid>>, _>(
        new.iter().map(|d| d.line.filter(|_| numbers.contains_key(&d.id)).map(Line::key)).collect::<Vec<_>>(),
    )
    .bind::<SqlUuid, _>(leased_by)
    .bind::<Timestamptz, _>(now)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| DeliveryId::from_uuid(row.id)).collect())
}

/// How many deliveries wait; counts no further than `limit`.
pub async fn count_waiting(conn: &mut Connection, limit: i64) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        waiting: i64,
    }
    let row: Row = statement(
        "SELECT count(*) AS waiting FROM (SELECT FROM deliveries WHERE status = 'pending' LIMIT $1) AS counted",
    )
    .bind::<BigInt, _>(limit)
    .get_result(conn)
    .await?;
    Ok(row.waiting)
}

/// The recorded event of a click, from which a body that was not kept is rendered again; none of a click whose contact was
/// erased.
pub async fn recorded_event(conn: &mut Connection, click_id: ClickId) -> QueryResult<Option<Vec<u8>>> {
    let click = clicks::table.find((click_id.day(), click_id.uuid()));
    click.filter(clicks::erased_at.is_null()).select(clicks::event).first(conn).await.optional()
}

/// Progress by columns, as one statement takes them.
#[derive(Default)]
pub(crate) struct Columns<'a> {
    pub status: Vec<&'static str>,
    pub attempt_count: Vec<i32>,
    pub next_attempt_at: Vec<Option<DateTime<Utc>>>,
    pub attempted_at: Vec<Option<DateTime<Utc>>>,
    pub finished_at: Vec<Option<DateTime<Utc>>>,
    pub duration_ms: Vec<Option<i32>>,
    pub last_status: Vec<Option<i16>>,
    pub last_error: Vec<Option<&'static str>>,
    pub response_body: Vec<Option<&'a str>>,
    pub body: Vec<Option<&'a [u8]>>,
    pub throttled: Vec<i32>,
    pub timings: Vec<Option<Vec<u8>>>,
}

impl<'a> Columns<'a> {
    pub fn of(progress: impl Iterator<Item = &'a Progress>) -> Self {
        let mut columns = Self::default();
        for p in progress {
            columns.status.push(p.status.as_str());
            columns.attempt_count.push(p.attempt_count.cast_signed());
            columns.next_attempt_at.push(p.next_attempt_at);
            columns.attempted_at.push(p.attempted_at);
            columns.finished_at.push(p.finished_at);
            columns.duration_ms.push(p.duration_ms.map(|ms| i32::try_from(ms).unwrap_or(i32::MAX)));
            columns.last_status.push(p.last_status.map(u16::cast_signed));
            columns.last_error.push(p.last_error);
            columns.response_body.push(p.response_body.as_deref());
            columns.body.push(p.body.as_deref());
            columns.throttled.push(p.throttled.cast_signed());
            let is_only_record = p.status == DeliveryStatus::Delivered && p.attempt_count == 1;
            columns.timings.push(if is_only_record { p.timings.pack() } else { None });
        }
        columns
    }
}

/// A delivery that ended badly: told to whoever listens to EVENTS.
pub(crate) struct Ended<'a> {
    pub id: DeliveryId,
    workspace_id: WorkspaceId,
    owed: Owed,
    event_type: &'a str,
    progress: &'a Progress,
}

impl<'a> Ended<'a> {
    pub fn of(
        id: DeliveryId,
        workspace_id: WorkspaceId,
        owed: Owed,
        event_type: &'a str,
        progress: &'a Progress,
    ) -> Option<Self> {
        (progress.status == DeliveryStatus::Dead).then_some(Self {
            id,
            workspace_id,
            owed,
            event_type,
            progress,
        })
    }
}

pub(crate) async fn tell<'a>(
    conn: &mut Connection,
    ends: impl Iterator<Item = &'a Ended<'a>>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let told = |end: &Ended<'_>| {
        let data = json!({
            "delivery_id": end.id,
            "endpoint_id": end.owed.endpoint_id,
            "event_id": end.owed.event_id,
            "event_type": end.event_type,
            "attempts": end.progress.attempt_count,
            "last_status": end.progress.last_status,
            "last_error": end.progress.last_error,
            "deliveries": 1,
        });
        (end.workspace_id, data)
    };
    crate::events::announce_all(conn, "delivery.dead", ends.map(told).collect(), now).await
}
