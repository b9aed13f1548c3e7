//! What `deliver` learns about endpoints: health, pauses, and that one is gone.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use model::{EndpointId, EndpointUrl, WorkspaceId};

use crate::endpoints::State;
use crate::schema::{endpoint_state, endpoints};
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// What was learned about an endpoint since it was last written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// Which endpoint.
    pub endpoint_id: EndpointId,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// At which URL it failed: failures are not those of an endpoint that has been moved to another since.
    pub url: EndpointUrl,
    /// Deliveries that the subscriber accepted.
    pub delivered: i64,
    /// Failed attempts since the last success, or since the last writing.
    pub failed: i64,
    /// Deliveries among them whose first attempt it was.
    pub failed_messages: i64,
    /// First failed attempt of them.
    pub first_failure_at: Option<DateTime<Utc>>,
    /// Last failed attempt.
    pub last_failure_at: Option<DateTime<Utc>>,
    /// Last success.
    pub last_success_at: Option<DateTime<Utc>>,
}

/// Adds what was learned to what is known.
pub async fn add(conn: &mut Connection, learned: &[Learned], now: DateTime<Utc>) -> QueryResult<()> {
    // in one order, so that two replicas never wait for each other in a circle
    let mut learned: Vec<&Learned> = learned.iter().collect();
    learned.sort_by_key(|l| l.endpoint_id);
    let ids: Vec<EndpointId> = learned.iter().map(|l| l.endpoint_id).collect();
    conn.transaction(async |conn| {
        // whoever is moving one of them now is waited for, before it is looked where they are
        crate::endpoint_life::lock(conn, ids.iter().copied()).await?;
        add_rows(conn, &learned, now).await
    })
    .await
}

