//! Clicks that are recorded and that no endpoint has a first telling of: not owed to anybody, or lost on the way.
//!
//! An amendment is none: an endpoint may have chosen amendments only, and another may have got one while its first telling was
//! lost. Who of them is owed a first telling, the caller knows.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{ClickId, WorkspaceId};

use crate::statement::statement;
use crate::{Connection, QueryResult};

/// A place in the order of recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// When the click was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The click; the least one stands for a moment's beginning.
    pub id: ClickId,
}

/// A click without a first telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// Where it stands.
    pub place: Place,
    /// The message on ENRICHED.
    pub event: Vec<u8>,
}

impl Place {
    /// Before everything that was recorded at this moment.
    pub fn beginning(recorded_at: DateTime<Utc>) -> Self {
        Self { recorded_at, id: ClickId::from_uuid(Uuid::nil()) }
    }
}

/// The clicks of these workspaces that were recorded after `after` and before `until` and have no delivery of their first
/// telling, in the order of recording; at most `limit`.
pub async fn page(
    conn: &mut Connection,
    workspaces: &[WorkspaceId],
    after: Place,
    until: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<Untold>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Timestamptz)]
        recorded_at: DateTime<Utc>,
        #[diesel(sql_type = Binary)]
        event: Vec<u8>,
    }
    // LIMIT keeps the planner from joining with whole partitions: it is one index look-up a click
    let rows: Vec<Row> = statement(
        "SELECT c.id, c.recorded_at, c.event FROM clicks c \
         WHERE c.recorded_at >= $1 AND c.recorded_at < $2 AND (c.recorded_at, c.id) > ($1, $3) \
             AND c.workspace_id = ANY($4) AND c.erased_at IS NULL \
             AND (SELECT 1 FROM deliveries d WHERE d.day = c.day AND d.click_id = c.id AND d.event_revision = 0 \
                 LIMIT 1) IS NULL \
         ORDER BY c.recorded_at, c.id LIMIT $5",
    )
    .bind::<Timestamptz, _>(after.recorded_at)
    .bind::<Timestamptz, _>(until)
    .bind::<SqlUuid, _>(after.id.uuid())
    .bind::<Array<SqlUuid>, _>(workspaces.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    let read = |row: Row| Untold {
        place: Place { recorded_at: row.recorded_at, id: ClickId::from_uuid(row.id) },
        event: row.event,
    };
    Ok(rows.into_iter().map(read).collect())
}
