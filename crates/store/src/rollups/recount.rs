//! Counts a bucket again, from the clicks that there are.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Date, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use uuid::Uuid;

use super::dirty::{Bucket, Grain, take};
use super::{Dimension, VALUE_CHARS_MAX, VALUES_PER_BUCKET_MAX, VALUES_PER_DAY_MAX, dimensions};
use crate::parse::earliest;
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// The first half of the locks' keys ("roll" in ASCII); the second tells the bucket.
const LOCK: i32 = 0x726f_6c6c;

/// Counting the millions of clicks of a quarter of an hour may take longer than other statements.
const TIMEOUT_MS: u32 = 300_000;

/// Length of a [`Grain::Quarter`].
pub(super) const QUARTER: chrono::TimeDelta = chrono::TimeDelta::minutes(15);

/// Where the values of a dimension come from.
pub(super) const fn value(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Link => "link_id::text",
        Dimension::Campaign => "campaign_id",
        Dimension::Conversation => "conversation_id",
        Dimension::Country => "country",
        Dimension::City => "CASE WHEN city IS NOT NULL THEN concat_ws(', ', city, region, country) END",
        Dimension::Device => "device_type",
        Dimension::Os => "os",
        Dimension::Browser => "browser",
        Dimension::ReferrerHost => "referrer_host",
        Dimension::Language => "language",
    }
}

/// Counts a bucket again if it is marked, and takes its marks away; false when it is not, or when another is at it.
///
/// The commit does not wait for the disk: a crash of PostgreSQL takes back the counts and brings back the marks alike.
pub async fn recount(conn: &mut Connection, bucket: Bucket, now: DateTime<Utc>) -> QueryResult<bool> {
    conn.transaction(async |conn| {
        // each a statement of its own: what is counted is what was there when the marks were gone
        if !lock(conn, bucket).await? || !take(conn, bucket).await? {
            return Ok(false);
        }
        match bucket.grain {
            Grain::Quarter => count_quarter(conn, bucket, now).await?,
            Grain::Day => count_day(conn, bucket).await?,
        }
        Ok(true)
    })
    .await
}

/// Takes the bucket until the end of the transaction, unless another has it.
async fn lock(conn: &mut Connection, bucket: Bucket) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Lock {
        #[diesel(sql_type = Bool)]
        is_ours: bool,
    }
    let key = format!("{} {:?} {}", bucket.workspace_id, bucket.grain, bucket.begins_at.timestamp());
    let lock: Lock = statement(
        "SELECT pg_try_advisory_xact_lock($1, hashtext($2)) AS is_ours, set_config('synchronous_commit', 'off', true),
             set_config('statement_timeout', $3, true)",
    )
    .bind::<Integer, _>(LOCK)
    .bind::<Text, _>(key)
    .bind::<Text, _>(TIMEOUT_MS.to_string())
    .get_result(conn)
    .await?;
    Ok(lock.is_ours)
}

async fn count_quarter(conn: &mut Connection, bucket: Bucket, now: DateTime<Utc>) -> QueryResult<()> {
    let (first, end): (Uuid, Uuid) = (earliest(bucket.begins_at), earliest(bucket.begins_at + QUARTER));
    statement(quarter())
        .bind::<SqlUuid, _>(bucket.workspace_id.uuid())
        .bind::<Timestamptz, _>(bucket.begins_at)
        .bind::<Date, _>(bucket.begins_at.date_naive())
        .bind::<SqlUuid, _>(first)
        .bind::<SqlUuid, _>(end)
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await?;
    Ok(())
}

async fn count_day(conn: &mut Connection, bucket: Bucket) -> QueryResult<()> {
    statement(day())
        .bind::<SqlUuid, _>(bucket.workspace_id.uuid())
        .bind::<Timestamptz, _>(bucket.begins_at)
        .execute(conn)
        .await?;
    Ok(())
}

