//! A publish is a confirmation by the stream, or an error within its time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bus::{Bus, ConsumerName, Message, Outgoing, PublishError, Settings};
use futures::StreamExt as _;
use model::{Click, ClickId};
use testkit::{TestNats, given, until};
use tokio_util::sync::CancellationToken;

use crate::support::{LIMIT, LIMITS, Recorder, Running, when};

fn clicks(count: usize) -> Vec<Outgoing> {
    (0..count).map(|_| Click { id: ClickId::generate(), ..given::click() }.outgoing()).collect()
}

#[tokio::test]
async fn a_message_published_twice_under_one_id_is_stored_once() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let message = given::click().outgoing();

    bus.publisher().publish(message.clone()).await.unwrap();
    let again = bus.publisher().publish_all(vec![message.clone(), message]).await;

    assert_eq!(again, [Ok(()), Ok(())]);
    assert_eq!(bus.pending(ConsumerName::Enrich).await.unwrap(), 1);
}

#[tokio::test]
async fn a_message_carries_its_id_its_schema_and_its_trace() {
    let nats = TestNats::start().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let click = Click { traceparent: Some(trace.into()), ..given::click() };
    let forged =
        Click { id: ClickId::generate(), traceparent: Some("x\r\nForged: y".into()), ..click.clone() };

    for click in [&click, &forged] {
        nats.bus("test").await.publisher().publish(click.outgoing()).await.unwrap();
    }

    let client = async_nats::connect(nats.url()).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream("CLICKS").await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned());
    assert_eq!(header("Nats-Msg-Id"), Some(click.id.to_string()));
    assert_eq!(header("Content-Type").as_deref(), Some("application/protobuf"));
    assert_eq!(header("Clickwire-Schema").as_deref(), Some("clickwire.events.v1.Click"));
    assert_eq!(header("traceparent").as_deref(), Some(trace));
    assert_eq!(Click::decode(&message.payload).unwrap(), click);
    let forged = stream.get_raw_message(2).await.unwrap();
    assert!(forged.headers.get("traceparent").is_none() && forged.headers.get("Forged").is_none());
}

#[tokio::test]
async fn what_a_stream_refuses_is_told_apart() {
    let nats = TestNats::start_empty().await;
    let settings = Settings { clicks_max_bytes: 20_000, ..nats.settings() };
    let bus = Bus::connect(&settings, "test").await.unwrap();
    let publisher = bus.publisher();
    let too_large = Outgoing { payload: vec![0; 100_000].into(), ..given::click().outgoing() };
    let far_too_large = Outgoing { payload: vec![0; 10_000_000].into(), ..given::click().outgoing() };

    bus.wait_connected(LIMIT).await.unwrap();
    let without_stream = publisher.publish(given::click().outgoing()).await;
    bus.setup().await.unwrap();
    let results = publisher.publish_all(clicks(200)).await;

    assert_eq!(without_stream, Err(PublishError::StreamMissing));
    assert!(results.contains(&Ok(())));
    assert_eq!(results.last(), Some(&Err(PublishError::StreamFull)));
    assert_eq!(publisher.publish(too_large).await, Err(PublishError::TooLarge));
    assert_eq!(publisher.publish(far_too_large).await, Err(PublishError::TooLarge));
    assert!(PublishError::TooLarge.is_permanent() && !PublishError::StreamFull.is_permanent());
}

#[tokio::test]
async fn many_messages_are_stored_in_order_with_few_confirmations() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let other = async_nats::connect(nats.url()).await.unwrap();
    let mut answers = other.subscribe("_INBOX_test.>").await.unwrap();
    other.flush().await.unwrap();
    let mut messages = clicks(2500);
    messages[7] = messages[5].clone();

    let results = bus.publisher().publish_all(messages.clone()).await;

    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(stored_ids(&nats).await, [ids_of(&messages[..7]), ids_of(&messages[8..])].concat());
    // what was sent to the publisher before this, was sent to the other one too
    other.publish("_INBOX_test.end", "".into()).await.unwrap();
    let mut count = 0;
    while answers.next().await.unwrap().subject.as_str() != "_INBOX_test.end" {
        count += 1;
    }
    assert!(count < 50, "{count} answers");
}

