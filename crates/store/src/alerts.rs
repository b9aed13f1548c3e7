//! Dead deliveries that the alert URL of a workspace is to be told of: counted for each endpoint, and told seldom.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{DeliveryId, EndpointId, EndpointUrl, EventId, WorkspaceId};

use crate::statement::statement;
use crate::{Connection, QueryResult};

/// Dead deliveries of one endpoint that an alert is to tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Whose they are.
    pub workspace_id: WorkspaceId,
    /// For whom they were.
    pub endpoint_id: EndpointId,
    /// Where that is, without what may be secret in its path.
    pub host: Option<String>,
    /// How many since the last alert. An event that came twice after a crash may have been counted twice.
    pub deliveries: u64,
    /// The newest that is still there.
    pub newest: Option<Newest>,
}

/// A dead delivery of a click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its id.
    pub delivery_id: DeliveryId,
    /// Of which event.
    pub event_id: EventId,
    /// How many attempts were made.
    pub attempts: u32,
    /// What the last one was answered.
    pub last_status: Option<u16>,
    /// Why it failed.
    pub last_error: Option<String>,
}

/// Counts dead deliveries that nobody was alerted of yet, by endpoint.
pub async fn count_dead(
    conn: &mut Connection,
    dead: &HashMap<EndpointId, u64>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    if dead.is_empty() {
        return Ok(());
    }
    let number = |count: &u64| i64::try_from(*count).unwrap_or(i64::MAX);
    statement(
        "INSERT INTO endpoint_state AS known (endpoint_id, workspace_id, dead_unalerted, updated_at) \
         SELECT e.id, e.workspace_id, d.dead, $3 \
         FROM unnest($1, $2) AS d (endpoint_id, dead) JOIN endpoints e ON e.id = d.endpoint_id ORDER BY e.id \
         ON CONFLICT (endpoint_id) DO UPDATE SET dead_unalerted = known.dead_unalerted + excluded.dead_unalerted",
    )
    .bind::<Array<SqlUuid>, _>(dead.keys().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(dead.values().map(number).collect::<Vec<_>>())
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes what was counted for endpoints of which no alert told within `pause`; at most `limit` endpoints.
///
/// Belongs into the transaction that makes the alerts.
pub async fn claim_dead(
    conn: &mut Connection,
    pause: TimeDelta,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<Dead>> {
    let rows: Vec<Row> = statement(
        "WITH claimed AS (UPDATE endpoint_state s SET dead_unalerted = 0, dead_alerted_at = $1 FROM ( \
                 SELECT endpoint_id, dead_unalerted FROM endpoint_state k \
                 WHERE dead_unalerted > 0 AND (dead_alerted_at IS NULL OR dead_alerted_at <= $2) \
                     AND EXISTS (SELECT FROM endpoints a WHERE a.workspace_id = k.workspace_id AND a.kind = 'alert' \
                         AND a.state <> 'disabled' AND a.deleted_at IS NULL) \
                 ORDER BY endpoint_id LIMIT $3 FOR UPDATE SKIP LOCKED) AS c \
             WHERE s.endpoint_id = c.endpoint_id \
             RETURNING s.workspace_id, s.endpoint_id, c.dead_unalerted AS deliveries) \
         SELECT claimed.*, e.url, d.id, d.event_id, d.event_revision, d.attempt_count, d.last_status, d.last_error \
         FROM claimed JOIN endpoints e ON e.id = claimed.endpoint_id LEFT JOIN LATERAL (SELECT * FROM deliveries \
             WHERE deliveries.endpoint_id = claimed.endpoint_id AND status = 'dead' \
                 AND event_type IN ('link.clicked', 'link.click.amended') ORDER BY id DESC LIMIT 1) AS d ON true",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(now - pause)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(Row::read).collect())
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    workspace_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    endpoint_id: Uuid,
    #[diesel(sql_type = Text)]
    url: String,
    #[diesel(sql_type = BigInt)]
    deliveries: i64,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    event_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Integer>)]
    event_revision: Option<i32>,
    #[diesel(sql_type = Nullable<Integer>)]
    attempt_count: Option<i32>,
    #[diesel(sql_type = Nullable<SmallInt>)]
    last_status: Option<i16>,
    #[diesel(sql_type = Nullable<Text>)]
    last_error: Option<String>,
}

impl Row {
    fn read(self) -> Dead {
        let natural = |number: i32| u32::try_from(number).unwrap_or_default();
        let newest = || {
            Some(Newest {
                delivery_id: DeliveryId::from_uuid(self.id?),
                event_id: EventId::from_parts(self.event_id?, natural(self.event_revision?)),
                attempts: natural(self.attempt_count?),
                last_status: self.last_status.and_then(|status| u16::try_from(status).ok()),
                last_error: self.last_error.clone(),
            })
        };
        Dead {
            workspace_id: WorkspaceId::from_uuid(self.workspace_id),
            endpoint_id: EndpointId::from_uuid(self.endpoint_id),
            host: self.url.parse().ok().and_then(|url: EndpointUrl| url.url().host_str().map(str::to_owned)),
            deliveries: u64::try_from(self.deliveries).unwrap_or_default(),
            newest: newest(),
        }
    }
}
