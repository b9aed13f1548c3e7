//! Events of our own, `link.created`, `endpoint.paused`, …: put into the outbox in the transaction that causes them.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;

use model::{EventId, WorkspaceId};

use crate::schema::outbox;
use crate::{Connection, QueryResult};

/// Tells the world, once the transaction is committed, that something happened.
pub async fn announce(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    event_type: &str,
    data: Value,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    diesel::insert_into(outbox::table)
        .values((
            outbox::id.eq(EventId::generate().uuid()),
            outbox::workspace_id.eq(workspace_id.uuid()),
            outbox::event_type.eq(event_type),
            outbox::data.eq(data),
            outbox::occurred_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
