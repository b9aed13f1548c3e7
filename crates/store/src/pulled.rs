//! The events that an endpoint fetches itself, in an order in which nothing is ever put before what was fetched.
//!
//! Ids and moments do not make such an order: a delivery is known by the moment of its click, and a transaction that began
//! first may commit last. So each row has the number of the transaction that made it (`entered_in`), and only those are told
//! that are below every transaction which is still open in the statement's own snapshot (`pg_snapshot_xmin`). All numbers below
//! it are committed or never will be, and whatever commits later has a higher one: whoever goes on after the last row that was
//! told misses none. The price is that a transaction which stays open, anywhere on the server, holds back what entered after
//! it began; nothing is lost by that.
//!
//! Numbers are the server's. In a database that was restored from a dump on another server, rows can be ahead of it: they are
//! [`adopt`]ed, and a place that is ahead ([`is_ahead`]) is one of the server before.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{ClickId, DeliveryId, EndpointId, EventId, WorkspaceId};

use crate::leases::first_of_each;
use crate::statement::{first_rows, statement};
use crate::{Connection, QueryResult};

/// A place in the order in which an endpoint's events are fetched: after this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The transaction that the delivery came with.
    pub entered_in: i64,
    /// The delivery.
    pub id: DeliveryId,
}

impl Position {
    /// Before everything.
    pub fn beginning() -> Self {
        Self { entered_in: 0, id: DeliveryId::from_uuid(Uuid::nil()) }
    }
}

/// What is recorded of the click of a delivery whose bytes are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// Nothing: not yet, or not any more.
    Nothing,
    /// Its contact was erased.
    Erased,
    /// The message on ENRICHED.
    Event(Vec<u8>),
}

/// An event that is owed to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Where it stands.
    pub position: Position,
    /// `webhook-id`.
    pub event_id: EventId,
    /// Type of the event.
    pub event_type: String,
    /// The click that the event tells of.
    pub click_id: Option<ClickId>,
    /// When it came into being.
    pub created_at: DateTime<Utc>,
    /// The bytes of its body, if they are kept.
    pub body: Option<Vec<u8>>,
    /// What it is rendered from if they are not.
    pub recorded: Recorded,
    /// It is not told before: evidence is waited for.
    pub settles_at: Option<DateTime<Utc>>,
    /// No transaction that is open now can come before it.
    pub is_certain: bool,
    /// It has the number of another server, which is ahead of this one.
    pub is_foreign: bool,
}

/// The events that an endpoint is owed after `after`, oldest first; at most `limit`.
///
/// Those that are not certain yet are among them: nothing after the first of these may be told.
pub async fn page(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    after: Position,
    limit: i64,
) -> QueryResult<Vec<Pulled>> {
    let rows: Vec<Row> = statement(page_sql(limit))
        .bind::<SqlUuid, _>(workspace_id.uuid())
        .bind::<SqlUuid, _>(endpoint_id.uuid())
        .bind::<BigInt, _>(after.entered_in)
        .bind::<SqlUuid, _>(after.id.uuid())
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Pulled::from).collect())
}

/// The events after ($3, $4) of an endpoint ($2) of a workspace ($1), the first $5 of them; that is `at_most`, or fewer.
fn page_sql(at_most: i64) -> String {
    let own = first_rows(
        "SELECT d.day, d.id, d.entered_in, d.event_id, d.event_revision, d.event_type, d.click_id, d.created_at, \
             d.body, CASE WHEN d.status = 'pending' AND d.attempt_count = 0 AND d.replay_id IS NULL \
                 THEN d.next_attempt_at END AS settles_at, \
             d.entered_in < pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS is_certain, \
             d.entered_in >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS is_foreign \
         FROM deliveries d WHERE d.workspace_id = (SELECT $1) AND d.endpoint_id = (SELECT $2) \
             AND (d.entered_in, d.id) > ((SELECT $3), (SELECT $4))",
        "entered_in, id",
        "$5",
        at_most,
    );
    // LIMIT keeps the planner from joining with whole partitions: it is one index look-up a delivery
    format!(
        "SELECT own.*, told.event, told.is_erased FROM ({own}) AS own \
         LEFT JOIN LATERAL (SELECT c.event, c.erased_at IS NOT NULL AS is_erased FROM clicks c \
             WHERE own.body IS NULL AND c.day = own.day AND c.id = own.click_id LIMIT 1) AS told ON true \
         ORDER BY own.entered_in, own.id"
    )
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    entered_in: i64,
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Integer)]
    event_revision: i32,
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    click_id: Option<Uuid>,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Binary>)]
    body: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    settles_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Bool)]
    is_certain: bool,
    #[diesel(sql_type = Bool)]
    is_foreign: bool,
    #[diesel(sql_type = Nullable<Binary>)]
    event: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Bool>)]
    is_erased: Option<bool>,
}

impl From<Row> for Pulled {
    fn from(row: Row) -> Self {
        Self {
            position: Position { entered_in: row.entered_in, id: DeliveryId::from_uuid(row.id) },
            event_id: EventId::from_parts(row.event_id, row.event_revision.cast_unsigned()),
            event_type: row.event_type,
            click_id: row.click_id.map(ClickId::from_uuid),
            created_at: row.created_at,
            body: row.body,
            recorded: match (row.is_erased, row.event) {
                (Some(true), _) => Recorded::Erased,
                (_, Some(event)) => Recorded::Event(event),
                (_, None) => Recorded::Nothing,
            },
            settles_at: row.settles_at,
            is_certain: row.is_certain,
            is_foreign: row.is_foreign,
        }
    }
}

