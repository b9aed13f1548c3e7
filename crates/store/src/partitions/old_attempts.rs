//! Drops old days of attempts before those of their deliveries: what subscribers answered, and what they were sent, need not be
//! known for as long as that it arrived.

use chrono::NaiveDate;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use tracing::{info, warn};

use super::{DROP_LOCK_TIMEOUT, PARTITION_LOCK, days, exists, has_waiting, name};
use crate::{Connection, QueryResult};

/// Drops the attempts of the days before `first_kept`; tells how many days. Their deliveries stay, with the last answer.
///
/// A day in which a delivery still waits stays, and so does one whose table is being read for long.
///
/// # Errors
/// The first error, after all were tried.
pub async fn drop_attempts_before(conn: &mut Connection, first_kept: NaiveDate) -> QueryResult<usize> {
    let (mut dropped, mut failed) = (0, None);
    for day in days(conn, "attempts").await?.into_iter().filter(|day| *day < first_kept) {
        match drop_day(conn, day).await {
            Ok(is_dropped) => dropped += usize::from(is_dropped),
            Err(error) => {
                warn!(%day, %error, "the attempts of a day could not be dropped yet");
                failed = failed.or(Some(error));
            }
        }
    }
    failed.map_or(Ok(dropped), Err)
}

async fn drop_day(conn: &mut Connection, day: NaiveDate) -> QueryResult<bool> {
    let (deliveries, attempts) = (name("deliveries", day), name("attempts", day));
    let is_dropped = conn
        .transaction(async |conn| {
            let lock = format!(
                "SET LOCAL lock_timeout = '{DROP_LOCK_TIMEOUT}'; SELECT pg_advisory_xact_lock({PARTITION_LOCK})"
            );
            conn.batch_execute(&lock).await?;
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
