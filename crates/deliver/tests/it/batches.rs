//! What becomes of batches: the same set and the same bytes until all of it is accepted, or none.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use model::delivery::DeliveryStatus;
use model::{BatchId, EndpointId};
use serde_json::json;
use store::batches::{self, NewBatch};
use store::deliveries::{NewDelivery, Progress};
use store::tombstones::{self, Late};
use store::{batch_log, endpoints, given_up, pulled};
use testkit::{Answer, Received, Script, Subscriber, until};
use uuid::Uuid;

use crate::batching::{WAIT_MS, batch, batches_of, events_in, first_telling, insert, owed};
use crate::rig::{LIMIT, Rig, verify};

/// A batch of these deliveries, made by a process that died before it sent it.
async fn made(rig: &Rig, endpoint_id: EndpointId, deliveries: &[NewDelivery], body: &[u8]) -> BatchId {
    insert(rig, deliveries).await;
    let newest = deliveries.iter().map(|new| new.id).max().expect("a delivery");
    let new = NewBatch {
        id: BatchId::generate_at(newest.timestamp()),
        workspace_id: rig.workspace_id,
        endpoint_id,
        is_replay: false,
        deliveries: deliveries.iter().map(|new| new.id).collect(),
        body: body.to_vec(),
    };
    let (now, dead) = (Utc::now(), Uuid::from_u128(7));
    let mut conn = rig.pool.get().await.expect("a connection");
    batches::make(&mut conn, &new, now).await.expect("a batch");
    let until = now + TimeDelta::milliseconds(500);
    let leased = batches::lease_due(&mut conn, &[(endpoint_id, 10)], dead, now, until).await;
    assert_eq!(leased.expect("a query").len(), 1);
    new.id
}

fn id_and_body(request: &Received) -> (Option<&str>, &[u8]) {
    (request.header("webhook-id"), &request.body)
}

#[tokio::test]
async fn a_batch_is_tried_again_with_the_same_id_the_same_events_and_the_same_bytes() {
    let rig = Rig::new().await;
    let refuses_twice = [Answer::Status(500), Answer::Status(500), Answer::Status(200)];
    let subscriber = Subscriber::start(refuses_twice).await;
    let (id, secret) = rig.endpoint_with(&subscriber.url(), batches_of(3, WAIT_MS)).await;
    let new: Vec<NewDelivery> = (0..5).map(|_| owed(&rig, id, Utc::now(), 0)).collect();
    insert(&rig, &new).await;

    let running = rig.start().await;

    let requests = subscriber.received(3).await;
    assert!(requests.iter().all(|request| id_and_body(request) == id_and_body(&requests[0])));
    assert!(requests.iter().all(|request| verify(request, &secret)));
    let numbers: Vec<_> = requests.iter().map(|request| request.header("clickwire-attempt")).collect();
    assert_eq!(numbers, [Some("1"), Some("2"), Some("3")]);
    assert_eq!(events_in(&requests[0]).len(), 3);

    let delivered = rig.stand(DeliveryStatus::Delivered, 3).await;
    assert!(delivered.iter().all(|delivery| delivery.attempt_count == 3));
    for delivery in &delivered {
        assert!(rig.attempts(delivery).await.is_empty(), "they are the batch's");
    }
    let (batch, attempts) = batch(&rig, &requests[0]).await;
    let told: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.status)).collect();
    assert_eq!((batch.status.as_str(), batch.attempt_count), ("delivered", 3));
    assert_eq!(told, [(1, Some(500)), (2, Some(500)), (3, Some(200))]);
    let rest = rig.stand(DeliveryStatus::Pending, 2).await;
    assert!(rest.iter().all(|delivery| delivery.batch_id.is_none()), "none joined it meanwhile");
    running.stop().await;
}

