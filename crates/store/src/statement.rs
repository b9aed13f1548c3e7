//! SQL of our own that PostgreSQL parses and plans once a connection: `diesel::sql_query` does so at every call.

use std::borrow::Cow;
use std::marker::PhantomData;

use diesel::expression::{ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{HasSqlType, SingleValue, Untyped};
use diesel::{AppearsOnTable, Expression, QueryResult, SelectableExpression};

/// A statement that names its values `$1`, `$2`, … in the order in which they are bound.
///
/// Its text should be one of a few: each connection keeps the plan of every text that it has seen.
pub(crate) fn statement(sql: impl Into<Cow<'static, str>>) -> Statement<()> {
    Statement { sql: sql.into(), values: () }
}

/// An expression in the words of PostgreSQL, of the SQL type `ST`, within a query of diesel's. As with [`statement`] its text
/// should be one of a few, and the query is planned once a connection: one with `diesel::dsl::sql` in it is not.
pub(crate) fn expression<ST: SingleValue>(sql: impl Into<Cow<'static, str>>) -> Worded<ST> {
    Worded { sql: sql.into(), sql_type: PhantomData }
}

/// The rows that arrays (`$1, $2`) have, under these names (`own (id, number)`).
///
/// The planner does not see how many there are, and takes them for a few, whether it makes a plan for these values or one for
/// all. So it is the partitions that decide between the two. Who looks for something in all of them, in the order of an index, has
/// a plan that is made once: to make one takes far longer than to run it, the longer the more days are kept. Who knows the keys,
/// and names their days ([`days_of`](crate::partitions::days_of)), has a plan for those alone, made for the size that they have
/// by now. Each key is looked up in a subquery that ends with `OFFSET 0`, so that nobody joins with whole partitions; `LIMIT 1`
/// would make a look into all of them seem as cheap as a look into one.
///
/// A day is named once, as `day = ANY(…)`, and not compared with that of a key beside it: who has both in a table of which
/// nothing is known yet is taken to be so rare that any index with a day in it seems good enough.
pub(crate) fn unnested(arrays: &str, names: &str) -> String {
    // what a subquery returns is not known to the planner
    let hidden: Vec<String> = arrays.split(", ").map(|array| format!("(SELECT {array})")).collect();
    format!("unnest({}) AS {names}", hidden.join(", "))
}

/// The first of what `select` finds, in this order of its columns, as many as the value `limit` (`$3`) says: `at_most`, or fewer.
///
/// For lists over all days. Those have a plan that is made once if it promises no less than one that is made for their values
/// ([`unnested`] says why), so the planner must see neither these nor `limit`: each stands in a subquery (`(SELECT $1)`), but for
/// days, which leave partitions out. Of what it does not see it takes a tenth of all rows to be wanted, and would sort them; so
/// it is told of a bound, which is one of few.
pub(crate) fn first_rows(select: &str, order: &str, limit: &str, at_most: i64) -> String {
    let bound = bound(at_most);
    format!(
        "SELECT * FROM ({select} ORDER BY {order} LIMIT {bound}) AS ahead ORDER BY {order} LIMIT (SELECT {limit})"
    )
}

/// A limit, or more, so that there are few of them.
fn bound(limit: i64) -> i64 {
    let mut bound = 256_i64;
    while bound < limit {
        bound = bound.saturating_mul(4);
    }
    bound
}

/// SQL with the values that are bound so far.
#[derive(Debug, Clone)]
pub(crate) struct Statement<Values> {
    sql: Cow<'static, str>,
    values: Values,
}

/// A value of the SQL type `ST`.
#[derive(Debug, Clone)]
pub(crate) struct Value<ST, V> {
    value: V,
    sql_type: PhantomData<ST>,
}

impl<Values> Statement<Values> {
    /// Binds the next value.
    pub fn bind<ST, V>(self, value: V) -> Statement<(Values, Value<ST, V>)> {
        let value = Value { value, sql_type: PhantomData };
        Statement { sql: self.sql, values: (self.values, value) }
    }
}

/// The values one after the other.
pub(crate) trait Values {
    /// Gives each to diesel.
    fn push<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

impl Values for () {
    fn push<'b>(&'b self, _: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        Ok(())
    }
}

impl<Earlier, ST, V> Values for (Earlier, Value<ST, V>)
where
    Earlier: Values,
    Pg: HasSqlType<ST>,
    V: ToSql<ST, Pg>,
{
    fn push<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.push(out.reborrow())?;
        out.push_bind_param::<ST, V>(&self.1.value)
    }
}

impl<V: Values> QueryFragment<Pg> for Statement<V> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&self.sql);
        // diesel writes a placeholder where a value is pushed; the statement has its own, so these go into a comment
        out.push_sql("\n-- ");
        self.values.push(out)
    }
}

impl<V> QueryId for Statement<V> {
    type QueryId = ();

    // what is kept is found by its text
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<V> Query for Statement<V> {
    type SqlType = Untyped;
}

/// An expression of [`expression`].
#[derive(Debug, Clone)]
pub(crate) struct Worded<ST> {
    sql: Cow<'static, str>,
    sql_type: PhantomData<ST>,
}

impl<ST: SingleValue> Expression for Worded<ST> {
    type SqlType = ST;
}

impl<ST> QueryFragment<Pg> for Worded<ST> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&self.sql);
        Ok(())
    }
}

impl<ST> QueryId for Worded<ST> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Source, ST: SingleValue> SelectableExpression<Source> for Worded<ST> {}

impl<Source, ST: SingleValue> AppearsOnTable<Source> for Worded<ST> {}

impl<ST, By> ValidGrouping<By> for Worded<ST> {
    type IsAggregate = is_aggregate::Never;
}

#[cfg(test)]
mod tests {
    use diesel::QueryableByName;
    use diesel::sql_types::{BigInt, Text};
    use diesel_async::RunQueryDsl;

    use super::*;

    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        text: String,
        #[diesel(sql_type = BigInt)]
        calls: i64,
    }

    #[test]
    fn a_bound_is_never_below_its_limit() {
        let limits = [i64::MIN, 0, 1, 251, 256, 257, 10_000, i64::MAX];

        assert_eq!(limits.map(bound), [256, 256, 256, 256, 256, 1024, 16_384, i64::MAX]);
    }

    #[tokio::test]
    async fn a_statement_is_prepared_once_and_its_values_come_in_any_order_and_number() {
        let database = testkit::TestDatabase::new().await;
        let settings = crate::Settings::at(database.url());
        let mut conn = crate::connect(&settings).await.expect("a connection");

        let mut seen = Vec::new();
        for number in [1_i64, 2, 3] {
            let row: Row = statement(
                "SELECT $2 || $1 || $2 AS text, (SELECT count(*) FROM pg_prepared_statements \
                 WHERE statement LIKE 'SELECT $2%') AS calls",
            )
            .bind::<Text, _>(format!("-{number}-"))
            .bind::<Text, _>("x")
            .get_result(&mut conn)
            .await
            .expect("a row");
            seen.push((row.text, row.calls));
        }

        let expected =
            [("x-1-x", 1), ("x-2-x", 1), ("x-3-x", 1)].map(|(text, calls)| (text.to_owned(), calls));
        assert_eq!(seen, expected);
    }
}