/// One reading of the bucket's clicks gives all dimensions. What is right already is not written again. Of a bucket without
/// clicks, or of a day whose clicks were dropped, the counts stay.
fn quarter() -> String {
    let values = Dimension::ALL
        .map(|dimension| format!("left({}, {VALUE_CHARS_MAX}) AS {}", value(dimension), dimension.as_str()));
    let words = Dimension::ALL.map(Dimension::as_str);
    let which = words.map(|word| format!("WHEN grouping({word}) = 0 THEN '{word}'"));
    let sets = words.map(|word| format!("({word})"));
    format!(
        "WITH clicked AS (
             SELECT verdict, is_first_click, {values} FROM clicks
             WHERE day = $3 AND workspace_id = $1 AND id >= $4 AND id < $5
                 AND $3 >= (SELECT first_day FROM counted_clicks)
         ), counted AS MATERIALIZED (
             SELECT CASE {which} ELSE 'total' END COLLATE \"C\" AS dimension, coalesce({words}, '') COLLATE \"C\" AS value,
                 (count(*) FILTER (WHERE verdict = 'human'))::integer AS human,
                 (count(*) FILTER (WHERE verdict = 'automated'))::integer AS automated,
                 (count(*) FILTER (WHERE verdict NOT IN ('human', 'automated')))::integer AS unknown,
                 (count(*) FILTER (WHERE is_first_click AND verdict = 'human'))::integer AS unique_human,
                 (count(*) FILTER (WHERE is_first_click AND verdict NOT IN ('human', 'automated')))::integer AS unique_unknown
             FROM clicked GROUP BY GROUPING SETS ((), {sets}) HAVING count(*) > 0
         ), {fresh}, of_links AS (
             INSERT INTO link_rollups AS kept (workspace_id, bucket, link_id, human, automated, unknown, unique_human, unique_unknown)
             SELECT $1, $2, value::uuid, human, automated, unknown, unique_human, unique_unknown
             FROM counted WHERE dimension = 'link' ORDER BY value
             ON CONFLICT (workspace_id, link_id, bucket) {update}
         ), gone AS (
             {gone} AND EXISTS (SELECT FROM fresh) RETURNING 1
         ), written AS (
             {write} RETURNING 1
         )
         INSERT INTO dirty_buckets (workspace_id, bucket, is_day, marked_at)
         SELECT $1, $3::timestamp AT TIME ZONE 'UTC', true, $6
         WHERE EXISTS (SELECT FROM written) OR EXISTS (SELECT FROM gone)",
        values = values.join(", "),
        which = which.join(" "),
        words = words.join(", "),
        sets = sets.join(", "),
        fresh = fresh(VALUES_PER_BUCKET_MAX),
        update = UPDATE,
        gone = gone("rollups"),
        write = write("rollups"),
    )
}

/// The sum of a day's quarters.
fn day() -> String {
    format!(
        "WITH counted AS MATERIALIZED (
             SELECT dimension, is_other, value, sum(human)::integer AS human, sum(automated)::integer AS automated,
                 sum(unknown)::integer AS unknown, sum(unique_human)::integer AS unique_human,
                 sum(unique_unknown)::integer AS unique_unknown
             FROM unnest({dimensions}) AS dimensions (name) JOIN rollups ON workspace_id = $1
                 AND dimension = dimensions.name COLLATE \"C\" AND bucket >= $2 AND bucket < $2 + interval '24 hours'
             GROUP BY dimension, is_other, value
         ), {fresh}, gone AS (
             {gone}
         )
         {write}",
        dimensions = dimensions(),
        fresh = fresh_of_others(VALUES_PER_DAY_MAX),
        gone = gone("daily_rollups"),
        write = write("daily_rollups"),
    )
}

fn fresh(values_max: u32) -> String {
    listed(&format!("row_number() OVER (PARTITION BY dimension ORDER BY {FIRST}) > {values_max}"))
}

/// Like [`fresh`], of rows among which there are others already.
fn fresh_of_others(values_max: u32) -> String {
    listed(&format!(
        "is_other OR row_number() OVER (PARTITION BY dimension ORDER BY is_other, {FIRST}) > {values_max}"
    ))
}

/// Which values are listed by themselves.
const FIRST: &str = "human + unknown DESC, automated DESC, value";

/// The rows of `counted` as they are kept.
fn listed(is_other: &str) -> String {
    format!(
        "placed AS (
             SELECT dimension, value, human, automated, unknown, unique_human, unique_unknown, {is_other} AS is_other FROM counted
         ), fresh AS MATERIALIZED (
             SELECT dimension, is_other, CASE WHEN is_other THEN '' ELSE value END AS value, sum(human)::integer AS human,
                 sum(automated)::integer AS automated, sum(unknown)::integer AS unknown,
                 sum(unique_human)::integer AS unique_human, sum(unique_unknown)::integer AS unique_unknown
             FROM placed GROUP BY 1, 2, 3
         )"
    )
}

/// Deletes what `fresh` does not have, dimension by dimension, as the key is made for.
fn gone(table: &str) -> String {
    let dimensions = dimensions();
    format!(
        "DELETE FROM {table} AS kept USING unnest({dimensions}) AS dimensions (name)
         WHERE kept.workspace_id = $1 AND kept.dimension = dimensions.name COLLATE \"C\" AND kept.bucket = $2
             AND (kept.dimension, kept.is_other, kept.value) NOT IN (SELECT dimension, is_other, value FROM fresh)"
    )
}

/// Writes what `fresh` has.
fn write(table: &str) -> String {
    format!(
        "INSERT INTO {table} AS kept (workspace_id, bucket, dimension, is_other, value, human, automated, unknown,
             unique_human, unique_unknown)
         SELECT $1, $2, dimension, is_other, value, human, automated, unknown, unique_human, unique_unknown
         FROM fresh ORDER BY dimension, is_other, value
         ON CONFLICT (workspace_id, dimension, bucket, is_other, value) {UPDATE}"
    )
}

const UPDATE: &str = "DO UPDATE SET human = excluded.human, automated = excluded.automated, unknown = excluded.unknown,
        unique_human = excluded.unique_human, unique_unknown = excluded.unique_unknown
    WHERE (kept.human, kept.automated, kept.unknown, kept.unique_human, kept.unique_unknown) IS DISTINCT FROM
        (excluded.human, excluded.automated, excluded.unknown, excluded.unique_human, excluded.unique_unknown)";
