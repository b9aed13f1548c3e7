//! Rows of a day live in that day's partition.

use std::time::{Duration, Instant};

use chrono::{Days, NaiveDate};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use store::{Connection, partitions};
use testkit::TestDatabase;

use crate::plan::plan;

#[derive(Debug, PartialEq, QueryableByName)]
struct Home {
    #[diesel(sql_type = Text)]
    partition: String,
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// Far from today, so that setting up the test's database has not made it.
fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2031, 5, 17).unwrap()
}

async fn attempt(conn: &mut Connection, day: NaiveDate, number: i32) {
    let insert = format!(
        "INSERT INTO attempts (day, delivery_id, number, workspace_id, trigger, started_at, duration_ms,
             request_headers, response_headers)
         VALUES ('{day}', gen_random_uuid(), {number}, gen_random_uuid(), 'schedule', '{day}', 1, '{{}}', '{{}}')"
    );
    conn.batch_execute(&insert).await.unwrap();
}

async fn homes(conn: &mut Connection) -> Vec<Home> {
    diesel::sql_query(
        "SELECT tableoid::regclass::text AS partition, count(*) AS rows FROM attempts GROUP BY 1 ORDER BY 1",
    )
    .load(conn)
    .await
    .unwrap()
}

fn home(partition: &str, rows: i64) -> Home {
    Home { partition: partition.to_owned(), rows }
}

#[tokio::test]
async fn a_row_goes_to_the_partition_of_its_day_and_an_odd_clock_to_the_default() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();

    let made = partitions::ensure(&mut conn, day(), 1).await.unwrap();
    attempt(&mut conn, day(), 1).await;
    attempt(&mut conn, day() + Days::new(1), 1).await;
    attempt(&mut conn, day() + Days::new(300), 1).await;

    assert_eq!(made, 12);
    assert_eq!(
        homes(&mut conn).await,
        [home("attempts_default", 1), home("attempts_p20310517", 1), home("attempts_p20310518", 1)]
    );
}

#[tokio::test]
async fn partitions_are_made_once_also_by_several_at_once() {
    let database = TestDatabase::new().await;
    let mut one = store::connect(&database.settings()).await.unwrap();
    let mut two = store::connect(&database.settings()).await.unwrap();

    let (first, second) =
        tokio::join!(partitions::ensure(&mut one, day(), 5), partitions::ensure(&mut two, day(), 5));

    assert_eq!(first.unwrap() + second.unwrap(), 28);
    assert_eq!(partitions::ensure(&mut one, day(), 5).await.unwrap(), 0);
}

#[tokio::test]
async fn rows_that_came_before_their_partition_move_into_it() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    attempt(&mut conn, day(), 1).await;
    attempt(&mut conn, day(), 2).await;

    partitions::ensure(&mut conn, day(), 0).await.unwrap();

    assert_eq!(homes(&mut conn).await, [home("attempts_p20310517", 2)]);
}

#[tokio::test]
async fn a_partition_that_cannot_be_made_keeps_no_other_from_being_made() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let name = partitions::name("clicks", day());
    conn.batch_execute("ALTER TABLE clicks_default RENAME TO clicks_elsewhere").await.unwrap();

    partitions::ensure(&mut conn, day(), 0).await.unwrap_err();

    attempt(&mut conn, day(), 1).await;
    assert_eq!(homes(&mut conn).await, [home("attempts_p20310517", 1)]);
    assert_eq!(name, "clicks_p20310517");
}

#[tokio::test]
async fn a_partition_has_the_indexes_of_its_table() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    partitions::ensure(&mut conn, day(), 0).await.unwrap();

    let indexes = "SELECT tablename::text AS partition, count(*) AS rows FROM pg_indexes
                   WHERE tablename IN ('deliveries', 'deliveries_p20310517') GROUP BY 1 ORDER BY 1";
    let indexes: Vec<Home> = diesel::sql_query(indexes).load(&mut conn).await.unwrap();

    assert_eq!(indexes, [home("deliveries", 16), home("deliveries_p20310517", 16)]);
}

