//! Holds the counts against a full count, which is made another way: click by click, without buckets that are kept.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Date, Timestamptz};
use diesel_async::RunQueryDsl;

use super::VALUES_PER_BUCKET_MAX;
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// How many counts of a UTC day are not what a full count of its clicks gives; 0 when all are right. It reads every click of
/// the day: for tests and measurements.
///
/// A value that is listed by itself must have exactly its clicks, each bucket must have exactly as many in all, and only a
/// bucket whose list is full may have others; of a link, every bucket must be right. A day must be the sum of its quarters.
pub async fn deviations(conn: &mut Connection, day: NaiveDate) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        deviations: i64,
    }
    let begins_at: DateTime<Utc> = day.and_time(NaiveTime::MIN).and_utc();
    let sql = DEVIATIONS
        .replace("FULL_COUNT", &full_count())
        .replace("VALUES_MAX", &VALUES_PER_BUCKET_MAX.to_string());
    let found: Found =
        statement(sql).bind::<Date, _>(day).bind::<Timestamptz, _>(begins_at).get_result(conn).await?;
    Ok(found.deviations)
}

/// The values of each dimension, told apart from how [`super::recount`] does it.
const VALUES: [(&str, &str); 11] = [
    ("total", "NULL::text"),
    ("link", "link_id::text"),
    ("campaign", "campaign_id"),
    ("conversation", "conversation_id"),
    ("country", "country"),
    ("city", "city || coalesce(', ' || region, '') || coalesce(', ' || country, '')"),
    ("device", "device_type"),
    ("os", "os"),
    ("browser", "browser"),
    ("referrer_host", "referrer_host"),
    ("language", "language"),
];

fn full_count() -> String {
    let count = |(dimension, value): (&str, &str)| {
        format!(
            "SELECT workspace_id, bucket, '{dimension}' COLLATE \"C\" AS dimension, coalesce({value}, '') COLLATE \"C\" AS value,
                 sum((verdict = 'human')::integer) AS human, sum((verdict = 'automated')::integer) AS automated,
                 sum((verdict = 'unknown')::integer) AS unknown, sum((is_first AND verdict = 'human')::integer) AS unique_human,
                 sum((is_first AND verdict = 'unknown')::integer) AS unique_unknown
             FROM told GROUP BY workspace_id, bucket, {value}"
        )
    };
    VALUES.map(count).join(" UNION ALL ")
}

const DEVIATIONS: &str = "\
WITH told AS MATERIALIZED (
    SELECT workspace_id, to_timestamp(floor(
            ('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0 / 900) * 900) AS bucket,
        coalesce(is_first_click, false) AS is_first, verdict, link_id, campaign_id, conversation_id, country, region, city,
        device_type, os, browser, referrer_host, language
    FROM clicks WHERE day = $1
), counted AS MATERIALIZED (
    FULL_COUNT
), kept AS MATERIALIZED (
    SELECT * FROM rollups WHERE bucket >= $2 AND bucket < $2 + interval '24 hours'
), listed AS (
    SELECT count(*) AS wrong FROM (SELECT * FROM kept WHERE NOT is_other) AS kept
    LEFT JOIN counted USING (workspace_id, bucket, dimension, value)
    WHERE (kept.human, kept.automated, kept.unknown, kept.unique_human, kept.unique_unknown) IS DISTINCT FROM
        (counted.human, counted.automated, counted.unknown, counted.unique_human, counted.unique_unknown)
), totals AS (
    SELECT count(*) AS wrong FROM (
        SELECT workspace_id, bucket, dimension, sum(human) AS human, sum(automated) AS automated, sum(unknown) AS unknown,
            sum(unique_human) AS unique_human, sum(unique_unknown) AS unique_unknown
        FROM counted GROUP BY 1, 2, 3
    ) AS counted FULL JOIN (
        SELECT workspace_id, bucket, dimension, sum(human) AS human, sum(automated) AS automated, sum(unknown) AS unknown,
            sum(unique_human) AS unique_human, sum(unique_unknown) AS unique_unknown
        FROM kept GROUP BY 1, 2, 3
    ) AS kept USING (workspace_id, bucket, dimension)
    WHERE (kept.human, kept.automated, kept.unknown, kept.unique_human, kept.unique_unknown) IS DISTINCT FROM
        (counted.human, counted.automated, counted.unknown, counted.unique_human, counted.unique_unknown)
), others AS (
    SELECT count(*) AS wrong FROM (
        SELECT FROM kept GROUP BY workspace_id, bucket, dimension
        HAVING bool_or(is_other) AND count(*) FILTER (WHERE NOT is_other) <> VALUES_MAX
            OR count(*) FILTER (WHERE NOT is_other) > VALUES_MAX
    ) AS buckets
), links AS (
    SELECT count(*) AS wrong FROM (SELECT * FROM counted WHERE dimension = 'link') AS counted
    FULL JOIN (
        SELECT *, link_id::text AS value FROM link_rollups WHERE bucket >= $2 AND bucket < $2 + interval '24 hours'
    ) AS kept USING (workspace_id, bucket, value)
    WHERE (kept.human, kept.automated, kept.unknown, kept.unique_human, kept.unique_unknown) IS DISTINCT FROM
        (counted.human, counted.automated, counted.unknown, counted.unique_human, counted.unique_unknown)
), days AS (
    SELECT workspace_id, dimension, is_other, value, human, automated, unknown, unique_human, unique_unknown
    FROM daily_rollups WHERE bucket = $2
), listed_days AS (
    SELECT count(*) AS wrong FROM (SELECT * FROM days WHERE NOT is_other) AS days LEFT JOIN (
        SELECT workspace_id, dimension, value, sum(human) AS human, sum(automated) AS automated, sum(unknown) AS unknown,
            sum(unique_human) AS unique_human, sum(unique_unknown) AS unique_unknown
        FROM kept WHERE NOT is_other GROUP BY 1, 2, 3
    ) AS kept USING (workspace_id, dimension, value)
    WHERE (kept.human, kept.automated, kept.unknown, kept.unique_human, kept.unique_unknown) IS DISTINCT FROM
        (days.human, days.automated, days.unknown, days.unique_human, days.unique_unknown)
), total_days AS (
    SELECT count(*) AS wrong FROM (
        SELECT workspace_id, dimension, sum(human) AS human, sum(automated) AS automated, sum(unknown) AS unknown,
            sum(unique_human) AS unique_human, sum(unique_unknown) AS unique_unknown
        FROM days GROUP BY 1, 2
    ) AS days FULL JOIN (
        SELECT workspace_id, dimension, sum(human) AS human, sum(automated) AS automated, sum(unknown) AS unknown,
            sum(unique_human) AS unique_human, sum(unique_unknown) AS unique_unknown
        FROM counted GROUP BY 1, 2
    ) AS counted USING (workspace_id, dimension)
    WHERE (counted.human, counted.automated, counted.unknown, counted.unique_human, counted.unique_unknown) IS DISTINCT FROM
        (days.human, days.automated, days.unknown, days.unique_human, days.unique_unknown)
)
SELECT listed.wrong + totals.wrong + others.wrong + links.wrong + listed_days.wrong + total_days.wrong AS deviations
FROM listed, totals, others, links, listed_days, total_days";
