//! Clicks are found by whose they are, without looking at the rest.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use diesel_async::SimpleAsyncConnection;
use model::{ClickId, EventId, WorkspaceId};
use store::clicks::{self, NewClick};
use store::{Connection, click_log};
use testkit::{TestDatabase, given};

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

async fn record(conn: &mut Connection, workspace_id: WorkspaceId, at: DateTime<Utc>) -> ClickId {
    let mut click = given::enriched_click();
    click.click.workspace_id = workspace_id;
    click.click.id = ClickId::generate_at(at);
    click.click.clicked_at = at;
    click.event_id = EventId::of_click(click.click.id, 0);
    clicks::record(conn, &[NewClick { click: &click, event: b"x" }], at).await.unwrap();
    click.click.id
}

#[tokio::test]
async fn pages_of_the_oldest_clicks_follow_each_other_over_midnight() {
    let database = TestDatabase::new().await;
    let mut conn = store::connect(&database.settings()).await.unwrap();
    let (ours, others) = (given::workspace(&mut conn).await, given::workspace(&mut conn).await);
    let midnight = Utc::now().date_naive().and_time(NaiveTime::MIN).and_utc();
    let (since, until) = (midnight - TimeDelta::seconds(2), midnight + TimeDelta::seconds(2));
    let mut wanted = Vec::new();
    for seconds in [-3, -2, -1, 0, 1, 2] {
        let at = midnight + TimeDelta::seconds(seconds);
        record(&mut conn, others, at).await;
        let id = record(&mut conn, ours, at).await;
        wanted.extend((since..until).contains(&at).then_some(id));
    }

    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = click_log::list_oldest_first(&mut conn, ours, (since, until), after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some(last.id);
        found.extend(page.iter().map(|click| click.id));
    }

    assert_eq!(found, wanted);
    let earlier = (since - Days::new(1), since - TimeDelta::hours(1));
    assert_eq!(click_log::list_oldest_first(&mut conn, ours, earlier, None, 2).await.unwrap(), []);
}