async fn deliveries(conn: &mut Connection, day: NaiveDate, status: &str, number: u32) {
    let insert = format!(
        "INSERT INTO deliveries (id, day, workspace_id, endpoint_id, event_id, event_type, status,
             next_attempt_at, created_at)
         SELECT gen_random_uuid(), '{day}', gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'link.clicked',
             '{status}', CASE '{status}' WHEN 'pending' THEN now() END, '{day}' FROM generate_series(1, {number})"
    );
    conn.batch_execute(&insert).await.unwrap();
}

async fn days_of_deliveries(conn: &mut Connection) -> Vec<Home> {
    let days = "SELECT tableoid::regclass::text AS partition, count(*) AS rows FROM deliveries GROUP BY 1 ORDER BY 1";
    diesel::sql_query(days).load(conn).await.unwrap()
}

/// How many days were dropped; none while somebody reads the tables for long.
async fn dropped(conn: &mut Connection, first_kept: NaiveDate) -> usize {
    partitions::drop_deliveries_before(conn, first_kept).await.unwrap_or_default()
}

#[tokio::test]
async fn old_days_of_the_delivery_log_are_dropped_but_for_those_in_which_a_delivery_waits() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let waits = day() + Days::new(1);
    let kept = day() + Days::new(2);
    partitions::ensure(&mut conn, day(), 2).await.unwrap();
    for (day, status) in [(day(), "delivered"), (day(), "dead"), (waits, "pending"), (kept, "delivered")] {
        deliveries(&mut conn, day, status, 1).await;
        attempt(&mut conn, day, 1).await;
    }

    partitions::drop_deliveries_before(&mut conn, kept).await.unwrap();

    let homes_left = days_of_deliveries(&mut conn).await;
    assert_eq!(homes_left, [home("deliveries_p20310518", 1), home("deliveries_p20310519", 1)]);
    assert_eq!(homes(&mut conn).await, [home("attempts_p20310518", 1), home("attempts_p20310519", 1)]);
    // what comes too late for its day has a place
    deliveries(&mut conn, day(), "dead", 1).await;
    assert_eq!(days_of_deliveries(&mut conn).await[0], home("deliveries_default", 1));
}

#[tokio::test]
async fn old_days_of_attempts_are_dropped_before_those_of_their_deliveries() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let (waits, kept) = (day() + Days::new(1), day() + Days::new(2));
    partitions::ensure(&mut conn, day(), 2).await.unwrap();
    for (day, status) in [(day(), "delivered"), (waits, "pending"), (kept, "delivered")] {
        deliveries(&mut conn, day, status, 1).await;
        attempt(&mut conn, day, 1).await;
    }

    partitions::drop_attempts_before(&mut conn, kept).await.unwrap();

    assert_eq!(homes(&mut conn).await, [home("attempts_p20310518", 1), home("attempts_p20310519", 1)]);
    assert_eq!(days_of_deliveries(&mut conn).await.len(), 3);
    // what is tried again later has a place, and goes with its delivery
    attempt(&mut conn, day(), 2).await;
    partitions::drop_deliveries_before(&mut conn, kept).await.unwrap();
    assert_eq!(homes(&mut conn).await, [home("attempts_p20310518", 1), home("attempts_p20310519", 1)]);
}

/// An attempt of every delivery.
async fn attempts_of_all(conn: &mut Connection, started_on: NaiveDate, number: i32) {
    let insert = format!(
        "INSERT INTO attempts (day, delivery_id, number, workspace_id, trigger, started_at, duration_ms,
             request_headers, response_headers)
         SELECT day, id, {number}, workspace_id, 'schedule', '{started_on}T12:00:00Z', 1, '{{}}', '{{}}' FROM deliveries"
    );
    conn.batch_execute(&insert).await.unwrap();
}

