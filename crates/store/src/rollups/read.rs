//! The sum of a range.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

use model::automation::Verdict;
use model::{LinkId, WorkspaceId};

use super::{Counts, Range};
use crate::click_log::ClickCounts;
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// Whose clicks are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of the workspace's.
    Workspace(WorkspaceId),
    /// Those of one of its links.
    Link(WorkspaceId, LinkId),
}

/// All clicks of a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Of everybody.
    pub counts: Counts,
    /// Hits by who made them.
    pub hits: ClickCounts,
    /// Unique clicks of people; the others are of those of whom it cannot be told.
    pub unique_human: i64,
}

impl Summary {
    /// The clicks with one verdict, or all.
    pub const fn of(&self, verdict: Option<Verdict>) -> Counts {
        let ClickCounts { human, automated, unknown } = self.hits;
        match verdict {
            None => self.counts,
            Some(Verdict::Human) => Counts { hits: human, clicks: human, unique_clicks: self.unique_human },
            Some(Verdict::Automated) => Counts { hits: automated, clicks: 0, unique_clicks: 0 },
            Some(Verdict::Unknown) => {
                let unique_clicks = self.counts.unique_clicks - self.unique_human;
                Counts { hits: unknown, clicks: unknown, unique_clicks }
            }
        }
    }
}

/// Parts of the range from `$2` to `$3`, a UTC day each at most: whole days whose sum is up to date, and others.
pub(super) const PIECES: &str = "pieces AS MATERIALIZED (
        SELECT greatest(day, $2) AS since, least(day + interval '24 hours', $3) AS until,
            day >= $2 AND day + interval '24 hours' <= $3 AND NOT EXISTS (
                SELECT FROM dirty_buckets WHERE workspace_id = $1 AND bucket = day AND is_day
            ) AS is_summed
        FROM generate_series(date_trunc('day', $2, 'UTC'), $3 - interval '1 microsecond', interval '24 hours') AS days (day)
    )";

/// What the pieces have of a dimension, piece by piece: as the key of each table is made for.
pub(super) fn rows_of(dimension: &str) -> String {
    let part = |table: &str, condition: &str, bucket: &str| {
        format!(
            "SELECT found.* FROM pieces CROSS JOIN LATERAL (
                 SELECT is_other, value, human, automated, unknown, unique_human, unique_unknown FROM {table}
                 WHERE workspace_id = $1 AND dimension = {dimension} AND {bucket} OFFSET 0
             ) AS found WHERE {condition}"
        )
    };
    format!(
        "{} UNION ALL {}",
        part("daily_rollups", "is_summed", "bucket = since AND is_summed"),
        part("rollups", "NOT is_summed", "bucket >= since AND bucket < until AND NOT is_summed"),
    )
}

const SUMS: &str = "coalesce(sum(human), 0)::bigint AS human, coalesce(sum(automated), 0)::bigint AS automated,
    coalesce(sum(unknown), 0)::bigint AS unknown, coalesce(sum(unique_human + unique_unknown), 0)::bigint AS unique_clicks,
    coalesce(sum(unique_human), 0)::bigint AS unique_human";

#[derive(QueryableByName)]
struct Sums {
    #[diesel(sql_type = BigInt)]
    human: i64,
    #[diesel(sql_type = BigInt)]
    automated: i64,
    #[diesel(sql_type = BigInt)]
    unknown: i64,
    #[diesel(sql_type = BigInt)]
    unique_clicks: i64,
    #[diesel(sql_type = BigInt)]
    unique_human: i64,
}

/// Counts the clicks of a range.
pub async fn summary(conn: &mut Connection, scope: Scope, range: Range) -> QueryResult<Summary> {
    let Sums { human, automated, unknown, unique_clicks, unique_human } = match scope {
        Scope::Workspace(workspace_id) => {
            statement(format!("WITH {PIECES} SELECT {SUMS} FROM ({}) AS rows", rows_of("'total'")))
                .bind::<SqlUuid, _>(workspace_id.uuid())
                .bind::<Timestamptz, _>(range.since())
                .bind::<Timestamptz, _>(range.until())
                .get_result(conn)
                .await?
        }
        Scope::Link(workspace_id, link_id) => {
            statement(format!(
                "SELECT {SUMS} FROM link_rollups
                 WHERE workspace_id = $1 AND bucket >= $2 AND bucket < $3 AND link_id = $4"
            ))
            .bind::<SqlUuid, _>(workspace_id.uuid())
            .bind::<Timestamptz, _>(range.since())
            .bind::<Timestamptz, _>(range.until())
            .bind::<SqlUuid, _>(link_id.uuid())
            .get_result(conn)
            .await?
        }
    };
    Ok(Summary {
        counts: Counts { hits: human + automated + unknown, clicks: human + unknown, unique_clicks },
        hits: ClickCounts { human, automated, unknown },
        unique_human,
    })
}
