//! Clicks are found by whose they are, without looking at the rest.

use diesel_async::SimpleAsyncConnection;
use store::Connection;
use testkit::TestDatabase;

use crate::plan::plan;

async fn plan_of(conn: &mut Connection, column: &str) -> String {
    // the plan that a prepared statement has after some runs
    conn.batch_execute(&format!(
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
         PREPARE of_{column} (uuid, text, bigint) AS
             SELECT id, event FROM clicks WHERE workspace_id = $1 AND {column} = $2 AND ($3::bigint IS NULL OR true)
             ORDER BY id DESC LIMIT $3"
    ))
    .await
    .unwrap();
    plan(conn, &format!("EXECUTE of_{column} ('00000000-0000-0000-0000-000000000007', 'x', 51)")).await
}

#[tokio::test]
async fn clicks_of_a_contact_a_conversation_or_a_message_are_found_in_order() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();

    for column in ["contact_id", "conversation_id", "message_id"] {
        let plan = plan_of(&mut conn, column).await;

        let index = format!("workspace_id_{column}_id_idx");
        assert!(plan.contains(&index) && !plan.contains("Filter") && !plan.contains("Sort  ("), "{plan}");
    }
}
