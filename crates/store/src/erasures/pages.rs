//! What a step looks at: a page of a workspace's links or clicks, and what is emptied of it.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Bytea, Date, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{ClickId, WorkspaceId};

use super::{Found, Row, Scrub};
use crate::deliveries::IdRow;
use crate::statement::statement;
use crate::tombstones::scrub_deliveries;
use crate::{Connection, QueryResult, rollups};

/// How far the clocks may be apart of who sets a tombstone and of who empties clicks.
const CLOCKS_APART: TimeDelta = TimeDelta::seconds(60);

/// Links and clicks that one step looks at.
pub(super) const PAGE: i64 = 2000;

#[derive(QueryableByName)]
struct PageRow {
    #[diesel(sql_type = diesel::sql_types::Nullable<SqlUuid>)]
    last: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    seen: i64,
    #[diesel(sql_type = Array<SqlUuid>)]
    found: Vec<Uuid>,
    #[diesel(sql_type = BigInt)]
    first_clicks: i64,
}

/// Links of the contact still lead where they led, and name nobody. Of the URL nothing is taken: it is where they lead.
pub(super) async fn links_page(conn: &mut Connection, job: &Row, now: DateTime<Utc>) -> QueryResult<Found> {
    let row: PageRow = statement(
        "WITH page AS MATERIALIZED (SELECT id, contact_id FROM links \
                 WHERE workspace_id = $1 AND contact_id IS NOT NULL AND id > $2 ORDER BY id LIMIT $3), \
             found AS MATERIALIZED (SELECT id, contact_id FROM page \
                 WHERE sha256((SELECT salt FROM erasure_salts WHERE workspace_id = $1) \
                     || convert_to(contact_id, 'UTF8')) = $4), \
             forgotten AS (DELETE FROM first_clicks USING found \
                 WHERE first_clicks.link_id = found.id AND first_clicks.visitor = found.contact_id COLLATE \"C\" \
                 RETURNING 1), \
             emptied AS (UPDATE links SET contact_id = NULL, conversation_id = NULL, message_id = NULL, \
                 external_id = NULL, metadata = '{}', revision = links.revision + 1, updated_at = $5 FROM found \
                 WHERE links.id = found.id RETURNING links.id) \
         SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last, (SELECT count(*) FROM page) AS seen, \
             ARRAY(SELECT id FROM emptied) AS found, (SELECT count(*) FROM forgotten) AS first_clicks",
    )
    .bind::<SqlUuid, _>(job.workspace_id)
    .bind::<SqlUuid, _>(job.position.unwrap_or_default())
    .bind::<BigInt, _>(PAGE)
    .bind::<Bytea, _>(&job.contact_hash)
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await?;
    Ok(Found {
        last: row.last,
        seen: row.seen,
        links: row.found,
        first_clicks: row.first_clicks.unsigned_abs(),
        ..Found::default()
    })
}

#[derive(QueryableByName)]
struct ClicksRow {
    #[diesel(sql_type = diesel::sql_types::Nullable<SqlUuid>)]
    last: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    seen: i64,
    #[diesel(sql_type = Array<SqlUuid>)]
    own: Vec<Uuid>,
    #[diesel(sql_type = Array<SqlUuid>)]
    again: Vec<Uuid>,
}

