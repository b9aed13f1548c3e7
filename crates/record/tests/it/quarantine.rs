//! What nobody could handle ends in a table.

use std::time::Duration;

use bus::{Handler, Message, Outgoing, Quarantined, Verdict, Verdicts};
use model::WorkspaceId;
use record::{Metrics, QuarantineKeeper};
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
    let message = Quarantined {
        stream: "CLICKS".into(),
        stream_sequence: 7,
        message_id: None,
        consumer: "enrich".into(),
        subject: "clickwire.clicks.raw.x.00".into(),
        reason: "the handler panicked: \0".into(),
        payload: (&b"\x00\xff"[..]).into(),
        quarantined_at: chrono::DateTime::UNIX_EPOCH,
    };
    let metrics = Metrics::register(&Default::default()).unwrap();
    let keeper = QuarantineKeeper::new(database.pool(), Duration::from_millis(100), metrics.clone());

    for batch in [vec![message.clone(), message.clone()], vec![message]] {
        assert_eq!(keeper.handle(&batch).await, Verdicts::all(Verdict::Done));
    }

    assert_eq!(metrics.quarantined_total.get(), 1);
}
