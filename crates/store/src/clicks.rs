//! Clicks: what is kept of every enriched click for reports, and the message itself.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Date, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{ClickId, EnrichedClick, LinkId};

use crate::partitions::days_of;
use crate::statement::{Statement, Values, statement};
use crate::{Connection, QueryResult};

/// The new rows, from one array a column: the statement's text does not depend on how many clicks there are.
macro_rules! insert {
    ($of:literal, $on_conflict:literal) => {
        concat!(
            "INSERT INTO clicks (id, day, workspace_id, revision, clicked_at, recorded_at, link_id, campaign_id,
                conversation_id, contact_id, message_id, channel, country, region, city, device_type, os, browser,
                verdict, is_first_click, event, sequence_id, step_id, link_kind, referrer_host, language)
            SELECT id, day, workspace_id, revision, clicked_at, $20, link_id, campaign_id,
                conversation_id, contact_id, message_id, channel, country, region, city, device_type, os, browser,
                verdict, is_first_click, event, sequence_id, step_id, link_kind, referrer_host, language
            FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $21, $22,
                $23, $24, $25, $26)
                AS new (id, day, workspace_id, revision, clicked_at, link_id, campaign_id, conversation_id,
                contact_id, message_id, channel, country, region, city, device_type, os, browser, verdict,
                is_first_click, event, sequence_id, step_id, link_kind, referrer_host, language) ",
            $of,
            " ON CONFLICT (day, id) ",
            $on_conflict
        )
    };
}

/// Goes on behind the rows that were `written` and by how many clicks each link has had more or fewer `visits`: marks what has
/// to be counted again in [`crate::rollups`], and counts for the links that may have only so many. Links are locked in the order
/// of their ids, so that two batches never wait for each other in a circle.
macro_rules! count {
    () => {
        ", marked AS (
            INSERT INTO dirty_buckets (workspace_id, bucket, marked_at)
            SELECT DISTINCT workspace_id, click_bucket(id), $20 FROM written
        ), limited AS (
            SELECT links.id, links.exhausted_at, greatest(links.counted_clicks + visits.clicks, 0) AS clicks
            FROM links JOIN visits ON visits.link_id = links.id
            WHERE links.max_clicks IS NOT NULL AND visits.clicks <> 0 ORDER BY links.id FOR UPDATE OF links
        ), counted AS (
            UPDATE links SET counted_clicks = limited.clicks, exhausted_at =
                CASE WHEN limited.clicks >= links.max_clicks THEN coalesce(links.exhausted_at, $20) END
            FROM limited WHERE links.id = limited.id
            RETURNING links.id, limited.exhausted_at IS NOT NULL AS was_exhausted,
                links.exhausted_at IS NOT NULL AS is_exhausted
        )
        SELECT (SELECT count(*) FROM written) AS written,
            ARRAY(SELECT id FROM counted WHERE is_exhausted AND NOT was_exhausted) AS exhausted,
            ARRAY(SELECT id FROM counted WHERE was_exhausted AND NOT is_exhausted) AS reopened"
    };
}

/// Keeps the clicks that are not there yet. What is inserted is counted, in one transaction, and nothing is inserted twice.
const RECORD: &str = concat!(
    "WITH written AS (",
    insert!("", "DO NOTHING RETURNING id, workspace_id, link_id, verdict"),
    "), visits AS (
        SELECT link_id, count(*)::integer AS clicks FROM written WHERE verdict <> 'automated' GROUP BY link_id
    )",
    count!()
);

/// Replaces what is there by a higher revision. A click that turns out to be a machine's is no visit any more, and the other
/// way round. Partitions of other days are not opened ([`days_of`]).
const AMEND: &str = concat!(
    "WITH before AS MATERIALIZED (
        SELECT clicks.day, clicks.id, clicks.verdict AS told FROM clicks
        JOIN unnest((SELECT $1), (SELECT $4)) AS asked (id, revision) ON asked.id = clicks.id
        WHERE clicks.day = ANY($27) AND clicks.revision < asked.revision
        ORDER BY clicks.day, clicks.id FOR UPDATE OF clicks
    ), written AS (",
    insert!(
        "JOIN before USING (day, id)",
        "DO UPDATE SET
        revision = excluded.revision, recorded_at = excluded.recorded_at, country = excluded.country,
        region = excluded.region, city = excluded.city, device_type = excluded.device_type, os = excluded.os,
        browser = excluded.browser, verdict = excluded.verdict, is_first_click = excluded.is_first_click,
        event = excluded.event, referrer_host = excluded.referrer_host, language = excluded.language
    WHERE clicks.revision < excluded.revision
    RETURNING clicks.day, clicks.id, clicks.workspace_id, clicks.link_id, clicks.verdict"
    ),
    "), visits AS (
        SELECT link_id, sum((verdict <> 'automated')::integer - (told <> 'automated')::integer)::integer AS clicks
        FROM written JOIN before USING (day, id) GROUP BY link_id
    )",
    count!()
);