#[tokio::test]
async fn a_batch_whose_process_died_before_it_was_sent_is_sent_as_it_was_made() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (id, _) = rig.endpoint_with(&subscriber.url(), batches_of(10, WAIT_MS)).await;
    let new = [owed(&rig, id, Utc::now(), 0), owed(&rig, id, Utc::now(), 0)];
    let body = br#"{"id":"as it was made"}"#;
    let batch_id = made(&rig, id, &new, body).await;

    let running = rig.start().await;

    let delivered = rig.stand(DeliveryStatus::Delivered, 2).await;
    let requests = subscriber.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(id_and_body(&requests[0]), (Some(&batch_id.to_string()[..]), &body[..]));
    assert!(delivered.iter().all(|delivery| delivery.batch_id == Some(batch_id)));
    running.stop().await;
}

#[tokio::test]
async fn a_batch_whose_process_died_while_it_was_sent_is_sent_again_as_it_was() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start([Answer::Hang, Answer::Status(200)]).await;
    let (id, _) = rig.endpoint_with(&subscriber.url(), batches_of(2, WAIT_MS)).await;
    let new = [owed(&rig, id, Utc::now(), 0), owed(&rig, id, Utc::now(), 0)];
    insert(&rig, &new).await;
    let mut settings = rig.settings();
    settings.deliver.lease = Duration::from_secs(2);
    let running = rig.start_with(settings.clone()).await;
    subscriber.received(1).await;

    // as a crash does: nothing is finished, nothing is handed back
    running.run.abort();
    let _ = running.run.await;
    let again = rig.start_with(settings).await;

    let delivered = rig.stand(DeliveryStatus::Delivered, 2).await;
    let requests = subscriber.received(2).await;
    assert_eq!(id_and_body(&requests[0]), id_and_body(&requests[1]));
    assert!(delivered.iter().all(|delivery| delivery.attempt_count == 1));
    again.stop().await;
}

#[tokio::test]
async fn two_replicas_put_no_event_in_two_batches() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    rig.endpoint_with(&subscriber.url(), batches_of(7, 200)).await;
    let (one, other) = (rig.start().await, rig.start().await);

    let clicks = rig.publish_some(200).await;

    rig.stand(DeliveryStatus::Delivered, 200).await;
    let requests = subscriber.requests();
    let mut told: HashMap<String, usize> = HashMap::new();
    for request in &requests {
        let events = events_in(request);
        assert!((1..=7).contains(&events.len()), "{events:?}");
        for event_id in events {
            *told.entry(event_id).or_default() += 1;
        }
    }
    let expected: HashMap<String, usize> =
        clicks.iter().map(|click| (click.event_id.to_string(), 1)).collect();
    assert_eq!(told, expected);
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_takes_no_batch_does_not_slow_another() {
    let rig = Rig::new().await;
    let (broken, healthy) =
        (Subscriber::start(Script::always(Answer::Hang)).await, Subscriber::start(Answer::Status(200)).await);
    rig.endpoint_with(&broken.url(), batches_of(10, 0)).await;
    rig.endpoint_with(&healthy.url(), batches_of(10, 0)).await;
    let running = rig.start().await;

    rig.publish_some(300).await;

    broken.received(1).await;
    rig.stand(DeliveryStatus::Delivered, 300).await;
    let told: HashSet<String> = healthy.requests().iter().flat_map(events_in).collect();
    assert_eq!(told.len(), 300);
    // it answers nothing, and nobody waits for that here
    running.run.abort();
}

#[tokio::test]
async fn an_answer_for_good_ends_all_of_a_batch_and_is_told_of_once() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(410)).await;
    let (id, _) = rig.endpoint_with(&subscriber.url(), batches_of(3, WAIT_MS)).await;
    let new: Vec<NewDelivery> = (0..3).map(|_| owed(&rig, id, Utc::now(), 0)).collect();
    insert(&rig, &new).await;

    let running = rig.start().await;

    let dead = rig.stand(DeliveryStatus::Dead, 3).await;
    assert!(dead.iter().all(|delivery| (delivery.attempt_count, delivery.last_status) == (1, Some(410))));
    let told = rig.told_of("delivery.dead").await;
    assert_eq!((told.len(), &told[0]["deliveries"], &told[0]["attempts"]), (1, &json!(3), &json!(1)));
    let state = until(LIMIT, || async {
        let state = rig.endpoint_now(id).await.state;
        (state == endpoints::State::Disabled).then_some(state)
    })
    .await;
    assert_eq!((state, subscriber.count()), (endpoints::State::Disabled, 1));
    running.stop().await;
}

