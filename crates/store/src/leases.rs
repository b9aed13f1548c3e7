//! Leases of deliveries: who works on a waiting row, and what comes of it (`results`).
//!
//! Whoever works on a pending row holds its lease (`leased_by`, `leased_until`); a result is only taken from whoever
//! holds it. A lease that is not renewed ends by itself, and the delivery is due again.

mod results;

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Date, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncConnection, RunQueryDsl};
use uuid::Uuid;

use model::{ClickId, DeliveryId, EndpointId, EventId, WorkspaceId};

use crate::deliveries::{IdRow, Owed};
use crate::partitions::days_of;
use crate::statement::{statement, unnested};
use crate::{Connection, QueryResult};

pub use results::{Finished, finish};

/// An endpoint with waiting deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Which endpoint.
    pub endpoint_id: EndpointId,
    /// When its first delivery is due.
    pub due_at: DateTime<Utc>,
}

/// A delivery whose lease is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// Its id.
    pub id: DeliveryId,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// What is owed to whom.
    pub owed: Owed,
    /// Type of the event.
    pub event_type: String,
    /// The click that the event tells of.
    pub click_id: Option<ClickId>,
    /// Attempts so far.
    pub attempt_count: u32,
    /// The bytes to send, if they are kept.
    pub body: Option<Vec<u8>>,
    /// A replay put it in line.
    pub is_replay: bool,
    /// Attempts that were answered 429 and do not count against the schedule.
    pub throttled: u32,
    /// Revision of the click that it tells.
    pub told_revision: u32,
    /// Somebody had it in hand, and his lease ended before a result was stored.
    pub is_taken_over: bool,
    /// Its place among what its endpoint is owed, if that is counted.
    pub sequence: Option<u64>,
    /// The last attempt was accepted: somebody asked for another one.
    pub was_accepted: bool,
}

/// What [`LeasedRow`] is read from, but for `is_taken_over`; `d` is the delivery.
pub(crate) const LEASED: &str = "d.id, d.workspace_id, d.endpoint_id, d.event_id, d.event_revision, d.event_type, \
    d.click_id, d.attempt_count, d.body, d.throttled, d.told_revision, d.replay_id IS NOT NULL AS is_replay, \
    d.sequence, d.attempt_count > 0 AND d.last_error IS NULL AS was_accepted";

#[derive(QueryableByName)]
pub(crate) struct LeasedRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    workspace_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    endpoint_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Integer)]
    event_revision: i32,
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    click_id: Option<Uuid>,
    #[diesel(sql_type = Integer)]
    attempt_count: i32,
    #[diesel(sql_type = Nullable<Binary>)]
    body: Option<Vec<u8>>,
    #[diesel(sql_type = Bool)]
    is_replay: bool,
    #[diesel(sql_type = Integer)]
    throttled: i32,
    #[diesel(sql_type = Integer)]
    told_revision: i32,
    #[diesel(sql_type = Bool)]
    is_taken_over: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    sequence: Option<i64>,
    #[diesel(sql_type = Bool)]
    was_accepted: bool,
}

impl From<LeasedRow> for Leased {
    fn from(row: LeasedRow) -> Self {
        Self {
            id: DeliveryId::from_uuid(row.id),
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            owed: Owed {
                endpoint_id: EndpointId::from_uuid(row.endpoint_id),
                event_id: EventId::from_parts(row.event_id, row.event_revision.cast_unsigned()),
            },
            event_type: row.event_type,
            click_id: row.click_id.map(ClickId::from_uuid),
            attempt_count: row.attempt_count.cast_unsigned(),
            body: row.body,
            is_replay: row.is_replay,
            throttled: row.throttled.cast_unsigned(),
            told_revision: row.told_revision.cast_unsigned(),
            is_taken_over: row.is_taken_over,
            sequence: row.sequence.and_then(|sequence| u64::try_from(sequence).ok()),
            was_accepted: row.was_accepted,
        }
    }
}

