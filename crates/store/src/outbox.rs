//! The outbox: events that wait to be published. [`crate::events`] puts them in.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use model::{EventId, WorkspaceId};

use crate::schema::outbox;
use crate::{Connection, QueryResult};

/// An event that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Its id.
    pub id: EventId,
    /// Whose it is.
    pub workspace_id: WorkspaceId,
    /// `noun.verb`.
    pub event_type: String,
    /// A JSON object.
    pub data: Value,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
}

/// Locks the oldest events that nobody else holds, for as long as the transaction lasts.
pub async fn lock_oldest(conn: &mut Connection, limit: i64) -> QueryResult<Vec<Waiting>> {
    let rows: Vec<(Uuid, Uuid, String, Value, DateTime<Utc>)> = outbox::table
        .select((outbox::id, outbox::workspace_id, outbox::event_type, outbox::data, outbox::occurred_at))
        .order(outbox::id)
        .limit(limit)
        .for_update()
        .skip_locked()
        .load(conn)
        .await?;
    let waiting = |(id, workspace_id, event_type, data, occurred_at)| Waiting {
        id: EventId::from_parts(id, 0),
        workspace_id: WorkspaceId::from_uuid(workspace_id),
        event_type,
        data,
        occurred_at,
    };
    Ok(rows.into_iter().map(waiting).collect())
}

/// Removes events that were published.
pub async fn remove(conn: &mut Connection, ids: &[EventId]) -> QueryResult<usize> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    diesel::delete(outbox::table.filter(outbox::id.eq_any(ids))).execute(conn).await
}
