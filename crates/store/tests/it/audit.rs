//! The audit log is found by kind without reading the rest of it.

use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use model::AuditId;
use serde_json::json;
use store::audit::{self, AuditFilter};
use testkit::{TestDatabase, given};

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    #[diesel(column_name = "QUERY PLAN")]
    line: String,
}

#[tokio::test]
async fn what_was_done_to_one_kind_of_thing_is_found_in_order() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    // the plan that a prepared statement has after some runs
    conn.batch_execute(
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
         PREPARE of_kind (uuid, text, bigint) AS
             SELECT id FROM audit WHERE workspace_id = $1 AND split_part(audit.action, '.', 1) = $2
             ORDER BY id DESC LIMIT $3",
    )
    .await
    .unwrap();

    let explain = "EXPLAIN EXECUTE of_kind ('00000000-0000-0000-0000-000000000007', 'secret', 51)";
    let lines: Vec<Line> = diesel::sql_query(explain).load(&mut conn).await.unwrap();

    let plan = lines.into_iter().map(|line| line.line).collect::<Vec<_>>().join("\n");
    assert!(
        plan.contains("audit_by_kind") && !plan.contains("Filter") && !plan.contains("Sort  ("),
        "{plan}"
    );
}

#[tokio::test]
async fn a_kind_is_the_whole_first_word_of_what_was_done() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let workspace_id = given::workspace(&mut conn).await;
    for action in ["link.created", "linked.created", "secret.revealed", "link.updated"] {
        let now = chrono::Utc::now();
        audit::insert(&mut conn, workspace_id, "operator", action, "x", json!({}), now).await.unwrap();
    }
    let mut found = async |action: &str| {
        let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
        let entries = audit::list(&mut conn, workspace_id, &filter, None::<AuditId>, 10).await.unwrap();
        let mut actions: Vec<String> = entries.into_iter().map(|entry| entry.action).collect();
        actions.sort_unstable();
        actions
    };

    assert_eq!(found("link").await, ["link.created", "link.updated"]);
    assert_eq!(found("link.updated").await, ["link.updated"]);
    assert_eq!(found("l").await, [] as [&str; 0]);
}
