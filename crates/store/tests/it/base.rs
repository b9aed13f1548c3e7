//! Tables are made once, checked by services, and described by `schema.rs`.

use std::time::Duration;

use chrono::Utc;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use store::{Connection, Pool, PoolError, Settings};
use testkit::{OwnDatabase, TestDatabase};

#[derive(QueryableByName)]
struct Word {
    #[diesel(sql_type = Text)]
    word: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

async fn word(conn: &mut Connection, query: &str) -> String {
    diesel::sql_query(query).get_result::<Word>(conn).await.unwrap().word
}

async fn tables(conn: &mut Connection) -> i64 {
    let query =
        "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace";
    diesel::sql_query(query).get_result::<Count>(conn).await.unwrap().count
}

#[tokio::test]
async fn setup_runs_again_and_by_several_at_once() {
    let database = OwnDatabase::start_empty().await;
    let settings = database.settings();

    let (first, second) =
        tokio::join!(store::setup(&settings, Utc::now()), store::setup(&settings, Utc::now()));
    first.unwrap();
    second.unwrap();

    let mut conn = store::connect(&settings).await.unwrap();
    let made = tables(&mut conn).await;
    store::setup(&settings, Utc::now()).await.unwrap();
    assert_eq!(tables(&mut conn).await, made);
    store::verify(&mut conn).await.unwrap();
}

#[tokio::test]
async fn a_database_without_tables_is_refused_with_the_command_that_makes_them() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    conn.batch_execute("DELETE FROM __diesel_schema_migrations").await.unwrap();

    let emptied = store::verify(&mut conn).await.unwrap_err().to_string();
    conn.batch_execute("DROP TABLE __diesel_schema_migrations").await.unwrap();
    let bare = store::verify(&mut conn).await.unwrap_err().to_string();

    assert!(emptied.starts_with("the database lacks "), "{emptied}");
    assert!(emptied.ends_with(": run `clickwire setup`"), "{emptied}");
    assert_eq!(bare, emptied);
}

#[tokio::test]
async fn the_schema_in_the_code_is_that_of_the_migrations() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();

    let query = include_str!("../../schema.sql").replace("AS schema", "AS word");
    let schema = word(&mut conn, &query).await;

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema.rs");
    if std::env::var_os("WRITE_SCHEMA").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written == schema, "crates/store/src/schema.rs is not up to date: run scripts/schema");
}

#[tokio::test]
async fn connections_say_who_they_are_and_bound_their_statements() {
    let database = TestDatabase::new().await;
    let mut settings = database.settings();
    settings.statement_timeout = Duration::from_millis(50);
    let pool = Pool::connect(&settings).unwrap();
    let mut conn = pool.get().await.unwrap();

    let name = word(&mut conn, "SELECT current_setting('application_name') AS word").await;
    let slow = conn.batch_execute("SELECT pg_sleep(10)").await;

    assert_eq!(name, "clickwire");
    assert_eq!(slow.unwrap_err().to_string(), "canceling statement due to statement timeout");
}

#[tokio::test]
async fn a_pool_gives_no_more_connections_than_it_may() {
    let database = TestDatabase::new().await;
    let mut settings = database.settings();
    settings.pool_max = 1;
    settings.connect_timeout = Duration::from_secs(1);
    let pool = Pool::connect(&settings).unwrap();

    let held = pool.get().await.unwrap();
    let refused = pool.get().await.err().unwrap();
    drop(held);

    assert!(matches!(refused, PoolError::Timeout(_)), "{refused}");
    drop(pool.get().await.unwrap());
}

#[tokio::test]
async fn a_connection_that_the_server_ended_is_replaced() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    drop(pool.get().await.unwrap());
    let mut admin = store::connect(&database.settings()).await.unwrap();
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.batch_execute(others).await.unwrap();

    testkit::until(Duration::from_secs(5), || async {
        let mut conn = pool.get().await.ok()?;
        conn.batch_execute("SELECT 1").await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_away_is_a_named_error() {
    let pool = Pool::connect(&Settings::at("postgres://nobody@127.0.0.1:1/none")).unwrap();

    let error = pool.get().await.err().unwrap();

    assert_eq!(error.to_string(), "failed to connect to PostgreSQL");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("Connection refused"), "{cause}");
    assert!(Pool::connect(&Settings::at("mysql://h")).is_err());
}
