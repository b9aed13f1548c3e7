//! The lines of endpoints that get batches: what is due, and what of it becomes a batch or goes alone.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Date, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use uuid::Uuid;

use model::{ClickId, DeliveryId, EndpointId};

use super::number;
use crate::leases::{self, LEASED, Leased, LeasedRow, Locked};
use crate::partitions::days_of;
use crate::statement::{statement, unnested};
use crate::{Connection, QueryResult};

/// Deliveries that are due, in nobody's hands and in no batch: the beginning of an endpoint's line, up to where was looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Whose.
    pub endpoint_id: EndpointId,
    /// Replays put them in line; what is live is another line.
    pub is_replay: bool,
    /// How many were never tried.
    pub fresh: usize,
    /// Bytes of their bodies, as far as they are kept.
    pub bytes: usize,
    /// When the first of them was due.
    pub first_due_at: Option<DateTime<Utc>>,
    /// How many were tried before, or were in the hands of somebody who died: they go alone.
    pub tried: usize,
}

/// A delivery that is locked, to be put in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The delivery.
    pub delivery: Leased,
    /// When it was due.
    pub due_at: DateTime<Utc>,
}

/// Due deliveries in nobody's hands, oldest first: of which `which` is true.
fn head(columns: &str, which: &str, limit: &str) -> String {
    format!(
        "SELECT {columns} FROM deliveries d WHERE d.status = 'pending' AND d.endpoint_id = wanted.endpoint_id \
             AND d.next_attempt_at <= $3 AND (d.leased_until IS NULL OR d.leased_until <= $3) AND {which} \
         ORDER BY d.next_attempt_at LIMIT {limit}"
    )
}

/// The lines of these endpoints, of each as far as its number says; those in which nothing waits are left out.
pub async fn lines(
    conn: &mut Connection,
    wanted: &[(EndpointId, usize)],
    now: DateTime<Utc>,
) -> QueryResult<Vec<Line>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        endpoint_id: Uuid,
        #[diesel(sql_type = Bool)]
        is_replay: bool,
        #[diesel(sql_type = BigInt)]
        fresh: i64,
        #[diesel(sql_type = BigInt)]
        bytes: i64,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        first_due_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = BigInt)]
        tried: i64,
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let columns = "d.next_attempt_at, d.attempt_count = 0 AND d.leased_by IS NULL AS is_fresh, \
                   coalesce(octet_length(d.body), 0) AS bytes";
    let line = |is_replay: &str, which: &str| {
        let head = head(columns, which, "wanted.head");
        let asked = unnested("$1, $2", "wanted (endpoint_id, head)");
        format!(
            "SELECT wanted.endpoint_id, {is_replay} AS is_replay, count(*) FILTER (WHERE is_fresh) AS fresh, \
                 coalesce(sum(bytes) FILTER (WHERE is_fresh), 0)::bigint AS bytes, \
                 min(next_attempt_at) FILTER (WHERE is_fresh) AS first_due_at, \
                 count(*) FILTER (WHERE NOT is_fresh) AS tried \
             FROM {asked}, LATERAL ({head}) AS head GROUP BY wanted.endpoint_id"
        )
    };
    let (live, again) = (line("false", "d.replay_id IS NULL"), line("true", "d.replay_id IS NOT NULL"));
    let rows: Vec<Row> = statement(format!("{live} UNION ALL {again}"))
        .bind::<Array<SqlUuid>, _>(wanted.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(wanted.iter().map(|(_, head)| number(*head)).collect::<Vec<_>>())
        .bind::<Timestamptz, _>(now)
        .load(conn)
        .await?;
    let read = |row: Row| Line {
        endpoint_id: EndpointId::from_uuid(row.endpoint_id),
        is_replay: row.is_replay,
        fresh: usize::try_from(row.fresh).unwrap_or_default(),
        bytes: usize::try_from(row.bytes).unwrap_or_default(),
        first_due_at: row.first_due_at,
        tried: usize::try_from(row.tried).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Leases what was tried before and stands in the first `seen` deliveries of these lines, of each endpoint as many as it wants.
pub async fn lease_tried(
    conn: &mut Connection,
    wanted: &[(EndpointId, usize)],
    seen: usize,
    leased_by: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> QueryResult<Vec<Leased>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let columns = "d.day, d.id, d.attempt_count > 0 OR d.leased_by IS NOT NULL AS is_tried, \
                   d.leased_by IS NOT NULL AS is_taken_over, d.next_attempt_at";
    let own = |which: &str| {
        let head = head(columns, which, "wanted.seen");
        format!("SELECT head.* FROM ({head} FOR UPDATE SKIP LOCKED) AS head WHERE head.is_tried")
    };
    let (live, again) = (own("d.replay_id IS NULL"), own("d.replay_id IS NOT NULL"));
    let asked = unnested("$1, $2, $4", "wanted (endpoint_id, quota, seen)");
    conn.transaction(async |conn| {
        let locked: Vec<Locked> = statement(format!(
            "SELECT own.day, own.id, own.is_taken_over FROM {asked}, \
                 LATERAL ({live} UNION ALL {again} LIMIT wanted.quota) AS own"
        ))
        .bind::<Array<SqlUuid>, _>(wanted.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(wanted.iter().map(|(_, quota)| number(*quota)).collect::<Vec<_>>())
        .bind::<Timestamptz, _>(now)
        .bind::<Array<BigInt>, _>(vec![number(seen); wanted.len()])
        .load(conn)
        .await?;
        leases::lease_locked(conn, &locked, leased_by, until).await
    })
    .await
}

/// Locks what was never tried at the beginning of a line, oldest first and at most `limit`, until the transaction ends; what
/// others have locked is passed over.
pub async fn take(
    conn: &mut Connection,
    endpoint_id: EndpointId,
    is_replay: bool,
    limit: usize,
    now: DateTime<Utc>,
) -> QueryResult<Vec<Candidate>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(embed)]
        delivery: LeasedRow,
        #[diesel(sql_type = Timestamptz)]
        next_attempt_at: DateTime<Utc>,
    }
    let which = if is_replay { "IS NOT NULL" } else { "IS NULL" };
    let asked = unnested("$1, $3", "wanted (endpoint_id, most)");
    let rows: Vec<Row> = statement(format!(
        "SELECT own.* FROM {asked}, \
             LATERAL (SELECT {LEASED}, false AS is_taken_over, d.next_attempt_at FROM deliveries d \
                 WHERE d.status = 'pending' AND d.endpoint_id = wanted.endpoint_id AND d.next_attempt_at <= $2 \
                     AND d.replay_id {which} AND d.leased_by IS NULL AND d.attempt_count = 0 \
                 ORDER BY d.next_attempt_at LIMIT wanted.most FOR UPDATE SKIP LOCKED) AS own"
    ))
    .bind::<Array<SqlUuid>, _>(vec![endpoint_id.uuid()])
    .bind::<Timestamptz, _>(now)
    .bind::<Array<BigInt>, _>(vec![number(limit)])
    .load(conn)
    .await?;
    let read = |row: Row| Candidate { delivery: row.delivery.into(), due_at: row.next_attempt_at };
    Ok(rows.into_iter().map(read).collect())
}

