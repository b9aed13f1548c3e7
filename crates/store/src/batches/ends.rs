//! How batches end: all deliveries in one the same way, in one transaction.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    BigInt, Bool, Date, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::{Value, json};
use uuid::Uuid;

use model::delivery::DeliveryStatus;
use model::event_type::is_of_click;
use model::{BatchId, DeliveryId, EndpointId, EventId, WorkspaceId};

use crate::attempts::{self, NewAttempt};
use crate::deliveries::{Owed, Progress};
use crate::held::{Held, Reason};
use crate::leases::Finished;
use crate::statement::statement;
use crate::{Connection, QueryResult, endpoint_life, events};

/// Why the deliveries of a removed endpoint ended, as it stands with those that were in no batch.
const ENDPOINT_DELETED: &str = "endpoint_deleted";

/// The result of an attempt of a leased batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedBatch {
    /// Which batch.
    pub id: BatchId,
    /// Day of its oldest delivery.
    pub first_day: NaiveDate,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// For whom.
    pub endpoint_id: EndpointId,
    /// Where it stands now, and each of its deliveries; only the number of attempts is each one's own.
    pub progress: Progress,
}

/// A delivery in a batch.
#[derive(QueryableByName)]
struct Member {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Integer)]
    event_revision: i32,
    #[diesel(sql_type = Text)]
    event_type: String,
}

impl Member {
    fn event_id(&self) -> EventId {
        EventId::from_parts(self.event_id, self.event_revision.cast_unsigned())
    }
}

/// Stores the results of leased batches, with their attempts and the events that tell of ends: where the lease is still ours,
/// and tells where it was. Of a batch that died or fails for the third time, one delivery of each type of event stands for all.
pub async fn finish(
    conn: &mut Connection,
    finished: &[FinishedBatch],
    attempts: &[NewAttempt],
    leased_by: Uuid,
    now: DateTime<Utc>,
) -> QueryResult<HashSet<BatchId>> {
    conn.transaction(async |conn| {
        let (mut stored, mut dead) = (HashSet::new(), Vec::new());
        let mut failing: Vec<(Finished, String)> = Vec::new();
        // in the order of their ids, as whoever else locks several
        let mut finished: Vec<&FinishedBatch> = finished.iter().collect();
        finished.sort_by_key(|batch| batch.id);
        for batch in finished {
            if !finish_batch(conn, batch, leased_by).await? {
                continue;
            }
            stored.insert(batch.id);
            let members = finish_members(conn, batch).await?;
            if batch.progress.status == DeliveryStatus::Dead {
                dead.extend(told(batch, &members));
            }
            failing.extend(first_of_clicks(batch, &members));
        }
        let is_stored = |id: DeliveryId| stored.contains(&BatchId::from_uuid(id.uuid()));
        attempts::insert(conn, attempts.iter().filter(|a| is_stored(a.delivery_id))).await?;
        events::announce_all(conn, "delivery.dead", dead, now).await?;
        let failing = failing.iter().map(|(finished, event_type)| (finished, event_type.as_str()));
        endpoint_life::tell_failing(conn, failing, now).await?;
        QueryResult::Ok(stored)
    })
    .await
}

async fn finish_batch(conn: &mut Connection, batch: &FinishedBatch, leased_by: Uuid) -> QueryResult<bool> {
    let progress = &batch.progress;
    let changed = statement(
        "UPDATE delivery_batches b SET status = $4, attempt_count = $5, throttled = $6, next_attempt_at = $7, \
             finished_at = $8, body = CASE WHEN $4 = 'pending' THEN b.body END, leased_by = NULL, leased_until = NULL \
         WHERE b.day = $1 AND b.id = $2 AND b.leased_by = $3",
    )
    .bind::<Date, _>(batch.id.day())
    .bind::<SqlUuid, _>(batch.id.uuid())
    .bind::<SqlUuid, _>(leased_by)
    .bind::<Text, _>(progress.status.as_str())
    .bind::<Integer, _>(progress.attempt_count.cast_signed())
    .bind::<Integer, _>(progress.throttled.cast_signed())
    .bind::<Nullable<Timestamptz>, _>(progress.next_attempt_at)
    .bind::<Nullable<Timestamptz>, _>(progress.finished_at)
    .execute(conn)
    .await?;
    Ok(changed > 0)
}