/// What there is for an endpoint that fetches its events, among its newest deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct Offered {
    /// Deliveries that were looked at.
    #[diesel(sql_type = BigInt)]
    pub seen: i64,
    /// Those among them that are there to be fetched, and were never sent.
    #[diesel(sql_type = BigInt)]
    pub offered: i64,
    /// When the first of those came.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest_at: Option<DateTime<Utc>>,
    /// When the last of those came.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub newest_at: Option<DateTime<Utc>>,
}

/// What an endpoint may fetch; of its deliveries the newest `limit` are looked at.
pub async fn offered(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    limit: i64,
) -> QueryResult<Offered> {
    statement(offered_sql(limit))
        .bind::<SqlUuid, _>(workspace_id.uuid())
        .bind::<SqlUuid, _>(endpoint_id.uuid())
        .bind::<BigInt, _>(limit)
        .get_result(conn)
        .await
}

/// What an endpoint ($2) of a workspace ($1) may fetch among its $3 newest deliveries; that is `at_most`, or fewer.
fn offered_sql(at_most: i64) -> String {
    let newest = first_rows(
        "SELECT status, created_at, entered_in, id FROM deliveries \
         WHERE workspace_id = (SELECT $1) AND endpoint_id = (SELECT $2)",
        "entered_in DESC, id DESC",
        "$3",
        at_most,
    );
    format!(
        "SELECT count(*) AS seen, count(*) FILTER (WHERE status = 'offered') AS offered, \
             min(created_at) FILTER (WHERE status = 'offered') AS oldest_at, \
             max(created_at) FILTER (WHERE status = 'offered') AS newest_at \
         FROM ({newest}) AS newest"
    )
}

/// Whether a place lies beyond every transaction of this server: then another one gave it out.
pub async fn is_ahead(conn: &mut Connection, position: Position) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Answer {
        #[diesel(sql_type = Bool)]
        is_ahead: bool,
    }
    let answer: Answer =
        statement("SELECT $1 >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS is_ahead")
            .bind::<BigInt, _>(position.entered_in)
            .get_result(conn)
            .await?;
    Ok(answer.is_ahead)
}

/// Lets deliveries of an endpoint that have the number of another server enter now; at most `limit`. Tells how many.
pub async fn adopt(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    limit: i64,
) -> QueryResult<usize> {
    statement(
        "WITH foreign_rows AS MATERIALIZED (SELECT day, id FROM deliveries d \
             WHERE d.workspace_id = $1 AND d.endpoint_id = $2 \
                 AND d.entered_in >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint \
             ORDER BY d.entered_in, d.id LIMIT $3 FOR UPDATE SKIP LOCKED) \
         UPDATE deliveries d SET entered_in = pg_current_xact_id()::text::bigint FROM foreign_rows \
         WHERE d.day = foreign_rows.day AND d.id = foreign_rows.id",
    )
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<SqlUuid, _>(endpoint_id.uuid())
    .bind::<BigInt, _>(limit)
    .execute(conn)
    .await
}

/// Lets what waits for endpoints that fetch their events be fetched, at most `limit`: what was made for them before they
/// did, what replays put in line, and what was asked for again. Tells how much.
pub async fn offer_waiting(conn: &mut Connection, now: DateTime<Utc>, limit: i64) -> QueryResult<usize> {
    let step = first_of_each("");
    statement(format!(
        "WITH RECURSIVE {step}, \
         own AS MATERIALIZED (SELECT w.day, w.id FROM step, \
                 LATERAL (SELECT e.id FROM endpoints e WHERE e.id = step.endpoint_id AND e.delivery = 'pull' \
                     AND e.deleted_at IS NULL LIMIT 1) AS e, \
                 LATERAL (SELECT day, id FROM deliveries d WHERE d.status = 'pending' AND d.endpoint_id = e.id \
                     AND (d.leased_until IS NULL OR d.leased_until <= $1) LIMIT $2 FOR UPDATE SKIP LOCKED) AS w \
             LIMIT $2) \
         UPDATE deliveries d SET status = 'offered', next_attempt_at = NULL, leased_by = NULL, leased_until = NULL \
         FROM own WHERE d.day = own.day AND d.id = own.id AND d.status = 'pending'"
    ))
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(limit)
    .execute(conn)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::Planned;

    #[tokio::test]
    async fn events_are_fetched_in_the_order_of_their_index_with_plans_that_are_made_once() {
        let whose = "gen_random_uuid(), gen_random_uuid()";
        for (sql, types, values) in [
            (
                page_sql(101),
                "uuid, uuid, bigint, uuid, bigint",
                format!("{whose}, 7, gen_random_uuid(), 101"),
            ),
            (offered_sql(10_000), "uuid, uuid, bigint", format!("{whose}, 10000")),
        ] {
            let planned = Planned::of(&sql, types, &values).await;
            let scans = planned.scans_of_today();
            assert!(scans.iter().all(|scan| scan.contains("endpoint_id_entered_in_id_idx")), "{planned}");
            assert!(planned.is_made_once, "{planned}");
        }
    }
}
