//! How endpoints do: what was accepted, how soon, and what waits. Bounded whatever they were sent: of each span only the
//! newest deliveries are looked at, by the index of their endpoint, and of what waits only so many rows are counted.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Date, Integer, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{EndpointId, WorkspaceId};

use crate::parse::earliest;
use crate::statement::{statement, unnested};
use crate::{Connection, QueryResult};

/// A span of time of one endpoint's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Whose.
    pub endpoint_id: EndpointId,
    /// Events at this moment or later.
    pub since: DateTime<Utc>,
    /// Events before this moment.
    pub until: DateTime<Utc>,
}

/// What became of the newest deliveries of a span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, QueryableByName)]
pub struct Tally {
    /// Accepted.
    #[diesel(sql_type = BigInt)]
    pub delivered: i64,
    /// Given up.
    #[diesel(sql_type = BigInt)]
    pub dead: i64,
    /// Tried, not accepted, and not given up.
    #[diesel(sql_type = BigInt)]
    pub retrying: i64,
    /// Not tried yet.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// From the event until it was accepted, in milliseconds: half of those that were accepted had it by then.
    /// Replays and corrections do not count, since they come late by nature.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub accepted_p50_ms: Option<i64>,
    /// The same for 95 of a hundred.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub accepted_p95_ms: Option<i64>,
    /// Length of the last attempt, in milliseconds: 95 of a hundred took no longer.
    #[diesel(sql_type = Nullable<Integer>)]
    pub answer_p95_ms: Option<i32>,
}

impl Tally {
    /// Deliveries that were looked at.
    pub fn seen(&self) -> i64 {
        self.delivered + self.dead + self.retrying + self.waiting
    }

    /// The share that was accepted of what was tried; `None` when nothing was.
    #[expect(clippy::cast_precision_loss, reason = "counts of rows that were looked at are small")]
    pub fn success_rate(&self) -> Option<f64> {
        let tried = self.delivered + self.dead + self.retrying;
        (tried > 0).then(|| self.delivered as f64 / tried as f64)
    }
}

/// What an endpoint is still owed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Deliveries that wait, due or not.
    pub waiting: i64,
    /// Those among them whose time has come.
    pub due: i64,
    /// Since when the first of those is due.
    pub due_since: Option<DateTime<Utc>>,
}