/// What the subscriber answered is kept with the attempt of the batch, once.
async fn finish_members(conn: &mut Connection, batch: &FinishedBatch) -> QueryResult<Vec<Member>> {
    let progress = &batch.progress;
    statement(
        "UPDATE deliveries d SET status = $4, attempt_count = d.attempt_count + 1, next_attempt_at = $5, \
             attempted_at = $6, finished_at = $7, duration_ms = $8, last_status = $9, last_error = $10, \
             body = CASE WHEN $4 = 'delivered' AND d.attempt_count = 0 AND d.click_id IS NOT NULL THEN NULL \
                 ELSE d.body END, \
             leased_by = CASE WHEN $4 = 'pending' THEN d.leased_by END, \
             leased_until = CASE WHEN $4 = 'pending' THEN d.leased_until END \
         WHERE d.day BETWEEN $1 AND $2 AND d.batch_id = $3 AND d.leased_by = $3 \
         RETURNING d.id, d.event_id, d.event_revision, d.event_type",
    )
    .bind::<Date, _>(batch.first_day)
    .bind::<Date, _>(batch.id.day())
    .bind::<SqlUuid, _>(batch.id.uuid())
    .bind::<Text, _>(progress.status.as_str())
    .bind::<Nullable<Timestamptz>, _>(progress.next_attempt_at)
    .bind::<Nullable<Timestamptz>, _>(progress.attempted_at)
    .bind::<Nullable<Timestamptz>, _>(progress.finished_at)
    .bind::<Nullable<Integer>, _>(progress.duration_ms.map(|ms| i32::try_from(ms).unwrap_or(i32::MAX)))
    .bind::<Nullable<SmallInt>, _>(progress.last_status.map(u16::cast_signed))
    .bind::<Nullable<Text>, _>(progress.last_error)
    .load(conn)
    .await
}

/// The events that tell of a dead batch: one for each type of event in it, by its first delivery and their number.
fn told(batch: &FinishedBatch, members: &[Member]) -> Vec<(WorkspaceId, Value)> {
    let mut of_types: BTreeMap<&str, (&Member, u64)> = BTreeMap::new();
    for member in members {
        let (first, deliveries) = of_types.entry(&member.event_type).or_insert((member, 0));
        *deliveries += 1;
        if member.id < first.id {
            *first = member;
        }
    }
    let tell = |(event_type, (first, deliveries)): (&str, (&Member, u64))| {
        let data = json!({
            "delivery_id": DeliveryId::from_uuid(first.id),
            "endpoint_id": batch.endpoint_id,
            "event_id": first.event_id(),
            "event_type": event_type,
            "attempts": batch.progress.attempt_count,
            "last_status": batch.progress.last_status,
            "last_error": batch.progress.last_error,
            "deliveries": deliveries,
        });
        (batch.workspace_id, data)
    };
    of_types.into_iter().map(tell).collect()
}

/// The first delivery of a click in a batch, as it stands, and the type of its event.
fn first_of_clicks(batch: &FinishedBatch, members: &[Member]) -> Option<(Finished, String)> {
    let first = members.iter().filter(|member| is_of_click(&member.event_type)).min_by_key(|m| m.id)?;
    let finished = Finished {
        id: DeliveryId::from_uuid(first.id),
        workspace_id: batch.workspace_id,
        owed: Owed { endpoint_id: batch.endpoint_id, event_id: first.event_id() },
        progress: batch.progress.clone(),
    };
    Some((finished, first.event_type.clone()))
}

/// A batch that ended without an attempt.
#[derive(QueryableByName)]
struct Buried {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Date)]
    first_day: NaiveDate,
    #[diesel(sql_type = SqlUuid)]
    workspace_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    endpoint_id: Uuid,
    #[diesel(sql_type = Integer)]
    attempt_count: i32,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Bool)]
    is_deleted: bool,
}

