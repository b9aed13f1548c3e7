//! How PostgreSQL means to answer a query.

use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use store::Connection;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    #[diesel(column_name = "QUERY PLAN")]
    line: String,
}

/// The plan of a statement, such as the execution of a prepared one.
pub async fn plan(conn: &mut Connection, statement: &str) -> String {
    let lines: Vec<Line> = diesel::sql_query(format!("EXPLAIN {statement}")).load(conn).await.unwrap();
    lines.into_iter().map(|line| line.line).collect::<Vec<_>>().join("\n")
}
