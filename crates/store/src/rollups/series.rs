//! A range, interval by interval.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

use model::automation::Verdict;

use super::read::Scope;
use super::{Counts, Interval, Range, counts_of};
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// Points that are read at most, the first ones: a year of hours.
pub const POINTS_MAX: u32 = 9000;

/// Longest part of a range that is read, from its beginning: ten years. PostgreSQL makes a row of each quarter of an hour before
/// it counts points.
const SPAN_MAX: TimeDelta = TimeDelta::days(3653);

/// An interval's clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// When the interval begins, by the clock of the zone; the first may begin before the range.
    pub at: DateTime<Utc>,
    /// Its clicks within the range.
    pub counts: Counts,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Timestamptz)]
    at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    hits: i64,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
    #[diesel(sql_type = BigInt)]
    unique_clicks: i64,
}

/// Where what is read of a range ends. The first [`POINTS_MAX`] points of quarters and hours lie before that.
fn end(range: Range, interval: Interval) -> DateTime<Utc> {
    let points = i64::from(POINTS_MAX);
    let span = match interval {
        Interval::Quarter => TimeDelta::minutes(15 * points),
        // where a clock is put back by half an hour, one has more than 60 minutes
        Interval::Hour => TimeDelta::hours(2 * points),
        Interval::Day | Interval::Week | Interval::Month => SPAN_MAX,
    };
    range.since().checked_add_signed(span).map_or(range.until(), |end| end.min(range.until()))
}

/// The clicks of each interval, those without any among them; of one verdict, or of all. There are at most [`POINTS_MAX`]
/// points, of ten years: the first ones.
///
/// Every quarter of an hour belongs to the interval in which the clock of `zone` shows it. A day on which clocks are put
/// forward has 23 hours, and the hour that comes twice in autumn is two.
///
/// # Errors
/// Also when PostgreSQL does not know the zone: [`super::time_zones`].
pub async fn time_series(
    conn: &mut Connection,
    scope: Scope,
    range: Range,
    interval: Interval,
    zone: &str,
    verdict: Option<Verdict>,
) -> QueryResult<Vec<Point>> {
    let begin = interval.begin("quarters.bucket", "$4");
    let counts = counts_of("kept", "$5");
    let sql = |table: &str, condition: &str| {
        // the zone is named in any case: a value of which nothing is asked has no type
        format!(
            "SELECT {begin} AS at, {counts}
             FROM generate_series($2, $3 - interval '15 minutes', interval '15 minutes') AS quarters (bucket)
             LEFT JOIN (
                 SELECT * FROM {table} WHERE workspace_id = $1 AND {condition} AND bucket >= $2 AND bucket < $3
             ) AS kept ON kept.bucket = quarters.bucket
             WHERE $4::text IS NOT NULL GROUP BY 1 ORDER BY 1 LIMIT {POINTS_MAX}"
        )
    };
    let verdict = verdict.map(Verdict::as_str);
    let until = end(range, interval);
    let rows: Vec<Row> = match scope {
        Scope::Workspace(workspace_id) => {
            statement(sql("rollups", "dimension = 'total'"))
                .bind::<SqlUuid, _>(workspace_id.uuid())
                .bind::<Timestamptz, _>(range.since())
                .bind::<Timestamptz, _>(until)
                .bind::<Text, _>(zone)
                .bind::<Nullable<Text>, _>(verdict)
                .load(conn)
                .await?
        }
        Scope::Link(workspace_id, link_id) => {
            statement(sql("link_rollups", "link_id = $6"))
                .bind::<SqlUuid, _>(workspace_id.uuid())
                .bind::<Timestamptz, _>(range.since())
                .bind::<Timestamptz, _>(until)
                .bind::<Text, _>(zone)
                .bind::<Nullable<Text>, _>(verdict)
                .bind::<SqlUuid, _>(link_id.uuid())
                .load(conn)
                .await?
        }
    };
    let point = |Row { at, hits, clicks, unique_clicks }| Point {
        at,
        counts: Counts { hits, clicks, unique_clicks },
    };
    Ok(rows.into_iter().map(point).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_any_length_is_read_to_a_limit() {
        let at = |text: &str| -> DateTime<Utc> { text.parse().expect("a moment") };
        let since = at("2026-03-01T00:00:00Z");
        let month = Range::new(since, at("2026-04-01T00:00:00Z"));
        let ages = Range::new(since, at("2200-01-01T00:00:00Z"));

        for (interval, longest) in [
            (Interval::Quarter, TimeDelta::minutes(135_000)),
            (Interval::Hour, TimeDelta::days(750)),
            (Interval::Day, SPAN_MAX),
            (Interval::Week, SPAN_MAX),
            (Interval::Month, SPAN_MAX),
        ] {
            assert_eq!(end(month, interval), month.until());
            assert_eq!(end(ages, interval), since + longest);
        }
    }
}
