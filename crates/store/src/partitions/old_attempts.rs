//! Drops old days of attempts before those of their deliveries: what subscribers answered, and what they were sent, need not be
//! known for as long as that it arrived.

use chrono::{NaiveDate, NaiveTime};
use diesel::sql_types::{Date, Timestamptz};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use tracing::{info, warn};

use super::{DROP_LOCK_TIMEOUT, LATE_ROWS_MAX, Steps, days, exists, has_waiting, lock_partitions, name};
use crate::{Connection, QueryResult};

/// Drops the attempts of the days before `first_kept`; tells how many days. Their deliveries stay, with the last answer.
///
/// A day in which a delivery still waits stays, and so does one whose table is being read for long. What the default partition
/// has of such days is deleted once it is as old itself, a bounded number of rows at a time.
///
/// # Errors
/// The first error, after all were tried.
pub async fn drop_attempts_before(conn: &mut Connection, first_kept: NaiveDate) -> QueryResult<usize> {
    let mut steps = Steps::default();
    for day in days(conn, "attempts").await?.into_iter().filter(|day| *day < first_kept) {
        steps.count(drop_day(conn, day).await, |error| {
            warn!(%day, %error, "the attempts of a day could not be dropped yet");
        });
    }
    steps.count(delete_late(conn, first_kept).await.map(|()| false), |error| {
        warn!(%error, "attempts that came late for days that were dropped could not be deleted yet");
    });
    steps.end()
}

/// Deletes what the default partition has of attempts that were made before `first_kept`, but for those of deliveries that
/// wait: an old delivery may have been tried again since.
async fn delete_late(conn: &mut Connection, first_kept: NaiveDate) -> QueryResult<()> {
    let deleted = diesel::sql_query(format!(
        "DELETE FROM attempts_default WHERE (day, delivery_id, number) IN \
             (SELECT day, delivery_id, number FROM attempts_default a WHERE day < $1 AND started_at < $2 AND NOT EXISTS \
                 (SELECT FROM deliveries d WHERE d.day = a.day AND d.id = a.delivery_id AND d.day < $1 \
                     AND d.status = 'pending') \
             LIMIT {LATE_ROWS_MAX})"
    ))
    .bind::<Date, _>(first_kept)
    .bind::<Timestamptz, _>(first_kept.and_time(NaiveTime::MIN).and_utc())
    .execute(conn)
    .await?;
    if deleted > 0 {
        info!(rows = deleted, "deleted attempts that came late for days that were dropped");
    }
    Ok(())
}

async fn drop_day(conn: &mut Connection, day: NaiveDate) -> QueryResult<bool> {
    let (deliveries, attempts) = (name("deliveries", day), name("attempts", day));
    let is_dropped = conn
        .transaction(async |conn| {
            lock_partitions(conn, DROP_LOCK_TIMEOUT).await?;
            // another replica may have dropped it meanwhile
            if !exists(conn, &attempts).await? {
                return Ok(false);
            }
            if exists(conn, &deliveries).await? && has_waiting(conn, &deliveries).await? {
                return Ok(false);
            }
            conn.batch_execute("LOCK TABLE ONLY attempts IN ACCESS EXCLUSIVE MODE").await?;
            conn.batch_execute(&format!("DROP TABLE {attempts}")).await?;
            QueryResult::Ok(true)
        })
        .await?;
    if is_dropped {
        info!(%day, "dropped the attempts of a day");
    }
    Ok(is_dropped)
}
