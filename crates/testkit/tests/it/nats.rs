//! A broker for tests.

use std::time::Duration;

use bus::ConsumerName;
use testkit::{TestNats, until};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn streams_are_there_and_outlive_a_crash() {
    let mut nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    bus.verify().await.unwrap();

    nats.kill().await;
    until(LIMIT, || async { (!bus.is_connected()).then_some(()) }).await;
    nats.restart().await;

    until(LIMIT, || async { bus.verify().await.ok() }).await;
    assert_eq!(bus.pending(ConsumerName::Enrich).await.unwrap(), 0);
}

#[tokio::test]
async fn a_paused_broker_answers_nothing_until_it_is_resumed() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;

    nats.pause();
    assert!(tokio::time::timeout(Duration::from_millis(200), bus.verify()).await.is_err());
    nats.resume();

    until(LIMIT, || async { bus.verify().await.ok() }).await;
}
