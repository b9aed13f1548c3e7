//! Nothing that happens to the broker loses a message or ends a loop.

use std::time::Duration;

use bus::{ConsumerName, Message, Partition};
use model::{Click, ClickId};
use testkit::{TestNats, given, until};

use crate::support::{LIMIT, LIMITS, Recorder, Running, publish_until_stored, when};

fn clicks(count: usize) -> Vec<Click> {
    (0..count).map(|_| Click { id: ClickId::generate(), ..given::click() }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_under_load_loses_nothing() {
    let mut nats = TestNats::start().await;
    let (publishing, consuming) = (nats.bus("publisher").await, nats.bus("consumer").await);
    let recorder = Recorder::new();
    let running = Running::start(&consuming, ConsumerName::Enrich, LIMITS, recorder.clone());
    let clicks = clicks(2000);
    let sent = clicks.clone();
    let publisher = tokio::spawn(async move {
        let publisher = publishing.publisher();
        for batch in sent.chunks(20) {
            futures::future::join_all(batch.iter().map(|click| publish_until_stored(&publisher, click)))
                .await;
        }
    });

    for part in [200, 800] {
        until(LIMIT, async || when(recorder.seen().len() >= part)).await;
        nats.kill().await;
        nats.restart().await;
    }
    publisher.await.unwrap();
    until(LIMIT, async || when(clicks.iter().all(|click| recorder.times(click) >= 1))).await;

    running.stop().await;
}

#[tokio::test]
async fn the_loop_goes_on_when_stream_and_consumer_were_deleted_and_made_anew() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let recorder = Recorder::new();
    let running = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    let (before, after_consumer, after_stream) = (given::click(), given::click(), given::click());
    bus.publisher().publish(before.outgoing()).await.unwrap();
    until(LIMIT, async || when(recorder.times(&before) == 1)).await;
    let jetstream = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());

    for partition in Partition::all() {
        jetstream.delete_consumer_from_stream(format!("enrich-{partition}"), "CLICKS").await.unwrap();
    }
    bus.setup().await.unwrap();
    bus.publisher().publish(after_consumer.outgoing()).await.unwrap();
    until(LIMIT, async || when(recorder.times(&after_consumer) == 1)).await;
    jetstream.delete_stream("CLICKS").await.unwrap();
    bus.setup().await.unwrap();
    bus.publisher().publish(after_stream.outgoing()).await.unwrap();
    until(LIMIT, async || when(recorder.times(&after_stream) == 1)).await;

    running.stop().await;
}

#[tokio::test]
async fn the_loop_goes_on_after_a_broker_that_was_frozen() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let recorder = Recorder::new();
    let running = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    until(LIMIT, async || when((running.ready)().is_ok())).await;

    nats.pause();
    let reopened = async || {
        let families = running.registry.gather();
        let reopened = families.iter().find(|family| family.name() == "clickwire_test_stream_reopened_total");
        when(reopened.is_some_and(|family| family.get_metric()[0].get_counter().get_value() >= 1.0))
    };
    until(LIMIT, reopened).await;
    nats.resume();
    let click = given::click();
    publish_until_stored(&bus.publisher(), &click).await;

    until(LIMIT, async || when(recorder.times(&click) >= 1)).await;
    running.stop().await;
}

#[tokio::test]
async fn a_consumer_that_starts_before_its_stream_waits_for_it() {
    let nats = TestNats::start_empty().await;
    let bus = nats.bus("test").await;
    let recorder = Recorder::new();
    let running = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>()).await.unwrap_err();
    assert!((running.ready)().is_err());

    bus.setup().await.unwrap();
    let click = given::click();
    bus.publisher().publish(click.outgoing()).await.unwrap();

    until(LIMIT, async || when(recorder.times(&click) == 1)).await;
    assert_eq!((running.ready)(), Ok(()));
    running.stop().await;
}
