//! How endpoints do: what the figures say, and that they cost the same whatever an endpoint was sent.

use std::time::{Duration, Instant};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use diesel_async::RunQueryDsl;
use model::{EndpointId, WorkspaceId};
use store::Connection;
use store::endpoint_stats::{Span, backlogs, tallies};
use testkit::TestDatabase;

/// Deliveries of a busy hour.
const BUSY: i64 = 200_000;

/// Generous: it stands for seconds that reading all of them would take on a busy machine.
const BOUND: Duration = Duration::from_secs(2);

/// Deliveries of one endpoint in one hour, evenly; every tenth was given up, every hundredth waits.
async fn fill(conn: &mut Connection, workspace: WorkspaceId, endpoint: EndpointId, at: DateTime<Utc>) {
    let sql = format!(
        "INSERT INTO deliveries (id, day, workspace_id, endpoint_id, event_id, event_type, status, attempt_count, \
             next_attempt_at, created_at, attempted_at, finished_at, duration_ms) \
         SELECT id, '{day}', '{workspace}', '{endpoint}', id, 'link.clicked', \
             CASE WHEN n % 100 = 0 THEN 'pending' WHEN n % 10 = 0 THEN 'dead' ELSE 'delivered' END, 1, \
             CASE WHEN n % 100 = 0 THEN at END, at, at, at + interval '250 milliseconds', 20 \
         FROM (SELECT n, timestamptz '{at}' + n * interval '{step} microseconds' AS at FROM generate_series(1, {BUSY}) AS n) AS moments, \
             LATERAL (SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || lpad(to_hex(n), 20, '0'))::uuid AS id) AS ids",
        day = at.date_naive(),
        workspace = workspace.uuid(),
        endpoint = endpoint.uuid(),
        at = at.to_rfc3339(),
        step = 3_000_000_000_i64 / BUSY,
    );
    diesel::sql_query(sql).execute(conn).await.unwrap();
    diesel::sql_query("ANALYZE deliveries").execute(conn).await.unwrap();
}

#[tokio::test]
async fn figures_of_a_busy_endpoint_are_made_of_its_newest_deliveries_and_cost_little() {
    let database = TestDatabase::new().await;
    let mut conn = database.pool().get().await.unwrap();
    let (workspace, endpoint, idle) =
        (WorkspaceId::generate(), EndpointId::generate(), EndpointId::generate());
    let hour = Utc::now().duration_trunc(TimeDelta::hours(1)).unwrap() - TimeDelta::hours(1);
    fill(&mut conn, workspace, endpoint, hour).await;
    let span = |endpoint_id, since| Span { endpoint_id, since, until: since + TimeDelta::hours(1) };
    let hours: Vec<Span> = (0..24).rev().map(|back| span(endpoint, hour - TimeDelta::hours(back))).collect();

    let began = Instant::now();
    let found = tallies(&mut conn, workspace, &hours, 1000).await.unwrap();
    let waiting = backlogs(&mut conn, workspace, &[endpoint, idle], Utc::now(), 1000).await.unwrap();
    let took = began.elapsed();

    assert!(took < BOUND, "{took:?}");
    let newest = found[23];
    assert_eq!((newest.seen(), newest.delivered, newest.dead, newest.retrying), (1000, 900, 90, 10));
    assert_eq!(newest.success_rate(), Some(0.9));
    // the id has whole milliseconds, the moment of acceptance has more
    assert!((249..=251).contains(&newest.accepted_p95_ms.unwrap()), "{newest:?}");
    assert_eq!(newest.answer_p95_ms, Some(20));
    assert!(found[..23].iter().all(|tally| tally.seen() == 0 && tally.success_rate().is_none()));
    assert_eq!((waiting[&endpoint].waiting, waiting[&endpoint].due, waiting[&idle].waiting), (1000, 1000, 0));
    assert!(waiting[&endpoint].due_since.is_some());
    let other = tallies(&mut conn, WorkspaceId::generate(), &hours, 1000).await.unwrap();
    assert!(other.iter().all(|tally| tally.seen() == 0), "another workspace sees nothing");
}
