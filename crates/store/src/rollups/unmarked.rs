//! Counts that are not those of their clicks, although nobody has marked them.
//!
//! Whoever writes clicks marks their buckets. A program that does not (of a release before there were marks, paused for days and
//! woken; a hand with SQL) leaves counts behind that stay wrong: so each day is held against its clicks now and then.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use diesel::sql_types::{Date, Text, Timestamptz};
use diesel_async::{AsyncConnection, RunQueryDsl};

use crate::statement::statement;
use crate::{Connection, QueryResult};

/// Reading a day of millions of clicks may take longer than other statements.
const TIMEOUT_MS: u32 = 300_000;

/// Marks the quarters of this UTC day whose totals are not those of their clicks, and that are not marked; tells how many.
pub async fn mark_deviating(conn: &mut Connection, day: NaiveDate, now: DateTime<Utc>) -> QueryResult<usize> {
    conn.transaction(async |conn| {
        statement("SELECT set_config('statement_timeout', $1, true)")
            .bind::<Text, _>(TIMEOUT_MS.to_string())
            .execute(conn)
            .await?;
        statement(MARK)
            .bind::<Date, _>(day)
            .bind::<Timestamptz, _>(day.and_time(NaiveTime::MIN).and_utc())
            .bind::<Timestamptz, _>(now)
            .execute(conn)
            .await
    })
    .await
}

/// One snapshot of clicks, counts and marks: what is being recorded, or counted, is in all of them or in none.
const MARK: &str = "\
WITH clicked AS (
    SELECT workspace_id, click_bucket(id) AS bucket,
        count(*) FILTER (WHERE verdict = 'human') AS human,
        count(*) FILTER (WHERE verdict = 'automated') AS automated,
        count(*) FILTER (WHERE verdict NOT IN ('human', 'automated')) AS unknown,
        count(*) FILTER (WHERE is_first_click AND verdict = 'human') AS unique_human,
        count(*) FILTER (WHERE is_first_click AND verdict NOT IN ('human', 'automated')) AS unique_unknown
    FROM clicks WHERE day = $1 AND $1 >= (SELECT first_day FROM counted_clicks) GROUP BY 1, 2
), counted AS (
    SELECT workspace_id, bucket, human, automated, unknown, unique_human, unique_unknown
    FROM rollups WHERE dimension = 'total' AND bucket >= $2 AND bucket < $2 + interval '24 hours'
)
INSERT INTO dirty_buckets (workspace_id, bucket, marked_at)
SELECT workspace_id, bucket, $3 FROM clicked LEFT JOIN counted USING (workspace_id, bucket)
WHERE (clicked.human, clicked.automated, clicked.unknown, clicked.unique_human, clicked.unique_unknown) IS DISTINCT FROM
        (counted.human, counted.automated, counted.unknown, counted.unique_human, counted.unique_unknown)
    AND NOT EXISTS (SELECT FROM dirty_buckets marked WHERE marked.workspace_id = clicked.workspace_id
        AND marked.bucket = clicked.bucket AND NOT marked.is_day)";