/// The recorded events of clicks, from which bodies that were not kept are rendered; none of a click whose contact was erased.
pub async fn recorded_events(
    conn: &mut Connection,
    clicks: &[ClickId],
) -> QueryResult<HashMap<ClickId, Vec<u8>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        click_id: Uuid,
        #[diesel(sql_type = Binary)]
        event: Vec<u8>,
    }
    if clicks.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Row> = statement(format!(
        "SELECT own.id AS click_id, found.event FROM {}, \
             LATERAL (SELECT c.event FROM clicks c WHERE c.day = ANY($1) AND c.id = own.id \
                 AND c.erased_at IS NULL OFFSET 0) AS found",
        unnested("$2", "own (id)")
    ))
    .bind::<Array<Date>, _>(days_of(clicks.iter().map(|id| id.day())))
    .bind::<Array<SqlUuid>, _>(clicks.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (ClickId::from_uuid(row.click_id), row.event)).collect())
}

/// Leases deliveries that this transaction has locked, for as long as it takes to say that they cannot be sent.
pub async fn lease_locked(
    conn: &mut Connection,
    ids: &[DeliveryId],
    leased_by: Uuid,
    until: DateTime<Utc>,
) -> QueryResult<()> {
    statement(format!(
        "UPDATE deliveries d SET leased_by = $3, leased_until = $4 FROM {} \
         WHERE d.day = ANY($1) AND d.id = own.id",
        unnested("$2", "own (id)")
    ))
    .bind::<Array<Date>, _>(days_of(ids.iter().map(|id| id.day())))
    .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(leased_by)
    .bind::<Timestamptz, _>(until)
    .execute(conn)
    .await?;
    Ok(())
}
