//! Numbers of deliveries: the place of each among what its endpoint is owed, where that is counted.
//!
//! Numbers are given in the transaction that stores the delivery, while the row of its endpoint is locked: so they have no gaps,
//! and whoever sees one sees all before it. What is not stored, because it is there already, is given none.
//!
//! Mostly all are new: then they are stored with their numbers ([`numbers`]). Else they are stored first, and numbered when it is
//! known which are new ([`number`]). Both lock the row of the endpoint first, so that they never wait for each other in a circle.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Date, Nullable, Uuid as SqlUuid};
use diesel::{OptionalExtension as _, QueryableByName};
use diesel_async::{AsyncConnection, RunQueryDsl};
use uuid::Uuid;

use model::{DeliveryId, EndpointId, LinkId, WorkspaceId};

use crate::deliveries::NewDelivery;
use crate::partitions::days_of;
use crate::statement::{statement, unnested};
use crate::{Connection, QueryResult};

/// Stands for the link where there is none. It is above every link, as whoever goes through them needs.
pub(crate) const NO_LINK: Uuid = Uuid::max();

/// Deliveries without a number, `rest`, as [`Rest`] is read.
const WITH_LINKS: &str = "SELECT rest.id, rest.endpoint_id, rest.workspace_id, (SELECT c.link_id FROM clicks c \
    WHERE c.day = rest.day AND c.id = rest.click_id LIMIT 1) AS link_id FROM rest";

/// Where a new delivery comes in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// When what it tells of happened: what is stored together is numbered in that order.
    pub at: DateTime<Utc>,
    /// The link that it tells of.
    pub link_id: Option<LinkId>,
}

impl Line {
    /// What stands for the link in the order of deliveries.
    pub(crate) fn key(self) -> Uuid {
        self.link_id.map_or(NO_LINK, LinkId::uuid)
    }
}

/// The numbers of deliveries that are to be stored.
pub(crate) type Numbers = HashMap<DeliveryId, i64>;

/// A delivery that is to be numbered.
struct Unnumbered {
    id: DeliveryId,
    endpoint_id: EndpointId,
    workspace_id: WorkspaceId,
    order_key: Uuid,
}

/// A delivery that was stored without a number.
#[derive(QueryableByName)]
struct Rest {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    endpoint_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    workspace_id: Uuid,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    link_id: Option<Uuid>,
}

impl From<Rest> for Unnumbered {
    fn from(rest: Rest) -> Self {
        Self {
            id: DeliveryId::from_uuid(rest.id),
            endpoint_id: EndpointId::from_uuid(rest.endpoint_id),
            workspace_id: WorkspaceId::from_uuid(rest.workspace_id),
            order_key: rest.link_id.unwrap_or(NO_LINK),
        }
    }
}

/// Locks the numbers of the endpoints whose deliveries come in line, until the end of the transaction.
pub(crate) async fn lock(conn: &mut Connection, new: &[NewDelivery]) -> QueryResult<()> {
    let counts = lined(new, |_| true).iter().map(|d| (d.endpoint_id, (d.workspace_id, 0))).collect();
    add(conn, &counts).await.map(|_| ())
}

/// The numbers that those of the new deliveries have which come in line, if all of them are new. Belongs into the transaction
/// that stores them, which has to be rolled back if it finds that one is not.
pub(crate) async fn numbers(conn: &mut Connection, new: &[NewDelivery]) -> QueryResult<Numbers> {
    let unnumbered = lined(new, |_| true);
    let sequences = reserve(conn, &unnumbered).await?;
    Ok(unnumbered.iter().map(|delivery| delivery.id).zip(sequences).collect())
}

/// Numbers those of the new deliveries that were made and come in line. Belongs into the transaction that made them.
pub(crate) async fn number(
    conn: &mut Connection,
    new: &[NewDelivery],
    made: &HashSet<DeliveryId>,
) -> QueryResult<()> {
    give(conn, &lined(new, |id| made.contains(&id))).await
}

/// Those of the new deliveries that come in line, in the order in which they are numbered.
fn lined(new: &[NewDelivery], which: impl Fn(DeliveryId) -> bool) -> Vec<Unnumbered> {
    let of_line = new.iter().filter(|new| which(new.id)).filter_map(|new| Some((new, new.line?)));
    let mut lined: Vec<(&NewDelivery, Line)> = of_line.collect();
    // what happened at the same moment stays as it came
    lined.sort_by_key(|(_, line)| line.at);
    let unnumbered = |(new, line): (&NewDelivery, Line)| Unnumbered {
        id: new.id,
        endpoint_id: new.owed.endpoint_id,
        workspace_id: new.workspace_id,
        order_key: line.key(),
    };
    lined.into_iter().map(unnumbered).collect()
}

