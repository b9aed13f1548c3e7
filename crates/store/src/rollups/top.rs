//! The values of a dimension that a range has most of.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

use model::WorkspaceId;
use model::automation::Verdict;

use super::read::{PIECES, rows_of};
use super::{Counts, Dimension, Range, counts_of};
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// The values with most clicks, and what there is beside them: together, every click of the range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopList {
    /// The first of them, those with most clicks first, then those with most hits.
    pub values: Vec<Top>,
    /// Everything else.
    pub others: Counts,
}

/// A value with its clicks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// The value; `None`: not known, or none.
    pub value: Option<String>,
    /// Its clicks. When some of its quarters of an hour had more values than are kept, those are among the others.
    pub counts: Counts,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Bool)]
    is_listed: bool,
    #[diesel(sql_type = Text)]
    value: String,
    #[diesel(sql_type = BigInt)]
    hits: i64,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
    #[diesel(sql_type = BigInt)]
    unique_clicks: i64,
}

/// The `limit` values of a dimension with most clicks of one verdict, or of all.
pub async fn top(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    range: Range,
    dimension: Dimension,
    verdict: Option<Verdict>,
    limit: i64,
) -> QueryResult<TopList> {
    let rows: Vec<Row> = statement(format!(
        "WITH {PIECES}, summed AS (
             SELECT is_other, value, {counts} FROM ({rows}) AS rows GROUP BY is_other, value
         ), placed AS (
             SELECT *, row_number() OVER (ORDER BY is_other, clicks DESC, hits DESC, value) AS place
             FROM summed WHERE hits > 0
         ), listed AS (
             SELECT *, NOT is_other AND place <= $6 AS is_listed FROM placed
         )
         SELECT is_listed, CASE WHEN is_listed THEN value ELSE '' END AS value, sum(hits)::bigint AS hits,
             sum(clicks)::bigint AS clicks, sum(unique_clicks)::bigint AS unique_clicks
         FROM listed GROUP BY 1, 2 ORDER BY is_listed DESC, min(place)",
        counts = counts_of("rows", "$5"),
        rows = rows_of("$4"),
    ))
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<Timestamptz, _>(range.since())
    .bind::<Timestamptz, _>(range.until())
    .bind::<Text, _>(dimension.as_str())
    .bind::<Nullable<Text>, _>(verdict.map(Verdict::as_str))
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    let mut list = TopList::default();
    for Row { is_listed, value, hits, clicks, unique_clicks } in rows {
        let counts = Counts { hits, clicks, unique_clicks };
        if is_listed {
            list.values.push(Top { value: Some(value).filter(|value| !value.is_empty()), counts });
        } else {
            list.others = counts;
        }
    }
    Ok(list)
}
