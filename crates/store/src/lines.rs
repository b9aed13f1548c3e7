//! Deliveries in line: those of an endpoint that is sent to in order, each behind the one before it.
//!
//! The *head* of a line is the delivery with the lowest number that waits in it; nothing behind it is sent. Strict order is one
//! line, an order per link one for each link, and what is of no link is in a line of its own. Replays are in lines beside, by the
//! numbers of what they replay, what was never counted first.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Date, Integer, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{DeliveryId, EndpointId, LinkId, WorkspaceId};

use crate::leases::{Leased, LeasedRow, leasing};
use crate::sequences::NO_LINK;
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// Most replayed deliveries of one endpoint among which the heads are looked for: more than a replay puts in line at a time.
const REPLAYED_MAX: i64 = 20_000;

/// Which line of an endpoint: its link, or what stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LineKey(pub Uuid);

/// Whose heads are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Which endpoint.
    pub endpoint_id: EndpointId,
    /// Whether all that it is owed is in one line.
    pub is_strict: bool,
    /// The lines of links after this one; the default is before them all.
    pub after: LineKey,
}

/// The first delivery of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Which delivery.
    pub id: DeliveryId,
    /// Of which line.
    pub line: LineKey,
    /// Its number; 0 where it was never counted.
    pub sequence: u64,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// Until when somebody has it in hand.
    pub leased_until: Option<DateTime<Utc>>,
}

/// The heads of an endpoint's lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heads {
    /// Of what is live, in the order of the lines.
    pub live: Vec<Head>,
    /// Of what is replayed.
    pub replayed: Vec<Head>,
}

#[derive(QueryableByName)]
struct HeadRow {
    #[diesel(sql_type = SqlUuid)]
    endpoint_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    order_key: Uuid,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    sequence: i64,
    #[diesel(sql_type = Timestamptz)]
    next_attempt_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    leased_until: Option<DateTime<Utc>>,
}

impl HeadRow {
    fn read(self) -> (EndpointId, Head) {
        let head = Head {
            id: DeliveryId::from_uuid(self.id),
            line: LineKey(self.order_key),
            sequence: u64::try_from(self.sequence).unwrap_or_default(),
            due_at: self.next_attempt_at,
            leased_until: self.leased_until,
        };
        (EndpointId::from_uuid(self.endpoint_id), head)
    }
}

/// What is live and in line. The words are those of the indexes.
const IN_LINE: &str = "status = 'pending' AND sequence IS NOT NULL AND replay_id IS NULL";

/// The columns of a head.
const COLUMNS: &str = "order_key, id, sequence, next_attempt_at, leased_until";

/// The heads of these endpoints' lines; of an order per link those of at most `lines_max` links.
pub async fn heads(
    conn: &mut Connection,
    wanted: &[Wanted],
    lines_max: i64,
) -> QueryResult<HashMap<EndpointId, Heads>> {
    let mut found: HashMap<EndpointId, Heads> = HashMap::new();
    let (strict, by_link): (Vec<&Wanted>, Vec<&Wanted>) = wanted.iter().partition(|wanted| wanted.is_strict);
    let mut live = Vec::new();
    if !strict.is_empty() {
        live.extend(strict_heads(conn, &strict).await?);
    }
    if !by_link.is_empty() {
        live.extend(heads_by_link(conn, &by_link, lines_max).await?);
    }
    for row in live {
        let (endpoint_id, head) = row.read();
        found.entry(endpoint_id).or_default().live.push(head);
    }
    if !wanted.is_empty() {
        for row in replayed_heads(conn, wanted).await? {
            let (endpoint_id, head) = row.read();
            found.entry(endpoint_id).or_default().replayed.push(head);
        }
    }
    Ok(found)
}

fn strict_sql() -> String {
    format!(
        "SELECT wanted.endpoint_id, head.* FROM unnest($1) AS wanted (endpoint_id), \
             LATERAL (SELECT {COLUMNS} FROM deliveries d WHERE {IN_LINE} AND d.endpoint_id = wanted.endpoint_id \
                 ORDER BY d.sequence LIMIT 1) AS head"
    )
}

async fn strict_heads(conn: &mut Connection, wanted: &[&Wanted]) -> QueryResult<Vec<HeadRow>> {
    statement(strict_sql())
        .bind::<Array<SqlUuid>, _>(wanted.iter().map(|w| w.endpoint_id.uuid()).collect::<Vec<_>>())
        .load(conn)
        .await
}