#[tokio::test]
async fn a_stream_that_takes_no_batches_stores_what_is_sent_in_one() {
    let nats = TestNats::start_empty().await;
    let bus = nats.bus("test").await;
    let without = Settings { batch_publish: false, ..nats.settings() };
    Bus::connect(&without, "test").await.unwrap().setup().await.unwrap();

    let other = nats.client().await;
    let mut answers = other.subscribe("_INBOX_test.>").await.unwrap();
    other.flush().await.unwrap();

    for round in 1..3 {
        let results = bus.publisher().publish_all(clicks(100)).await;

        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(bus.pending(ConsumerName::Enrich).await.unwrap(), round * 100);
        other.publish("_INBOX_test.end", "".into()).await.unwrap();
        let mut refused = 0;
        while let Some(answer) = answers.next().await.filter(|answer| !answer.subject.ends_with(".end")) {
            refused += usize::from(answer.subject.ends_with(".$FI"));
        }
        // after the first batch messages go one by one for a while
        assert_eq!(refused > 0, round == 1, "{refused} in round {round}");
    }
}

#[tokio::test]
async fn of_more_messages_than_a_batch_takes_those_that_found_room_are_stored() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    nats.leave_room("CLICKS", 1200).await;

    let results = bus.publisher().publish_all(clicks(1500)).await;

    assert!(results[..1200].iter().all(Result::is_ok), "{results:?}");
    assert!(results[1200..].iter().all(|result| *result == Err(PublishError::StreamFull)), "{results:?}");
    assert_eq!(bus.pending(ConsumerName::Enrich).await.unwrap(), 1200);
}

