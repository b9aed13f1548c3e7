//! What a replay offers: pages of deliveries or of clicks in the order of their events, and how they get in line.
//!
//! A page is what was looked at, whether it matches or not, so that the cost of a step does not depend on how rare
//! matches are. Of an event only its newest delivery counts: what another replay has put in line is not offered again.

use chrono::{DateTime, Duration, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Date, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::event_type::{EventTypePattern, LINK_CLICKED};
use model::{ClickId, DeliveryId, ReplayId};

use crate::parse::earliest;
use crate::partitions;
use crate::replays::{Position, Replay, Selection, What};
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// How long a click that is owed may be on its way before it counts as missing.
const ON_ITS_WAY: Duration = Duration::seconds(60);

/// A delivery that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: DeliveryId,
    /// Its partition.
    pub day: NaiveDate,
    /// Whether the replay offers it.
    pub matches: bool,
}

/// A click that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenClick {
    /// Its id.
    pub id: ClickId,
    /// How often it was amended.
    pub revision: u32,
    /// When the visitor was there.
    pub clicked_at: DateTime<Utc>,
    /// The replay is about its campaign, and the endpoint has no delivery that tells of it as `link.clicked`. An amendment alone
    /// tells only what has changed.
    pub is_missing: bool,
    /// The message on ENRICHED; only if it was asked for, and the click is missing.
    pub event: Option<Vec<u8>>,
}

/// The deliveries after `position`, oldest event first; at most `limit`.
///
/// Those that `replay` has put in line itself never match.
pub async fn deliveries(
    conn: &mut Connection,
    selection: &Selection,
    replay: Option<ReplayId>,
    position: Option<Position>,
    limit: i64,
) -> QueryResult<Vec<Seen>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Date)]
        day: NaiveDate,
        #[diesel(sql_type = Bool)]
        matches: bool,
    }
    // dead ones are few, and have an index of their own
    let (only, statuses): (&str, &[&str]) = match selection.what {
        What::Dead => ("AND status = 'dead'", &["dead"]),
        What::Delivered => ("", &["delivered"]),
        What::Any | What::Missing => ("", &["delivered", "dead", "offered"]),
    };
    let after = position.unwrap_or_else(|| before(selection.since));
    // LIMIT keeps the planner from joining with whole partitions: it is one index look-up a delivery
    let rows: Vec<Row> = statement(format!(
        "WITH page AS MATERIALIZED (SELECT * FROM deliveries \
             WHERE workspace_id = $1 AND endpoint_id = $2 AND id > $3 AND id < $4 AND day >= $5 AND day <= $6 {only} \
                 AND (cardinality($7) = 0 OR id = ANY($7)) \
             ORDER BY id LIMIT $8) \
         SELECT id, day, status = ANY($9) AND ($10 IS NULL OR replay_id IS DISTINCT FROM $10) \
             AND ($11 IS NULL OR event_type = $11 \
                 OR ($11 LIKE '%*' AND starts_with(event_type, rtrim($11, '*')))) \
             AND ($12 IS NULL OR (SELECT 1 FROM clicks c WHERE c.day = page.day AND c.id = page.click_id \
                 AND c.campaign_id = $12 LIMIT 1) IS NOT NULL) \
             AND (body IS NOT NULL OR (click_id IS NOT NULL AND (SELECT 1 FROM clicks c WHERE c.day = page.day \
                 AND c.id = page.click_id AND c.erased_at IS NOT NULL LIMIT 1) IS NULL)) \
             AND (SELECT 1 FROM deliveries newer WHERE newer.day = page.day \
                 AND newer.endpoint_id = page.endpoint_id AND newer.event_id = page.event_id \
                 AND newer.event_revision = page.event_revision AND newer.replay_number > page.replay_number \
                 LIMIT 1) IS NULL AS matches \
         FROM page ORDER BY id"
    ))
    .bind::<SqlUuid, _>(selection.workspace_id.uuid())
    .bind::<SqlUuid, _>(selection.endpoint_id.uuid())
    .bind::<SqlUuid, _>(after)
    .bind::<SqlUuid, _>(earliest(selection.until))
    .bind::<Date, _>(DeliveryId::from_uuid(after).day())
    .bind::<Date, _>(selection.until.date_naive())
    .bind::<Array<SqlUuid>, _>(selection.delivery_ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .bind::<BigInt, _>(limit)
    .bind::<Array<Text>, _>(statuses)
    .bind::<Nullable<SqlUuid>, _>(replay.map(ReplayId::uuid))
    .bind::<Nullable<Text>, _>(selection.event_type.as_ref().map(EventTypePattern::as_str))
    .bind::<Nullable<Text>, _>(selection.campaign_id.as_deref())
    .load(conn)
    .await?;
    let read = |row: Row| Seen { id: DeliveryId::from_uuid(row.id), day: row.day, matches: row.matches };
    Ok(rows.into_iter().map(read).collect())
}

