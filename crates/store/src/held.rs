//! What waits for endpoints that are paused, disabled or deleted: it is held for a while, or not at all, then it is dead.
//!
//! Both queries begin with what waits, not with the endpoints: most of those that are paused or deleted wait for nothing.
//! LIMIT keeps the planner from turning that round.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::{Value, json};
use uuid::Uuid;

use model::{DeliveryId, EndpointId, EventId, WorkspaceId};

use crate::leases::first_of_each;
use crate::statement::statement;
use crate::{Connection, QueryResult, events};

/// Deliveries of one endpoint and event type that were held too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whose they were.
    pub workspace_id: WorkspaceId,
    /// For whom they waited.
    pub endpoint_id: EndpointId,
    /// Why they waited.
    pub reason: Reason,
    /// How many.
    pub deliveries: u64,
}

/// Why deliveries wait for an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its owner paused it.
    Paused,
    /// It was disabled while they waited.
    Disabled,
}

impl Reason {
    /// The word in `last_error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused_too_long",
            Self::Disabled => "endpoint_disabled",
        }
    }
}

/// Ends deliveries that have been due for `hold` while their endpoint was paused or disabled; at most `limit`.
///
/// Each endpoint and type of event is told of once, by its first delivery and their number: they can be many.
pub async fn bury(
    conn: &mut Connection,
    hold: Duration,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<Held>> {
    let since = TimeDelta::from_std(hold).ok().and_then(|hold| now.checked_sub_signed(hold));
    // longer than the calendar: for ever
    let Some(since) = since else { return Ok(Vec::new()) };
    conn.transaction(async |conn| {
        let rows: Vec<Row> = statement(bury_sql())
            .bind::<Timestamptz, _>(now)
            .bind::<Timestamptz, _>(since)
            .bind::<BigInt, _>(limit)
            .bind::<Text, _>(Reason::Paused.as_str())
            .bind::<Text, _>(Reason::Disabled.as_str())
            .load(conn)
            .await?;
        events::announce_all(conn, "delivery.dead", rows.iter().map(Row::told).collect(), now).await?;
        QueryResult::Ok(rows.into_iter().map(Row::read).collect())
    })
    .await
}

/// At $1 ends at most $3 of what has been due since $2, with $4 where the endpoint is paused and $5 where it is disabled.
fn bury_sql() -> String {
    let step = first_of_each("");
    format!(
        "WITH RECURSIVE {step}, \
         held AS MATERIALIZED (SELECT w.day, w.id, e.state FROM step, \
             LATERAL (SELECT e.id, e.state FROM endpoints e WHERE e.id = step.endpoint_id \
                 AND e.state <> 'active' AND e.deleted_at IS NULL \
                 AND coalesce(e.state_since, e.updated_at) <= $2 LIMIT 1) AS e, LATERAL ( \
                 SELECT day, id FROM deliveries d \
                 WHERE d.status = 'pending' AND d.endpoint_id = e.id AND d.next_attempt_at <= $2 \
                     AND (d.leased_until IS NULL OR d.leased_until <= $1) \
                 ORDER BY d.next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS w \
             WHERE step.next_attempt_at <= $2 LIMIT $3), \
         buried AS (UPDATE deliveries d SET status = 'dead', next_attempt_at = NULL, finished_at = $1, \
                 last_error = CASE held.state WHEN 'paused' THEN $4 ELSE $5 END, \
                 leased_by = NULL, leased_until = NULL \
             FROM held WHERE d.day = held.day AND d.id = held.id AND d.status = 'pending' \
             RETURNING d.*) \
         SELECT DISTINCT ON (endpoint_id, event_type) workspace_id, endpoint_id, event_type, last_error, id, \
             event_id, event_revision, attempt_count, \
             count(*) OVER (PARTITION BY endpoint_id, event_type) AS deliveries \
         FROM buried ORDER BY endpoint_id, event_type, id"
    )
}

/// The first of what was ended for one endpoint and type of event, and how many they were.
#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    workspace_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    endpoint_id: Uuid,
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = Text)]
    last_error: String,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Integer)]
    event_revision: i32,
    #[diesel(sql_type = Integer)]
    attempt_count: i32,
    #[diesel(sql_type = BigInt)]
    deliveries: i64,
}

impl Row {
    /// The event that tells of it.
    fn told(&self) -> (WorkspaceId, Value) {
        let data = json!({
            "delivery_id": DeliveryId::from_uuid(self.id),
            "endpoint_id": EndpointId::from_uuid(self.endpoint_id),
            "event_id": EventId::from_parts(self.event_id, self.event_revision.cast_unsigned()),
            "event_type": self.event_type,
            "attempts": self.attempt_count,
            "last_status": null,
            "last_error": self.last_error,
            "deliveries": self.deliveries,
        });
        (WorkspaceId::from_uuid(self.workspace_id), data)
    }

