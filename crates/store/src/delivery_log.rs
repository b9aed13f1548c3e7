//! Deliveries and their attempts, as people look at them, and the wish to try one again.

mod list;

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncConnection as _, RunQueryDsl};
use serde_json::Value;
use uuid::Uuid;

use model::delivery::{Attempt, DeliveryStatus, Timings};
use model::{BatchId, ClickId, DeliveryId, EndpointId, EventId, ReplayId, WorkspaceId};

use crate::attempts::{NewAttempt, Trigger};
use crate::schema::{attempts, deliveries};
use crate::{Connection, QueryResult, batches, sequences};

pub use list::list;

/// Most attempts of one delivery that are shown.
const ATTEMPTS_MAX: i64 = 100;

/// One event owed to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Whom it is owed.
    pub endpoint_id: EndpointId,
    /// What is owed.
    pub event_id: EventId,
    /// Type of the event.
    pub event_type: String,
    /// The click that the event tells of.
    pub click_id: Option<ClickId>,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Attempts so far.
    pub attempt_count: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it came into being.
    pub created_at: DateTime<Utc>,
    /// Last attempt.
    pub attempted_at: Option<DateTime<Utc>>,
    /// When it ended, well or not.
    pub finished_at: Option<DateTime<Utc>>,
    /// Length of the last attempt.
    pub duration_ms: Option<u32>,
    /// Status of the last answer.
    pub last_status: Option<u16>,
    /// Class of the last failure.
    pub last_error: Option<String>,
    /// Body of the last answer, cut at a limit.
    pub response_body: Option<String>,
    /// 0 for the first delivery of its event, and one more for each replay of it.
    pub replay_number: u32,
    /// The replay that put it in line.
    pub replay_id: Option<ReplayId>,
    /// Where the time of a success at first try went; otherwise its attempts tell.
    pub timings: Timings,
    /// The last batch that it went in, whose attempts those were that it does not have itself.
    pub batch_id: Option<BatchId>,
    /// Its place among what its endpoint is owed, if that is counted; of a replay, that of what it replays.
    pub sequence: Option<u64>,
}

/// One attempt of a delivery that did not succeed at first try, or was asked for again.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedAttempt {
    /// 1 for the first.
    pub number: u32,
    /// `schedule` or `manual`.
    pub trigger: String,
    /// When the request was begun.
    pub started_at: DateTime<Utc>,
    /// Until the whole answer was read.
    pub duration_ms: u32,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Class of the failure.
    pub error: Option<String>,
    /// The failure in words.
    pub error_detail: Option<String>,
    /// Request headers as sent, custom values masked.
    pub request_headers: Value,
    /// Response headers, cut at a limit.
    pub response_headers: Value,
    /// Response body, cut at a limit.
    pub response_body: Option<String>,
    /// Address that was connected to.
    pub remote_ip: Option<String>,
    /// Where the time went.
    pub timings: Timings,
    /// Where it went, which may not be where its endpoint is by now; if that is known.
    pub url: Option<String>,
}

/// Which deliveries are asked for; `None` is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Owed to this endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// Standing there.
    pub status: Option<DeliveryStatus>,
    /// Telling of this click.
    pub click_id: Option<ClickId>,
    /// Put in line by this replay.
    pub replay_id: Option<ReplayId>,
    /// Last in this batch.
    pub batch_id: Option<BatchId>,
    /// Of an event at this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// Of an event before this moment.
    pub until: Option<DateTime<Utc>>,
}

#[derive(Queryable, Selectable, QueryableByName)]
#[diesel(table_name = deliveries)]
struct Row {
    id: Uuid,
    endpoint_id: Uuid,
    event_id: Uuid,
    event_revision: i32,
    event_type: String,
    click_id: Option<Uuid>,
    status: String,
    attempt_count: i32,
    next_attempt_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    attempted_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    duration_ms: Option<i32>,
    last_status: Option<i16>,
    last_error: Option<String>,
    response_body: Option<String>,
    replay_number: i32,
    replay_id: Option<Uuid>,
    timings: Option<Vec<u8>>,
    batch_id: Option<Uuid>,
    sequence: Option<i64>,
}

