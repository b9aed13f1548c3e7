//! Salts of the hashes by which visitors without a contact are told apart for a day.
//!
//! The first that needs the salt of a day makes it, and all replicas of `enrich` share it, also after a restart. It is
//! deleted 47 hours after its day began: from then on nobody, we included, can find out whose a hash was by trying all
//! addresses.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Bytea, Date};
use diesel_async::RunQueryDsl;

use crate::statement::statement;
use crate::{Connection, QueryResult};

/// How long after the beginning of its day a salt is kept: less than 48 hours, so that who deletes it may be late.
const KEPT: TimeDelta = TimeDelta::hours(47);

/// The first day whose salt is kept at `now`.
pub fn first_kept(now: DateTime<Utc>) -> NaiveDate {
    let last_gone = (now - KEPT).date_naive();
    last_gone.checked_add_days(Days::new(1)).unwrap_or(last_gone)
}

/// The salt of a day, made if there is none; who asks for a day that is over asks [`first_kept`] before.
pub async fn of_day(conn: &mut Connection, day: NaiveDate) -> QueryResult<Vec<u8>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bytea)]
        salt: Vec<u8>,
    }
    statement(
        "INSERT INTO visitor_salts (day, salt) \
         VALUES ($1, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))) ON CONFLICT DO NOTHING",
    )
    .bind::<Date, _>(day)
    .execute(conn)
    .await?;
    let row: Row = statement("SELECT salt FROM visitor_salts WHERE day = $1")
        .bind::<Date, _>(day)
        .get_result(conn)
        .await?;
    Ok(row.salt)
}

/// Deletes the salts whose time is over; tells how many.
pub async fn destroy_old(conn: &mut Connection, now: DateTime<Utc>) -> QueryResult<usize> {
    statement("DELETE FROM visitor_salts WHERE day < $1").bind::<Date, _>(first_kept(now)).execute(conn).await
}
