//! Locks that queries wait for.

use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;

use crate::{Connection, QueryResult};

#[derive(QueryableByName)]
struct Waiting {
    #[diesel(sql_type = BigInt)]
    queries: i64,
}

/// How many queries of this database wait for a lock that another holds. A test that lets two meet waits for the second.
pub async fn waiting(conn: &mut Connection) -> QueryResult<i64> {
    let query = "SELECT count(*) AS queries FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    diesel::sql_query(query).get_result::<Waiting>(conn).await.map(|waiting| waiting.queries)
}
