//! What clicks are made of, read from the clicks themselves: where nothing was counted, at a cost that has a bound.
//!
//! Links are counted, but not what the clicks of a link are made of, nor who clicked: that would be as many rows as there are
//! clicks. So the newest [`READ_MAX`] clicks of a range are read, and whoever asks is told whether these were all.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Date, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::automation::Verdict;
use model::{LinkId, WorkspaceId};

use super::recount::value;
use super::{Counts, Dimension, Range, Scope, Top, TopList, VALUE_CHARS_MAX};
use crate::parse::earliest;
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// Clicks that are read at most.
pub const READ_MAX: i64 = 10_000;

/// What a link's clicks are made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Hits that were read.
    pub read: i64,
    /// Different contacts among those that are no machine's. Of erased contacts nothing is known.
    pub contacts: i64,
    /// Of each dimension that was asked for and has any, the values with most clicks.
    pub tops: HashMap<Dimension, TopList>,
}

impl Made {
    /// Whether all hits of the range were read.
    pub const fn is_whole(&self) -> bool {
        self.read < READ_MAX
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    dimension: String,
    #[diesel(sql_type = Bool)]
    is_listed: bool,
    #[diesel(sql_type = Text)]
    value: String,
    #[diesel(sql_type = BigInt)]
    hits: i64,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
    #[diesel(sql_type = BigInt)]
    unique_clicks: i64,
}

/// Which clicks of `$1` are read; `$2` to `$5` bound the range.
fn of_range(link: &str) -> String {
    format!(
        "workspace_id = $1 AND {link} AND day >= $2 AND day <= $3 AND id >= $4 AND id < $5 ORDER BY id DESC LIMIT {READ_MAX}"
    )
}

/// What the newest clicks of a link within a range are made of: the `limit` values of each dimension with most of those with
/// one verdict, or of all.
pub async fn sample(
    conn: &mut Connection,
    (workspace_id, link_id): (WorkspaceId, LinkId),
    range: Range,
    dimensions: &[Dimension],
    verdict: Option<Verdict>,
    limit: i64,
) -> QueryResult<Made> {
    let words = Dimension::ALL.map(Dimension::as_str);
    let values = Dimension::ALL
        .map(|dimension| format!("left({}, {VALUE_CHARS_MAX}) AS {}", value(dimension), dimension.as_str()));
    let rows = words.map(|word| format!("('{word}', {word})"));
    let (since, until) = (range.since(), range.until());
    let rows: Vec<Row> = statement(format!(
        "WITH read AS MATERIALIZED (
             SELECT verdict, is_first_click, contact_id, {values} FROM clicks WHERE {of_range}
         ), meant AS MATERIALIZED (
             SELECT *, verdict <> 'automated' AS is_click FROM read WHERE $6::text IS NULL OR verdict = $6
         ), counted AS (
             SELECT dimension, coalesce(value, '') AS value, count(*) AS hits, count(*) FILTER (WHERE is_click) AS clicks,
                 count(*) FILTER (WHERE is_click AND is_first_click) AS unique_clicks
             FROM meant CROSS JOIN LATERAL (VALUES {rows}) AS each (dimension, value)
             WHERE dimension = ANY($7) GROUP BY 1, 2
         ), placed AS (
             SELECT *, row_number() OVER (PARTITION BY dimension ORDER BY clicks DESC, hits DESC, value) AS place FROM counted
         ), listed AS (
             SELECT dimension, place <= $8 AS is_listed, CASE WHEN place <= $8 THEN value ELSE '' END AS value,
                 least(place, $8 + 1) AS place, sum(hits)::bigint AS hits, sum(clicks)::bigint AS clicks,
                 sum(unique_clicks)::bigint AS unique_clicks
             FROM placed GROUP BY 1, 2, 3, 4
         )
         SELECT dimension, is_listed, value, hits, clicks, unique_clicks, place FROM listed
         UNION ALL SELECT '', false, '', (SELECT count(*) FROM read),
             (SELECT count(DISTINCT contact_id) FROM meant WHERE is_click), 0, 0
         ORDER BY place",
        values = values.join(", "),
        rows = rows.join(", "),
        of_range = of_range("link_id = $9"),
    ))
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<Date, _>(since.date_naive())
    .bind::<Date, _>(until.date_naive())
    .bind::<SqlUuid, _>(earliest(since))
    .bind::<SqlUuid, _>(earliest(until))
    .bind::<Nullable<Text>, _>(verdict.map(Verdict::as_str))
    .bind::<Array<Text>, _>(dimensions.iter().map(|dimension| dimension.as_str()).collect::<Vec<_>>())
    .bind::<BigInt, _>(limit)
    .bind::<SqlUuid, _>(link_id.uuid())
    .load(conn)
    .await?;
    let mut made = Made::default();
    for Row { dimension, is_listed, value, hits, clicks, unique_clicks } in rows {
        let Some(dimension) = Dimension::from_word(&dimension) else {
            (made.read, made.contacts) = (hits, clicks);
            continue;
        };
        let counts = Counts { hits, clicks, unique_clicks };
        let list = made.tops.entry(dimension).or_default();
        if is_listed {
            list.values.push(Top { value: Some(value).filter(|value| !value.is_empty()), counts });
        } else {
            list.others = counts;
        }
    }
    Ok(made)
}

/// Different contacts among the clicks of a range with one verdict, or of all that are not automated; `None` when there are more
/// than [`READ_MAX`] hits. Of erased contacts nothing is known.
pub async fn contacts(
    conn: &mut Connection,
    scope: Scope,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    verdict: Option<Verdict>,
) -> QueryResult<Option<i64>> {
    #[derive(QueryableByName)]
    struct Contacts {
        #[diesel(sql_type = BigInt)]
        read: i64,
        #[diesel(sql_type = BigInt)]
        contacts: i64,
    }
    let (workspace_id, link_id, link) = match scope {
        Scope::Workspace(workspace_id) => (workspace_id, Uuid::nil(), "$7::uuid IS NOT NULL"),
        Scope::Link(workspace_id, link_id) => (workspace_id, link_id.uuid(), "link_id = $7"),
    };
    let found: Contacts = statement(format!(
        "SELECT count(*) AS read, count(DISTINCT contact_id) FILTER (
             WHERE verdict <> 'automated' AND ($6::text IS NULL OR verdict = $6)
         ) AS contacts
         FROM (SELECT contact_id, verdict FROM clicks WHERE {}) AS read",
        of_range(link)
    ))
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<Date, _>(since.date_naive())
    .bind::<Date, _>(until.date_naive())
    .bind::<SqlUuid, _>(earliest(since))
    .bind::<SqlUuid, _>(earliest(until))
    .bind::<Nullable<Text>, _>(verdict.map(Verdict::as_str))
    .bind::<SqlUuid, _>(link_id)
    .get_result(conn)
    .await?;
    Ok((found.read < READ_MAX).then_some(found.contacts))
}
