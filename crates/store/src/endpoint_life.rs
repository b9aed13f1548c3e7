//! What becomes of endpoints that only fail: who is warned, who is disabled, who has recovered.
//!
//! Several replicas of `deliver` look at the same rows. Each change names in its WHERE the failures that it was decided
//! for and that nobody acted on yet, so that one of them makes it, and tells of it in the same transaction.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::{Value, json};
use uuid::Uuid;

use model::delivery::DeliveryStatus;
use model::{EndpointId, EndpointUrl, WorkspaceId};

use crate::leases::Finished;
use crate::schema::endpoint_state;
use crate::statement::statement;
use crate::{Connection, QueryResult, audit, events};

/// Who disables, in the audit log.
pub(crate) const ACTOR: &str = "deliver";

/// The failed attempt of a delivery that people are told of.
const FAILING_ATTEMPT: u32 = 3;

/// Of one endpoint's failing deliveries nobody is told more often.
pub const TOLD_PAUSE: TimeDelta = TimeDelta::hours(1);

/// An active endpoint that has not succeeded since its first failure, and that may be disabled for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// Which endpoint.
    pub endpoint_id: EndpointId,
    /// First failed attempt since the last success, or since it was last enabled.
    pub first_failure_at: DateTime<Utc>,
    /// Last failed attempt.
    pub last_failure_at: DateTime<Utc>,
    /// Deliveries whose first attempt failed since.
    pub failed_messages: i64,
    /// How much of its time was warned of, in percent.
    pub warned_percent: u8,
}

/// A warning that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    /// Of which failures.
    pub failing: Failing,
    /// How much of its time is over.
    pub percent: u8,
    /// When it is disabled if nothing changes.
    pub disable_at: DateTime<Utc>,
}

/// Those who have failed since `since` or longer, by id from `after` on; at most `limit`.
pub async fn failing(
    conn: &mut Connection,
    since: DateTime<Utc>,
    after: Option<EndpointId>,
    limit: i64,
) -> QueryResult<Vec<Failing>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        endpoint_id: Uuid,
        #[diesel(sql_type = Timestamptz)]
        first_failure_at: DateTime<Utc>,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        last_failure_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = BigInt)]
        failed_messages: i64,
        #[diesel(sql_type = SmallInt)]
        warned_percent: i16,
    }
    let rows: Vec<Row> = statement(
        "SELECT s.endpoint_id, s.first_failure_at, s.last_failure_at, s.failed_messages, \
             CASE WHEN s.told_since = s.first_failure_at THEN s.warned_percent ELSE 0::smallint END AS warned_percent \
         FROM endpoint_state s JOIN endpoints e ON e.id = s.endpoint_id \
         WHERE s.first_failure_at <= $1 AND ($2 IS NULL OR s.endpoint_id > $2) \
             AND e.state = 'active' AND e.auto_disable AND e.deleted_at IS NULL \
         ORDER BY s.endpoint_id LIMIT $3",
    )
    .bind::<Timestamptz, _>(since)
    .bind::<Nullable<SqlUuid>, _>(after.map(EndpointId::uuid))
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    let read = |row: Row| Failing {
        endpoint_id: EndpointId::from_uuid(row.endpoint_id),
        first_failure_at: row.first_failure_at,
        last_failure_at: row.last_failure_at.unwrap_or(row.first_failure_at),
        failed_messages: row.failed_messages,
        warned_percent: u8::try_from(row.warned_percent).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(read).collect())
}

#[derive(QueryableByName)]
struct Changed {
    #[diesel(sql_type = SqlUuid)]
    endpoint_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    workspace_id: Uuid,
    #[diesel(sql_type = Text)]
    url: String,
}

impl Changed {
    fn workspace_id(&self) -> WorkspaceId {
        WorkspaceId::from_uuid(self.workspace_id)
    }

    fn endpoint_id(&self) -> EndpointId {
        EndpointId::from_uuid(self.endpoint_id)
    }

    /// Where the endpoint is, without what may be secret in its path.
    fn host(&self) -> Option<String> {
        let url: EndpointUrl = self.url.parse().ok()?;
        url.url().host_str().map(ToOwned::to_owned)
    }
}

