//! Batches and what else changes the deliveries in them, at the same moment.

use std::time::Duration;

use chrono::Utc;
use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use model::{BatchId, ClickId, DeliveryId, EndpointId, LinkId, WorkspaceId};
use store::batches::{self, NewBatch};
use store::tombstones::{self, Late};
use store::{Connection, batch_log};
use testkit::{TestDatabase, until};

const LIMIT: Duration = Duration::from_secs(30);

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

async fn waits_for_a_lock(conn: &mut Connection) -> bool {
    let waiting = "SELECT count(*) AS count FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let found: Count = diesel::sql_query(waiting).get_result(conn).await.unwrap();
    found.count > 0
}

#[tokio::test]
async fn a_batch_that_is_made_while_somebody_in_it_is_erased_is_dissolved() {
    let database = TestDatabase::new().await;
    let (mut making, mut erasing, looking) = (
        store::connect(&database.settings()).await.unwrap(),
        store::connect(&database.settings()).await.unwrap(),
        database.pool(),
    );
    let (now, workspace_id, endpoint_id) = (Utc::now(), WorkspaceId::generate(), EndpointId::generate());
    let (click, id) = (ClickId::generate_at(now), DeliveryId::generate_at(now));
    let own = format!("day = '{}' AND id = '{}'", id.day(), id.uuid());
    let insert = format!(
        "INSERT INTO deliveries (id, day, workspace_id, endpoint_id, event_id, event_type, click_id, status, \
             next_attempt_at, created_at) \
         VALUES ('{}', '{}', '{}', '{}', '{}', 'link.clicked', '{}', 'pending', now(), now())",
        id.uuid(),
        id.day(),
        workspace_id.uuid(),
        endpoint_id.uuid(),
        click.uuid(),
        click.uuid(),
    );
    making.batch_execute(&insert).await.unwrap();
    let new = NewBatch {
        id: BatchId::generate_at(now),
        workspace_id,
        endpoint_id,
        is_replay: false,
        deliveries: vec![id],
        body: b"{}".to_vec(),
    };

    making.batch_execute(&format!("BEGIN; SELECT FROM deliveries WHERE {own} FOR UPDATE")).await.unwrap();
    batches::make(&mut making, &new, now).await.unwrap();
    let erasure = tokio::spawn(async move {
        let late = Late { id: click, link_id: LinkId::generate(), contact: Some("cont_9") };
        tombstones::mark(&mut erasing, &[late], now).await
    });
    let looking = &looking;
    until(LIMIT, || async move {
        let mut conn = looking.get().await.unwrap();
        waits_for_a_lock(&mut conn).await.then_some(())
    })
    .await;
    making.batch_execute("COMMIT").await.unwrap();
    erasure.await.unwrap().unwrap();

    let batch = batch_log::find(&mut making, workspace_id, new.id).await.unwrap();
    assert_eq!(batch.unwrap().status, "dissolved");
}