/// Of each endpoint ($1) up to so many ($2) deliveries that are due at $3 and in nobody's hands, locked.
///
/// What is live goes first. Replays get what is left, and at most a quarter, so that what comes live meanwhile finds
/// room; they have an index of their own.
fn due_sql() -> String {
    let wanted = unnested("$1, $2", "wanted (endpoint_id, quota)");
    format!(
        "SELECT own.day, own.id, own.is_taken_over FROM {wanted}, \
         LATERAL (SELECT live.* FROM (SELECT day, id, leased_by IS NOT NULL AS is_taken_over FROM deliveries d \
                 WHERE d.status = 'pending' AND d.endpoint_id = wanted.endpoint_id AND d.next_attempt_at <= $3 \
                     AND d.replay_id IS NULL AND (d.leased_until IS NULL OR d.leased_until <= $3) \
                 ORDER BY d.next_attempt_at LIMIT wanted.quota FOR UPDATE SKIP LOCKED) AS live \
             UNION ALL \
             SELECT again.* FROM (SELECT day, id, leased_by IS NOT NULL AS is_taken_over FROM deliveries d \
                 WHERE d.status = 'pending' AND d.endpoint_id = wanted.endpoint_id AND d.next_attempt_at <= $3 \
                     AND d.replay_id IS NOT NULL AND (d.leased_until IS NULL OR d.leased_until <= $3) \
                 ORDER BY d.next_attempt_at LIMIT (wanted.quota + 3) / 4 FOR UPDATE SKIP LOCKED) AS again \
             LIMIT wanted.quota) AS own"
    )
}

/// A delivery that this transaction has locked.
#[derive(Debug, QueryableByName)]
pub(crate) struct Locked {
    #[diesel(sql_type = Date)]
    day: NaiveDate,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Bool)]
    is_taken_over: bool,
}

/// Leases what this transaction has locked.
pub(crate) async fn lease_locked(
    conn: &mut Connection,
    locked: &[Locked],
    leased_by: Uuid,
    until: DateTime<Utc>,
) -> QueryResult<Vec<Leased>> {
    if locked.is_empty() {
        return Ok(Vec::new());
    }
    let due = unnested("$2, $3", "due (id, is_taken_over)");
    let rows: Vec<LeasedRow> = statement(leasing(&format!("SELECT due.* FROM {due}")))
        .bind::<Array<Date>, _>(days_of(locked.iter().map(|locked| locked.day)))
        .bind::<Array<SqlUuid>, _>(locked.iter().map(|locked| locked.id).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(locked.iter().map(|locked| locked.is_taken_over).collect::<Vec<_>>())
        .bind::<SqlUuid, _>(leased_by)
        .bind::<Timestamptz, _>(until)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Leased::from).collect())
}

/// `step`: the endpoints that have waiting deliveries, with the moment the first one is due; all of them, or those of which
/// `which` is true (`AND ...`).
///
/// It steps from endpoint to endpoint through the index, so that its cost is one look-up for each of them,
/// however many deliveries one endpoint has, and however many endpoints have none.
pub(crate) fn first_of_each(which: &str) -> String {
    format!(
        "step AS ( \
         (SELECT endpoint_id, next_attempt_at FROM deliveries WHERE status = 'pending' {which} \
          ORDER BY endpoint_id, next_attempt_at LIMIT 1) \
         UNION ALL \
         SELECT next.* FROM step, LATERAL (SELECT endpoint_id, next_attempt_at FROM deliveries \
             WHERE status = 'pending' AND endpoint_id > step.endpoint_id \
             ORDER BY endpoint_id, next_attempt_at LIMIT 1) AS next)"
    )
}

