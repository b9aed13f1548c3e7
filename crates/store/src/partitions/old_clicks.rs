//! Drops old days of clicks, once everything that is made from them is made.

use chrono::{NaiveDate, NaiveTime};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Date, Timestamptz};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use tracing::info;

use super::{DROP_LOCK_TIMEOUT, LATE_ROWS_MAX, days, exists, lock_partitions, name};
use crate::{Connection, QueryResult, rollups};

/// Drops the clicks of the days before `first_kept`, the oldest first; tells whether all of them are gone.
///
/// A day stays, and so do those after it, while its clicks are not all counted ([`crate::rollups`]), and while the delivery log
/// has the day or one of its deliveries waits: bodies are rendered from clicks. From then on the counts of a dropped day
/// stay as they are, whatever comes late for it; of conversations only their sum stays.
///
/// # Errors
/// Also when somebody reads the table for long: it is dropped another time.
pub async fn drop_clicks_before(conn: &mut Connection, first_kept: NaiveDate) -> QueryResult<bool> {
    for day in days(conn, "clicks").await?.into_iter().filter(|day| *day < first_kept) {
        if !drop_day(conn, day).await? {
            return Ok(false);
        }
        rollups::end_conversations(conn, day).await?;
    }
    // whoever dropped the last day may have died before it came to this
    if let Some(last) = first_kept.pred_opt() {
        rollups::end_conversations(conn, last).await?;
    }
    delete_late(conn, first_kept).await
}

async fn drop_day(conn: &mut Connection, day: NaiveDate) -> QueryResult<bool> {
    let partition = name("clicks", day);
    let next = day.succ_opt().unwrap_or(day);
    conn.transaction(async |conn| {
        lock_partitions(conn, DROP_LOCK_TIMEOUT).await?;
        // another replica may have dropped it meanwhile
        if !exists(conn, &partition).await? {
            return Ok(true);
        }
        if exists(conn, &name("deliveries", day)).await? || is_needed(conn, next).await? {
            return Ok(false);
        }
        conn.batch_execute("LOCK TABLE ONLY clicks IN ACCESS EXCLUSIVE MODE").await?;
        // who was writing has committed
        if is_needed(conn, next).await? {
            return Ok(false);
        }
        keep_counts_before(conn, next).await?;
        conn.batch_execute(&format!("DROP TABLE {partition}")).await?;
        info!(%day, "dropped the clicks of a day");
        QueryResult::Ok(true)
    })
    .await
}

/// Deletes what the default partition has of such days; true when that was all of it.
async fn delete_late(conn: &mut Connection, first_kept: NaiveDate) -> QueryResult<bool> {
    conn.transaction(async |conn| {
        if is_needed(conn, first_kept).await? {
            return Ok(false);
        }
        keep_counts_before(conn, first_kept).await?;
        let deleted = diesel::sql_query(format!(
            "DELETE FROM clicks_default WHERE (day, id) IN \
                 (SELECT day, id FROM clicks_default WHERE day < $1 LIMIT {LATE_ROWS_MAX})"
        ))
        .bind::<Date, _>(first_kept)
        .execute(conn)
        .await?;
        if deleted > 0 {
            info!(rows = deleted, "deleted clicks that came late for days that were dropped");
        }
        QueryResult::Ok(deleted < LATE_ROWS_MAX as usize)
    })
    .await
}

/// Whether a click before `end` is still to be counted, or to be delivered.
async fn is_needed(conn: &mut Connection, end: NaiveDate) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_needed: bool,
    }
    let query = "SELECT EXISTS (SELECT FROM dirty_buckets WHERE NOT is_day AND bucket < $2)
            OR EXISTS (SELECT FROM unmarked_hours WHERE hour < $2)
            OR EXISTS (SELECT FROM deliveries WHERE day < $1 AND status = 'pending') AS is_needed";
    let row: Row = diesel::sql_query(query)
        .bind::<Date, _>(end)
        .bind::<Timestamptz, _>(end.and_time(NaiveTime::MIN).and_utc())
        .get_result(conn)
        .await?;
    Ok(row.is_needed)
}

/// From now on no bucket before `day` is counted again.
async fn keep_counts_before(conn: &mut Connection, day: NaiveDate) -> QueryResult<()> {
    diesel::sql_query("UPDATE counted_clicks SET first_day = $1 WHERE first_day < $1")
        .bind::<Date, _>(day)
        .execute(conn)
        .await?;
    Ok(())
}
