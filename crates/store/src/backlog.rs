//! What an operator asks of the whole installation, across workspaces: who waits, and who fails. Serves no customer.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{EndpointId, WorkspaceId};

use crate::statement::statement;
use crate::{Connection, QueryResult};

/// An endpoint that something waits for, that fails, or that is not active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointInTrouble {
    /// Which.
    pub endpoint_id: EndpointId,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Where it is. Its path may be a secret.
    pub url: String,
    /// `active`, `paused` or `disabled`.
    pub state: String,
    /// Why it is disabled.
    pub state_reason: Option<String>,
    /// Deliveries that wait for it, counted up to the limit that was asked for.
    pub waiting: i64,
    /// When the first of them is due.
    pub due_at: Option<DateTime<Utc>>,
    /// Since when it has only failed.
    pub first_failure_at: Option<DateTime<Utc>>,
    /// Failed attempts since then.
    pub failed: i64,
}

/// The endpoints that something is wrong with, the longest queue first; at most `limit`, of each counting no further
/// than `waiting_max` deliveries.
pub async fn endpoints_in_trouble(
    conn: &mut Connection,
    limit: i64,
    waiting_max: i64,
) -> QueryResult<Vec<EndpointInTrouble>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        workspace_id: Uuid,
        #[diesel(sql_type = Text)]
        url: String,
        #[diesel(sql_type = Text)]
        state: String,
        #[diesel(sql_type = Nullable<Text>)]
        state_reason: Option<String>,
        #[diesel(sql_type = BigInt)]
        waiting: i64,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        due_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        first_failure_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = BigInt)]
        failed: i64,
    }
    let rows: Vec<Row> = statement(
        "SELECT e.id, e.workspace_id, e.url, e.state, e.state_reason, queue.waiting, queue.due_at, \
             known.first_failure_at, coalesce(known.failed, 0) AS failed \
         FROM endpoints e LEFT JOIN endpoint_state known ON known.endpoint_id = e.id, \
             LATERAL (SELECT count(*) AS waiting, min(next_attempt_at) AS due_at \
                 FROM (SELECT next_attempt_at FROM deliveries d \
                     WHERE d.status = 'pending' AND d.endpoint_id = e.id \
                     ORDER BY d.next_attempt_at LIMIT $1) AS counted) AS queue \
         WHERE e.deleted_at IS NULL \
             AND (queue.waiting > 0 OR known.first_failure_at IS NOT NULL OR e.state <> 'active') \
         ORDER BY queue.waiting DESC, known.first_failure_at, e.id LIMIT $2",
    )
    .bind::<BigInt, _>(waiting_max)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    let read = |row: Row| EndpointInTrouble {
        endpoint_id: EndpointId::from_uuid(row.id),
        workspace_id: WorkspaceId::from_uuid(row.workspace_id),
        url: row.url,
        state: row.state,
        state_reason: row.state_reason,
        waiting: row.waiting,
        due_at: row.due_at,
        first_failure_at: row.first_failure_at,
        failed: row.failed,
    };
    Ok(rows.into_iter().map(read).collect())
}

/// How many clicks were recorded since then, and when the newest was made.
pub async fn recorded_since(
    conn: &mut Connection,
    since: DateTime<Utc>,
) -> QueryResult<(i64, Option<DateTime<Utc>>)> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        clicks: i64,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        newest: Option<DateTime<Utc>>,
    }
    let row: Row =
        statement("SELECT count(*) AS clicks, max(clicked_at) AS newest FROM clicks WHERE clicked_at >= $1")
            .bind::<Timestamptz, _>(since)
            .get_result(conn)
            .await?;
    Ok((row.clicks, row.newest))
}