/// It steps from line to line through the index, so that a line costs one look-up however long it is.
fn by_link_sql() -> String {
    format!(
        "SELECT wanted.endpoint_id, heads.* FROM unnest($1, $2) AS wanted (endpoint_id, after), LATERAL ( \
             WITH RECURSIVE head AS ( \
                 (SELECT {COLUMNS} FROM deliveries d WHERE {IN_LINE} AND d.endpoint_id = wanted.endpoint_id \
                      AND d.order_key > wanted.after ORDER BY d.order_key, d.sequence LIMIT 1) \
                 UNION ALL \
                 SELECT next.* FROM head, LATERAL (SELECT {COLUMNS} FROM deliveries d WHERE {IN_LINE} \
                     AND d.endpoint_id = wanted.endpoint_id AND d.order_key > head.order_key \
                     ORDER BY d.order_key, d.sequence LIMIT 1) AS next) \
             SELECT * FROM head LIMIT $3) AS heads"
    )
}

async fn heads_by_link(
    conn: &mut Connection,
    wanted: &[&Wanted],
    lines_max: i64,
) -> QueryResult<Vec<HeadRow>> {
    statement(by_link_sql())
        .bind::<Array<SqlUuid>, _>(wanted.iter().map(|w| w.endpoint_id.uuid()).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(wanted.iter().map(|w| w.after.0).collect::<Vec<_>>())
        .bind::<BigInt, _>(lines_max)
        .load(conn)
        .await
}

async fn replayed_heads(conn: &mut Connection, wanted: &[Wanted]) -> QueryResult<Vec<HeadRow>> {
    statement(
        "SELECT wanted.endpoint_id, heads.* FROM unnest($1, $2) AS wanted (endpoint_id, is_strict), LATERAL ( \
             SELECT DISTINCT ON (line.order_key) line.* FROM ( \
                 SELECT CASE WHEN wanted.is_strict THEN $4 ELSE coalesce(d.order_key, $4) END AS order_key, d.id, \
                     coalesce(d.sequence, 0) AS sequence, d.next_attempt_at, d.leased_until \
                 FROM deliveries d WHERE d.status = 'pending' AND d.replay_id IS NOT NULL \
                     AND d.endpoint_id = wanted.endpoint_id LIMIT $3) AS line \
             ORDER BY line.order_key, line.sequence, line.id) AS heads",
    )
    .bind::<Array<SqlUuid>, _>(wanted.iter().map(|w| w.endpoint_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(wanted.iter().map(|w| w.is_strict).collect::<Vec<_>>())
    .bind::<BigInt, _>(REPLAYED_MAX)
    .bind::<SqlUuid, _>(NO_LINK)
    .load(conn)
    .await
}

/// Those of these deliveries that are due, in nobody's hands and whose endpoint has no other courier than `leased_by`, locked.
const LEASE_HEADS: &str = "SELECT own.day, own.id, own.is_taken_over FROM unnest($1, $2) AS head (day, id), \
    LATERAL (SELECT d.day, d.id, d.endpoint_id, d.leased_by IS NOT NULL AS is_taken_over FROM deliveries d \
        WHERE d.day = head.day AND d.id = head.id AND d.status = 'pending' AND d.next_attempt_at <= $3 \
            AND (d.leased_until IS NULL OR d.leased_until <= $3) \
        LIMIT 1 FOR UPDATE SKIP LOCKED) AS own \
    WHERE EXISTS (SELECT FROM endpoint_state s WHERE s.endpoint_id = own.endpoint_id AND s.courier = $4)";

/// Leases these heads. One that somebody else has, or that has ended meanwhile, is passed over.
pub async fn lease(
    conn: &mut Connection,
    ids: &[DeliveryId],
    leased_by: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> QueryResult<Vec<Leased>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<LeasedRow> = statement(leasing(LEASE_HEADS))
        .bind::<Array<Date>, _>(ids.iter().map(|id| id.day()).collect::<Vec<NaiveDate>>())
        .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .bind::<Timestamptz, _>(now)
        .bind::<SqlUuid, _>(leased_by)
        .bind::<Timestamptz, _>(until)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Leased::from).collect())
}

/// A delivery that has failed and holds up what is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldUp {
    /// Whose line.
    pub endpoint_id: EndpointId,
    /// Which delivery.
    pub delivery_id: DeliveryId,
    /// The link whose line it holds up, if it is of one.
    pub link_id: Option<LinkId>,
    /// Its number.
    pub sequence: u64,
    /// Attempts so far.
    pub attempt_count: u32,
    /// Since its first attempt.
    pub since: DateTime<Utc>,
}

