//! Deliveries that a person gives up: they end, and what waits behind them in line goes on.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Date, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use model::{DeliveryId, EndpointId, EventId, WorkspaceId};

use crate::statement::statement;
use crate::{Connection, QueryResult, batches, events};

/// What `last_error` says of one that was never tried.
const GIVEN_UP: &str = "given_up";

/// Ends a delivery that waits, and tells of it; `false` when the workspace has no such delivery, or it has ended.
///
/// A courier that has it in hand at this moment loses its lease: whatever comes of its attempt is not stored. The others of a batch
/// that it waits in go in another.
pub async fn give_up(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        endpoint_id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        event_id: Uuid,
        #[diesel(sql_type = Integer)]
        event_revision: i32,
        #[diesel(sql_type = Text)]
        event_type: String,
        #[diesel(sql_type = Integer)]
        attempt_count: i32,
        #[diesel(sql_type = Nullable<SmallInt>)]
        last_status: Option<i16>,
        #[diesel(sql_type = Text)]
        last_error: String,
    }
    conn.transaction(async |conn| {
        // else it would still be sent, with the others of its batch
        batches::take_out(conn, workspace_id, id, now).await?;
        let ended: Option<Row> = statement(
            "UPDATE deliveries SET status = 'dead', next_attempt_at = NULL, finished_at = $4, \
                 last_error = coalesce(last_error, $5), leased_by = NULL, leased_until = NULL \
             WHERE day = $1 AND id = $2 AND workspace_id = $3 AND status = 'pending' \
             RETURNING endpoint_id, event_id, event_revision, event_type, attempt_count, last_status, last_error",
        )
        .bind::<Date, _>(id.day())
        .bind::<SqlUuid, _>(id.uuid())
        .bind::<SqlUuid, _>(workspace_id.uuid())
        .bind::<Timestamptz, _>(now)
        .bind::<Text, _>(GIVEN_UP)
        .get_result(conn)
        .await
        .optional()?;
        let Some(row) = ended else { return QueryResult::Ok(false) };
        let data = json!({
            "delivery_id": id,
            "endpoint_id": EndpointId::from_uuid(row.endpoint_id),
            "event_id": EventId::from_parts(row.event_id, row.event_revision.cast_unsigned()),
            "event_type": row.event_type,
            "attempts": row.attempt_count,
            "last_status": row.last_status,
            "last_error": row.last_error,
            "deliveries": 1,
        });
        events::announce(conn, workspace_id, "delivery.dead", data, now).await?;
        Ok(true)
    })
    .await
}