/// The endpoints that have waiting deliveries, with the moment the first one is due; at most `limit`, in the order of their ids,
/// from the one that comes after `after`.
pub async fn waiting(
    conn: &mut Connection,
    after: Option<EndpointId>,
    limit: i64,
) -> QueryResult<Vec<Waiting>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        endpoint_id: Uuid,
        #[diesel(sql_type = Timestamptz)]
        next_attempt_at: DateTime<Utc>,
    }
    let step = first_of_each("AND endpoint_id > $2");
    let rows: Vec<Row> = statement(format!("WITH RECURSIVE {step} SELECT * FROM step LIMIT $1"))
        .bind::<BigInt, _>(limit)
        .bind::<SqlUuid, _>(after.map_or(Uuid::nil(), EndpointId::uuid))
        .load(conn)
        .await?;
    let read = |row: Row| Waiting {
        endpoint_id: EndpointId::from_uuid(row.endpoint_id),
        due_at: row.next_attempt_at,
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Leases due deliveries, oldest first, of each endpoint as many as it wants; skips those that others hold.
///
/// Only `deliveries` is locked: over a join, `SKIP LOCKED` would lock endpoints too, and hand a second courier nothing.
pub async fn lease_due(
    conn: &mut Connection,
    wanted: &[(EndpointId, usize)],
    leased_by: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> QueryResult<Vec<Leased>> {
    let wanted: Vec<_> = wanted.iter().filter(|(_, limit)| *limit > 0).collect();
    conn.transaction(async |conn| {
        let locked: Vec<Locked> = statement(due_sql())
            .bind::<Array<SqlUuid>, _>(wanted.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(
                wanted.iter().map(|(_, limit)| i64::try_from(*limit).unwrap_or(i64::MAX)).collect::<Vec<_>>(),
            )
            .bind::<Timestamptz, _>(now)
            .load(conn)
            .await?;
        lease_locked(conn, &locked, leased_by, until).await
    })
    .await
}

/// The statement that leases what `keys` finds for $4 until $5; $1 are the days of what it finds.
pub(crate) fn leasing(keys: &str) -> String {
    format!(
        "WITH due AS MATERIALIZED ({keys}) \
         UPDATE deliveries d SET leased_by = $4, leased_until = $5 FROM due \
         WHERE d.day = ANY($1) AND d.id = due.id \
         RETURNING {LEASED}, due.is_taken_over"
    )
}

/// Prolongs leases that are still ours, and last until these moments at the latest: one that lasts longer was got anew after it
/// had ended. Tells which they are. Rows that somebody has locked, mostly to store their result, are passed over: waiting for each
/// other's rows would be a deadlock, and a result needs no lease.
pub async fn renew(
    conn: &mut Connection,
    held: &[(DeliveryId, DateTime<Utc>)],
    leased_by: Uuid,
    until: DateTime<Utc>,
) -> QueryResult<HashSet<DeliveryId>> {
    let rows: Vec<IdRow> = statement(format!(
        "WITH held AS MATERIALIZED (SELECT found.id FROM {}, \
             LATERAL (SELECT d.id FROM deliveries d WHERE d.day = ANY($1) AND d.id = own.id AND d.leased_by = $4 \
                 AND d.leased_until <= own.latest OFFSET 0 FOR UPDATE SKIP LOCKED) AS found) \
         UPDATE deliveries d SET leased_until = $5 FROM held \
         WHERE d.day = ANY($1) AND d.id = held.id RETURNING d.id",
        unnested("$2, $3", "own (id, latest)")
    ))
    .bind::<Array<Date>, _>(days_of(held.iter().map(|(id, _)| id.day())))
    .bind::<Array<SqlUuid>, _>(held.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(held.iter().map(|(_, latest)| *latest).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(leased_by)
    .bind::<Timestamptz, _>(until)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| DeliveryId::from_uuid(row.id)).collect())
}

/// Gives leases back that last until these moments at the latest, so that others need not wait for their end. One that lasts longer
/// was got anew after it had ended, and stays.
pub async fn release(
    conn: &mut Connection,
    held: &[(DeliveryId, DateTime<Utc>)],
    leased_by: Uuid,
) -> QueryResult<()> {
    statement(format!(
        "UPDATE deliveries d SET leased_until = NULL, leased_by = NULL FROM {} \
         WHERE d.day = ANY($1) AND d.id = own.id AND d.leased_by = $4 AND d.leased_until <= own.latest",
        unnested("$2, $3", "own (id, latest)")
    ))
    .bind::<Array<Date>, _>(days_of(held.iter().map(|(id, _)| id.day())))
    .bind::<Array<SqlUuid>, _>(held.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(held.iter().map(|(_, latest)| *latest).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(leased_by)
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets a leased delivery that was made after `since` be due at `due_at` and not before, as its click may still come to be recorded;
/// where the lease is still ours. `false`: it is older, or its click was erased.
pub async fn await_recording(
    conn: &mut Connection,
    (id, click_id): (DeliveryId, ClickId),
    leased_by: Uuid,
    since: DateTime<Utc>,
    due_at: DateTime<Utc>,
) -> QueryResult<bool> {
    let changed = statement(
        "UPDATE deliveries d SET next_attempt_at = $5 \
         WHERE d.day = $1 AND d.id = $2 AND d.leased_by = $3 AND d.created_at > $4 \
             AND NOT EXISTS (SELECT FROM clicks c WHERE c.day = $6 AND c.id = $7 AND c.erased_at IS NOT NULL)",
    )
    .bind::<Date, _>(id.day())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<SqlUuid, _>(leased_by)
    .bind::<Timestamptz, _>(since)
    .bind::<Timestamptz, _>(due_at)
    .bind::<Date, _>(click_id.day())
    .bind::<SqlUuid, _>(click_id.uuid())
    .execute(conn)
    .await?;
    Ok(changed > 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plans::Planned;

    /// A renewal that waits for another transaction takes longer.
    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_renewal_does_not_wait_for_a_row_whose_result_is_being_stored() {
        let database = testkit::TestDatabase::new().await;
        let settings = crate::Settings::at(database.url());
        let (mut storing, mut renewing) = (
            crate::connect(&settings).await.expect("a connection"),
            crate::connect(&settings).await.expect("a connection"),
        );
        let us = Uuid::from_u128(5);
        let ids = [DeliveryId::generate(), DeliveryId::generate()];
        for id in ids {
            diesel::sql_query(
                "INSERT INTO deliveries (id, day, workspace_id, endpoint_id, event_id, event_type, status, \
                     next_attempt_at, created_at, leased_by, leased_until) \
                 VALUES ($1, $2, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'link.clicked', \
                     'pending', now(), now(), $3, now())",
            )
            .bind::<SqlUuid, _>(id.uuid())
            .bind::<Date, _>(id.day())
            .bind::<SqlUuid, _>(us)
            .execute(&mut renewing)
            .await
            .expect("an insert");
        }
        let until = Utc::now() + chrono::Duration::hours(1);
        let held = ids.map(|id| (id, until));

        let renewed = storing
            .transaction(async |storing| {
                release(storing, &held[..1], us).await?;
                let renewed = tokio::time::timeout(LIMIT, renew(&mut renewing, &held, us, until)).await;
                renewed.expect("it does not wait")
            })
            .await
            .expect("both work");

        assert_eq!(renewed, HashSet::from([ids[1]]));
    }

    #[tokio::test]
    async fn due_deliveries_are_found_through_their_indexes_with_a_plan_that_is_made_once() {
        let values = "'{00000000-0000-0000-0000-000000000007}', '{32}', now()";

        let planned = Planned::of(&due_sql(), "uuid[], bigint[], timestamptz", values).await;

        let scans = planned.scans_of_today();
        let is_ordered = scans.iter().all(|scan| scan.contains("endpoint_id_next_attempt_at_idx"));
        assert!(scans.len() == 2 && is_ordered && planned.is_made_once, "{planned}");
    }
}