/// The ids of the clicks on CLICKS, in their order.
async fn stored_ids(nats: &TestNats) -> Vec<String> {
    let messages = nats.messages("CLICKS").await;
    messages.iter().map(|(_, payload)| Click::decode(payload).unwrap().id.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_nodes_are_killed_one_after_the_other_has_what_it_confirmed_once() {
    let mut nats = TestNats::start_cluster().await;
    let settings = Settings { request_timeout: Duration::from_secs(1), ..nats.settings() };
    let bus = Bus::connect(&settings, "test").await.unwrap();
    let (confirmed, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
    let publishing = tokio::spawn({
        let (confirmed, stop, publisher) = (confirmed.clone(), stop.clone(), bus.publisher());
        async move {
            // a steady load, of which the reading afterwards takes seconds
            let mut every = tokio::time::interval(Duration::from_millis(100));
            while !stop.is_cancelled() {
                every.tick().await;
                let mut left = clicks(200);
                while !left.is_empty() {
                    let results = publisher.publish_all(left.clone()).await;
                    let (stored, again): (Vec<_>, Vec<_>) =
                        left.into_iter().zip(results).partition(|(_, result)| result.is_ok());
                    confirmed.lock().unwrap().extend(stored.into_iter().map(|(message, _)| message.id));
                    left = again.into_iter().map(|(message, _)| message).collect();
                }
            }
        }
    });

    for node in 0..TestNats::NODES {
        // after a node is lost messages go one by one for a while
        saw_a_batch(&nats, 200).await;
        nats.kill_node(node).await;
        let before = confirmed.lock().unwrap().len();
        until(LIMIT, async || when(confirmed.lock().unwrap().len() > before + 400)).await;
        nats.restart_node(node).await;
        nats.wait_led().await;
    }
    saw_a_batch(&nats, 200).await;
    stop.cancel();
    publishing.await.unwrap();

    let confirmed = std::mem::take(&mut *confirmed.lock().unwrap());
    let stream = async_nats::jetstream::new(nats.client().await).get_stream("CLICKS").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, confirmed.len() as u64);
    let recorder = Recorder::new();
    let running = Running::start(&bus, ConsumerName::Enrich, LIMITS, recorder.clone());
    until(LIMIT, async || when(recorder.seen().len() == confirmed.len())).await;
    let seen: BTreeSet<String> = recorder.seen().into_keys().map(|id| id.to_string()).collect();
    assert!(confirmed.iter().all(|id| seen.contains(id)));
    running.stop().await;
}

/// Waits until a stream has confirmed a batch of so many messages.
async fn saw_a_batch(nats: &TestNats, count: usize) {
    let client = nats.client().await;
    let mut answers = client.subscribe("_INBOX_test.>").await.unwrap();
    let expected = format!(r#""count":{count}"#);
    let commit = async {
        while let Some(answer) = answers.next().await {
            if String::from_utf8_lossy(&answer.payload).contains(&expected) {
                return true;
            }
        }
        false
    };
    assert_eq!(tokio::time::timeout(LIMIT, commit).await, Ok(true));
}

fn ids_of(messages: &[Outgoing]) -> Vec<String> {
    messages.iter().map(|message| message.id.clone()).collect()
}

#[tokio::test]
async fn publishing_to_an_absent_broker_ends_in_time() {
    let nats = TestNats::start_empty().await;
    let settings = Settings {
        url: "nats://127.0.0.1:1".into(),
        request_timeout: Duration::from_millis(300),
        ..nats.settings()
    };
    let bus = Bus::connect(&settings, "test").await.unwrap();
    let since = Instant::now();

    let results = bus.publisher().publish_all(clicks(5000)).await;

    assert!(results.iter().all(|result| *result == Err(PublishError::Disconnected)));
    assert_eq!(results.len(), 5000);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[tokio::test]
async fn publishing_to_a_frozen_broker_ends_in_time_and_works_again_afterwards() {
    let nats = TestNats::start().await;
    let settings = Settings { request_timeout: Duration::from_millis(500), ..nats.settings() };
    let bus = Bus::connect(&settings, "test").await.unwrap();
    bus.publisher().publish(given::click().outgoing()).await.unwrap();
    let messages = clicks(3000);
    nats.pause();
    let since = Instant::now();

    let results = bus.publisher().publish_all(messages.clone()).await;

    assert!(results.iter().all(Result::is_err));
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    nats.resume();
    until(LIMIT, async || {
        when(bus.publisher().publish_all(messages.clone()).await.iter().all(Result::is_ok))
    })
    .await;
    assert_eq!(bus.pending(ConsumerName::Enrich).await.unwrap(), 3001);
}

#[tokio::test]
async fn publishing_blocks_on_nothing_while_the_broker_restarts() {
    let mut nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    nats.kill().await;

    let publisher = bus.publisher();
    let publishing = tokio::spawn(async move { publisher.publish_all(clicks(100)).await });
    nats.restart().await;
    let results = publishing.await.unwrap();

    let stored = u64::try_from(results.iter().filter(|result| result.is_ok()).count()).unwrap();
    assert!(bus.pending(ConsumerName::Enrich).await.unwrap() >= stored);
}

#[tokio::test]
async fn publishers_at_the_same_time_get_their_own_answers() {
    let nats = TestNats::start().await;
    let bus = nats.bus("test").await;
    let too_large = Outgoing { payload: vec![0; 100_000].into(), ..given::click().outgoing() };
    let calls = (0..10).map(|call| {
        let mut messages = clicks(300);
        messages.insert(call * 30, too_large.clone());
        let publisher = bus.publisher();
        async move { publisher.publish_all(messages).await }
    });

    let results = futures::future::join_all(calls).await;

    for (call, results) in results.iter().enumerate() {
        let refused: Vec<_> = (0..results.len()).filter(|index| results[*index].is_err()).collect();
        assert_eq!(refused, [call * 30]);
    }
    assert_eq!(bus.pending(ConsumerName::Enrich).await.unwrap(), 3000);
}

#[tokio::test]
async fn a_late_answer_confirms_no_other_message() {
    let nats = TestNats::start().await;
    let settings = Settings { request_timeout: Duration::from_millis(500), ..nats.settings() };
    let bus = Bus::connect(&settings, "test").await.unwrap();
    bus.publisher().publish(given::click().outgoing()).await.unwrap();
    nats.pause();
    let given_up = bus.publisher().publish_all(clicks(100)).await;
    assert!(given_up.iter().all(Result::is_err));
    nats.resume();
    let too_large = Outgoing { payload: vec![0; 100_000].into(), ..given::click().outgoing() };

    let results = bus.publisher().publish_all(vec![too_large; 10]).await;

    // the answers to the hundred that were given up come first
    assert!(results.iter().all(|result| *result == Err(PublishError::TooLarge)), "{results:?}");
}