#[tokio::test]
async fn what_went_alone_goes_alone_again_when_batches_are_switched_on() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (id, _) = rig.endpoint_with(&subscriber.url(), batches_of(2, WAIT_MS)).await;
    let mut tried = owed(&rig, id, Utc::now(), 0);
    tried.progress = Progress { attempt_count: 1, attempted_at: Some(Utc::now()), ..tried.progress };
    let fresh = [owed(&rig, id, Utc::now(), 0), owed(&rig, id, Utc::now(), 0)];
    insert(&rig, &[&[tried.clone()][..], &fresh].concat()).await;

    let running = rig.start().await;

    rig.stand(DeliveryStatus::Delivered, 3).await;
    let requests = subscriber.requests();
    let alone = tried.owed.event_id.to_string();
    let (alone, batched): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.header("webhook-id") == Some(&alone[..]));
    assert_eq!((alone.len(), batched.len()), (1, 1));
    assert_eq!(Some(&alone[0].body), tried.progress.body.as_ref());
    assert_eq!(alone[0].header("clickwire-attempt"), Some("2"));
    assert_eq!(events_in(batched[0]).len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn an_open_batch_is_sent_as_it_is_when_batches_are_switched_off_and_what_is_new_goes_alone() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start([Answer::Status(500), Answer::Status(200)]).await;
    let (id, _) = rig.endpoint_with(&subscriber.url(), batches_of(2, WAIT_MS)).await;
    let new = [owed(&rig, id, Utc::now(), 0), owed(&rig, id, Utc::now(), 0)];
    insert(&rig, &new).await;
    let running = rig.start().await;
    subscriber.received(1).await;

    let mut conn = rig.pool.get().await.expect("a connection");
    let mut options = rig.endpoint_now(id).await.options;
    options.batch = None;
    endpoints::update(&mut conn, rig.workspace_id, id, &options, Utc::now()).await.expect("a change");
    drop(conn);
    rig.say_that_endpoints_changed().await;
    let click = rig.click();
    rig.publish(&click).await;

    rig.stand(DeliveryStatus::Delivered, 3).await;
    let requests = subscriber.requests();
    let event_id = click.event_id.to_string();
    let (alone, batched): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.header("webhook-id") == Some(&event_id[..]));
    assert!(!alone.is_empty(), "the new one");
    assert!(batched.len() >= 2);
    assert!(batched.iter().all(|request| id_and_body(request) == id_and_body(batched[0])));
    running.stop().await;
}

#[tokio::test]
async fn a_batch_in_which_somebody_was_erased_is_dissolved_and_the_others_go_in_another() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (id, _) = rig.endpoint_with(&subscriber.url(), batches_of(10, 0)).await;
    let (erased, other) = (rig.click(), rig.click());
    let new = [first_telling(&rig, id, &erased), first_telling(&rig, id, &other)];
    let batch_id = made(&rig, id, &new, b"{}").await;

    let mut conn = rig.pool.get().await.expect("a connection");
    let late = Late { id: erased.click.id, link_id: erased.click.link.id, contact: Some("cont_9") };
    tombstones::mark(&mut conn, &[late], Utc::now()).await.expect("it is emptied");
    let batch = batch_log::find(&mut conn, rig.workspace_id, batch_id).await.expect("a query");
    assert_eq!(batch.expect("the batch").status, "dissolved");
    drop(conn);
    let running = rig.start().await;

    rig.stand(DeliveryStatus::Delivered, 1).await;
    let told: Vec<Vec<String>> = subscriber.requests().iter().map(events_in).collect();
    assert_eq!(told, [[other.event_id.to_string()]]);
    let dead = rig.stand(DeliveryStatus::Dead, 1).await;
    assert_eq!(dead[0].last_error.as_deref(), Some("erased"));
    running.stop().await;
}

