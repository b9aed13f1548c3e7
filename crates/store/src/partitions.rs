//! One partition a UTC day of the tables that grow with traffic.
//!
//! A partition is built beside its table and then attached: only then, and for an instant, do others wait. Days that
//! nobody made in time fall into the default partition; making their partition moves them out of it.
//!
//! Old days of the delivery log, and of clicks, are dropped as a whole, which costs the same however many rows they have. Who
//! drops one must have its table alone for an instant, and everybody else would queue behind a wait for that: it is a short
//! one.

mod old_attempts;
mod old_clicks;

use std::collections::BTreeSet;

use chrono::{Days, NaiveDate};
use diesel::sql_types::{Array, Bool, Date, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use tracing::{info, warn};

use crate::pool::Connection;

pub use old_attempts::drop_attempts_before;
pub use old_clicks::drop_clicks_before;

/// The tables that have a partition a day, by a column `day`.
pub const TABLES: [&str; 4] = ["clicks", "deliveries", "attempts", "delivery_batches"];

/// Held while a partition is made ("partitio" in ASCII).
const PARTITION_LOCK: i64 = 0x7061_7274_6974_696f;

/// Rather try again later than have every writer queue behind us.
const LOCK_TIMEOUT: &str = "5s";

/// So long others wait behind us at most when a day is dropped; if somebody reads for longer, it is dropped another time.
const DROP_LOCK_TIMEOUT: &str = "100ms";

/// Rows of dropped days that are deleted from a default partition at a time; the rest goes the next time.
const LATE_ROWS_MAX: u32 = 10_000;

/// The days that the delivery log holds: of others it cannot be told what was delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldDays {
    /// The first of them; `None`: no day has a partition, and none was ever dropped.
    pub first: Option<NaiveDate>,
    /// Later ones that were dropped all the same, while a day before them stayed because a delivery waits in it.
    pub dropped: Vec<NaiveDate>,
}

/// Makes the partitions from yesterday until `days_ahead` after `today`; tells how many were missing.
///
/// Safe to run again, and by several at once. One that cannot be made now is logged and does not keep the others from
/// being made: meanwhile its rows go to the default partition.
///
/// # Errors
/// The first partition's error, after all were tried.
pub async fn ensure(conn: &mut Connection, today: NaiveDate, days_ahead: u32) -> QueryResult<usize> {
    let first = today.checked_sub_days(Days::new(1)).unwrap_or(today);
    let days = first.iter_days().take(days_ahead as usize + 2);
    let mut steps = Steps::default();
    for day in days {
        for table in TABLES {
            steps.count(ensure_one(conn, table, day).await, |error| {
                warn!(table, %day, %error, "a partition could not be made; its rows go to the default partition");
            });
        }
    }
    steps.end()
}

/// Drops the deliveries, batches and attempts of the days before `first_kept`; tells how many days.
///
/// A day in which a delivery still waits stays. So does one whose table is being read for long; it does not keep the
/// others from being dropped. What the default partitions have of such days is deleted, a bounded number of rows at a time.
///
/// # Errors
/// The first error, after all were tried.
pub async fn drop_deliveries_before(conn: &mut Connection, first_kept: NaiveDate) -> QueryResult<usize> {
    let mut days = days(conn, "deliveries").await?;
    days.append(&mut self::days(conn, "attempts").await?);
    days.append(&mut self::days(conn, "delivery_batches").await?);
    let mut steps = Steps::default();
    for day in days.into_iter().filter(|day| *day < first_kept) {
        steps.count(drop_day(conn, day).await, |error| {
            warn!(%day, %error, "the delivery log of a day could not be dropped yet");
        });
    }
    steps.count(delete_late(conn, first_kept).await.map(|()| false), |error| {
        warn!(%error, "what came late for days that were dropped could not be deleted yet");
    });
    steps.end()
}

/// Steps of which each is taken, whether or not one before it failed.
#[derive(Default)]
struct Steps {
    /// How many changed something.
    done: usize,
    /// The first error.
    failed: Option<diesel::result::Error>,
}