/// The workspace's clicks after `position`, oldest first; at most `limit`. `with_events`: also what each says.
///
/// None of a day whose deliveries were dropped: what was delivered would look like missing.
pub async fn clicks(
    conn: &mut Connection,
    selection: &Selection,
    position: Option<Position>,
    with_events: bool,
    limit: i64,
) -> QueryResult<Vec<SeenClick>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Integer)]
        revision: i32,
        #[diesel(sql_type = Timestamptz)]
        clicked_at: DateTime<Utc>,
        #[diesel(sql_type = Bool)]
        is_missing: bool,
        #[diesel(sql_type = Nullable<Binary>)]
        event: Option<Vec<u8>>,
    }
    let after = position.unwrap_or_else(|| before(selection.since));
    let after_day = ClickId::from_uuid(after).day();
    let held = partitions::held_days(conn).await?;
    let rows: Vec<Row> = statement(
        "WITH page AS MATERIALIZED (SELECT day, id, revision, clicked_at, \
                 erased_at IS NULL AND ($11 IS NULL OR campaign_id IS NOT DISTINCT FROM $11) \
                 AND (SELECT 1 FROM deliveries d WHERE d.day = clicks.day AND d.endpoint_id = $2 \
                     AND d.event_id = clicks.id AND d.event_type = $10 LIMIT 1) IS NULL AS is_missing \
             FROM clicks WHERE workspace_id = $1 AND id > $3 AND id < $4 AND day >= $5 AND day <= $6 \
                 AND day <> ALL($9) \
             ORDER BY id LIMIT $7) \
         SELECT id, revision, clicked_at, is_missing, CASE WHEN is_missing AND $8 THEN \
             (SELECT event FROM clicks WHERE clicks.day = page.day AND clicks.id = page.id) END AS event \
         FROM page ORDER BY id",
    )
    .bind::<SqlUuid, _>(selection.workspace_id.uuid())
    .bind::<SqlUuid, _>(selection.endpoint_id.uuid())
    .bind::<SqlUuid, _>(after)
    .bind::<SqlUuid, _>(earliest(selection.until))
    .bind::<Date, _>(held.first.map_or(after_day, |first| first.max(after_day)))
    .bind::<Date, _>(selection.until.date_naive())
    .bind::<BigInt, _>(limit)
    .bind::<Bool, _>(with_events)
    .bind::<Array<Date>, _>(held.dropped)
    .bind::<Text, _>(LINK_CLICKED)
    .bind::<Nullable<Text>, _>(selection.campaign_id.as_deref())
    .load(conn)
    .await?;
    let read = |row: Row| SeenClick {
        id: ClickId::from_uuid(row.id),
        revision: row.revision.cast_unsigned(),
        clicked_at: row.clicked_at,
        is_missing: row.is_missing,
        event: row.event,
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Whether a click without a delivery is merely on its way: the endpoint is owed it, and it happened just before the
/// replay was asked for. Sending it twice would be the replay's doing.
pub fn is_on_its_way(clicked_at: DateTime<Utc>, owed_from: DateTime<Utc>, asked_at: DateTime<Utc>) -> bool {
    clicked_at >= owed_from && clicked_at > asked_at - ON_ITS_WAY
}

/// Puts these deliveries in line once more: each a new delivery of the same event, with all of its schedule before it.
///
/// The bytes that were kept are kept with it, and its number. Tells how many are new.
pub async fn again(
    conn: &mut Connection,
    replay: &Replay,
    seen: &[Seen],
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    statement(AGAIN)
        .bind::<Array<SqlUuid>, _>(seen.iter().map(|seen| seen.id.uuid()).collect::<Vec<_>>())
        // at the event's moment, like the id that it stands beside
        .bind::<Array<SqlUuid>, _>(
            seen.iter().map(|seen| DeliveryId::generate_at(seen.id.timestamp()).uuid()).collect::<Vec<_>>(),
        )
        .bind::<Array<Date>, _>(partitions::days_of(seen.iter().map(|seen| seen.day)))
        .bind::<SqlUuid, _>(replay.selection.workspace_id.uuid())
        .bind::<SqlUuid, _>(replay.id.uuid())
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await
}

/// Of deliveries ($1) of these days ($3) new ones ($2), in the order in which they are given.
const AGAIN: &str = "INSERT INTO deliveries (id, day, workspace_id, endpoint_id, event_id, event_revision, \
         replay_number, replay_id, event_type, click_id, status, next_attempt_at, created_at, body, sequence, order_key) \
     SELECT seen.new_id, d.day, d.workspace_id, d.endpoint_id, d.event_id, d.event_revision, d.replay_number + 1, \
         $5, d.event_type, d.click_id, 'pending', $6 + seen.number * interval '1 microsecond', $6, d.body, d.sequence, \
         d.order_key \
     FROM unnest((SELECT $1), (SELECT $2)) WITH ORDINALITY AS seen (id, new_id, number), \
         LATERAL (SELECT * FROM deliveries WHERE day = ANY($3) AND deliveries.id = seen.id AND workspace_id = $4 \
             OFFSET 0) AS d \
     ON CONFLICT DO NOTHING";

/// Puts clicks in line of which the endpoint has no delivery. It is their first telling (number 0), whatever was learned of
/// them meanwhile: when the click comes on the stream after all, it is known there, and who is first in the table wins.
/// Tells how many are new.
pub async fn first(
    conn: &mut Connection,
    replay: &Replay,
    clicks: &[(ClickId, u32)],
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    statement(
        "INSERT INTO deliveries (id, day, workspace_id, endpoint_id, event_id, replay_id, event_type, click_id, status, \
             next_attempt_at, created_at, told_revision, order_key) \
         SELECT missed.id, missed.day, $5, $6, missed.click_id, $7, $8, missed.click_id, \
             'pending', $9 + missed.number * interval '1 microsecond', $9, missed.revision, \
             (SELECT c.link_id FROM clicks c WHERE c.day = missed.day AND c.id = missed.click_id LIMIT 1) \
         FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS missed (day, click_id, revision, id, number) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<Array<Date>, _>(clicks.iter().map(|(id, _)| id.day()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(clicks.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(clicks.iter().map(|(_, revision)| revision.cast_signed()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(
        clicks.iter().map(|(id, _)| DeliveryId::generate_at(id.timestamp()).uuid()).collect::<Vec<_>>(),
    )
    .bind::<SqlUuid, _>(replay.selection.workspace_id.uuid())
    .bind::<SqlUuid, _>(replay.selection.endpoint_id.uuid())
    .bind::<SqlUuid, _>(replay.id.uuid())
    .bind::<Text, _>(LINK_CLICKED)
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await
}

/// How many deliveries that replays have put in line for the endpoint are due and not sent; counts no further than `limit`.
pub async fn count_due(
    conn: &mut Connection,
    replay: &Replay,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        due: i64,
    }
    let row: Row = statement(
        "SELECT count(*) AS due FROM (SELECT FROM deliveries WHERE status = 'pending' AND replay_id IS NOT NULL \
             AND endpoint_id = $1 AND workspace_id = $2 AND next_attempt_at <= $3 LIMIT $4) AS counted",
    )
    .bind::<SqlUuid, _>(replay.selection.endpoint_id.uuid())
    .bind::<SqlUuid, _>(replay.selection.workspace_id.uuid())
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(limit)
    .get_result(conn)
    .await?;
    Ok(row.due)
}

/// The highest id before any id of this moment.
fn before(since: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(earliest(since).as_u128().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::Planned;

    #[tokio::test]
    async fn what_goes_again_is_looked_up_in_the_partitions_of_its_days() {
        let (id, ids) = ("gen_random_uuid()", "ARRAY[gen_random_uuid()]");
        let values = format!("{ids}, {ids}, '{{{}}}', {id}, {id}, now()", Utc::now().date_naive());

        let planned = Planned::of(AGAIN, "uuid[], uuid[], date[], uuid, uuid, timestamptz", &values).await;

        assert_eq!(planned.scans_of_today().len(), 1, "{planned}");
        assert_eq!((planned.scans_of_others(), planned.is_made_once), (0, false), "{planned}");
    }
}