#[tokio::test]
async fn attempts_that_came_late_for_a_dropped_day_are_deleted_when_they_are_old_unless_their_delivery_waits()
{
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let kept = day() + Days::new(2);
    for status in ["delivered", "pending"] {
        deliveries(&mut conn, day(), status, 1).await;
    }
    attempts_of_all(&mut conn, day(), 1).await;
    attempts_of_all(&mut conn, kept, 2).await;
    attempt(&mut conn, day(), 1).await;
    attempt(&mut conn, kept, 1).await;

    partitions::drop_attempts_before(&mut conn, kept).await.unwrap();
    let left = homes(&mut conn).await;
    partitions::drop_attempts_before(&mut conn, kept + Days::new(1)).await.unwrap();

    // of the delivery that waits both, and what was made later
    assert_eq!(left, [home("attempts_default", 4)]);
    assert_eq!(homes(&mut conn).await, [home("attempts_default", 2)]);
    assert_eq!(days_of_deliveries(&mut conn).await, [home("deliveries_default", 2)]);
}

#[tokio::test]
async fn batches_go_with_the_day_of_their_newest_delivery() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let (late, kept) = (day() + Days::new(1), day() + Days::new(2));
    partitions::ensure(&mut conn, day(), 0).await.unwrap();
    for (day, status) in [(day(), "delivered"), (late, "dead"), (late, "pending"), (kept, "delivered")] {
        let insert = format!(
            "INSERT INTO delivery_batches (id, day, first_day, workspace_id, endpoint_id, status, is_replay, events,
                 next_attempt_at, created_at, body)
             SELECT gen_random_uuid(), '{day}', '{day}', gen_random_uuid(), gen_random_uuid(), '{status}', false, 1,
                 CASE '{status}' WHEN 'pending' THEN now() END, now(), CASE '{status}' WHEN 'pending' THEN ''::bytea END"
        );
        conn.batch_execute(&insert).await.unwrap();
    }

    partitions::drop_deliveries_before(&mut conn, kept).await.unwrap();

    let left = "SELECT status || ' in ' || tableoid::regclass::text AS partition, count(*) AS rows FROM delivery_batches \
                GROUP BY 1 ORDER BY 1";
    let left: Vec<Home> = diesel::sql_query(left).load(&mut conn).await.unwrap();
    let in_default = |status: &str| home(&format!("{status} in delivery_batches_default"), 1);
    assert_eq!(left, [in_default("delivered"), in_default("pending")]);
}

#[tokio::test]
async fn what_came_late_for_a_dropped_day_is_deleted_unless_it_waits() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let (waits, kept) = (day() + Days::new(1), day() + Days::new(2));
    deliveries(&mut conn, day(), "delivered", 2).await;
    deliveries(&mut conn, day(), "dead", 1).await;
    deliveries(&mut conn, waits, "pending", 1).await;
    deliveries(&mut conn, kept, "delivered", 1).await;
    attempt(&mut conn, day(), 1).await;
    attempt(&mut conn, kept, 1).await;
    let of_waiting = "INSERT INTO attempts (day, delivery_id, number, workspace_id, trigger, started_at, duration_ms,
             request_headers, response_headers)
         SELECT day, id, 1, workspace_id, 'schedule', now(), 1, '{}', '{}' FROM deliveries WHERE status = 'pending'";
    conn.batch_execute(of_waiting).await.unwrap();

    partitions::drop_deliveries_before(&mut conn, kept).await.unwrap();

    assert_eq!(days_of_deliveries(&mut conn).await, [home("deliveries_default", 2)]);
    assert_eq!(homes(&mut conn).await, [home("attempts_default", 2)]);
}

#[tokio::test]
async fn a_day_is_dropped_once_also_by_several_at_once() {
    let database = TestDatabase::new().await;
    let mut one = store::connect(&database.settings()).await.unwrap();
    let mut two = store::connect(&database.settings()).await.unwrap();
    let kept = day() + Days::new(1);
    partitions::drop_deliveries_before(&mut one, kept).await.unwrap();
    partitions::ensure(&mut one, day(), 0).await.unwrap();

    // who waits too long for the other leaves the day to it
    let (first, second) = tokio::join!(dropped(&mut one, kept), dropped(&mut two, kept));

    assert!(first + second <= 2, "{first} and {second}");
    partitions::drop_deliveries_before(&mut one, kept).await.unwrap();
    assert_eq!(partitions::drop_deliveries_before(&mut two, kept).await.unwrap(), 0);
}