/// Ends batches of endpoints that were removed, and those that have been due for `hold` while their endpoint was paused or
/// disabled; at most `limit`. Tells of the latter, as [`held::bury`](crate::held::bury) does of what is in no batch.
pub async fn bury(
    conn: &mut Connection,
    hold: Duration,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<Held>> {
    // longer than the calendar: for ever
    let since = TimeDelta::from_std(hold).ok().and_then(|hold| now.checked_sub_signed(hold));
    conn.transaction(async |conn| {
        let buried: Vec<Buried> = statement(
            "WITH held AS MATERIALIZED (SELECT b.day, b.id, e.state, e.deleted_at IS NOT NULL AS is_deleted \
                 FROM delivery_batches b JOIN endpoints e ON e.id = b.endpoint_id \
                 WHERE b.status = 'pending' AND (b.leased_until IS NULL OR b.leased_until <= $1) \
                     AND (e.deleted_at IS NOT NULL OR (e.state <> 'active' AND b.next_attempt_at <= $2 \
                         AND coalesce(e.state_since, e.updated_at) <= $2)) \
                 LIMIT $3 FOR UPDATE OF b SKIP LOCKED) \
             UPDATE delivery_batches b SET status = 'dead', next_attempt_at = NULL, finished_at = $1, body = NULL, \
                 leased_by = NULL, leased_until = NULL FROM held WHERE b.day = held.day AND b.id = held.id \
             RETURNING b.id, b.first_day, b.workspace_id, b.endpoint_id, b.attempt_count, held.state, held.is_deleted",
        )
        .bind::<Timestamptz, _>(now)
        .bind::<Nullable<Timestamptz>, _>(since)
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await?;
        let (mut dead, mut held) = (Vec::new(), Vec::new());
        for batch in buried {
            let reason = if batch.state == "paused" { Reason::Paused } else { Reason::Disabled };
            let last_error = if batch.is_deleted { ENDPOINT_DELETED } else { reason.as_str() };
            let (ended, members) = bury_members(conn, &batch, last_error, now).await?;
            if !batch.is_deleted {
                dead.extend(told(&ended, &members));
                let (workspace_id, endpoint_id) = (ended.workspace_id, ended.endpoint_id);
                held.push(Held { workspace_id, endpoint_id, reason, deliveries: members.len() as u64 });
            }
        }
        events::announce_all(conn, "delivery.dead", dead, now).await?;
        QueryResult::Ok(held)
    })
    .await
}

async fn bury_members(
    conn: &mut Connection,
    buried: &Buried,
    last_error: &'static str,
    now: DateTime<Utc>,
) -> QueryResult<(FinishedBatch, Vec<Member>)> {
    let id = BatchId::from_uuid(buried.id);
    let members = statement(
        "UPDATE deliveries d SET status = 'dead', next_attempt_at = NULL, finished_at = $4, last_error = $5, \
             leased_by = NULL, leased_until = NULL \
         WHERE d.day BETWEEN $1 AND $2 AND d.batch_id = $3 AND d.leased_by = $3 \
         RETURNING d.id, d.event_id, d.event_revision, d.event_type",
    )
    .bind::<Date, _>(buried.first_day)
    .bind::<Date, _>(id.day())
    .bind::<SqlUuid, _>(buried.id)
    .bind::<Timestamptz, _>(now)
    .bind::<Text, _>(last_error)
    .load(conn)
    .await?;
    let progress = Progress {
        status: DeliveryStatus::Dead,
        attempt_count: buried.attempt_count.cast_unsigned(),
        next_attempt_at: None,
        finished_at: Some(now),
        last_error: Some(last_error),
        ..Progress::due(now, None)
    };
    let ended = FinishedBatch {
        id,
        first_day: buried.first_day,
        workspace_id: WorkspaceId::from_uuid(buried.workspace_id),
        endpoint_id: EndpointId::from_uuid(buried.endpoint_id),
        progress,
    };
    Ok((ended, members))
}