impl Steps {
    /// Counts a step that says whether it changed something; what it failed with is told of.
    fn count(&mut self, step: QueryResult<bool>, tell: impl FnOnce(&diesel::result::Error)) {
        match step {
            Ok(is_change) => self.done += usize::from(is_change),
            Err(error) => {
                tell(&error);
                self.failed = self.failed.take().or(Some(error));
            }
        }
    }

    /// How many changed something, or the first error.
    fn end(self) -> QueryResult<usize> {
        self.failed.map_or(Ok(self.done), Err)
    }
}

/// The days that the delivery log holds.
///
/// A day without a partition that lies between others was dropped, unless the default partition has deliveries of it: then
/// nobody made its partition in time.
pub async fn held_days(conn: &mut Connection) -> QueryResult<HeldDays> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Date)]
        day: NaiveDate,
    }
    let days = days(conn, "deliveries").await?;
    let (Some(first), Some(last)) = (BTreeSet::first(&days).copied(), BTreeSet::last(&days).copied()) else {
        return Ok(HeldDays::default());
    };
    let gaps: Vec<NaiveDate> =
        first.iter_days().take_while(|day| *day < last).filter(|day| !days.contains(day)).collect();
    if gaps.is_empty() {
        return Ok(HeldDays { first: Some(first), dropped: gaps });
    }
    let query = "SELECT gap.day FROM unnest($1) AS gap (day)
                 WHERE NOT EXISTS (SELECT FROM deliveries_default d WHERE d.day = gap.day)";
    let rows: Vec<Row> = diesel::sql_query(query).bind::<Array<Date>, _>(gaps).load(conn).await?;
    Ok(HeldDays { first: Some(first), dropped: rows.into_iter().map(|row| row.day).collect() })
}

async fn drop_day(conn: &mut Connection, day: NaiveDate) -> QueryResult<bool> {
    let (deliveries, attempts) = (name("deliveries", day), name("attempts", day));
    let batches = name("delivery_batches", day);
    let is_dropped = conn
        .transaction(async |conn| {
            lock_partitions(conn, DROP_LOCK_TIMEOUT).await?;
            // another replica may have dropped it meanwhile
            let has_deliveries = exists(conn, &deliveries).await?;
            if !has_deliveries && !exists(conn, &attempts).await? && !exists(conn, &batches).await? {
                return Ok(false);
            }
            // a batch is of the day of its newest delivery, which waits as long as the batch does
            if has_deliveries && has_waiting(conn, &deliveries).await? {
                return Ok(false);
            }
            // the tables before their partitions, as those who write take them
            conn.batch_execute(
                "LOCK TABLE ONLY delivery_batches, ONLY deliveries, ONLY attempts IN ACCESS EXCLUSIVE MODE",
            )
            .await?;
            // somebody may have asked for a retry meanwhile
            if has_deliveries && has_waiting(conn, &deliveries).await? {
                return Ok(false);
            }
            conn.batch_execute(&format!("DROP TABLE IF EXISTS {attempts}, {deliveries}, {batches}")).await?;
            QueryResult::Ok(true)
        })
        .await?;
    if is_dropped {
        info!(%day, "dropped the delivery log of a day");
    }
    Ok(is_dropped)
}

/// Deletes what the default partitions have of the days before `first_kept`: deliveries and batches that do not wait, and
/// attempts whose delivery is not there any more.
async fn delete_late(conn: &mut Connection, first_kept: NaiveDate) -> QueryResult<()> {
    // somebody may ask for a retry meanwhile: what is deleted is looked at once more
    let deliveries = format!(
        "DELETE FROM deliveries_default WHERE status <> 'pending' AND (day, id) IN \
             (SELECT day, id FROM deliveries_default WHERE day < $1 AND status <> 'pending' LIMIT {LATE_ROWS_MAX})"
    );
    let batches = format!(
        "DELETE FROM delivery_batches_default WHERE status <> 'pending' AND (day, id) IN \
             (SELECT day, id FROM delivery_batches_default WHERE day < $1 AND status <> 'pending' LIMIT {LATE_ROWS_MAX})"
    );
    let attempts = format!(
        "DELETE FROM attempts_default WHERE (day, delivery_id, number) IN \
             (SELECT day, delivery_id, number FROM attempts_default a WHERE day < $1 AND NOT EXISTS \
                 (SELECT FROM deliveries d WHERE d.day = a.day AND d.id = a.delivery_id AND d.day < $1) \
             LIMIT {LATE_ROWS_MAX})"
    );
    let mut deleted = 0;
    for delete in [deliveries, batches, attempts] {
        deleted += diesel::sql_query(delete).bind::<Date, _>(first_kept).execute(conn).await?;
    }
    if deleted > 0 {
        info!(rows = deleted, "deleted what came late for days of the delivery log that were dropped");
    }
    Ok(())
}

