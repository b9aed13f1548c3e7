//! Where in the whole database something stands. Reads everything: for tests, and for who wants to see what an erasure left.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bytea, Text};
use diesel_async::RunQueryDsl;

use crate::{Connection, QueryResult};

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// The tables with rows that hold these bytes, as text or as bytes in any column; by name.
pub async fn tables(conn: &mut Connection, bytes: &[u8]) -> QueryResult<Vec<String>> {
    let names = "SELECT relname::text AS name FROM pg_class \
        WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace ORDER BY 1";
    let names: Vec<Name> = diesel::sql_query(names).load(conn).await?;
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut found = Vec::new();
    for Name { name } in names {
        // a row as text writes bytes in hexadecimal
        let query = format!(
            "SELECT count(*) AS rows FROM {name} AS kept \
             WHERE strpos(kept::text, $1) > 0 OR strpos(kept::text, encode($2, 'hex')) > 0"
        );
        let count = diesel::sql_query(query).bind::<Text, _>(&text).bind::<Bytea, _>(bytes);
        if count.get_result::<Count>(conn).await?.rows > 0 {
            found.push(name);
        }
    }
    Ok(found)
}