/// An enriched click with its message.
#[derive(Debug, Clone, Copy)]
pub struct NewClick<'a> {
    /// The click.
    pub click: &'a EnrichedClick,
    /// The message on ENRICHED, byte for byte.
    pub event: &'a [u8],
}

/// The columns of many clicks.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    days: Vec<NaiveDate>,
    workspace_ids: Vec<Uuid>,
    revisions: Vec<i32>,
    clicked_at: Vec<DateTime<Utc>>,
    link_ids: Vec<Uuid>,
    campaign_ids: Vec<Option<Cow<'a, str>>>,
    conversation_ids: Vec<Option<Cow<'a, str>>>,
    contact_ids: Vec<Option<Cow<'a, str>>>,
    message_ids: Vec<Option<Cow<'a, str>>>,
    channels: Vec<Option<Cow<'a, str>>>,
    countries: Vec<Option<Cow<'a, str>>>,
    regions: Vec<Option<Cow<'a, str>>>,
    cities: Vec<Option<Cow<'a, str>>>,
    device_types: Vec<&'a str>,
    systems: Vec<Option<Cow<'a, str>>>,
    browsers: Vec<Option<Cow<'a, str>>>,
    verdicts: Vec<&'a str>,
    first_clicks: Vec<Option<bool>>,
    events: Vec<&'a [u8]>,
    sequence_ids: Vec<Option<Cow<'a, str>>>,
    step_ids: Vec<Option<Cow<'a, str>>>,
    link_kinds: Vec<&'a str>,
    referrer_hosts: Vec<Option<String>>,
    languages: Vec<Option<&'a str>>,
}

/// What became of a batch of clicks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Rows that were written, new or replaced.
    pub written: usize,
    /// Links that have had as many clicks as they may have, since this batch.
    pub exhausted: Vec<LinkId>,
    /// Links that had, until clicks of this batch turned out to be machines'.
    pub reopened: Vec<LinkId>,
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    written: i64,
    #[diesel(sql_type = Array<SqlUuid>)]
    exhausted: Vec<Uuid>,
    #[diesel(sql_type = Array<SqlUuid>)]
    reopened: Vec<Uuid>,
}

impl Recorded {
    fn add(&mut self, counted: Counted) {
        let links = |ids: Vec<Uuid>| ids.into_iter().map(LinkId::from_uuid);
        self.written += usize::try_from(counted.written).unwrap_or_default();
        self.exhausted.extend(links(counted.exhausted));
        self.reopened.extend(links(counted.reopened));
    }
}

/// Keeps these clicks, each once: of several tellings of one click the highest revision stays. Those whose newest telling is not
/// automated are counted, for a link that may have only so many.
pub async fn record(
    conn: &mut Connection,
    clicks: &[NewClick<'_>],
    now: DateTime<Utc>,
) -> QueryResult<Recorded> {
    let columns = columns(clicks);
    let mut recorded = Recorded::default();
    recorded.add(bound(RECORD, &columns, now).get_result(conn).await?);
    if recorded.written < columns.ids.len() {
        // a statement of its own sees what others have inserted meanwhile
        let days = days_of(columns.days.iter().copied());
        let amend = bound(AMEND, &columns, now).bind::<Array<Date>, _>(days);
        recorded.add(amend.get_result(conn).await?);
    }
    Ok(recorded)
}

fn bound<'a>(
    sql: &'static str,
    columns: &'a Columns<'_>,
    now: DateTime<Utc>,
) -> Statement<impl Values + Send + 'a> {
    statement(sql)
        .bind::<Array<SqlUuid>, _>(&columns.ids)
        .bind::<Array<Date>, _>(&columns.days)
        .bind::<Array<SqlUuid>, _>(&columns.workspace_ids)
        .bind::<Array<Integer>, _>(&columns.revisions)
        .bind::<Array<Timestamptz>, _>(&columns.clicked_at)
        .bind::<Array<SqlUuid>, _>(&columns.link_ids)
        .bind::<Array<Nullable<Text>>, _>(&columns.campaign_ids)
        .bind::<Array<Nullable<Text>>, _>(&columns.conversation_ids)
        .bind::<Array<Nullable<Text>>, _>(&columns.contact_ids)
        .bind::<Array<Nullable<Text>>, _>(&columns.message_ids)
        .bind::<Array<Nullable<Text>>, _>(&columns.channels)
        .bind::<Array<Nullable<Text>>, _>(&columns.countries)
        .bind::<Array<Nullable<Text>>, _>(&columns.regions)
        .bind::<Array<Nullable<Text>>, _>(&columns.cities)
        .bind::<Array<Text>, _>(&columns.device_types)
        .bind::<Array<Nullable<Text>>, _>(&columns.systems)
        .bind::<Array<Nullable<Text>>, _>(&columns.browsers)
        .bind::<Array<Text>, _>(&columns.verdicts)
        .bind::<Array<Nullable<Bool>>, _>(&columns.first_clicks)
        .bind::<Timestamptz, _>(now)
        .bind::<Array<Binary>, _>(&columns.events)
        .bind::<Array<Nullable<Text>>, _>(&columns.sequence_ids)
        .bind::<Array<Nullable<Text>>, _>(&columns.step_ids)
        .bind::<Array<Text>, _>(&columns.link_kinds)
        .bind::<Array<Nullable<Text>>, _>(&columns.referrer_hosts)
        .bind::<Array<Nullable<Text>>, _>(&columns.languages)
}

