//! What has failed and holds up a line.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{DeliveryId, EndpointId, LinkId, WorkspaceId};

use super::IN_LINE;
use crate::sequences::NO_LINK;
use crate::statement::{statement, unnested};
use crate::{Connection, QueryResult};

/// Its last attempt failed. One that was accepted and is asked for again has not, until it does.
const HAS_FAILED: &str = "d.attempt_count > 0 AND d.last_error IS NOT NULL";

/// A delivery that has failed and holds up what is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldUp {
    /// Whose line.
    pub endpoint_id: EndpointId,
    /// Which delivery.
    pub delivery_id: DeliveryId,
    /// The link whose line it holds up, if it is of one.
    pub link_id: Option<LinkId>,
    /// Its number.
    pub sequence: u64,
    /// Attempts so far.
    pub attempt_count: u32,
    /// When its first attempt began that failed; of one that was accepted and asked for again, the first since then.
    pub since: DateTime<Utc>,
}

/// What holds up the lines of these endpoints, of each the first `limit`.
pub async fn hold_ups(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_ids: &[EndpointId],
    limit: i64,
) -> QueryResult<Vec<HoldUp>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        endpoint_id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        order_key: Uuid,
        #[diesel(sql_type = BigInt)]
        sequence: i64,
        #[diesel(sql_type = Integer)]
        attempt_count: i32,
        #[diesel(sql_type = Timestamptz)]
        since: DateTime<Utc>,
    }
    let rows: Vec<Row> = statement(hold_ups_sql())
        .bind::<Array<SqlUuid>, _>(endpoint_ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .bind::<SqlUuid, _>(workspace_id.uuid())
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await?;
    let read = |row: Row| HoldUp {
        endpoint_id: EndpointId::from_uuid(row.endpoint_id),
        delivery_id: DeliveryId::from_uuid(row.id),
        link_id: (row.order_key != NO_LINK).then(|| LinkId::from_uuid(row.order_key)),
        sequence: u64::try_from(row.sequence).unwrap_or_default(),
        attempt_count: u32::try_from(row.attempt_count).unwrap_or_default(),
        since: row.since,
    };
    Ok(rows.into_iter().map(read).collect())
}

pub(super) fn hold_ups_sql() -> String {
    let wanted = unnested("$1", "wanted (endpoint_id)");
    format!(
        "SELECT wanted.endpoint_id, held.id, held.order_key, held.sequence, held.attempt_count, \
             coalesce((SELECT min(a.started_at) FROM attempts a WHERE a.day = held.day AND a.delivery_id = held.id \
                 AND a.error IS NOT NULL AND a.number > coalesce((SELECT max(b.number) FROM attempts b \
                     WHERE b.day = held.day AND b.delivery_id = held.id AND b.error IS NULL), 0)), \
                 held.attempted_at, held.created_at) AS since \
         FROM {wanted}, LATERAL (SELECT d.* FROM deliveries d WHERE {IN_LINE} AND {HAS_FAILED} \
             AND d.endpoint_id = wanted.endpoint_id AND d.workspace_id = (SELECT $2) \
             ORDER BY d.sequence LIMIT (SELECT $3)) AS held \
         ORDER BY wanted.endpoint_id, held.sequence"
    )
}

/// How many of these endpoints something failed holds up, among the first `limit` deliveries that do.
pub async fn count_held_up(
    conn: &mut Connection,
    endpoint_ids: &[EndpointId],
    limit: i64,
) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        endpoints: i64,
    }
    if endpoint_ids.is_empty() {
        return Ok(0);
    }
    let row: Row = statement(format!(
        "SELECT count(DISTINCT held.endpoint_id) AS endpoints FROM (SELECT d.endpoint_id FROM deliveries d \
             WHERE {IN_LINE} AND {HAS_FAILED} AND d.endpoint_id = ANY($1) LIMIT $2) AS held"
    ))
    .bind::<Array<SqlUuid>, _>(endpoint_ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<BigInt, _>(limit)
    .get_result(conn)
    .await?;
    Ok(row.endpoints)
}