/// What holds up the lines of these endpoints, of each the first `limit`.
pub async fn hold_ups(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_ids: &[EndpointId],
    limit: i64,
) -> QueryResult<Vec<HoldUp>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        endpoint_id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        order_key: Uuid,
        #[diesel(sql_type = BigInt)]
        sequence: i64,
        #[diesel(sql_type = Integer)]
        attempt_count: i32,
        #[diesel(sql_type = Timestamptz)]
        since: DateTime<Utc>,
    }
    let rows: Vec<Row> = statement(format!(
        "SELECT wanted.endpoint_id, held.id, held.order_key, held.sequence, held.attempt_count, \
             coalesce((SELECT a.started_at FROM attempts a WHERE a.day = held.day AND a.delivery_id = held.id \
                 AND a.number = 1), held.attempted_at, held.created_at) AS since \
         FROM unnest($1) AS wanted (endpoint_id), \
             LATERAL (SELECT d.* FROM deliveries d WHERE {IN_LINE} AND d.attempt_count > 0 \
                 AND d.endpoint_id = wanted.endpoint_id AND d.workspace_id = $2 \
                 ORDER BY d.sequence LIMIT $3) AS held \
         ORDER BY wanted.endpoint_id, held.sequence"
    ))
    .bind::<Array<SqlUuid>, _>(endpoint_ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    let read = |row: Row| HoldUp {
        endpoint_id: EndpointId::from_uuid(row.endpoint_id),
        delivery_id: DeliveryId::from_uuid(row.id),
        link_id: (row.order_key != NO_LINK).then(|| LinkId::from_uuid(row.order_key)),
        sequence: u64::try_from(row.sequence).unwrap_or_default(),
        attempt_count: u32::try_from(row.attempt_count).unwrap_or_default(),
        since: row.since,
    };
    Ok(rows.into_iter().map(read).collect())
}

/// How many of these endpoints something failed holds up, among the first `limit` deliveries that do.
pub async fn count_held_up(
    conn: &mut Connection,
    endpoint_ids: &[EndpointId],
    limit: i64,
) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        endpoints: i64,
    }
    if endpoint_ids.is_empty() {
        return Ok(0);
    }
    let row: Row = statement(format!(
        "SELECT count(DISTINCT held.endpoint_id) AS endpoints FROM (SELECT d.endpoint_id FROM deliveries d \
             WHERE {IN_LINE} AND d.attempt_count > 0 AND d.endpoint_id = ANY($1) LIMIT $2) AS held"
    ))
    .bind::<Array<SqlUuid>, _>(endpoint_ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<BigInt, _>(limit)
    .get_result(conn)
    .await?;
    Ok(row.endpoints)
}

#[cfg(test)]
mod tests {
    use diesel::sql_types::Text;
    use diesel_async::SimpleAsyncConnection as _;

    use super::*;

    #[derive(QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
        text: String,
    }

    #[tokio::test]
    async fn heads_are_found_through_their_indexes_however_long_the_lines_are() {
        let database = testkit::TestDatabase::new().await;
        let settings = crate::Settings::at(database.url());
        let mut conn = crate::connect(&settings).await.expect("a connection");
        let (endpoint, day) = (Uuid::from_u128(7), Utc::now().date_naive());
        // ten thousand deliveries in ten lines
        diesel::sql_query(
            "INSERT INTO deliveries (id, day, workspace_id, endpoint_id, event_id, event_type, status, \
                 next_attempt_at, created_at, sequence, order_key) \
             SELECT gen_random_uuid(), $2, gen_random_uuid(), $1, gen_random_uuid(), 'link.clicked', 'pending', \
                 now(), now(), n, ('00000000-0000-0000-0000-00000000000' || n % 10)::uuid \
             FROM generate_series(1, 10000) AS n",
        )
        .bind::<SqlUuid, _>(endpoint)
        .bind::<Date, _>(day)
        .execute(&mut conn)
        .await
        .expect("an insert");
        conn.batch_execute("ANALYZE deliveries").await.expect("ANALYZE");

        let strict: Vec<Line> = diesel::sql_query(format!("EXPLAIN {}", strict_sql()))
            .bind::<Array<SqlUuid>, _>(vec![endpoint])
            .load(&mut conn)
            .await
            .expect("a plan");
        let by_link: Vec<Line> = diesel::sql_query(format!("EXPLAIN {}", by_link_sql()))
            .bind::<Array<SqlUuid>, _>(vec![endpoint])
            .bind::<Array<SqlUuid>, _>(vec![Uuid::nil()])
            .bind::<BigInt, _>(5)
            .load(&mut conn)
            .await
            .expect("a plan");

        // the partitions of other days are empty, and there the index would cost more
        let full = crate::partitions::name("deliveries", day);
        for (plan, index) in [(strict, "endpoint_id_sequence_idx"), (by_link, "order_key_sequence_idx")] {
            let plan: Vec<&str> = plan.iter().map(|line| line.text.as_str()).collect();
            let plan = plan.join("\n");
            assert!(plan.contains(&format!("{full}_endpoint_id_")) && plan.contains(index), "{plan}");
            assert!(!plan.contains(&format!("Seq Scan on {full}")), "{plan}");
        }
    }
}
