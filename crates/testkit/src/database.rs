//! A real PostgreSQL: one cluster for each test process, one database for each test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::Utc;
use embedded::{Postgres, PostgresOptions};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::scratch::ScratchDir;
use crate::until;

/// How long somebody may take to wait for a lock.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// The database that is migrated once and copied for each test.
const TEMPLATE: &str = "template";

/// A database of one test: all tables, nothing in them but what the migrations put there.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    settings: store::Settings,
}

/// A table that nobody writes to, or even reads, until it is let go.
#[derive(Debug)]
pub struct HeldTable {
    client: tokio_postgres::Client,
    connection: JoinHandle<Result<(), tokio_postgres::Error>>,
}

/// A PostgreSQL of one test, which it may stop, kill, freeze and start again.
#[derive(Debug)]
pub struct OwnDatabase {
    postgres: Postgres,
    settings: store::Settings,
    // after the server that writes to it
    _dir: ScratchDir,
}

impl TestDatabase {
    /// A copy of the template; the first one of a test process starts the cluster and migrates the template.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or the migrations fail.
    pub async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);

        let cluster = cluster().await;
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        cluster.create_database(&name, Some(TEMPLATE)).await.unwrap_or_else(|error| panic!("{error}"));
        let settings = settings(cluster.url(&name));
        Self { name, settings }
    }

    /// A PostgreSQL for this test alone, migrated.
    pub async fn cluster() -> OwnDatabase {
        OwnDatabase::start().await
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.settings.url
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Settings that lead to it.
    pub fn settings(&self) -> store::Settings {
        self.settings.clone()
    }

    /// Connections to it.
    pub fn pool(&self) -> store::Pool {
        store::Pool::connect(&self.settings).expect("the URL is ours")
    }

    /// Everything that a table holds, a line of JSON each row, for who looks for what must not be in it. Bytes are hexadecimal.
    ///
    /// # Panics
    /// When there is no such table.
    pub async fn dump(&self, table: &str) -> String {
        let query = format!("SELECT row_to_json(dumped)::text FROM {table} AS dumped");
        texts(self.url(), &query).await.into_iter().map(|row| row + "\n").collect()
    }

    /// Holds a table: it can be read, and whoever writes to it waits.
    ///
    /// # Panics
    /// When there is no such table.
    pub async fn hold(&self, table: &str) -> HeldTable {
        self.hold_in(table, "SHARE ROW EXCLUSIVE").await
    }

    /// Holds a table: whoever reads it waits as well.
    ///
    /// # Panics
    /// When there is no such table.
    pub async fn hold_from_readers(&self, table: &str) -> HeldTable {
        self.hold_in(table, "ACCESS EXCLUSIVE").await
    }

    async fn hold_in(&self, table: &str, mode: &str) -> HeldTable {
        let connected = tokio_postgres::connect(self.url(), tokio_postgres::NoTls).await;
        let (client, connection) = connected.expect("the database runs");
        let connection = tokio::spawn(connection);
        let lock = format!("BEGIN; LOCK TABLE {table} IN {mode} MODE");
        client.batch_execute(&lock).await.expect("the table is there");
        HeldTable { client, connection }
    }
}

impl HeldTable {
    /// Ends the connections that wait for a lock, as a network that is cut does: what they were about to write is lost.
    ///
    /// # Panics
    /// When the database does not run.
    pub async fn cut_off_who_waits(&self) {
        let query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        self.client.query(query, &[]).await.expect("the database runs");
    }

    /// Waits until somebody waits for a lock.
    ///
    /// # Panics
    /// When the database does not run, or nobody does for long.
    pub async fn waited_for(&self) {
        let query = "SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until(WAIT_LIMIT, || async {
            let waiting = self.client.query(query, &[]).await.expect("the database runs");
            (!waiting.is_empty()).then_some(())
        })
        .await;
    }

    /// Lets the others write.
    ///
    /// # Panics
    /// When the database does not run.
    pub async fn let_go(self) {
        self.client.batch_execute("ROLLBACK").await.expect("the database runs");
        drop(self.client);
        self.connection.await.expect("nobody panics").expect("it ends in order");
    }
}

impl OwnDatabase {
    /// Starts it and migrates its one database.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or the migrations fail.
    pub async fn start() -> Self {
        let database = Self::start_empty().await;
        store::setup(&database.settings, Utc::now()).await.expect("the migrations run");
        database
    }

    /// Starts it with an empty database.
    ///
    /// # Panics
    /// When PostgreSQL is not installed.
    pub async fn start_empty() -> Self {
        let dir = ScratchDir::new("postgres");
        let postgres = start(&dir).await;
        postgres.create_database("clickwire", None).await.unwrap_or_else(|error| panic!("{error}"));
        Self { settings: settings(postgres.url("clickwire")), postgres, _dir: dir }
    }

    /// Its URL; the same after a restart.
    pub fn url(&self) -> &str {
        &self.settings.url
    }

    /// Settings that lead to it.
    pub fn settings(&self) -> store::Settings {
        self.settings.clone()
    }

    /// Connections to it.
    pub fn pool(&self) -> store::Pool {
        store::Pool::connect(&self.settings).expect("the URL is ours")
    }

    /// What a query finds that asks for one column of texts, for who looks at the tables themselves.
    ///
    /// # Panics
    /// When the database does not run, or refuses the query.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        texts(self.url(), query).await
    }

    /// Ends it in order.
    pub async fn stop(&self) {
        self.postgres.stop().await;
    }

    /// Ends it as a crash would.
    pub async fn kill(&self) {
        self.postgres.kill().await;
    }

    /// Starts it again, after stopping it if it runs.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.postgres.restart().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Freezes it for new connections.
    pub fn pause(&self) {
        self.postgres.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.postgres.resume();
    }
}

/// The cluster of this test process. The system ends it with the process; statics are never dropped.
async fn cluster() -> &'static Postgres {
    static CLUSTER: OnceCell<(Postgres, ScratchDir)> = OnceCell::const_new();

    let start = async || {
        let dir = ScratchDir::new("cluster");
        let postgres = start(&dir).await;
        postgres.create_database(TEMPLATE, None).await.unwrap_or_else(|error| panic!("{error}"));
        store::setup(&settings(postgres.url(TEMPLATE)), Utc::now()).await.expect("the migrations run");
        (postgres, dir)
    };
    &CLUSTER.get_or_init(start).await.0
}

/// The texts that a query of one column finds.
async fn texts(url: &str, query: &str) -> Vec<String> {
    let connected = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
    let (client, connection) = connected.expect("the database runs");
    let connection = tokio::spawn(connection);
    let rows = client.query(query, &[]).await.expect("the tables are there");
    drop(client);
    connection.await.expect("nobody panics").expect("it ends in order");
    rows.iter().map(|row| row.get(0)).collect()
}

async fn start(dir: &ScratchDir) -> Postgres {
    let options = PostgresOptions { dir: dir.path().join("postgres"), port: None, durable: false };
    Postgres::start(options).await.unwrap_or_else(|error| panic!("{error}"))
}

fn settings(url: String) -> store::Settings {
    store::Settings::at(url)
}
