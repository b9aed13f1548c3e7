//! What came of leased deliveries.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, Binary, Date, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncConnection, RunQueryDsl};
use uuid::Uuid;

use model::event_type::is_of_click;
use model::{DeliveryId, WorkspaceId};

use crate::attempts::{self, NewAttempt};
use crate::deliveries::{Columns, Ended, Owed, Progress, tell};
use crate::partitions::days_of;
use crate::statement::{statement, unnested};
use crate::{Connection, QueryResult, endpoint_life};

/// The result of an attempt of a leased delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Which delivery.
    pub id: DeliveryId,
    /// Whose; for the event that tells of its end.
    pub workspace_id: WorkspaceId,
    /// What was owed to whom; likewise.
    pub owed: Owed,
    /// Where it stands now. A body that is stored stays, unless the delivery succeeded at first try and its click can
    /// be told again.
    pub progress: Progress,
}

/// Stores the results of leased deliveries, with their attempts and the events that tell of ends.
///
/// Only where the lease is still ours; tells where it was.
pub async fn finish(
    conn: &mut Connection,
    finished: &[Finished],
    attempts: &[NewAttempt],
    leased_by: Uuid,
    now: DateTime<Utc>,
) -> QueryResult<HashSet<DeliveryId>> {
    conn.transaction(async |conn| {
        let stored = finish_rows(conn, finished, leased_by).await?;
        attempts::insert(conn, attempts.iter().filter(|a| stored.contains_key(&a.delivery_id))).await?;
        let known = |f: &'_ Finished| stored.get(&f.id).map(String::as_str);
        let ends: Vec<Ended<'_>> = finished
            .iter()
            .filter_map(|f| Ended::of(f.id, f.workspace_id, f.owed, known(f)?, &f.progress))
            .collect();
        tell(conn, ends.iter(), now).await?;
        let clicks = finished.iter().filter_map(|f| Some((f, known(f).filter(|of| is_of_click(of))?)));
        endpoint_life::tell_failing(conn, clicks, now).await?;
        QueryResult::Ok(stored.into_keys().collect())
    })
    .await
}

/// Stores the results; tells of which deliveries, and the types of their events.
async fn finish_rows(
    conn: &mut Connection,
    finished: &[Finished],
    leased_by: Uuid,
) -> QueryResult<HashMap<DeliveryId, String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Text)]
        event_type: String,
    }
    let progress = Columns::of(finished.iter().map(|f| &f.progress));
    let names = "f (status, attempt_count, next_attempt_at, attempted_at, finished_at, duration_ms, last_status, \
        last_error, response_body, body, throttled, timings, id)";
    let ended = unnested("$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13", names);
    let rows: Vec<Row> = statement(
        format!("UPDATE deliveries d SET status = f.status, attempt_count = f.attempt_count, \
             next_attempt_at = f.next_attempt_at, attempted_at = f.attempted_at, finished_at = f.finished_at, \
             duration_ms = f.duration_ms, last_status = f.last_status, last_error = f.last_error, \
             response_body = f.response_body, \
             body = CASE WHEN f.status = 'delivered' AND f.attempt_count = 1 AND d.click_id IS NOT NULL THEN NULL \
                 ELSE coalesce(d.body, f.body) END, \
             throttled = f.throttled, timings = f.timings, leased_by = NULL, leased_until = NULL \
         FROM {ended} \
         WHERE d.day = ANY($14) AND d.id = f.id AND d.leased_by = $15 RETURNING d.id, d.event_type"),
    )
    .bind::<Array<Text>, _>(progress.status)
    .bind::<Array<Integer>, _>(progress.attempt_count)
    .bind::<Array<Nullable<Timestamptz>>, _>(progress.next_attempt_at)
    .bind::<Array<Nullable<Timestamptz>>, _>(progress.attempted_at)
    .bind::<Array<Nullable<Timestamptz>>, _>(progress.finished_at)
    .bind::<Array<Nullable<Integer>>, _>(progress.duration_ms)
    .bind::<Array<Nullable<SmallInt>>, _>(progress.last_status)
    .bind::<Array<Nullable<Text>>, _>(progress.last_error)
    .bind::<Array<Nullable<Text>>, _>(progress.response_body)
    .bind::<Array<Nullable<Binary>>, _>(progress.body)
    .bind::<Array<Integer>, _>(progress.throttled)
    .bind::<Array<Nullable<Binary>>, _>(progress.timings)
    .bind::<Array<SqlUuid>, _>(finished.iter().map(|f| f.id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Date>, _>(days_of(finished.iter().map(|f| f.id.day())))
    .bind::<SqlUuid, _>(leased_by)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (DeliveryId::from_uuid(row.id), row.event_type)).collect())
}
