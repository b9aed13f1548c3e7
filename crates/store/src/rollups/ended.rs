//! What of the counts ends with the clicks that they were made from.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use diesel::sql_types::Timestamptz;
use diesel_async::RunQueryDsl;

use crate::statement::statement;
use crate::{Connection, QueryResult};

/// Counts the conversations of a UTC day among the others, once its clicks are dropped: a conversation is one person's, and who
/// has clicks kept for so long wants that known for so long. Doing so again changes nothing. Tells how many rows went.
pub async fn end_conversations(conn: &mut Connection, day: NaiveDate) -> QueryResult<usize> {
    let moment = |day: NaiveDate| -> DateTime<Utc> { day.and_time(NaiveTime::MIN).and_utc() };
    let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
    let mut ended = 0;
    for table in ["rollups", "daily_rollups"] {
        ended += statement(format!(
            "WITH ended AS (
                 DELETE FROM {table} WHERE bucket >= $1 AND bucket < $2 AND dimension = 'conversation'
                     AND NOT is_other AND value <> '' RETURNING *
             )
             INSERT INTO {table} AS kept (workspace_id, dimension, bucket, is_other, value, human, automated, unknown,
                 unique_human, unique_unknown)
             SELECT workspace_id, dimension, bucket, true, '', sum(human), sum(automated), sum(unknown), sum(unique_human),
                 sum(unique_unknown)
             FROM ended GROUP BY workspace_id, dimension, bucket
             ON CONFLICT (workspace_id, dimension, bucket, is_other, value) DO UPDATE SET
                 human = kept.human + excluded.human, automated = kept.automated + excluded.automated,
                 unknown = kept.unknown + excluded.unknown,
                 unique_human = kept.unique_human + excluded.unique_human,
                 unique_unknown = kept.unique_unknown + excluded.unique_unknown"
        ))
        .bind::<Timestamptz, _>(moment(day))
        .bind::<Timestamptz, _>(moment(next))
        .execute(conn)
        .await?;
    }
    Ok(ended)
}