/// Numbers what waits for these endpoints and was stored before they were sent to in order; oldest first, at most `limit`.
/// Tells how many.
///
/// Reads all that waits for them: no index has what is in no order, or every delivery that waits anywhere would be in it. So it is
/// asked of few endpoints.
pub async fn number_rest(
    conn: &mut Connection,
    endpoint_ids: &[EndpointId],
    limit: i64,
) -> QueryResult<usize> {
    if endpoint_ids.is_empty() {
        return Ok(0);
    }
    conn.transaction(async |conn| {
        // another replica that looks as well waits here, and finds them numbered
        let rows: Vec<Rest> = statement(format!(
            "WITH rest AS MATERIALIZED (SELECT d.day, d.id, d.endpoint_id, d.workspace_id, d.click_id \
                 FROM deliveries d WHERE d.status = 'pending' AND d.endpoint_id = ANY($1) \
                     AND d.sequence IS NULL AND d.replay_id IS NULL \
                 ORDER BY d.id LIMIT $2 FOR UPDATE) \
             {WITH_LINKS} ORDER BY rest.id"
        ))
        .bind::<Array<SqlUuid>, _>(endpoint_ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await?;
        let rest: Vec<Unnumbered> = rows.into_iter().map(Unnumbered::from).collect();
        give(conn, &rest).await?;
        QueryResult::Ok(rest.len())
    })
    .await
}

/// Numbers a delivery that was stored before its endpoint was counted, if it is counted now: without a number it stands in no line.
/// A replay is in a line without one.
///
/// Belongs into the transaction that makes it wait again, and before it is changed: whoever stores deliveries of this endpoint has
/// locked its numbers, and may wait for the end of a change of this one. A lock alone he does not wait for.
pub(crate) async fn number_one(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DeliveryId,
) -> QueryResult<()> {
    let row: Option<Rest> = statement(format!(
        "WITH rest AS MATERIALIZED (SELECT d.day, d.id, d.endpoint_id, d.workspace_id, d.click_id \
             FROM deliveries d WHERE d.day = $1 AND d.id = $2 AND d.workspace_id = $3 \
                 AND d.sequence IS NULL AND d.replay_id IS NULL FOR NO KEY UPDATE) \
         {WITH_LINKS} WHERE EXISTS (SELECT FROM endpoints e WHERE e.id = rest.endpoint_id \
             AND (e.ordering IS NOT NULL OR e.checkpoint_minutes IS NOT NULL))"
    ))
    .bind::<Date, _>(id.day())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .get_result(conn)
    .await
    .optional()?;
    let rest: Vec<Unnumbered> = row.map(Unnumbered::from).into_iter().collect();
    give(conn, &rest).await
}

/// Gives these deliveries the next numbers of their endpoints, in this order.
async fn give(conn: &mut Connection, unnumbered: &[Unnumbered]) -> QueryResult<()> {
    if unnumbered.is_empty() {
        return Ok(());
    }
    let sequences = reserve(conn, unnumbered).await?;
    statement(format!(
        "UPDATE deliveries d SET sequence = n.sequence, order_key = n.order_key FROM {} \
         WHERE d.day = ANY($1) AND d.id = n.id",
        unnested("$2, $3, $4", "n (id, sequence, order_key)")
    ))
    .bind::<Array<Date>, _>(days_of(unnumbered.iter().map(|d| d.id.day())))
    .bind::<Array<SqlUuid>, _>(unnumbered.iter().map(|d| d.id.uuid()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(sequences)
    .bind::<Array<SqlUuid>, _>(unnumbered.iter().map(|d| d.order_key).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// The next numbers of the endpoints of these deliveries, in this order.
async fn reserve(conn: &mut Connection, unnumbered: &[Unnumbered]) -> QueryResult<Vec<i64>> {
    let mut counts = Counts::new();
    for delivery in unnumbered {
        counts.entry(delivery.endpoint_id).or_insert((delivery.workspace_id, 0)).1 += 1;
    }
    let last = add(conn, &counts).await?;
    let first = counts.iter().map(|(id, (_, count))| (*id, last.get(id).map_or(1, |last| last - count + 1)));
    let mut next: HashMap<EndpointId, i64> = first.collect();
    let place = |delivery: &Unnumbered| {
        let next = next.entry(delivery.endpoint_id).or_insert(1);
        *next += 1;
        *next - 1
    };
    Ok(unnumbered.iter().map(place).collect())
}

/// How many numbers each endpoint gives; in one order, so that two batches never wait for each other in a circle.
type Counts = BTreeMap<EndpointId, (WorkspaceId, i64)>;

/// Adds to the last numbers of these endpoints, and tells them.
async fn add(conn: &mut Connection, counts: &Counts) -> QueryResult<HashMap<EndpointId, i64>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        endpoint_id: Uuid,
        #[diesel(sql_type = BigInt)]
        last: i64,
    }
    if counts.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Row> = statement(
        "INSERT INTO endpoint_sequences AS known (endpoint_id, workspace_id, last) \
         SELECT e.* FROM unnest($1, $2, $3) AS e \
         ON CONFLICT (endpoint_id) DO UPDATE SET last = known.last + excluded.last \
         RETURNING endpoint_id, last",
    )
    .bind::<Array<SqlUuid>, _>(counts.keys().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(counts.values().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(counts.values().map(|(_, count)| *count).collect::<Vec<_>>())
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (EndpointId::from_uuid(row.endpoint_id), row.last)).collect())
}
