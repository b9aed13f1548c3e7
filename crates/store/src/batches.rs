//! Batches: deliveries of one endpoint that go in one request, with one id, one signature and the same bytes each time.
//!
//! ```text
//! due deliveries ─► line ─► take ─► make ─► lease_due ─► finish: all of them delivered, dead, or due again together
//! ```
//! A batch is a row before it is sent, and holds the lease of its deliveries: `leased_by` of a delivery in a batch is the batch,
//! without an end. So a delivery is in one batch at most, whoever leases deliveries alone passes it over, and whoever works on
//! the batch leases the batch. Only what was never tried is put in a batch: what went alone goes alone again, under the id that
//! its subscriber has seen.

mod ends;
mod lines;
mod open;

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Date, Integer, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{BatchId, DeliveryId, EndpointId, WorkspaceId};

use crate::partitions::days_of;
use crate::statement::{statement, unnested};
use crate::{Connection, QueryResult};

pub use ends::{FinishedBatch, bury, finish};
pub use lines::{Candidate, Line, lease_locked, lease_tried, lines, recorded_events, take};
pub use open::dissolve_of_fetching;
pub(crate) use open::{dissolve, hurry, take_out};

/// When the lease of a batch on its deliveries ends: never, in a form that every program reads.
const NEVER: &str = "'9999-12-31T00:00:00Z'::timestamptz";

/// A batch that is not in the table yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBatch {
    /// Its id, made at the moment of its newest delivery.
    pub id: BatchId,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// For whom.
    pub endpoint_id: EndpointId,
    /// Replays put its deliveries in line.
    pub is_replay: bool,
    /// Its deliveries, at least one.
    pub deliveries: Vec<DeliveryId>,
    /// The bytes to send.
    pub body: Vec<u8>,
}

/// A batch whose lease is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedBatch {
    /// Its id.
    pub id: BatchId,
    /// Day of its oldest delivery.
    pub first_day: NaiveDate,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// For whom.
    pub endpoint_id: EndpointId,
    /// Replays put its deliveries in line.
    pub is_replay: bool,
    /// How many deliveries it was made of.
    pub events: u32,
    /// Attempts so far.
    pub attempt_count: u32,
    /// Attempts that were answered 429 and do not count against the schedule.
    pub throttled: u32,
    /// The bytes to send.
    pub body: Vec<u8>,
    /// Somebody had it in hand, and his lease ended before a result was stored.
    pub is_taken_over: bool,
}

#[derive(QueryableByName)]
struct LeasedRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Date)]
    first_day: NaiveDate,
    #[diesel(sql_type = SqlUuid)]
    workspace_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    endpoint_id: Uuid,
    #[diesel(sql_type = Bool)]
    is_replay: bool,
    #[diesel(sql_type = Integer)]
    events: i32,
    #[diesel(sql_type = Integer)]
    attempt_count: i32,
    #[diesel(sql_type = Integer)]
    throttled: i32,
    #[diesel(sql_type = Binary)]
    body: Vec<u8>,
    #[diesel(sql_type = Bool)]
    is_taken_over: bool,
}

impl From<LeasedRow> for LeasedBatch {
    fn from(row: LeasedRow) -> Self {
        Self {
            id: BatchId::from_uuid(row.id),
            first_day: row.first_day,
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            endpoint_id: EndpointId::from_uuid(row.endpoint_id),
            is_replay: row.is_replay,
            events: row.events.cast_unsigned(),
            attempt_count: row.attempt_count.cast_unsigned(),
            throttled: row.throttled.cast_unsigned(),
            body: row.body,
            is_taken_over: row.is_taken_over,
        }
    }
}

