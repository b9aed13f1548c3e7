//! What PostgreSQL makes of statements while it knows nothing of the tables: a new database, or the first minute of a day.

use std::fmt;

use chrono::Utc;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};
use testkit::TestDatabase;

use crate::{Pool, Settings, partitions};

/// After so many executions with plans for their values PostgreSQL may keep one that is made without.
const TRIED_FIRST: usize = 5;

/// A statement as it is planned after some executions.
pub(crate) struct Planned {
    /// Its plan.
    lines: Vec<String>,
    /// Whether that was made without its values, and is kept.
    pub is_made_once: bool,
    /// The table whose scans are told of.
    table: &'static str,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    text: String,
}

#[derive(QueryableByName)]
struct Kept {
    #[diesel(sql_type = BigInt)]
    generic_plans: i64,
}

impl Planned {
    /// Executes `sql`, whose values are of these types, with these values in an empty database of its own.
    pub async fn of(sql: &str, types: &str, values: &str) -> Self {
        let database = TestDatabase::new().await;
        let pool = Pool::through_indexes(&Settings::at(database.url())).expect("the URL is ours");
        let mut conn = pool.get().await.expect("a connection");
        conn.batch_execute(&format!("PREPARE it ({types}) AS {sql}")).await.expect("a statement");
        for _ in 0..=TRIED_FIRST {
            conn.batch_execute(&format!("EXECUTE it ({values})")).await.expect("a result");
        }
        let kept = "SELECT generic_plans FROM pg_prepared_statements WHERE name = 'it'";
        let kept: Kept = diesel::sql_query(kept).get_result(&mut conn).await.expect("a count");
        let explain = format!("EXPLAIN EXECUTE it ({values})");
        let lines: Vec<Line> = diesel::sql_query(explain).load(&mut conn).await.expect("a plan");
        Self {
            lines: lines.into_iter().map(|line| line.text).collect(),
            is_made_once: kept.generic_plans > 0,
            table: "deliveries",
        }
    }

    /// The same, as it reads another table than `deliveries`.
    pub fn reading(self, table: &'static str) -> Self {
        Self { table, ..self }
    }

    /// How the rows of today are read: each scan of them.
    pub fn scans_of_today(&self) -> Vec<&str> {
        let today = self.today();
        let scans: Vec<&str> = self.scans().filter(|scan| scan.contains(&today)).collect();
        assert!(!scans.is_empty(), "{self}");
        scans
    }

    /// How many scans of other days there are.
    pub fn scans_of_others(&self) -> usize {
        let today = self.today();
        self.scans().filter(|scan| !scan.contains(&today)).count()
    }

    fn scans(&self) -> impl Iterator<Item = &str> {
        let partition = format!(" on {}_", self.table);
        let lines = self.lines.iter().map(String::as_str);
        lines.filter(move |line| line.contains("Scan") && line.contains(&partition))
    }

    fn today(&self) -> String {
        format!(" on {}", partitions::name(self.table, Utc::now().date_naive()))
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nmade once: {}", self.lines.join("\n"), self.is_made_once)
    }
}