/// Clicks of the contact stay counted, and tell nobody.
///
/// A click that was emptied names nobody, so that it cannot be told whose it is. All that were emptied since the contact is
/// erased are emptied once more, which costs those of other contacts nothing.
pub(super) async fn clicks_page(
    conn: &mut Connection,
    job: &Row,
    scrub: Scrub,
    now: DateTime<Utc>,
) -> QueryResult<Found> {
    let after = job.position.unwrap_or_default();
    let row: ClicksRow = statement(
        "WITH page AS MATERIALIZED (SELECT id, contact_id, erased_at FROM clicks \
                 WHERE workspace_id = $1 AND id > $2 AND day >= $3 AND day <= $7 ORDER BY id LIMIT $4), \
             told AS MATERIALIZED (SELECT id, erased_at, \
                 coalesce(sha256((SELECT salt FROM erasure_salts WHERE workspace_id = $1) \
                     || convert_to(contact_id, 'UTF8')) = $5, false) AS is_own FROM page) \
         SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last, (SELECT count(*) FROM page) AS seen, \
             ARRAY(SELECT id FROM told WHERE is_own) AS own, \
             ARRAY(SELECT id FROM told WHERE NOT is_own AND erased_at >= $6) AS again",
    )
    .bind::<SqlUuid, _>(job.workspace_id)
    .bind::<SqlUuid, _>(after)
    .bind::<Date, _>(ClickId::from_uuid(after).day())
    .bind::<BigInt, _>(PAGE)
    .bind::<Bytea, _>(&job.contact_hash)
    .bind::<Timestamptz, _>(job.erased_at - CLOCKS_APART)
    .bind::<Date, _>(last_day(job, now))
    .get_result(conn)
    .await?;
    let mut found =
        Found { last: row.last, seen: row.seen, clicks: row.own.len() as u64, ..Found::default() };
    let all = [row.own.as_slice(), row.again.as_slice()].concat();
    if all.is_empty() {
        return Ok(found);
    }
    let emptied = scrub_clicks(conn, &all, scrub, now).await?;
    found.first_clicks = emptied.first_clicks;
    // a conversation is the contact's, and stands in what was counted, as the place does
    let workspace_id = WorkspaceId::from_uuid(job.workspace_id);
    let changed: Vec<_> =
        emptied.changed.iter().map(|row| (workspace_id, ClickId::from_uuid(row.id))).collect();
    if !changed.is_empty() {
        rollups::mark(conn, &changed, now).await?;
    }
    if !row.own.is_empty() {
        found.scrubbed = scrub_deliveries(conn, &days_of(&row.own), &row.own, now).await?;
    }
    if !row.again.is_empty() {
        // not told of: most of these were emptied before, and they may be of other contacts
        scrub_deliveries(conn, &days_of(&row.again), &row.again, now).await?;
    }
    Ok(found)
}

/// The last day whose clicks are looked at. Partitions of days to come are not opened, but for the last look: a clock that was
/// ahead may have dated clicks on them.
fn last_day(job: &Row, now: DateTime<Utc>) -> NaiveDate {
    if job.looks_left > 0 { (now + CLOCKS_APART).date_naive() } else { NaiveDate::MAX }
}

fn days_of(clicks: &[Uuid]) -> Vec<NaiveDate> {
    clicks.iter().map(|id| ClickId::from_uuid(*id).day()).collect()
}

/// What became of clicks that were emptied.
struct Emptied {
    /// Those that had anything to lose.
    changed: Vec<IdRow>,
    /// Places among first clicks that went with them.
    first_clicks: u64,
}

/// Empties these clicks. Those that are empty already are not written again.
async fn scrub_clicks(
    conn: &mut Connection,
    ids: &[Uuid],
    scrub: Scrub,
    now: DateTime<Utc>,
) -> QueryResult<Emptied> {
    #[derive(QueryableByName)]
    struct Kept {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Binary)]
        event: Vec<u8>,
    }
    let kept: Vec<Kept> = statement(
        "SELECT c.id, c.event FROM unnest($1, $2) AS found (day, id) \
         JOIN clicks c ON c.day = found.day AND c.id = found.id ORDER BY c.id FOR UPDATE OF c",
    )
    .bind::<Array<Date>, _>(days_of(ids))
    .bind::<Array<SqlUuid>, _>(ids)
    .load(conn)
    .await?;
    let (ids, events): (Vec<Uuid>, Vec<Vec<u8>>) =
        kept.into_iter().map(|kept| (kept.id, scrub(&kept.event))).unzip();
    let days = days_of(&ids);
    let forgotten = statement(
        "DELETE FROM first_clicks USING unnest($1, $2) AS found (day, id), clicks c \
         WHERE c.day = found.day AND c.id = found.id \
             AND first_clicks.link_id = c.link_id AND first_clicks.visitor = c.contact_id COLLATE \"C\"",
    )
    .bind::<Array<Date>, _>(&days)
    .bind::<Array<SqlUuid>, _>(&ids)
    .execute(conn)
    .await?;
    let changed: Vec<IdRow> = statement(
        "UPDATE clicks c SET contact_id = NULL, conversation_id = NULL, message_id = NULL, region = NULL, city = NULL, \
             referrer_host = NULL, event = scrubbed.event, erased_at = coalesce(c.erased_at, $4) \
         FROM unnest($1, $2, $3) AS scrubbed (day, id, event) WHERE c.day = scrubbed.day AND c.id = scrubbed.id \
             AND (c.erased_at IS NULL OR c.event <> scrubbed.event \
                 OR num_nonnulls(c.contact_id, c.conversation_id, c.message_id, c.region, c.city, c.referrer_host) > 0) \
         RETURNING c.id",
    )
    .bind::<Array<Date>, _>(&days)
    .bind::<Array<SqlUuid>, _>(&ids)
    .bind::<Array<Binary>, _>(&events)
    .bind::<Timestamptz, _>(now)
    .load(conn)
    .await?;
    Ok(Emptied { changed, first_clicks: forgotten as u64 })
}