#[tokio::test]
async fn what_is_given_up_in_a_batch_is_not_sent_and_the_others_go_in_another() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (id, _) = rig.endpoint_with(&subscriber.url(), batches_of(10, 0)).await;
    let new = [owed(&rig, id, Utc::now(), 0), owed(&rig, id, Utc::now(), 0)];
    let batch_id = made(&rig, id, &new, b"{}").await;

    let mut conn = rig.pool.get().await.expect("a connection");
    let given_up = given_up::give_up(&mut conn, rig.workspace_id, new[0].id, Utc::now()).await;
    assert!(given_up.expect("a query"));
    let batch = batch_log::find(&mut conn, rig.workspace_id, batch_id).await.expect("a query");
    assert_eq!(batch.expect("the batch").status, "dissolved");
    drop(conn);
    let running = rig.start().await;

    rig.stand(DeliveryStatus::Delivered, 1).await;
    let told: Vec<Vec<String>> = subscriber.requests().iter().map(events_in).collect();
    assert_eq!(told, [[new[1].owed.event_id.to_string()]]);
    let dead = rig.stand(DeliveryStatus::Dead, 1).await;
    assert_eq!(dead[0].last_error.as_deref(), Some("given_up"));
    running.stop().await;
}

#[tokio::test]
async fn what_waits_in_a_batch_can_be_fetched_when_its_endpoint_fetches_from_then_on() {
    let rig = Rig::new().await;
    let (id, _) = rig.endpoint_with("https://crm.example.com/hooks", batches_of(10, 0)).await;
    let new = [owed(&rig, id, Utc::now(), 0), owed(&rig, id, Utc::now(), 0)];
    made(&rig, id, &new, b"{}").await;
    let mut conn = rig.pool.get().await.expect("a connection");
    let mut options = rig.endpoint_now(id).await.options;
    (options.batch, options.delivery) = (None, endpoints::DeliveryMode::Pull);
    endpoints::update(&mut conn, rig.workspace_id, id, &options, Utc::now()).await.expect("a change");

    let in_hand = batches::dissolve_of_fetching(&mut conn, Utc::now() - TimeDelta::seconds(1), 10).await;
    let later = Utc::now() + TimeDelta::seconds(1);
    let free = batches::dissolve_of_fetching(&mut conn, later, 10).await;
    let offered = pulled::offer_waiting(&mut conn, later, 10).await;

    assert_eq!((in_hand, free, offered), (Ok(0), Ok(1), Ok(2)));
    rig.stand(DeliveryStatus::Offered, 2).await;
}

#[tokio::test]
async fn batches_of_an_endpoint_that_was_paused_for_too_long_end_with_all_that_is_in_them() {
    let rig = Rig::new().await;
    let (id, _) = rig.endpoint_with("https://crm.example.com/hooks", batches_of(10, 0)).await;
    let new = [owed(&rig, id, Utc::now(), 0), owed(&rig, id, Utc::now(), 0)];
    let batch_id = made(&rig, id, &new, b"{}").await;
    let (hold, now) = (Duration::from_secs(3600), Utc::now());
    let mut conn = rig.pool.get().await.expect("a connection");
    let paused = endpoints::State::Paused;
    endpoints::set_state(&mut conn, rig.workspace_id, id, paused, None, now).await.expect("a state");

    let early = batches::bury(&mut conn, hold, now + TimeDelta::minutes(30), 10).await.expect("a query");
    let late = batches::bury(&mut conn, hold, now + TimeDelta::minutes(90), 10).await.expect("a query");

    assert!(early.is_empty(), "{early:?}");
    assert_eq!(late.iter().map(|held| (held.endpoint_id, held.deliveries)).collect::<Vec<_>>(), [(id, 2)]);
    let dead = rig.stand(DeliveryStatus::Dead, 2).await;
    assert!(dead.iter().all(|delivery| delivery.last_error.as_deref() == Some("paused_too_long")));
    let batch = batch_log::find(&mut conn, rig.workspace_id, batch_id).await.expect("a query");
    assert_eq!(batch.expect("the batch").status, "dead");
    assert_eq!(rig.told_of("delivery.dead").await.len(), 1);
}
