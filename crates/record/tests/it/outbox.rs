//! Events reach EVENTS once their transaction is committed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Event, Message};
use chrono::Utc;
use model::WorkspaceId;
use record::{Metrics, Outbox};
use testkit::{TestDatabase, TestNats, until};

use crate::support::{LIMIT, Running, when};

async fn announce(database: &TestDatabase, workspace_id: WorkspaceId, count: usize) {
    let mut conn = database.pool().get().await.unwrap();
    for n in 0..count {
        let data = serde_json::json!({ "n": n });
        store::events::announce(&mut conn, workspace_id, "endpoint.disabled", data, Utc::now())
            .await
            .unwrap();
    }
}

fn outbox(database: &TestDatabase, bus: &Bus, batch_max: u32) -> Outbox {
    Outbox::new(database.pool(), bus.publisher(), batch_max, Metrics::register(&Default::default()).unwrap())
}

async fn waiting(database: &TestDatabase) -> usize {
    let mut conn = database.pool().get().await.unwrap();
    store::outbox::lock_oldest(&mut conn, 100_000).await.unwrap().len()
}

/// What stands on EVENTS, with its subjects.
async fn events_of(nats: &TestNats) -> Vec<(String, Event)> {
    let messages = nats.messages("EVENTS").await.into_iter();
    messages.map(|(subject, payload)| (subject, Event::decode(&payload).unwrap())).collect()
}

#[tokio::test]
async fn announced_events_are_published_and_removed() {
    let (nats, database) = (TestNats::start().await, TestDatabase::new().await);
    let workspace_id = WorkspaceId::generate();
    announce(&database, workspace_id, 3).await;

    let running = Running::start(nats.settings(), database.settings()).await;
    until(LIMIT, async || when(waiting(&database).await == 0)).await;

    let events = events_of(&nats).await;
    assert_eq!(events.len(), 3);
    assert_eq!(events[0].0, format!("clickwire.events.{workspace_id}.endpoint.disabled"));
    assert_eq!(events[0].1.event_type, "endpoint.disabled");
    assert_eq!(events[0].1.data, r#"{"n":0}"#);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_the_outbox_and_publish_each_event_once() {
    let (nats, database) = (TestNats::start().await, TestDatabase::new().await);
    let bus = nats.bus("record").await;
    announce(&database, WorkspaceId::generate(), 100).await;
    let replicas = [Arc::new(outbox(&database, &bus, 10)), Arc::new(outbox(&database, &bus, 10))];

    let running =
        replicas.map(|outbox| tokio::spawn(async move { while outbox.step().await.unwrap() > 0 {} }));
    for replica in running {
        replica.await.unwrap();
    }
    outbox(&database, &bus, 1000).step().await.unwrap();

    let events = events_of(&nats).await;
    let ids: HashSet<_> = events.iter().map(|(_, event)| event.id).collect();
    assert_eq!((events.len(), ids.len()), (100, 100));
    assert_eq!(waiting(&database).await, 0);
}

#[tokio::test]
async fn while_the_broker_is_away_events_stay_in_the_outbox() {
    let (mut nats, database) = (TestNats::start().await, TestDatabase::new().await);
    let settings = bus::Settings { request_timeout: Duration::from_millis(200), ..nats.settings() };
    let bus = Bus::connect(&settings, "record").await.unwrap();
    let outbox = outbox(&database, &bus, 100);
    announce(&database, WorkspaceId::generate(), 2).await;
    nats.kill().await;

    let failed = outbox.step().await;
    let kept = waiting(&database).await;
    nats.restart().await;
    until(LIMIT, async || outbox.step().await.ok()).await;

    assert!(failed.is_err());
    assert_eq!(kept, 2);
    assert_eq!(events_of(&nats).await.len(), 2);
    assert_eq!(waiting(&database).await, 0);
}
