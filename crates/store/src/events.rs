//! Events of our own, `link.created`, `endpoint.paused`, …: put into the outbox in the transaction that causes them.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;

use model::{EventId, WorkspaceId};

use crate::schema::outbox;
use crate::{Connection, QueryResult};

/// Most rows of one statement: each has five parameters, and PostgreSQL takes 65,535.
const ROWS_MAX: usize = 1000;

/// Tells the world, once the transaction is committed, that something happened.
pub async fn announce(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    event_type: &str,
    data: Value,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    announce_all(conn, event_type, vec![(workspace_id, data)], now).await
}

/// The same of several things of one kind, in one statement.
pub async fn announce_all(
    conn: &mut Connection,
    event_type: &str,
    happened: Vec<(WorkspaceId, Value)>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    if happened.is_empty() {
        return Ok(());
    }
    let row = |(workspace_id, data): (WorkspaceId, Value)| {
        (
            outbox::id.eq(EventId::generate().uuid()),
            outbox::workspace_id.eq(workspace_id.uuid()),
            outbox::event_type.eq(event_type),
            outbox::data.eq(data),
            outbox::occurred_at.eq(now),
        )
    };
    let rows: Vec<_> = happened.into_iter().map(row).collect();
    for rows in rows.chunks(ROWS_MAX) {
        diesel::insert_into(outbox::table).values(rows).execute(conn).await?;
    }
    Ok(())
}
