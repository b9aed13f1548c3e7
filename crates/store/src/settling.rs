//! First tellings of clicks that wait for evidence, and what an amendment makes of them before they are sent.
//!
//! Only a delivery that nobody has tried or leased is changed: whoever leased one may have sent it, and holds it against what is
//! recorded before he does ([`later`]). And a lower revision never takes the place of a higher one, in whatever order they come.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Date, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{ClickId, DeliveryId, EndpointId, EventId};

use crate::deliveries::{NewDelivery, Owed};
use crate::partitions::days_of;
use crate::statement::{statement, unnested};
use crate::{Connection, QueryResult};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    endpoint_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
}

impl Row {
    fn owed(self) -> Owed {
        Owed {
            endpoint_id: EndpointId::from_uuid(self.endpoint_id),
            event_id: EventId::from_parts(self.event_id, 0),
        }
    }
}

/// Makes these first tellings wait: as new deliveries, or in place of a lower revision that waits already. Each is of another
/// endpoint or click.
///
/// Tells which of them wait now. Of the others something was told already, or a higher revision waits or is recorded: whoever
/// wants the settled verdict need not hear them any more. What is told otherwise than before enters again: whoever fetches it may
/// have fetched it as it was, if it was due and could not be sent.
pub async fn tell(
    conn: &mut Connection,
    new: &[NewDelivery],
    now: DateTime<Utc>,
) -> QueryResult<HashSet<Owed>> {
    if new.is_empty() {
        return Ok(HashSet::new());
    }
    let names =
        "n (id, day, workspace_id, endpoint_id, event_id, event_type, click_id, due_at, body, revision)";
    let new_rows = unnested("$1, $2, $3, $4, $5, $6, $7, $8, $9, $10", names);
    // in one order, so that two batches never wait for each other in a circle
    let rows: Vec<Row> = statement(
        format!("INSERT INTO deliveries AS d (id, day, workspace_id, endpoint_id, event_id, event_type, click_id, status, \
             next_attempt_at, created_at, body, told_revision) \
         SELECT n.id, n.day, n.workspace_id, n.endpoint_id, n.event_id, n.event_type, n.click_id, 'pending', \
             n.due_at, $11, n.body, n.revision \
         FROM {new_rows} \
         WHERE (SELECT 1 FROM clicks c WHERE c.day = ANY($12) AND c.id = n.click_id \
             AND c.revision > n.revision) IS NULL \
         ORDER BY n.endpoint_id, n.event_id \
         ON CONFLICT (day, endpoint_id, event_id, event_revision, replay_number) DO UPDATE \
             SET body = excluded.body, told_revision = excluded.told_revision, \
                 entered_in = pg_current_xact_id()::text::bigint \
             WHERE d.status = 'pending' AND d.attempted_at IS NULL AND d.leased_by IS NULL \
                 AND d.told_revision < excluded.told_revision \
         RETURNING endpoint_id, event_id"),
    )
    .bind::<Array<SqlUuid>, _>(new.iter().map(|d| d.id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Date>, _>(new.iter().map(|d| d.owed.event_id.day()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(new.iter().map(|d| d.workspace_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(new.iter().map(|d| d.owed.endpoint_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(new.iter().map(|d| d.owed.event_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(new.iter().map(|d| d.event_type).collect::<Vec<_>>())
    .bind::<Array<Nullable<SqlUuid>>, _>(new.iter().map(|d| d.click_id.map(ClickId::uuid)).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(
        new.iter().map(|d| d.progress.next_attempt_at).collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Binary>>, _>(new.iter().map(|d| d.progress.body.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(new.iter().map(|d| d.told_revision.cast_signed()).collect::<Vec<_>>())
    .bind::<Timestamptz, _>(now)
    .bind::<Array<Date>, _>(days_of(new.iter().map(|d| d.owed.event_id.day())))
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(Row::owed).collect())
}

/// Removes these first tellings, of which the endpoint no longer wants to hear, if a revision below the given one waits. Tells
/// which are gone.
pub async fn take_back(conn: &mut Connection, first: &[(Owed, u32)]) -> QueryResult<HashSet<Owed>> {
    if first.is_empty() {
        return Ok(HashSet::new());
    }
    // what somebody has locked is being leased, and goes out
    let own = unnested("$2, $3, $4", "own (endpoint_id, event_id, revision)");
    let rows: Vec<Row> = statement(format!(
        "WITH held AS MATERIALIZED (SELECT found.* FROM {own}, \
             LATERAL (SELECT d.day, d.id FROM deliveries d WHERE d.day = ANY($1) \
                 AND d.endpoint_id = own.endpoint_id AND d.event_id = own.event_id \
                 AND d.event_revision = 0 AND d.replay_number = 0 \
                 AND d.status = 'pending' AND d.attempted_at IS NULL AND d.leased_by IS NULL \
                 AND d.told_revision < own.revision \
                 OFFSET 0 FOR UPDATE SKIP LOCKED) AS found) \
         DELETE FROM deliveries d USING held WHERE d.day = ANY($1) AND d.id = held.id \
         RETURNING d.endpoint_id, d.event_id"
    ))
    .bind::<Array<Date>, _>(days_of(first.iter().map(|(owed, _)| owed.event_id.day())))
    .bind::<Array<SqlUuid>, _>(first.iter().map(|(owed, _)| owed.endpoint_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(first.iter().map(|(owed, _)| owed.event_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(first.iter().map(|(_, revision)| revision.cast_signed()).collect::<Vec<_>>())
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(Row::owed).collect())
}

/// The messages of the clicks that these deliveries tell of, where a later revision is recorded than the one that each tells.
pub async fn later(
    conn: &mut Connection,
    told: &[(DeliveryId, ClickId, u32)],
) -> QueryResult<HashMap<DeliveryId, Vec<u8>>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = SqlUuid)]
        delivery_id: Uuid,
        #[diesel(sql_type = Binary)]
        event: Vec<u8>,
    }
    let own = unnested("$1, $3, $4", "own (delivery_id, click_id, revision)");
    let rows: Vec<Found> = statement(format!(
        "SELECT own.delivery_id, found.event FROM {own}, \
             LATERAL (SELECT c.event FROM clicks c WHERE c.day = ANY($2) AND c.id = own.click_id \
                 AND c.revision > own.revision AND c.erased_at IS NULL OFFSET 0) AS found"
    ))
    .bind::<Array<SqlUuid>, _>(told.iter().map(|(id, ..)| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Date>, _>(days_of(told.iter().map(|(_, click_id, _)| click_id.day())))
    .bind::<Array<SqlUuid>, _>(told.iter().map(|(_, click_id, _)| click_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(told.iter().map(|(.., revision)| revision.cast_signed()).collect::<Vec<_>>())
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (DeliveryId::from_uuid(row.delivery_id), row.event)).collect())
}

/// Lets these leased deliveries tell another revision of their clicks, with these bytes; where the lease is still ours. They enter
/// again, as in [`tell`].
pub async fn retell(
    conn: &mut Connection,
    told: &[(DeliveryId, u32, &[u8])],
    leased_by: Uuid,
) -> QueryResult<()> {
    statement(format!(
        "UPDATE deliveries d SET body = n.body, told_revision = n.revision, \
             entered_in = pg_current_xact_id()::text::bigint FROM {} \
         WHERE d.day = ANY($1) AND d.id = n.id AND d.leased_by = $5",
        unnested("$2, $3, $4", "n (id, revision, body)")
    ))
    .bind::<Array<Date>, _>(days_of(told.iter().map(|(id, ..)| id.day())))
    .bind::<Array<SqlUuid>, _>(told.iter().map(|(id, ..)| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(told.iter().map(|(_, revision, _)| revision.cast_signed()).collect::<Vec<_>>())
    .bind::<Array<Binary>, _>(told.iter().map(|(.., body)| *body).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(leased_by)
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes these leased deliveries, of which the endpoint no longer wants to hear; where the lease is still ours.
pub async fn withdraw(conn: &mut Connection, ids: &[DeliveryId], leased_by: Uuid) -> QueryResult<()> {
    statement(format!(
        "DELETE FROM deliveries d USING {} \
         WHERE d.day = ANY($1) AND d.id = own.id AND d.leased_by = $3",
        unnested("$2", "own (id)")
    ))
    .bind::<Array<Date>, _>(days_of(ids.iter().map(|id| id.day())))
    .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(leased_by)
    .execute(conn)
    .await?;
    Ok(())
}

/// Those of these tellings of clicks that are recorded, or that a recorded one is later than.
pub async fn recorded(conn: &mut Connection, tellings: &[EventId]) -> QueryResult<HashSet<EventId>> {
    #[derive(QueryableByName)]
    struct Number {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let rows: Vec<Number> = statement(
        "SELECT own.number FROM unnest((SELECT $2), (SELECT $3)) WITH ORDINALITY AS own (id, revision, number), \
             LATERAL (SELECT FROM clicks c WHERE c.day = ANY($1) AND c.id = own.id \
                 AND c.revision >= own.revision OFFSET 0) AS found",
    )
    .bind::<Array<Date>, _>(days_of(tellings.iter().map(|id| id.day())))
    .bind::<Array<SqlUuid>, _>(tellings.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(tellings.iter().map(|id| id.revision().cast_signed()).collect::<Vec<_>>())
    .load(conn)
    .await?;
    let telling = |row: Number| tellings.get(usize::try_from(row.number - 1).ok()?).copied();
    Ok(rows.into_iter().filter_map(telling).collect())
}