async fn add_rows(conn: &mut Connection, learned: &[&Learned], now: DateTime<Utc>) -> QueryResult<()> {
    let column =
        |of: fn(&Learned) -> Option<DateTime<Utc>>| learned.iter().map(|l| of(l)).collect::<Vec<_>>();
    statement(
        "INSERT INTO endpoint_state AS known (endpoint_id, workspace_id, delivered, failed, failed_messages, \
             first_failure_at, last_failure_at, last_success_at, updated_at) \
         SELECT l.endpoint_id, l.workspace_id, l.delivered, CASE WHEN own.is_there THEN l.failed ELSE 0 END, \
             CASE WHEN own.is_there THEN l.failed_messages ELSE 0 END, CASE WHEN own.is_there THEN l.first_failure_at END, \
             l.last_failure_at, l.last_success_at, $10 \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) AS l (endpoint_id, workspace_id, url, delivered, failed, \
             failed_messages, first_failure_at, last_failure_at, last_success_at), \
         LATERAL (SELECT EXISTS (SELECT FROM endpoints e WHERE e.id = l.endpoint_id AND e.url = l.url) AS is_there) AS own \
         ON CONFLICT (endpoint_id) DO UPDATE SET \
             delivered = known.delivered + excluded.delivered, \
             failed = excluded.failed + CASE WHEN excluded.last_success_at IS NULL THEN known.failed ELSE 0 END, \
             failed_messages = excluded.failed_messages \
                 + CASE WHEN excluded.last_success_at IS NULL THEN known.failed_messages ELSE 0 END, \
             first_failure_at = CASE WHEN excluded.last_success_at IS NULL \
                 THEN coalesce(known.first_failure_at, excluded.first_failure_at) ELSE excluded.first_failure_at END, \
             last_failure_at = greatest(known.last_failure_at, excluded.last_failure_at), \
             last_success_at = greatest(known.last_success_at, excluded.last_success_at), \
             updated_at = excluded.updated_at",
    )
    .bind::<Array<SqlUuid>, _>(learned.iter().map(|l| l.endpoint_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(learned.iter().map(|l| l.workspace_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(learned.iter().map(|l| l.url.as_str()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(learned.iter().map(|l| l.delivered).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(learned.iter().map(|l| l.failed).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(learned.iter().map(|l| l.failed_messages).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(column(|l| l.first_failure_at))
    .bind::<Array<Nullable<Timestamptz>>, _>(column(|l| l.last_failure_at))
    .bind::<Array<Nullable<Timestamptz>>, _>(column(|l| l.last_success_at))
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Sends nothing to an endpoint that asked for it at this URL before `until`, on any replica; a pause is never shortened. One that
/// has been moved to another URL asked for nothing.
pub async fn pause(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    url: &EndpointUrl,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    // whoever is moving it now is waited for
    statement(
        "INSERT INTO endpoint_state AS known (endpoint_id, workspace_id, paused_until, updated_at) \
         SELECT e.id, e.workspace_id, $4, $5 FROM endpoints e \
             WHERE e.id = $1 AND e.workspace_id = $2 AND e.url = $3 FOR SHARE \
         ON CONFLICT (endpoint_id) DO UPDATE SET \
             paused_until = greatest(known.paused_until, excluded.paused_until), updated_at = excluded.updated_at",
    )
    .bind::<SqlUuid, _>(endpoint_id.uuid())
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<Text, _>(url.as_str())
    .bind::<Timestamptz, _>(until)
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what the server asked for that an endpoint is moved away from, and how it failed.
pub(crate) async fn forget_server(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
) -> QueryResult<()> {
    let own = endpoint_state::table
        .filter(endpoint_state::endpoint_id.eq(endpoint_id.uuid()))
        .filter(endpoint_state::workspace_id.eq(workspace_id.uuid()));
    let no_pause = endpoint_state::paused_until.eq(None::<DateTime<Utc>>);
    diesel::update(own).set(no_pause).execute(conn).await?;
    crate::endpoint_life::forget_failures(conn, workspace_id, endpoint_id).await
}

/// Takes these endpoints for `courier` alone until `until`, where nobody else has them. Tells which are its own and, of those that
/// another one had before, until when he did.
pub async fn hold(
    conn: &mut Connection,
    endpoint_ids: &[(EndpointId, WorkspaceId)],
    courier: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> QueryResult<HashMap<EndpointId, Option<DateTime<Utc>>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        endpoint_id: Uuid,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        others_until: Option<DateTime<Utc>>,
    }
    // in one order, so that two replicas never wait for each other in a circle
    let mut endpoint_ids = endpoint_ids.to_vec();
    endpoint_ids.sort();
    let rows: Vec<Row> = statement(
        "WITH earlier AS MATERIALIZED (SELECT endpoint_id, courier, courier_until FROM endpoint_state \
             WHERE endpoint_id = ANY($1)), \
         own AS (INSERT INTO endpoint_state AS known (endpoint_id, workspace_id, courier, courier_until, updated_at) \
             SELECT e.*, $3, $5, $4 FROM unnest($1, $2) AS e \
             ON CONFLICT (endpoint_id) DO UPDATE SET courier = excluded.courier, courier_until = excluded.courier_until \
                 WHERE known.courier = excluded.courier OR known.courier IS NULL OR known.courier_until <= $4 \
             RETURNING endpoint_id) \
         SELECT own.endpoint_id, CASE WHEN earlier.courier <> $3 THEN earlier.courier_until END AS others_until \
         FROM own LEFT JOIN earlier ON earlier.endpoint_id = own.endpoint_id",
    )
    .bind::<Array<SqlUuid>, _>(endpoint_ids.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(endpoint_ids.iter().map(|(_, id)| id.uuid()).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(courier)
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(until)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (EndpointId::from_uuid(row.endpoint_id), row.others_until)).collect())
}

/// Lets all endpoints go at `now` that `courier` has taken for itself, so that others need not wait. Whoever takes them next sees
/// until when it had them.
pub async fn let_go(conn: &mut Connection, courier: Uuid, now: DateTime<Utc>) -> QueryResult<usize> {
    statement("UPDATE endpoint_state SET courier_until = $2 WHERE courier = $1 AND courier_until > $2")
        .bind::<SqlUuid, _>(courier)
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await
}

/// The endpoints with a pause that is not over at `now`, and when it will be; at most `limit`.
pub async fn paused(
    conn: &mut Connection,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<(EndpointId, DateTime<Utc>)>> {
    let rows: Vec<(Uuid, Option<DateTime<Utc>>)> = endpoint_state::table
        .filter(endpoint_state::paused_until.gt(now))
        .limit(limit)
        .select((endpoint_state::endpoint_id, endpoint_state::paused_until))
        .load(conn)
        .await?;
    Ok(rows.into_iter().filter_map(|(id, until)| Some((EndpointId::from_uuid(id), until?))).collect())
}

/// Disables an endpoint that answered 410 at this URL and tells of it; `false` when it was disabled already, or has been moved to
/// another.
pub async fn disable_gone(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    url: &EndpointUrl,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    conn.transaction(async |conn| {
        let live = endpoints::table
            .filter(endpoints::id.eq(endpoint_id.uuid()).and(endpoints::workspace_id.eq(workspace_id.uuid())))
            .filter(endpoints::url.eq(url.as_str()))
            .filter(endpoints::deleted_at.is_null().and(endpoints::state.ne(State::Disabled.as_str())));
        let changed = diesel::update(live)
            .set((
                endpoints::state.eq(State::Disabled.as_str()),
                endpoints::state_reason.eq("gone"),
                endpoints::state_since.eq(now),
                endpoints::revision.eq(endpoints::revision + 1),
                endpoints::updated_at.eq(now),
            ))
            .execute(conn)
            .await?;
        if changed > 0 {
            let (action, subject) = ("endpoint.disabled", endpoint_id.to_string());
            let details = json!({ "reason": "gone" });
            crate::audit::insert(
                conn,
                workspace_id,
                crate::endpoint_life::ACTOR,
                action,
                &subject,
                details,
                now,
            )
            .await?;
            let data = json!({ "endpoint_id": endpoint_id, "reason": "gone" });
            crate::events::announce(conn, workspace_id, "endpoint.disabled", data, now).await?;
        }
        QueryResult::Ok(changed > 0)
    })
    .await
}
