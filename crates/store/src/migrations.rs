//! Makes the tables, and checks that they are the ones this program was built for.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::result::Error as QueryError;
use diesel::sql_types::{Nullable, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tracing::info;

use crate::folding;
use crate::partitions;
use crate::pool::{self, Connection, PoolError, Settings};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Held while migrations run, so that several processes may begin at once ("clickwir" in ASCII).
const MIGRATION_LOCK: i64 = 0x636c_6963_6b77_6972;

/// Days for which partitions are made ahead; services make more as days pass.
pub const PARTITION_DAYS_AHEAD: u32 = 7;

/// Why the tables could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] PoolError),
    /// A migration did not run through; what it had done is undone.
    #[error("failed to migrate the database: {0}")]
    Migrate(String),
    /// A statement failed.
    #[error("failed to prepare the database")]
    Query(#[from] QueryError),
}

/// Why the database is not one to work with.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Tables are missing.
    #[error("the database lacks {} ({}): run `clickwire setup`", plural(pending.len()), pending.join(", "))]
    Pending {
        /// Versions that were not run.
        pending: Vec<String>,
    },
    /// It could not be asked.
    #[error("failed to ask the database for its version")]
    Query(#[source] QueryError),
}

fn plural(migrations: usize) -> String {
    if migrations == 1 { "a migration".to_owned() } else { format!("{migrations} migrations") }
}

/// Makes what is missing of the tables, and the partitions from yesterday to some days ahead. Safe to run again, and by several
/// at once.
///
/// # Errors
/// [`SetupError`] when there is no connection or a statement fails.
pub async fn setup(settings: &Settings, now: DateTime<Utc>) -> Result<(), SetupError> {
    let mut conn = run(pool::connect(settings).await?).await?;
    let today: NaiveDate = now.date_naive();
    partitions::ensure(&mut conn, today, PARTITION_DAYS_AHEAD).await?;
    Ok(())
}

async fn run(mut conn: Connection) -> Result<Connection, SetupError> {
    conn.batch_execute(&format!("SELECT pg_advisory_lock({MIGRATION_LOCK})")).await?;
    // Diesel's migrations are synchronous: they get a thread that may wait.
    let migrated = tokio::task::spawn_blocking(move || {
        let mut conn = AsyncConnectionWrapper::<Connection>::from(conn);
        let versions = conn.run_pending_migrations(MIGRATIONS).map_err(|error| error.to_string())?;
        let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
        Ok((conn.into_inner(), versions))
    });
    let migrated: Result<(Connection, Vec<String>), String> =
        migrated.await.expect("migrating does not panic");
    let (mut conn, versions) = migrated.map_err(SetupError::Migrate)?;
    for version in versions {
        info!(version, "migrated the database");
    }
    let folded = folding::fold_slugs(&mut conn).await?;
    if folded > 0 {
        info!(folded, "folded slugs that were kept as they were typed");
    }
    conn.batch_execute(&format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})")).await?;
    Ok(conn)
}

/// Checks that every migration of this program was run. A database that is newer is fine: a migration works with
/// the release before it.
///
/// # Errors
/// [`VerifyError`] names the command that mends it.
pub async fn verify(conn: &mut Connection) -> Result<(), VerifyError> {
    let applied = applied(conn).await.map_err(VerifyError::Query)?;
    let known = MigrationSource::<Pg>::migrations(&MIGRATIONS).expect("compiled in");
    let known = known.iter().map(|migration| migration.name().version().to_string());
    let pending: Vec<String> = known.filter(|version| !applied.contains(version)).collect();
    if pending.is_empty() { Ok(()) } else { Err(VerifyError::Pending { pending }) }
}

async fn applied(conn: &mut Connection) -> QueryResult<BTreeSet<String>> {
    let table = diesel::sql_query("SELECT to_regclass('__diesel_schema_migrations')::text AS name");
    if table.get_result::<Table>(conn).await?.name.is_none() {
        return Ok(BTreeSet::new());
    }
    let rows =
        diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load::<Applied>(conn).await?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

/// Null when nobody has run a migration here.
#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
}

#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
}