/// Warns; those that somebody else warned of meanwhile, or that recovered, are left out. Tells how many were warned.
pub async fn warn(conn: &mut Connection, warnings: &[Warning], now: DateTime<Utc>) -> QueryResult<usize> {
    if warnings.is_empty() {
        return Ok(0);
    }
    conn.transaction(async |conn| {
        lock(conn, warnings.iter().map(|w| w.failing.endpoint_id)).await?;
        let warned: Vec<Changed> = statement(
            "UPDATE endpoint_state s SET warned_percent = w.percent, told_since = s.first_failure_at \
             FROM unnest($1, $2, $3) AS w (endpoint_id, since, percent), endpoints e \
             WHERE s.endpoint_id = w.endpoint_id AND e.id = w.endpoint_id AND s.first_failure_at = w.since \
                 AND (s.told_since IS DISTINCT FROM s.first_failure_at OR s.warned_percent < w.percent) \
             RETURNING s.endpoint_id, s.workspace_id, e.url",
        )
        .bind::<Array<SqlUuid>, _>(warnings.iter().map(|w| w.failing.endpoint_id.uuid()).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(
            warnings.iter().map(|w| w.failing.first_failure_at).collect::<Vec<_>>(),
        )
        .bind::<Array<SmallInt>, _>(warnings.iter().map(|w| i16::from(w.percent)).collect::<Vec<_>>())
        .load(conn)
        .await?;
        let tell = |changed: &Changed| {
            let warning = warnings.iter().find(|w| w.failing.endpoint_id == changed.endpoint_id())?;
            let data = json!({
                "endpoint_id": changed.endpoint_id(),
                "host": changed.host(),
                "percent": warning.percent,
                "failing_since": text(warning.failing.first_failure_at),
                "failed_messages": warning.failing.failed_messages,
                "disable_at": text(warning.disable_at),
            });
            Some((changed.workspace_id(), data))
        };
        let told: Vec<(WorkspaceId, Value)> = warned.iter().filter_map(tell).collect();
        events::announce_all(conn, "endpoint.warning", told, now).await?;
        QueryResult::Ok(warned.len())
    })
    .await
}

/// Disables; those that are not active any more, or that recovered, are left out. Tells which were disabled.
pub async fn disable(
    conn: &mut Connection,
    failing: &[Failing],
    now: DateTime<Utc>,
) -> QueryResult<Vec<(WorkspaceId, EndpointId)>> {
    if failing.is_empty() {
        return Ok(Vec::new());
    }
    conn.transaction(async |conn| {
        let disabled: Vec<Changed> = statement(
            "UPDATE endpoints e SET state = 'disabled', state_reason = 'failing', state_since = $3, \
                 revision = revision + 1, updated_at = $3 \
             FROM unnest($1, $2) AS f (endpoint_id, since) \
             WHERE e.id = f.endpoint_id AND e.state = 'active' AND e.auto_disable AND e.deleted_at IS NULL \
                 AND EXISTS (SELECT FROM endpoint_state s \
                     WHERE s.endpoint_id = e.id AND s.first_failure_at = f.since) \
             RETURNING e.id AS endpoint_id, e.workspace_id, e.url",
        )
        .bind::<Array<SqlUuid>, _>(failing.iter().map(|f| f.endpoint_id.uuid()).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(failing.iter().map(|f| f.first_failure_at).collect::<Vec<_>>())
        .bind::<Timestamptz, _>(now)
        .load(conn)
        .await?;
        let mut told = Vec::with_capacity(disabled.len());
        for changed in &disabled {
            let (workspace_id, id) = (changed.workspace_id(), changed.endpoint_id());
            let known = failing.iter().find(|f| f.endpoint_id == id);
            let details = json!({
                "reason": "failing",
                "failing_since": known.map(|f| text(f.first_failure_at)),
                "failed_messages": known.map(|f| f.failed_messages),
            });
            let mut data = details.clone();
            data["endpoint_id"] = json!(id);
            data["host"] = json!(changed.host());
            told.push((workspace_id, data));
            let action = "endpoint.disabled";
            audit::insert(conn, workspace_id, ACTOR, action, &id.to_string(), details, now).await?;
        }
        events::announce_all(conn, "endpoint.disabled", told, now).await?;
        QueryResult::Ok(disabled.iter().map(|d| (d.workspace_id(), d.endpoint_id())).collect())
    })
    .await
}

/// Tells of endpoints that have succeeded since people were told of their failures; at most `limit`.
pub async fn recover(conn: &mut Connection, now: DateTime<Utc>, limit: i64) -> QueryResult<usize> {
    conn.transaction(async |conn| {
        let recovered: Vec<Changed> = statement(
            "UPDATE endpoint_state s SET told_since = NULL, warned_percent = 0 FROM ( \
                 SELECT endpoint_id FROM endpoint_state \
                 WHERE told_since IS NOT NULL AND told_since IS DISTINCT FROM first_failure_at \
                     AND last_success_at >= told_since \
                 ORDER BY endpoint_id LIMIT $1 FOR UPDATE SKIP LOCKED) AS r, endpoints e \
             WHERE s.endpoint_id = r.endpoint_id AND e.id = r.endpoint_id \
             RETURNING s.endpoint_id, s.workspace_id, e.url",
        )
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await?;
        let tell = |changed: &Changed| {
            (changed.workspace_id(), json!({ "endpoint_id": changed.endpoint_id(), "host": changed.host() }))
        };
        let told = recovered.iter().map(tell).collect();
        events::announce_all(conn, "endpoint.recovered", told, now).await?;
        QueryResult::Ok(recovered.len())
    })
    .await
}

/// Tells of deliveries that failed for the third time, each given with the type of its event: of one for each endpoint, once
/// in [`TOLD_PAUSE`].
///
/// Belongs into the transaction that stores the results.
pub(crate) async fn tell_failing(
    conn: &mut Connection,
    finished: impl Iterator<Item = (&Finished, &str)>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let is_failing = |(f, _): &(&Finished, &str)| {
        f.progress.status == DeliveryStatus::Pending && f.progress.attempt_count == FAILING_ATTEMPT
    };
    // one for each endpoint, and in one order: see `lock`
    let failing: BTreeMap<EndpointId, (&Finished, &str)> =
        finished.filter(is_failing).map(|(f, event_type)| (f.owed.endpoint_id, (f, event_type))).collect();
    if failing.is_empty() {
        return Ok(());
    }
    let told: Vec<Changed> = statement(
        "WITH told AS (INSERT INTO endpoint_state AS known \
                 (endpoint_id, workspace_id, failing_told_at, told_since, updated_at) \
             SELECT e.id, e.workspace_id, $2, $2, $2 FROM endpoints e WHERE e.id = ANY($1) AND NOT EXISTS ( \
                 SELECT FROM endpoint_state s WHERE s.endpoint_id = e.id AND s.failing_told_at > $3) \
             ORDER BY e.id \
             ON CONFLICT (endpoint_id) DO UPDATE SET failing_told_at = excluded.failing_told_at, \
                 warned_percent = CASE WHEN known.told_since = known.first_failure_at \
                     THEN known.warned_percent ELSE 0::smallint END, \
                 told_since = coalesce(known.first_failure_at, excluded.told_since) \
             WHERE known.failing_told_at IS NULL OR known.failing_told_at <= $3 \
             RETURNING endpoint_id, workspace_id) \
         SELECT told.*, e.url FROM told JOIN endpoints e ON e.id = told.endpoint_id",
    )
    .bind::<Array<SqlUuid>, _>(failing.keys().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(now - TOLD_PAUSE)
    .load(conn)
    .await?;
    let tell = |changed: &Changed| {
        let (finished, event_type) = failing.get(&changed.endpoint_id())?;
        let data = json!({
            "delivery_id": finished.id,
            "endpoint_id": changed.endpoint_id(),
            "host": changed.host(),
            "event_id": finished.owed.event_id,
            "event_type": event_type,
            "attempts": finished.progress.attempt_count,
            "last_status": finished.progress.last_status,
            "last_error": finished.progress.last_error,
            "next_attempt_at": finished.progress.next_attempt_at.map(text),
        });
        Some((changed.workspace_id(), data))
    };
    events::announce_all(conn, "delivery.failing", told.iter().filter_map(tell).collect(), now).await
}

/// Of whose dead deliveries a webhook may tell now: of each endpoint once in [`TOLD_PAUSE`].
///
/// Belongs into the transaction that makes the webhooks.
pub async fn claim_dead(
    conn: &mut Connection,
    endpoint_ids: &HashSet<EndpointId>,
    now: DateTime<Utc>,
) -> QueryResult<Vec<EndpointId>> {
    if endpoint_ids.is_empty() {
        return Ok(Vec::new());
    }
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        endpoint_id: Uuid,
    }
    let rows: Vec<Row> = statement(
        "INSERT INTO endpoint_state AS known (endpoint_id, workspace_id, dead_told_at, updated_at) \
         SELECT e.id, e.workspace_id, $2, $2 FROM endpoints e WHERE e.id = ANY($1) ORDER BY e.id \
         ON CONFLICT (endpoint_id) DO UPDATE SET dead_told_at = excluded.dead_told_at \
         WHERE known.dead_told_at IS NULL OR known.dead_told_at <= $3 \
         RETURNING endpoint_id",
    )
    .bind::<Array<SqlUuid>, _>(endpoint_ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(now - TOLD_PAUSE)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| EndpointId::from_uuid(row.endpoint_id)).collect())
}

/// An endpoint that is enabled, resumed or moved to another server begins anew. What people were told of stays told, until it succeeds.
pub(crate) async fn forget_failures(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
) -> QueryResult<()> {
    let own = endpoint_state::table
        .filter(endpoint_state::endpoint_id.eq(endpoint_id.uuid()))
        .filter(endpoint_state::workspace_id.eq(workspace_id.uuid()));
    diesel::update(own)
        .set((
            endpoint_state::first_failure_at.eq(None::<DateTime<Utc>>),
            endpoint_state::failed.eq(0),
            endpoint_state::failed_messages.eq(0),
            endpoint_state::warned_percent.eq(0),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Locks in one order, so that two transactions never wait for each other in a circle.
pub(crate) async fn lock(conn: &mut Connection, ids: impl Iterator<Item = EndpointId>) -> QueryResult<()> {
    endpoint_state::table
        .filter(endpoint_state::endpoint_id.eq_any(ids.map(EndpointId::uuid).collect::<Vec<_>>()))
        .order(endpoint_state::endpoint_id)
        .select(endpoint_state::endpoint_id)
        .for_update()
        .load::<Uuid>(conn)
        .await?;
    Ok(())
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
