//! Rows of a day live in that day's partition.

use chrono::{Days, NaiveDate};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use store::{Connection, partitions};
use testkit::TestDatabase;

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

    assert_eq!(made, 9);
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

    assert_eq!(first.unwrap() + second.unwrap(), 21);
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

    assert_eq!(indexes, [home("deliveries", 9), home("deliveries_p20310517", 9)]);
}