/// Keeps others from making and dropping partitions until the transaction ends, which waits for no lock longer than this.
async fn lock_partitions(conn: &mut Connection, timeout: &str) -> QueryResult<()> {
    conn.batch_execute(&format!(
        "SET LOCAL lock_timeout = '{timeout}'; SELECT pg_advisory_xact_lock({PARTITION_LOCK})"
    ))
    .await
}

async fn has_waiting(conn: &mut Connection, partition: &str) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        has_waiting: bool,
    }
    let query = format!("SELECT EXISTS (SELECT FROM {partition} WHERE status = 'pending') AS has_waiting");
    Ok(diesel::sql_query(query).get_result::<Row>(conn).await?.has_waiting)
}

/// The days that a table has a partition of.
async fn days(conn: &mut Connection, table: &str) -> QueryResult<BTreeSet<NaiveDate>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        partition: String,
    }
    let query = "SELECT relname::text AS partition FROM pg_inherits JOIN pg_class ON oid = inhrelid
                 WHERE inhparent = $1::regclass";
    let rows: Vec<Row> = diesel::sql_query(query).bind::<Text, _>(table).load(conn).await?;
    let day = |row: Row| {
        let digits = row.partition.strip_prefix(table)?.strip_prefix("_p")?.to_owned();
        NaiveDate::parse_from_str(&digits, "%Y%m%d").ok()
    };
    Ok(rows.into_iter().filter_map(day).collect())
}

/// These days, each once. A statement that names those of its keys (`day = ANY(…)`) is planned for their partitions alone.
pub(crate) fn days_of(days: impl IntoIterator<Item = NaiveDate>) -> Vec<NaiveDate> {
    days.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// The name of the partition that holds `day`.
pub fn name(table: &str, day: NaiveDate) -> String {
    format!("{table}_p{}", day.format("%Y%m%d"))
}

async fn ensure_one(conn: &mut Connection, table: &str, day: NaiveDate) -> QueryResult<bool> {
    let name = name(table, day);
    if exists(conn, &name).await? {
        return Ok(false);
    }
    let is_new = conn
        .transaction(async |conn| {
            lock_partitions(conn, LOCK_TIMEOUT).await?;
            if exists(conn, &name).await? {
                return Ok(false);
            }
            conn.batch_execute(&make(table, &name, day)).await?;
            QueryResult::Ok(true)
        })
        .await?;
    if is_new {
        info!(partition = name, "made a partition");
    }
    Ok(is_new)
}

/// The default partition is locked first: nobody adds a row of this day between the move and the attachment.
fn make(table: &str, name: &str, day: NaiveDate) -> String {
    let next = day.succ_opt().unwrap_or(day);
    format!(
        "CREATE TABLE {name} (LIKE {table} INCLUDING ALL);
         LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE;
         WITH moved AS (DELETE FROM {table}_default WHERE day = '{day}' RETURNING *)
             INSERT INTO {name} SELECT * FROM moved;
         ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{day}') TO ('{next}')"
    )
}

async fn exists(conn: &mut Connection, name: &str) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_there: bool,
    }
    // not to_regclass: it answers from a cache that waiting for an advisory lock does not renew
    let query =
        "SELECT EXISTS (SELECT FROM pg_class WHERE relname = $1 AND pg_table_is_visible(oid)) AS is_there";
    Ok(diesel::sql_query(query).bind::<Text, _>(name).get_result::<Row>(conn).await?.is_there)
}
