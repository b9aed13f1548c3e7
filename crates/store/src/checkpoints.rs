//! Checkpoints: closed ranges of an endpoint's numbered deliveries, each with the digest of their webhook ids.
//!
//! Numbers become visible in their order (see `sequences`), so whatever is read is whole up to the highest number. Several replicas
//! may close the same range: the first one's stands, and is told of.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use model::checkpoint::Checkpoint;
use model::event_type::ENDPOINT_CHECKPOINT;
use model::{EndpointId, EventId, WorkspaceId};

use crate::statement::{first_rows, statement};
use crate::{Connection, QueryResult, events};

/// Most deliveries that one checkpoint covers: more are several.
pub const COVERED_MAX: i64 = 50_000;

/// An endpoint that is to have checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Which endpoint.
    pub endpoint_id: EndpointId,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// How often.
    pub every: TimeDelta,
}

/// A checkpoint that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Which endpoint.
    pub endpoint_id: EndpointId,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// The highest number of the checkpoint before it; 0: there is none.
    pub after: i64,
}

/// A checkpoint that was made, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// When it was made.
    pub closed_at: DateTime<Utc>,
}

/// Those of these endpoints whose last checkpoint is old enough, and that have numbers beyond it.
pub async fn due(conn: &mut Connection, wanted: &[Wanted], now: DateTime<Utc>) -> QueryResult<Vec<Due>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        endpoint_id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        workspace_id: Uuid,
        #[diesel(sql_type = BigInt)]
        after: i64,
    }
    let closed_before = |wanted: &Wanted| now.checked_sub_signed(wanted.every).unwrap_or(now);
    let rows: Vec<Row> = statement(
        "SELECT wanted.endpoint_id, wanted.workspace_id, coalesce(before.last_sequence, 0) AS after \
         FROM unnest($1, $2, $3) AS wanted (endpoint_id, workspace_id, closed_before) \
         JOIN endpoint_sequences s ON s.endpoint_id = wanted.endpoint_id \
         LEFT JOIN LATERAL (SELECT c.last_sequence, c.closed_at FROM endpoint_checkpoints c \
             WHERE c.endpoint_id = wanted.endpoint_id ORDER BY c.first_sequence DESC LIMIT 1) AS before ON true \
         WHERE s.last > coalesce(before.last_sequence, 0) \
             AND (before.closed_at IS NULL OR before.closed_at <= wanted.closed_before)",
    )
    .bind::<Array<SqlUuid>, _>(wanted.iter().map(|w| w.endpoint_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(wanted.iter().map(|w| w.workspace_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(wanted.iter().map(closed_before).collect::<Vec<_>>())
    .load(conn)
    .await?;
    let read = |row: Row| Due {
        endpoint_id: EndpointId::from_uuid(row.endpoint_id),
        workspace_id: WorkspaceId::from_uuid(row.workspace_id),
        after: row.after,
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Makes a checkpoint of what has come since the one before, and tells of it. `None`: nothing but the telling of checkpoints
/// has, or another replica was first.
pub async fn close(conn: &mut Connection, due: &Due, now: DateTime<Utc>) -> QueryResult<Option<Checkpoint>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        sequence: i64,
        #[diesel(sql_type = SqlUuid)]
        event_id: Uuid,
        #[diesel(sql_type = Integer)]
        event_revision: i32,
        #[diesel(sql_type = Text)]
        event_type: String,
    }
    let rows: Vec<Row> = statement(covered_sql())
        .bind::<SqlUuid, _>(due.endpoint_id.uuid())
        .bind::<BigInt, _>(due.after)
        .bind::<BigInt, _>(COVERED_MAX)
        .load(conn)
        .await?;
    if rows.iter().all(|row| row.event_type == ENDPOINT_CHECKPOINT) {
        return Ok(None);
    }
    let numbered: Vec<(u64, EventId)> = rows
        .iter()
        .map(|row| {
            let id = EventId::from_parts(row.event_id, row.event_revision.cast_unsigned());
            (u64::try_from(row.sequence).unwrap_or_default(), id)
        })
        .collect();
    let Some(checkpoint) = Checkpoint::of(&numbered) else { return Ok(None) };
    let is_first = keep(conn, due, &checkpoint, now).await?;
    Ok(is_first.then_some(checkpoint))
}

/// What an endpoint ($1) was sent with numbers above $2, the first $3 of it.
fn covered_sql() -> String {
    first_rows(
        "SELECT sequence, event_id, event_revision, event_type FROM deliveries \
         WHERE endpoint_id = (SELECT $1) AND sequence > (SELECT $2) AND sequence IS NOT NULL AND replay_id IS NULL",
        "sequence",
        "$3",
        COVERED_MAX,
    )
}

async fn keep(
    conn: &mut Connection,
    due: &Due,
    checkpoint: &Checkpoint,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    conn.transaction(async |conn| {
        let kept = statement(
            "INSERT INTO endpoint_checkpoints (endpoint_id, workspace_id, first_sequence, last_sequence, deliveries, \
                 first_event_at, last_event_at, digest, closed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        )
        .bind::<SqlUuid, _>(due.endpoint_id.uuid())
        .bind::<SqlUuid, _>(due.workspace_id.uuid())
        .bind::<BigInt, _>(number(checkpoint.first_sequence))
        .bind::<BigInt, _>(number(checkpoint.last_sequence))
        .bind::<BigInt, _>(number(checkpoint.count))
        .bind::<Timestamptz, _>(checkpoint.first_event_at)
        .bind::<Timestamptz, _>(checkpoint.last_event_at)
        .bind::<Binary, _>(&checkpoint.digest[..])
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await?;
        if kept == 0 {
            return QueryResult::Ok(false);
        }
        let text = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let data = json!({
            "endpoint_id": due.endpoint_id,
            "first_sequence": checkpoint.first_sequence,
            "last_sequence": checkpoint.last_sequence,
            "count": checkpoint.count,
            "first_event_at": text(checkpoint.first_event_at),
            "last_event_at": text(checkpoint.last_event_at),
            "sha256": checkpoint.sha256(),
        });
        events::announce(conn, due.workspace_id, ENDPOINT_CHECKPOINT, data, now).await?;
        Ok(true)
    })
    .await
}

/// The checkpoints of a workspace's endpoint that begin after this number, in their order; at most `limit`.
pub async fn list(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    after: u64,
    limit: i64,
) -> QueryResult<Vec<Closed>> {
    let rows: Vec<ClosedRow> = statement(format!(
        "{CLOSED} WHERE workspace_id = $1 AND endpoint_id = $2 AND first_sequence > $3 ORDER BY first_sequence LIMIT $4"
    ))
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<SqlUuid, _>(endpoint_id.uuid())
    .bind::<BigInt, _>(i64::try_from(after).unwrap_or(i64::MAX))
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(Closed::from).collect())
}

/// The last checkpoints of a workspace's endpoint, newest first; at most `limit`.
pub async fn newest(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    limit: i64,
) -> QueryResult<Vec<Closed>> {
    let rows: Vec<ClosedRow> = statement(format!(
        "{CLOSED} WHERE workspace_id = $1 AND endpoint_id = $2 ORDER BY first_sequence DESC LIMIT $3"
    ))
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<SqlUuid, _>(endpoint_id.uuid())
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(Closed::from).collect())
}

/// What is read of checkpoints.
const CLOSED: &str = "SELECT first_sequence, last_sequence, deliveries, first_event_at, last_event_at, digest, closed_at \
                      FROM endpoint_checkpoints";

#[derive(QueryableByName)]
struct ClosedRow {
    #[diesel(sql_type = BigInt)]
    first_sequence: i64,
    #[diesel(sql_type = BigInt)]
    last_sequence: i64,
    #[diesel(sql_type = BigInt)]
    deliveries: i64,
    #[diesel(sql_type = Timestamptz)]
    first_event_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    last_event_at: DateTime<Utc>,
    #[diesel(sql_type = Binary)]
    digest: Vec<u8>,
    #[diesel(sql_type = Timestamptz)]
    closed_at: DateTime<Utc>,
}

impl From<ClosedRow> for Closed {
    fn from(row: ClosedRow) -> Self {
        let natural = |number: i64| u64::try_from(number).unwrap_or_default();
        Self {
            checkpoint: Checkpoint {
                first_sequence: natural(row.first_sequence),
                last_sequence: natural(row.last_sequence),
                count: natural(row.deliveries),
                first_event_at: row.first_event_at,
                last_event_at: row.last_event_at,
                // one of another length was written past us, and proves nothing
                digest: row.digest.try_into().unwrap_or_default(),
            },
            closed_at: row.closed_at,
        }
    }
}

/// Removes checkpoints that were made before then, but each endpoint's last one; at most `limit`.
pub async fn remove_old(conn: &mut Connection, before: DateTime<Utc>, limit: i64) -> QueryResult<usize> {
    statement(
        "DELETE FROM endpoint_checkpoints WHERE (endpoint_id, first_sequence) IN ( \
             SELECT c.endpoint_id, c.first_sequence FROM endpoint_checkpoints c WHERE c.closed_at < $1 \
                 AND EXISTS (SELECT FROM endpoint_checkpoints later WHERE later.endpoint_id = c.endpoint_id \
                     AND later.first_sequence > c.first_sequence) \
             ORDER BY c.closed_at LIMIT $2)",
    )
    .bind::<Timestamptz, _>(before)
    .bind::<BigInt, _>(limit)
    .execute(conn)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::Planned;

    #[tokio::test]
    async fn what_a_checkpoint_covers_is_read_in_order_with_a_plan_that_is_made_once() {
        let values = "gen_random_uuid(), 7, 50000";

        let planned = Planned::of(&covered_sql(), "uuid, bigint, bigint", values).await;

        let scans = planned.scans_of_today();
        assert!(scans.iter().all(|scan| scan.contains("endpoint_id_sequence_idx")), "{planned}");
        assert!(planned.is_made_once, "{planned}");
    }
}
