//! Nothing is lost while the database or the broker is away.

use bus::ConsumerName;
use model::WorkspaceId;
use testkit::{OwnDatabase, TestDatabase, TestNats, until};

use crate::support::{LIMIT, Running, click, publish, recorded, when};

#[tokio::test]
async fn while_the_database_is_away_clicks_wait_on_the_stream() {
    let (nats, mut database) = (TestNats::start().await, OwnDatabase::start().await);
    let bus = nats.bus("enrich").await;
    let workspace_id = WorkspaceId::generate();
    let running = Running::start(nats.settings(), database.settings()).await;
    publish(&bus, &[click(workspace_id)]).await;
    until(LIMIT, async || when(recorded(&database.pool(), workspace_id).await.len() == 1)).await;

    database.stop().await;
    let clicks: Vec<_> = (0..200).map(|_| click(workspace_id)).collect();
    publish(&bus, &clicks).await;
    let retried = async || {
        let families = running.ops.registry().gather();
        let messages = families.iter().find(|family| family.name() == "clickwire_record_messages_total")?;
        let is_retry = |label: &prometheus::proto::LabelPair| label.value() == "retry";
        when(messages.get_metric().iter().any(|metric| metric.get_label().iter().any(is_retry)))
    };
    until(LIMIT, retried).await;
    database.restart().await;

    until(LIMIT, async || when(recorded(&database.pool(), workspace_id).await.len() == 201)).await;
    until(LIMIT, async || when(bus.pending(ConsumerName::Record).await.ok() == Some(0))).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_under_load_loses_no_click_and_doubles_none() {
    let (nats, mut database) = (TestNats::start().await, OwnDatabase::start().await);
    let bus = nats.bus("enrich").await;
    let workspace_id = WorkspaceId::generate();
    let running = Running::start(nats.settings(), database.settings()).await;
    let clicks: Vec<_> = (0..3000).map(|_| click(workspace_id)).collect();
    let publishing = tokio::spawn(async move {
        for part in clicks.chunks(100) {
            publish(&bus, part).await;
        }
    });
    until(LIMIT, async || when(recorded(&database.pool(), workspace_id).await.len() > 100)).await;

    database.kill().await;
    database.restart().await;

    publishing.await.unwrap();
    until(LIMIT, async || when(recorded(&database.pool(), workspace_id).await.len() == 3000)).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_under_load_loses_no_click_and_doubles_none() {
    let (mut nats, database) = (TestNats::start().await, TestDatabase::new().await);
    let bus = nats.bus("enrich").await;
    let workspace_id = WorkspaceId::generate();
    let running = Running::start(nats.settings(), database.settings()).await;
    let clicks: Vec<_> = (0..1000).map(|_| click(workspace_id)).collect();
    let publishing = tokio::spawn(async move {
        for part in clicks.chunks(50) {
            publish(&bus, part).await;
        }
    });
    until(LIMIT, async || when(recorded(&database.pool(), workspace_id).await.len() > 100)).await;

    nats.kill().await;
    nats.restart().await;

    publishing.await.unwrap();
    until(LIMIT, async || when(recorded(&database.pool(), workspace_id).await.len() == 1000)).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_service_without_its_tables_or_streams_says_what_mends_it() {
    let (nats, no_streams) = (TestNats::start().await, TestNats::start_empty().await);
    let (database, no_tables) = (TestDatabase::new().await, OwnDatabase::start_empty().await);

    let without_streams =
        Running::start(no_streams.settings(), database.settings()).await.ended().await.unwrap_err();
    let without_tables =
        Running::start(nats.settings(), no_tables.settings()).await.ended().await.unwrap_err();

    assert!(without_streams.to_string().contains("clickwire setup"), "{without_streams:#}");
    assert!(without_tables.to_string().contains("clickwire setup"), "{without_tables:#}");
}