/// Of each span, what became of its newest `limit` deliveries; in the order of the spans.
pub async fn tallies(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    spans: &[Span],
    limit: i64,
) -> QueryResult<Vec<Tally>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        ordinality: i64,
        #[diesel(embed)]
        tally: Tally,
    }
    let first_day = spans.iter().map(|s| s.since.date_naive()).min();
    let last_day = spans.iter().map(|s| s.until.date_naive()).max();
    let rows: Vec<Row> = statement(TALLIES)
        .bind::<Array<SqlUuid>, _>(spans.iter().map(|s| s.endpoint_id.uuid()).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(spans.iter().map(|s| earliest(s.since)).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(spans.iter().map(|s| earliest(s.until)).collect::<Vec<_>>())
        .bind::<Nullable<Date>, _>(first_day)
        .bind::<Nullable<Date>, _>(last_day)
        .bind::<SqlUuid, _>(workspace_id.uuid())
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await?;
    let mut tallies = vec![Tally::default(); spans.len()];
    for row in rows {
        let index = usize::try_from(row.ordinality - 1).ok();
        if let Some(tally) = index.and_then(|index| tallies.get_mut(index)) {
            *tally = row.tally;
        }
    }
    Ok(tallies)
}

/// Of spans ($1 to $3) between two days ($4, $5), what became of the newest $7 deliveries of each in a workspace ($6).
const TALLIES: &str = "\
    SELECT s.ordinality, t.* \
    FROM unnest((SELECT $1), (SELECT $2), (SELECT $3)) WITH ORDINALITY AS s (endpoint_id, since, until, ordinality) \
    CROSS JOIN LATERAL ( \
        SELECT count(*) FILTER (WHERE status = 'delivered') AS delivered, \
            count(*) FILTER (WHERE status = 'dead') AS dead, \
            count(*) FILTER (WHERE status = 'pending' AND attempt_count > 0) AS retrying, \
            count(*) FILTER (WHERE status = 'pending' AND attempt_count = 0) AS waiting, \
            percentile_disc(0.5) WITHIN GROUP (ORDER BY accepted_ms) AS accepted_p50_ms, \
            percentile_disc(0.95) WITHIN GROUP (ORDER BY accepted_ms) AS accepted_p95_ms, \
            percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ms) AS answer_p95_ms \
        FROM ( \
            SELECT status, attempt_count, duration_ms, \
                CASE WHEN status = 'delivered' AND replay_number = 0 AND event_revision = 0 THEN \
                    floor(extract(epoch FROM finished_at) * 1000)::bigint \
                        - ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint END AS accepted_ms \
            FROM deliveries \
            WHERE day BETWEEN $4 AND $5 AND endpoint_id = s.endpoint_id \
                AND workspace_id = $6 AND id >= s.since AND id < s.until \
            ORDER BY id DESC LIMIT $7 \
        ) AS newest \
    ) AS t";

/// What each of these endpoints is still owed, of each at most `limit` rows: those that are due first.
pub async fn backlogs(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_ids: &[EndpointId],
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<HashMap<EndpointId, Backlog>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        endpoint_id: Uuid,
        #[diesel(sql_type = BigInt)]
        waiting: i64,
        #[diesel(sql_type = BigInt)]
        due: i64,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        due_since: Option<DateTime<Utc>>,
    }
    let rows: Vec<Row> = statement(backlogs_sql())
        .bind::<Array<SqlUuid>, _>(endpoint_ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .bind::<SqlUuid, _>(workspace_id.uuid())
        .bind::<Timestamptz, _>(now)
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await?;
    let read = |row: Row| {
        let backlog = Backlog { waiting: row.waiting, due: row.due, due_since: row.due_since };
        (EndpointId::from_uuid(row.endpoint_id), backlog)
    };
    Ok(rows.into_iter().map(read).collect())
}

fn backlogs_sql() -> String {
    let asked = unnested("$1", "e (id)");
    format!(
        "SELECT e.id AS endpoint_id, b.* FROM {asked} CROSS JOIN LATERAL ( \
             SELECT count(*) AS waiting, count(*) FILTER (WHERE next_attempt_at <= $3) AS due, \
                 min(next_attempt_at) FILTER (WHERE next_attempt_at <= $3) AS due_since \
             FROM ( \
                 SELECT next_attempt_at FROM deliveries \
                 WHERE endpoint_id = e.id AND status = 'pending' AND workspace_id = (SELECT $2) \
                 ORDER BY next_attempt_at LIMIT (SELECT $4) \
             ) AS first_due \
         ) AS b"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::Planned;

    #[tokio::test]
    async fn spans_are_looked_at_in_the_partitions_of_their_days() {
        let (id, ids) = ("gen_random_uuid()", "array_fill(gen_random_uuid(), ARRAY[24])");
        let day = Utc::now().date_naive();
        let values = format!("{ids}, {ids}, {ids}, '{day}', '{day}', {id}, 1000");

        let planned = Planned::of(TALLIES, "uuid[], uuid[], uuid[], date, date, uuid, bigint", &values).await;

        assert_eq!((planned.scans_of_today().len(), planned.scans_of_others()), (1, 0), "{planned}");
    }

    #[tokio::test]
    async fn what_waits_is_counted_through_an_index_with_a_plan_that_is_made_once() {
        let values = "'{00000000-0000-0000-0000-000000000007}', gen_random_uuid(), now(), 1000";

        let planned = Planned::of(&backlogs_sql(), "uuid[], uuid, timestamptz, bigint", values).await;

        let scans = planned.scans_of_today();
        assert!(scans.iter().all(|scan| scan.contains("endpoint_id_next_attempt_at_idx")), "{planned}");
        assert!(planned.is_made_once, "{planned}");
    }
}