impl From<Row> for LoggedDelivery {
    fn from(row: Row) -> Self {
        Self {
            id: DeliveryId::from_uuid(row.id),
            endpoint_id: EndpointId::from_uuid(row.endpoint_id),
            event_id: EventId::from_parts(row.event_id, natural(row.event_revision)),
            event_type: row.event_type,
            click_id: row.click_id.map(ClickId::from_uuid),
            status: match row.status.as_str() {
                "delivered" => DeliveryStatus::Delivered,
                "dead" => DeliveryStatus::Dead,
                "offered" => DeliveryStatus::Offered,
                _ => DeliveryStatus::Pending,
            },
            attempt_count: natural(row.attempt_count),
            next_attempt_at: row.next_attempt_at,
            created_at: row.created_at,
            attempted_at: row.attempted_at,
            finished_at: row.finished_at,
            duration_ms: row.duration_ms.map(natural),
            last_status: row.last_status.and_then(|status| u16::try_from(status).ok()),
            last_error: row.last_error,
            response_body: row.response_body,
            replay_number: natural(row.replay_number),
            replay_id: row.replay_id.map(ReplayId::from_uuid),
            timings: row.timings.as_deref().map(Timings::unpack).unwrap_or_default(),
            batch_id: row.batch_id.map(BatchId::from_uuid),
            sequence: row.sequence.and_then(|sequence| u64::try_from(sequence).ok()),
        }
    }
}

/// Counts are never negative.
fn natural(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// The workspace's delivery with this id.
pub async fn find(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DeliveryId,
) -> QueryResult<Option<LoggedDelivery>> {
    let row: Option<Row> = deliveries::table
        .find((id.day(), id.uuid()))
        .filter(deliveries::workspace_id.eq(workspace_id.uuid()))
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(LoggedDelivery::from))
}

/// The bytes that a delivery carries, where they are kept: not those of a success at first try.
pub async fn body(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DeliveryId,
) -> QueryResult<Option<Vec<u8>>> {
    let body: Option<Option<Vec<u8>>> = deliveries::table
        .find((id.day(), id.uuid()))
        .filter(deliveries::workspace_id.eq(workspace_id.uuid()))
        .select(deliveries::body)
        .first(conn)
        .await
        .optional()?;
    Ok(body.flatten())
}

/// The last delivery of an event to an endpoint: of a replayed one, that of its last replay.
pub async fn of_event(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    event_id: EventId,
) -> QueryResult<Option<LoggedDelivery>> {
    let row: Option<Row> = deliveries::table
        .filter(deliveries::day.eq(event_id.day()).and(deliveries::endpoint_id.eq(endpoint_id.uuid())))
        .filter(deliveries::event_id.eq(event_id.uuid()))
        .filter(deliveries::event_revision.eq(event_id.revision().cast_signed()))
        .filter(deliveries::workspace_id.eq(workspace_id.uuid()))
        .order(deliveries::replay_number.desc())
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(LoggedDelivery::from))
}

/// The attempts of a delivery, first to last. A success at first try left none, until it is asked for again: its row tells it all.
pub async fn attempts(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DeliveryId,
) -> QueryResult<Vec<LoggedAttempt>> {
    let attempts = attempts_of(conn, workspace_id, &[id], ATTEMPTS_MAX).await?;
    Ok(attempts.into_iter().map(|(_, attempt)| attempt).collect())
}