fn columns<'a>(clicks: &[NewClick<'a>]) -> Columns<'a> {
    // a statement may touch a row once only; in the order of the key, two batches never wait for each other in a circle
    let mut newest: BTreeMap<ClickId, NewClick<'a>> = BTreeMap::new();
    for new in clicks {
        let kept = newest.entry(new.click.click.id).or_insert(*new);
        if kept.click.event_id.revision() < new.click.event_id.revision() {
            *kept = *new;
        }
    }
    let mut columns = Columns::default();
    for (id, NewClick { click: enriched, event }) in newest {
        let (click, labels) = (&enriched.click, &enriched.click.link.labels);
        columns.ids.push(id.uuid());
        columns.days.push(id.day());
        columns.workspace_ids.push(click.workspace_id.uuid());
        columns.revisions.push(i32::try_from(enriched.event_id.revision()).unwrap_or(i32::MAX));
        // PostgreSQL's years begin after those of a broken clock
        columns.clicked_at.push(click.clicked_at.max(DateTime::UNIX_EPOCH));
        columns.link_ids.push(click.link.id.uuid());
        columns.campaign_ids.push(text(&labels.campaign_id));
        columns.conversation_ids.push(text(&labels.conversation_id));
        columns.contact_ids.push(text(&labels.contact_id));
        columns.message_ids.push(text(&labels.message_id));
        columns.channels.push(text(&labels.channel));
        columns.countries.push(text(&enriched.location.country));
        columns.regions.push(text(&enriched.location.region));
        columns.cities.push(text(&enriched.location.city));
        columns.device_types.push(enriched.device.kind.as_str());
        columns.systems.push(text(&enriched.device.os));
        columns.browsers.push(text(&enriched.device.browser));
        columns.verdicts.push(enriched.automation.verdict.as_str());
        columns.first_clicks.push(enriched.is_first_click);
        columns.events.push(event);
        columns.sequence_ids.push(text(&labels.sequence_id));
        columns.step_ids.push(text(&labels.step_id));
        columns.link_kinds.push(click.link.kind.as_str());
        columns.referrer_hosts.push(click.request.referrer_host());
        columns.languages.push(click.request.language());
    }
    columns
}

/// A text that came from outside: PostgreSQL refuses the character NUL, and one click must not stop its batch.
fn text(text: &Option<String>) -> Option<Cow<'_, str>> {
    let text = text.as_deref()?;
    Some(if text.contains('\0') { Cow::Owned(text.replace('\0', "")) } else { Cow::Borrowed(text) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::Planned;

    #[tokio::test]
    async fn what_is_amended_is_looked_up_in_the_partitions_of_its_days() {
        let types = "uuid[], date[], uuid[], integer[], timestamptz[], uuid[], text[], text[], text[], text[], text[], text[], \
                     text[], text[], text[], text[], text[], text[], boolean[], timestamptz, bytea[], text[], text[], text[], \
                     text[], text[], date[]";
        let (id, day) = ("ARRAY[gen_random_uuid()]", format!("ARRAY[date '{}']", Utc::now().date_naive()));
        let (nothing, word) = ("ARRAY[NULL::text]", "ARRAY['other']");
        let values = [
            &format!("{id}, {day}, {id}, ARRAY[1], ARRAY[now()], {id}"),
            &[nothing; 8].join(", "),
            &format!("{word}, {nothing}, {nothing}, {word}, ARRAY[true], now(), ARRAY[''::bytea]"),
            &format!("{nothing}, {nothing}, {word}, {nothing}, {nothing}, {day}"),
        ]
        .map(String::as_str)
        .join(", ");

        let planned = Planned::of(AMEND, types, &values).await.reading("clicks");

        assert_eq!(planned.scans_of_today().len(), 1, "{planned}");
        assert_eq!((planned.scans_of_others(), planned.is_made_once), (0, false), "{planned}");
    }
}