/// Makes a batch of deliveries that this transaction has locked; it is due at once.
pub async fn make(conn: &mut Connection, new: &NewBatch, now: DateTime<Utc>) -> QueryResult<()> {
    let days: Vec<NaiveDate> = new.deliveries.iter().map(|id| id.day()).collect();
    let first_day = days.iter().min().copied().unwrap_or(new.id.day());
    statement(
        "INSERT INTO delivery_batches (id, day, first_day, workspace_id, endpoint_id, is_replay, events, \
             next_attempt_at, created_at, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)",
    )
    .bind::<SqlUuid, _>(new.id.uuid())
    .bind::<Date, _>(new.id.day())
    .bind::<Date, _>(first_day)
    .bind::<SqlUuid, _>(new.workspace_id.uuid())
    .bind::<SqlUuid, _>(new.endpoint_id.uuid())
    .bind::<Bool, _>(new.is_replay)
    .bind::<Integer, _>(i32::try_from(new.deliveries.len()).unwrap_or(i32::MAX))
    .bind::<Timestamptz, _>(now)
    .bind::<Binary, _>(&new.body[..])
    .execute(conn)
    .await?;
    let own = unnested("$2", "own (id)");
    statement(format!(
        "UPDATE deliveries d SET batch_id = $3, leased_by = $3, leased_until = {NEVER} FROM {own} \
         WHERE d.day = ANY($1) AND d.id = own.id"
    ))
    .bind::<Array<Date>, _>(days_of(days))
    .bind::<Array<SqlUuid>, _>(new.deliveries.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(new.id.uuid())
    .execute(conn)
    .await?;
    Ok(())
}

/// Leases due batches, oldest first, of each endpoint as many as it wants; skips those that others hold.
pub async fn lease_due(
    conn: &mut Connection,
    wanted: &[(EndpointId, usize)],
    leased_by: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> QueryResult<Vec<LeasedBatch>> {
    let wanted: Vec<_> = wanted.iter().filter(|(_, limit)| *limit > 0).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let asked = unnested("$1, $2", "wanted (endpoint_id, quota)");
    let rows: Vec<LeasedRow> = statement(
        format!("WITH due AS MATERIALIZED (SELECT own.* FROM {asked}, \
             LATERAL (SELECT b.day, b.id, b.leased_by IS NOT NULL AS is_taken_over FROM delivery_batches b \
                 WHERE b.status = 'pending' AND b.endpoint_id = wanted.endpoint_id AND b.next_attempt_at <= $3 \
                     AND (b.leased_until IS NULL OR b.leased_until <= $3) \
                 ORDER BY b.next_attempt_at LIMIT wanted.quota FOR UPDATE SKIP LOCKED) AS own) \
         UPDATE delivery_batches b SET leased_by = $4, leased_until = $5 FROM due \
         WHERE b.id = due.id \
         RETURNING b.id, b.first_day, b.workspace_id, b.endpoint_id, b.is_replay, b.events, b.attempt_count, \
             b.throttled, b.body, due.is_taken_over"),
    )
    .bind::<Array<SqlUuid>, _>(wanted.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(wanted.iter().map(|(_, limit)| number(*limit)).collect::<Vec<_>>())
    .bind::<Timestamptz, _>(now)
    .bind::<SqlUuid, _>(leased_by)
    .bind::<Timestamptz, _>(until)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(LeasedBatch::from).collect())
}

/// The endpoints that have batches which have not ended; at most `limit`.
pub async fn with_open(conn: &mut Connection, limit: i64) -> QueryResult<HashSet<EndpointId>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        endpoint_id: Uuid,
    }
    let rows: Vec<Row> =
        statement("SELECT DISTINCT endpoint_id FROM delivery_batches WHERE status = 'pending' LIMIT $1")
            .bind::<BigInt, _>(limit)
            .load(conn)
            .await?;
    Ok(rows.into_iter().map(|row| EndpointId::from_uuid(row.endpoint_id)).collect())
}

/// Prolongs leases that are still ours, and last until these moments at the latest; tells which they are. Those that somebody has
/// locked, mostly to store their result, are passed over.
pub async fn renew(
    conn: &mut Connection,
    held: &[(BatchId, DateTime<Utc>)],
    leased_by: Uuid,
    until: DateTime<Utc>,
) -> QueryResult<HashSet<BatchId>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let rows: Vec<Row> = statement(format!(
        "WITH held AS MATERIALIZED (SELECT found.id FROM {}, \
             LATERAL (SELECT b.id FROM delivery_batches b WHERE b.day = ANY($1) AND b.id = own.id AND b.leased_by = $4 \
                 AND b.leased_until <= own.latest OFFSET 0 FOR UPDATE SKIP LOCKED) AS found) \
         UPDATE delivery_batches b SET leased_until = $5 FROM held WHERE b.day = ANY($1) AND b.id = held.id \
         RETURNING b.id",
        unnested("$2, $3", "own (id, latest)")
    ))
    .bind::<Array<Date>, _>(days_of(held.iter().map(|(id, _)| id.day())))
    .bind::<Array<SqlUuid>, _>(held.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(held.iter().map(|(_, latest)| *latest).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(leased_by)
    .bind::<Timestamptz, _>(until)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| BatchId::from_uuid(row.id)).collect())
}

/// Gives leases back that last until these moments at the latest, so that others need not wait for their end.
pub async fn release(
    conn: &mut Connection,
    held: &[(BatchId, DateTime<Utc>)],
    leased_by: Uuid,
) -> QueryResult<()> {
    statement(format!(
        "UPDATE delivery_batches b SET leased_until = NULL, leased_by = NULL FROM {} \
         WHERE b.day = ANY($1) AND b.id = own.id AND b.leased_by = $4 AND b.leased_until <= own.latest",
        unnested("$2, $3", "own (id, latest)")
    ))
    .bind::<Array<Date>, _>(days_of(held.iter().map(|(id, _)| id.day())))
    .bind::<Array<SqlUuid>, _>(held.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(held.iter().map(|(_, latest)| *latest).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(leased_by)
    .execute(conn)
    .await?;
    Ok(())
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
