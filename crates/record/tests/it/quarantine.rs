//! What nobody could handle ends in a table.

use bus::{Message, Outgoing};
use model::WorkspaceId;
use store::quarantine;
use testkit::{TestDatabase, TestNats, until};

use crate::support::{LIMIT, Running, click, publish, recorded, when};

#[tokio::test]
async fn a_malformed_message_ends_in_the_table_and_the_rest_is_recorded() {
    let (nats, database) = (TestNats::start().await, TestDatabase::new().await);
    let bus = nats.bus("enrich").await;
    let workspace_id = WorkspaceId::generate();
    let malformed =
        Outgoing { id: "malformed".into(), payload: (&b"\xff"[..]).into(), ..click(workspace_id).outgoing() };
    let running = Running::start(nats.settings(), database.settings()).await;

    bus.publisher().publish(malformed.clone()).await.unwrap();
    publish(&bus, &[click(workspace_id)]).await;

    let kept = until(LIMIT, async || {
        let mut conn = database.pool().get().await.unwrap();
        quarantine::newest(&mut conn, 10).await.unwrap().pop()
    })
    .await;
    assert_eq!(
        (kept.stream.as_str(), kept.stream_sequence, kept.consumer.as_str()),
        ("ENRICHED", 1, "record")
    );
    assert_eq!(kept.message_id.as_deref(), Some("malformed"));
    assert_eq!(kept.subject, malformed.subject);
    assert_eq!(kept.payload, malformed.payload);
    until(LIMIT, async || when(recorded(&database.pool(), workspace_id).await.len() == 1)).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_put_aside_twice_is_kept_once() {
    let database = TestDatabase::new().await;
    let message = quarantine::NewQuarantined {
        stream: "CLICKS",
        stream_sequence: 7,
        message_id: None,
        consumer: "enrich",
        subject: "clickwire.clicks.raw.x.00",
        reason: "a reason with a NUL: \0",
        payload: b"\x00\xff",
        quarantined_at: chrono::DateTime::UNIX_EPOCH,
    };
    let mut conn = database.pool().get().await.unwrap();

    let new = quarantine::insert(&mut conn, &[message.clone(), message.clone()]).await.unwrap();
    let again = quarantine::insert(&mut conn, &[message]).await.unwrap();

    assert_eq!((new, again), (1, 0));
}