/// The attempts of these deliveries, each one's first to last; at most `limit`. A success at first try left none.
pub async fn attempts_of(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    ids: &[DeliveryId],
    limit: i64,
) -> QueryResult<Vec<(DeliveryId, LoggedAttempt)>> {
    #[derive(Queryable, Selectable)]
    #[diesel(table_name = attempts)]
    struct Row {
        delivery_id: Uuid,
        number: i32,
        trigger: String,
        started_at: DateTime<Utc>,
        duration_ms: i32,
        status: Option<i16>,
        error: Option<String>,
        error_detail: Option<String>,
        request_headers: Value,
        response_headers: Value,
        response_body: Option<String>,
        remote_ip: Option<String>,
        timings: Option<Value>,
        url: Option<String>,
    }
    let days: BTreeSet<NaiveDate> = ids.iter().map(|id| id.day()).collect();
    let rows: Vec<Row> = attempts::table
        .filter(attempts::day.eq_any(days).and(attempts::delivery_id.eq_any(ids.iter().map(|id| id.uuid()))))
        .filter(attempts::workspace_id.eq(workspace_id.uuid()))
        .order((attempts::delivery_id, attempts::number))
        .limit(limit)
        .select(Row::as_select())
        .load(conn)
        .await?;
    let read = |row: Row| {
        let attempt = LoggedAttempt {
            number: natural(row.number),
            trigger: row.trigger,
            started_at: row.started_at,
            duration_ms: natural(row.duration_ms),
            status: row.status.and_then(|status| u16::try_from(status).ok()),
            error: row.error,
            error_detail: row.error_detail,
            request_headers: row.request_headers,
            response_headers: row.response_headers,
            response_body: row.response_body,
            remote_ip: row.remote_ip,
            timings: row.timings.and_then(|t| serde_json::from_value(t).ok()).unwrap_or_default(),
            url: row.url,
        };
        (DeliveryId::from_uuid(row.delivery_id), attempt)
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Makes a delivery due at `now`, whatever became of it before; `false` when the workspace has no such delivery.
///
/// A courier that has it in hand at this moment keeps its lease. One that is in a batch makes the whole batch due; one whose
/// batch has ended goes alone. Who fetches events gets it once more. Where what an endpoint is owed is counted it gets a number, if
/// it had none.
pub async fn retry(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    conn.transaction(async |conn| {
        batches::hurry(conn, workspace_id, id, now).await?;
        sequences::number_one(conn, workspace_id, id).await?;
        make_due(conn, workspace_id, id, now).await
    })
    .await
}

async fn make_due(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let own = deliveries::table
        .find((id.day(), id.uuid()))
        .filter(deliveries::workspace_id.eq(workspace_id.uuid()));
    let changed = diesel::update(own)
        .set((
            deliveries::status.eq(DeliveryStatus::Pending.as_str()),
            deliveries::next_attempt_at.eq(now),
            deliveries::finished_at.eq(None::<DateTime<Utc>>),
            deliveries::entered_in.eq(sql::<BigInt>("pg_current_xact_id()::text::bigint")),
        ))
        .execute(conn)
        .await?;
    if changed > 0 {
        keep_first(conn, workspace_id, id).await?;
    }
    Ok(changed > 0)
}

/// Keeps a success at first try as an attempt: so far its row alone tells of it, and the next attempt takes its place there.
async fn keep_first(conn: &mut Connection, workspace_id: WorkspaceId, id: DeliveryId) -> QueryResult<()> {
    let Some(delivery) = find(conn, workspace_id, id).await? else { return Ok(()) };
    // those of a batch are its own
    let was_accepted =
        delivery.attempt_count == 1 && delivery.last_error.is_none() && delivery.batch_id.is_none();
    let Some(started_at) = delivery.attempted_at.filter(|_| was_accepted) else { return Ok(()) };
    let attempt = Attempt {
        duration_ms: delivery.duration_ms.unwrap_or_default(),
        status: delivery.last_status,
        response_body: delivery.response_body,
        timings: delivery.timings,
        ..Attempt::begun(started_at)
    };
    let trigger = Trigger::Schedule;
    let first = NewAttempt { delivery_id: id, workspace_id, number: 1, trigger, url: None, attempt };
    crate::attempts::insert(conn, [&first]).await
}
