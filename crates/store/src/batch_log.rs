//! Batches, as people look at them. Their deliveries and attempts are asked for in `delivery_log`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{BatchId, DeliveryId, EndpointId, WorkspaceId};

use crate::delivery_log::{self, LoggedAttempt};
use crate::schema::delivery_batches;
use crate::{Connection, QueryResult};

/// Deliveries that went in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedBatch {
    /// Its id.
    pub id: BatchId,
    /// To whom.
    pub endpoint_id: EndpointId,
    /// `pending`, `delivered`, `dead` or `dissolved`.
    pub status: String,
    /// Replays put its deliveries in line.
    pub is_replay: bool,
    /// How many deliveries it was made of.
    pub events: u32,
    /// Attempts so far.
    pub attempt_count: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ended, well or not.
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = delivery_batches)]
struct Row {
    id: Uuid,
    endpoint_id: Uuid,
    status: String,
    is_replay: bool,
    events: i32,
    attempt_count: i32,
    next_attempt_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

/// The workspace's batch with this id.
pub async fn find(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: BatchId,
) -> QueryResult<Option<LoggedBatch>> {
    let row: Option<Row> = delivery_batches::table
        .find((id.day(), id.uuid()))
        .filter(delivery_batches::workspace_id.eq(workspace_id.uuid()))
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(|row| LoggedBatch {
        id: BatchId::from_uuid(row.id),
        endpoint_id: EndpointId::from_uuid(row.endpoint_id),
        status: row.status,
        is_replay: row.is_replay,
        events: u32::try_from(row.events).unwrap_or_default(),
        attempt_count: u32::try_from(row.attempt_count).unwrap_or_default(),
        next_attempt_at: row.next_attempt_at,
        created_at: row.created_at,
        finished_at: row.finished_at,
    }))
}

/// The attempts of a batch, first to last. A success at first try has one too.
pub async fn attempts(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: BatchId,
) -> QueryResult<Vec<LoggedAttempt>> {
    // they are kept under its id, as those of a delivery under its own
    delivery_log::attempts(conn, workspace_id, DeliveryId::from_uuid(id.uuid())).await
}