    fn read(self) -> Held {
        Held {
            workspace_id: WorkspaceId::from_uuid(self.workspace_id),
            endpoint_id: EndpointId::from_uuid(self.endpoint_id),
            reason: if self.last_error == Reason::Paused.as_str() {
                Reason::Paused
            } else {
                Reason::Disabled
            },
            deliveries: u64::try_from(self.deliveries).unwrap_or_default(),
        }
    }
}

/// Ends the waiting deliveries of endpoints that were deleted; at most `limit`. Nobody will ever send them.
pub async fn bury_of_deleted(conn: &mut Connection, now: DateTime<Utc>, limit: i64) -> QueryResult<usize> {
    let step = first_of_each("");
    statement(format!(
        "WITH RECURSIVE {step}, \
         orphan AS MATERIALIZED (SELECT w.day, w.id FROM step, \
                 LATERAL (SELECT e.id FROM endpoints e \
                     WHERE e.id = step.endpoint_id AND e.deleted_at IS NOT NULL LIMIT 1) AS e, \
                 LATERAL (SELECT day, id FROM deliveries \
                     WHERE status = 'pending' AND endpoint_id = e.id LIMIT $2) AS w \
             LIMIT $2) \
         UPDATE deliveries d SET status = 'dead', next_attempt_at = NULL, finished_at = $1, \
             last_error = 'endpoint_deleted', leased_by = NULL, leased_until = NULL \
         FROM orphan WHERE d.day = orphan.day AND d.id = orphan.id AND d.status = 'pending'"
    ))
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(limit)
    .execute(conn)
    .await
}

#[cfg(test)]
mod tests {
    use diesel_async::SimpleAsyncConnection as _;

    use super::*;

    const HOLD: Duration = Duration::from_secs(3600);

    #[derive(QueryableByName)]
    struct Scans {
        #[diesel(sql_type = BigInt)]
        scans: i64,
    }

    /// Look-ups in indexes and readings of whole tables that both queries cost together.
    async fn scans(conn: &mut Connection) -> i64 {
        conn.transaction(async |conn| {
            bury(conn, HOLD, Utc::now(), 100).await?;
            bury_of_deleted(conn, Utc::now(), 100).await?;
            let counted: Scans = diesel::sql_query(
                "SELECT (sum(coalesce(idx_scan, 0)) + sum(seq_scan))::bigint AS scans \
                 FROM pg_stat_xact_user_tables WHERE relname LIKE 'deliveries%' OR relname = 'endpoints'",
            )
            .get_result(conn)
            .await?;
            QueryResult::Ok(counted.scans)
        })
        .await
        .expect("both work")
    }

    async fn endpoints(conn: &mut Connection, workspace_id: WorkspaceId, number: u32, more: &str) {
        let insert = format!(
            "INSERT INTO endpoints (id, workspace_id, url, event_types, state, owed_from, created_at, updated_at, \
                 state_since, deleted_at) \
             SELECT gen_random_uuid(), '{}', 'https://crm.example.com/', ARRAY['link.clicked'], {more} \
             FROM generate_series(1, {number})",
            workspace_id.uuid(),
        );
        conn.batch_execute(&insert).await.expect("endpoints");
    }

    #[tokio::test]
    async fn endpoints_that_wait_for_nothing_cost_nothing() {
        const PAUSED: &str = "'paused', now(), now(), now(), now() - interval '1 day', NULL";
        const DELETED: &str = "'disabled', now(), now(), now(), now() - interval '1 day', now()";
        let database = testkit::TestDatabase::new().await;
        let settings = crate::Settings::at(database.url());
        let mut conn = crate::connect(&settings).await.expect("a connection");
        let workspace_id = testkit::given::workspace(&mut conn).await;
        conn.batch_execute("ANALYZE").await.expect("ANALYZE");
        let of_none = scans(&mut conn).await;

        endpoints(&mut conn, workspace_id, 2000, PAUSED).await;
        endpoints(&mut conn, workspace_id, 2000, DELETED).await;
        conn.batch_execute("ANALYZE").await.expect("ANALYZE");

        // another plan may look at each partition twice, but none at each endpoint
        let of_many = scans(&mut conn).await;
        assert!(of_many <= 2 * of_none, "{of_many} instead of {of_none}");
    }
}