#[tokio::test]
async fn the_days_that_are_held_begin_with_the_first_partition_and_leave_out_what_was_dropped_later() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    partitions::drop_deliveries_before(&mut conn, day()).await.unwrap();
    assert_eq!(partitions::held_days(&mut conn).await.unwrap(), partitions::HeldDays::default());
    partitions::ensure(&mut conn, day(), 2).await.unwrap();
    let (waits, gap, late) = (day() - Days::new(1), day(), day() + Days::new(1));
    deliveries(&mut conn, waits, "pending", 1).await;
    partitions::drop_deliveries_before(&mut conn, day() + Days::new(2)).await.unwrap();

    let held = partitions::held_days(&mut conn).await.unwrap();
    assert_eq!((held.first, held.dropped), (Some(waits), vec![gap, late]));

    // a day whose partition nobody made in time was not dropped
    deliveries(&mut conn, late, "delivered", 1).await;
    assert_eq!(partitions::held_days(&mut conn).await.unwrap().dropped, [gap]);
}

#[tokio::test]
async fn dead_deliveries_of_a_workspace_are_found_through_an_index_of_their_own() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    partitions::ensure(&mut conn, day(), 0).await.unwrap();
    deliveries(&mut conn, day(), "delivered", 5000).await;
    // the plan that a prepared statement has after some runs
    conn.batch_execute(
        "UPDATE deliveries SET workspace_id = '00000000-0000-0000-0000-000000000007';
         ANALYZE deliveries; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
         PREPARE dead (uuid, bigint) AS SELECT id FROM deliveries
             WHERE workspace_id = $1 AND deliveries.status = 'dead' ORDER BY id DESC LIMIT $2",
    )
    .await
    .unwrap();

    let plan = plan(&mut conn, "EXECUTE dead ('00000000-0000-0000-0000-000000000007', 500)").await;

    let scan = plan.split("->").find(|node| node.contains(" on deliveries_p20310517 ")).unwrap_or(&plan);
    // what the index says of its rows is not looked at again
    assert!(scan.contains("workspace_id_id_idx") && !scan.contains("Filter"), "{plan}");
}

/// Acceptance test 10 of the engine.
#[tokio::test]
async fn a_day_is_dropped_without_holding_up_inserts() {
    const ROWS: u32 = 100_000;
    /// Far more than the drop waits for its lock, and than a busy machine takes for one insert.
    const INSERTED_WITHIN: Duration = Duration::from_secs(5);
    let database = TestDatabase::new().await;
    let mut dropping = store::connect(&database.settings()).await.unwrap();
    let mut reading = store::connect(&database.settings()).await.unwrap();
    let mut writing = store::connect(&database.settings()).await.unwrap();
    let today = day() + Days::new(100);
    partitions::ensure(&mut dropping, day(), 0).await.unwrap();
    partitions::ensure(&mut dropping, today, 0).await.unwrap();
    deliveries(&mut dropping, day(), "delivered", ROWS).await;
    reading.batch_execute("BEGIN; SELECT FROM deliveries LIMIT 1").await.unwrap();

    let inserts = async {
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            deliveries(&mut writing, today, "delivered", 1).await;
            longest = longest.max(began.elapsed());
        }
        longest
    };
    let (dropped_meanwhile, longest) = tokio::join!(dropped(&mut dropping, today), inserts);

    assert_eq!(dropped_meanwhile, 0, "somebody reads");
    assert!(longest < INSERTED_WITHIN, "an insert took {longest:?} while the drop waited");
    reading.batch_execute("COMMIT").await.unwrap();
    let began = Instant::now();
    assert!(dropped(&mut dropping, today).await >= 1);
    eprintln!("a day of {ROWS} deliveries was dropped in {:?}", began.elapsed());
    assert_eq!(days_of_deliveries(&mut writing).await, [home("deliveries_p20310825", 20)]);
}
