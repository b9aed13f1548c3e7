//! Deliveries in line: those of an endpoint that is sent to in order, each behind the one before it.
//!
//! The *head* of a line is the delivery with the lowest number that waits in it; nothing behind it is sent before it. Strict order
//! is one line, an order per link one for each link, and what is of no link is in a line of its own. Replays are in lines beside,
//! by the numbers of what they replay, what was never counted first.

mod hold_ups;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Date, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{DeliveryId, EndpointId};

use crate::leases::{Leased, LeasedRow, leasing};
use crate::partitions::days_of;
use crate::sequences::NO_LINK;
use crate::statement::{statement, unnested};
use crate::{Connection, QueryResult};

pub use hold_ups::{HoldUp, count_held_up, hold_ups};

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

/// The first delivery of a line, and what is right behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Of which line.
    pub line: LineKey,
    /// The first.
    pub first: Place,
    /// The next, in their order.
    pub behind: Vec<Place>,
}

/// A delivery in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which delivery.
    pub id: DeliveryId,
    /// Its number; 0 where it was never counted.
    pub sequence: u64,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// Until when somebody has it in hand.
    pub leased_until: Option<DateTime<Utc>>,
}

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Most lines of an endpoint whose order is by link.
    pub lines: usize,
    /// Most deliveries of each of them, the head among them.
    pub of_line: usize,
    /// Most deliveries of a strict order.
    pub of_strict: usize,
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
struct PlaceRow {
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

impl PlaceRow {
    fn place(&self) -> Place {
        Place {
            id: DeliveryId::from_uuid(self.id),
            sequence: u64::try_from(self.sequence).unwrap_or_default(),
            due_at: self.next_attempt_at,
            leased_until: self.leased_until,
        }
    }
}

/// What is live and in line. The words are those of the indexes.
const IN_LINE: &str = "status = 'pending' AND sequence IS NOT NULL AND replay_id IS NULL";

/// The columns of a delivery in line.
const COLUMNS: &str = "id, sequence, next_attempt_at, leased_until";

/// The heads of these endpoints' lines, as far as is to be seen of them.
pub async fn heads(
    conn: &mut Connection,
    wanted: &[Wanted],
    sight: Sight,
) -> QueryResult<HashMap<EndpointId, Heads>> {
    let (strict, by_link): (Vec<&Wanted>, Vec<&Wanted>) = wanted.iter().partition(|wanted| wanted.is_strict);
    let mut live = Vec::new();
    if !strict.is_empty() {
        live.extend(strict_heads(conn, &strict, sight).await?);
    }
    if !by_link.is_empty() {
        live.extend(heads_by_link(conn, &by_link, sight).await?);
    }
    let replayed = if wanted.is_empty() { Vec::new() } else { replayed_heads(conn, wanted, sight).await? };
    let mut found: HashMap<EndpointId, Heads> = HashMap::new();
    for (endpoint_id, head) in lined_up(live) {
        found.entry(endpoint_id).or_default().live.push(head);
    }
    for (endpoint_id, head) in lined_up(replayed) {
        found.entry(endpoint_id).or_default().replayed.push(head);
    }
    Ok(found)
}

/// The lines that these deliveries are of, each in its order.
fn lined_up(mut rows: Vec<PlaceRow>) -> Vec<(EndpointId, Head)> {
    rows.sort_by_key(|row| (row.endpoint_id, row.order_key, row.sequence, row.id));
    let lines = rows.chunk_by(|a, b| (a.endpoint_id, a.order_key) == (b.endpoint_id, b.order_key));
    let head = |line: &[PlaceRow]| {
        let (first, behind) = line.split_first()?;
        let behind = behind.iter().map(PlaceRow::place).collect();
        let head = Head { line: LineKey(first.order_key), first: first.place(), behind };
        Some((EndpointId::from_uuid(first.endpoint_id), head))
    };
    lines.filter_map(head).collect()
}

fn strict_sql() -> String {
    let wanted = unnested("$1, $2", "wanted (endpoint_id, most)");
    format!(
        "SELECT wanted.endpoint_id, $3 AS order_key, place.* FROM {wanted}, \
             LATERAL (SELECT {COLUMNS} FROM deliveries d WHERE {IN_LINE} AND d.endpoint_id = wanted.endpoint_id \
                 ORDER BY d.sequence LIMIT wanted.most) AS place"
    )
}

async fn strict_heads(conn: &mut Connection, wanted: &[&Wanted], sight: Sight) -> QueryResult<Vec<PlaceRow>> {
    statement(strict_sql())
        .bind::<Array<SqlUuid>, _>(wanted.iter().map(|w| w.endpoint_id.uuid()).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(vec![number(sight.of_strict); wanted.len()])
        .bind::<SqlUuid, _>(NO_LINK)
        .load(conn)
        .await
}

/// It steps from line to line through the index, so that a line costs one look-up however long it is.
fn by_link_sql() -> String {
    let wanted = unnested("$1, $2, $3, $4", "wanted (endpoint_id, after, lines, most)");
    format!(
        "SELECT wanted.endpoint_id, line.order_key, place.* FROM {wanted}, LATERAL ( \
             WITH RECURSIVE line AS ( \
                 (SELECT d.order_key FROM deliveries d WHERE {IN_LINE} AND d.endpoint_id = wanted.endpoint_id \
                      AND d.order_key > wanted.after ORDER BY d.order_key, d.sequence LIMIT 1) \
                 UNION ALL \
                 SELECT next.* FROM line, LATERAL (SELECT d.order_key FROM deliveries d WHERE {IN_LINE} \
                     AND d.endpoint_id = wanted.endpoint_id AND d.order_key > line.order_key \
                     ORDER BY d.order_key, d.sequence LIMIT 1) AS next) \
             SELECT * FROM line LIMIT wanted.lines) AS line, \
         LATERAL (SELECT {COLUMNS} FROM deliveries d WHERE {IN_LINE} AND d.endpoint_id = wanted.endpoint_id \
             AND d.order_key = line.order_key ORDER BY d.sequence LIMIT wanted.most) AS place"
    )
}

async fn heads_by_link(
    conn: &mut Connection,
    wanted: &[&Wanted],
    sight: Sight,
) -> QueryResult<Vec<PlaceRow>> {
    statement(by_link_sql())
        .bind::<Array<SqlUuid>, _>(wanted.iter().map(|w| w.endpoint_id.uuid()).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(wanted.iter().map(|w| w.after.0).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(vec![number(sight.lines); wanted.len()])
        .bind::<Array<BigInt>, _>(vec![number(sight.of_line); wanted.len()])
        .load(conn)
        .await
}

fn replayed_sql() -> String {
    let wanted = unnested("$1, $2", "wanted (endpoint_id, is_strict)");
    format!(
        "SELECT wanted.endpoint_id, place.order_key, place.id, place.sequence, place.next_attempt_at, \
         place.leased_until \
     FROM {wanted}, LATERAL ( \
         SELECT line.*, row_number() OVER (PARTITION BY line.order_key ORDER BY line.sequence, line.id) AS number FROM ( \
             SELECT CASE WHEN wanted.is_strict THEN $3 ELSE coalesce(d.order_key, $3) END AS order_key, d.id, \
                 coalesce(d.sequence, 0) AS sequence, d.next_attempt_at, d.leased_until \
             FROM deliveries d WHERE d.status = 'pending' AND d.replay_id IS NOT NULL \
                 AND d.endpoint_id = wanted.endpoint_id LIMIT {REPLAYED_MAX}) AS line) AS place \
     WHERE place.number <= CASE WHEN wanted.is_strict THEN $4 ELSE $5 END"
    )
}

async fn replayed_heads(
    conn: &mut Connection,
    wanted: &[Wanted],
    sight: Sight,
) -> QueryResult<Vec<PlaceRow>> {
    statement(replayed_sql())
        .bind::<Array<SqlUuid>, _>(wanted.iter().map(|w| w.endpoint_id.uuid()).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(wanted.iter().map(|w| w.is_strict).collect::<Vec<_>>())
        .bind::<SqlUuid, _>(NO_LINK)
        .bind::<BigInt, _>(number(sight.of_strict))
        .bind::<BigInt, _>(number(sight.of_line))
        .load(conn)
        .await
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Those of these deliveries that are due, in nobody's hands and whose endpoint has no other courier than `leased_by`, locked.
fn free_sql() -> String {
    let head = unnested("$2", "head (id)");
    format!(
        "SELECT own.day, own.id, own.is_taken_over FROM {head}, \
         LATERAL (SELECT d.day, d.id, d.endpoint_id, d.leased_by IS NOT NULL AS is_taken_over FROM deliveries d \
             WHERE d.day = ANY($1) AND d.id = head.id AND d.status = 'pending' \
                 AND d.next_attempt_at <= $3 AND (d.leased_until IS NULL OR d.leased_until <= $3) \
             OFFSET 0 FOR UPDATE SKIP LOCKED) AS own \
         WHERE EXISTS (SELECT FROM endpoint_state s WHERE s.endpoint_id = own.endpoint_id AND s.courier = $4)"
    )
}

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
    let rows: Vec<LeasedRow> = statement(leasing(&free_sql()))
        .bind::<Array<Date>, _>(days_of(ids.iter().map(|id| id.day())))
        .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .bind::<Timestamptz, _>(now)
        .bind::<SqlUuid, _>(leased_by)
        .bind::<Timestamptz, _>(until)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Leased::from).collect())
}

#[cfg(test)]
mod tests {
    use super::hold_ups::hold_ups_sql;
    use super::*;
    use crate::plans::Planned;

    const ENDPOINT: &str = "'{00000000-0000-0000-0000-000000000007}'";

    #[tokio::test]
    async fn lines_are_looked_at_through_their_indexes_with_plans_that_are_made_once() {
        let key = "'00000000-0000-0000-0000-000000000001'";
        for (sql, types, values, index) in [
            (
                strict_sql(),
                "uuid[], bigint[], uuid",
                format!("{ENDPOINT}, '{{64}}', {key}"),
                "endpoint_id_sequence_idx",
            ),
            (
                by_link_sql(),
                "uuid[], uuid[], bigint[], bigint[]",
                format!("{ENDPOINT}, {ENDPOINT}, '{{128}}', '{{8}}'"),
                "endpoint_id_order_key_sequence_idx",
            ),
            (
                replayed_sql(),
                "uuid[], boolean[], uuid, bigint, bigint",
                format!("{ENDPOINT}, '{{t}}', {key}, 64, 8"),
                "endpoint_id_next_attempt_at_idx",
            ),
            (
                hold_ups_sql(),
                "uuid[], uuid, bigint",
                format!("{ENDPOINT}, {key}, 5"),
                "endpoint_id_sequence_idx",
            ),
        ] {
            let planned = Planned::of(&sql, types, &values).await;
            assert!(planned.scans_of_today().iter().all(|scan| scan.contains(index)), "{planned}");
            assert!(planned.is_made_once, "{planned}");
        }
    }

    #[tokio::test]
    async fn heads_are_leased_in_the_partitions_of_their_days() {
        let today = Utc::now().date_naive();
        let values = format!("'{{{today}}}', {ENDPOINT}, now(), gen_random_uuid(), now()");
        let types = "date[], uuid[], timestamptz, uuid, timestamptz";

        let planned = Planned::of(&leasing(&free_sql()), types, &values).await;

        assert_eq!(planned.scans_of_today().len(), 2, "{planned}");
        assert_eq!((planned.scans_of_others(), planned.is_made_once), (0, false), "{planned}");
    }
}
