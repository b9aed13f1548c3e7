//! When events that wait for an endpoint become one request, and what is in it.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use model::automation::Verdict;
use model::delivery::DeliveryStatus;
use model::event_type::LINK_CLICKED;
use model::{Batching, DeliveryId, EndpointId, EnrichedClick, EventId};
use serde_json::{Value, json};
use store::batch_log::{self, LoggedBatch};
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::delivery_log::LoggedAttempt;
use store::endpoints::EndpointOptions;
use store::replays::{self, Selection, What};
use testkit::{Answer, Received, Subscriber, until};
use uuid::Uuid;

use crate::amendments::amended;
use crate::rig::{LIMIT, Rig, verify};

/// Longer than a test takes, so that nothing goes only because it has waited.
pub const WAIT_MS: u32 = 60_000;

pub const BYTES: u32 = 1 << 20;

/// Batches of so many events, of as many bytes as there may be.
pub fn batches_of(max_events: u32, max_wait_ms: u32) -> impl FnOnce(&mut EndpointOptions) {
    move |options| {
        options.batch = Some(Batching { max_events, max_wait_ms, max_bytes: BYTES });
        options.retry_schedule = Some(vec![1, 1]);
    }
}

/// A delivery that is due since then, with a body of its own.
pub fn owed(rig: &Rig, endpoint_id: EndpointId, due_at: DateTime<Utc>, bytes: usize) -> NewDelivery {
    let event_id = EventId::generate();
    let mut body = json!({"id": event_id, "type": LINK_CLICKED, "data": {"fill": ""}}).to_string();
    let fill = "x".repeat(bytes.saturating_sub(body.len()));
    body = body.replace("\"fill\":\"\"", &format!("\"fill\":\"{fill}\""));
    NewDelivery {
        line: None,
        id: DeliveryId::generate_at(event_id.timestamp()),
        workspace_id: rig.workspace_id,
        owed: Owed { endpoint_id, event_id },
        event_type: LINK_CLICKED,
        click_id: None,
        told_revision: 0,
        progress: Progress::due(due_at, Some(body.into_bytes())),
        leased_until: None,
    }
}

/// The first telling of a click, due now.
pub fn first_telling(rig: &Rig, endpoint_id: EndpointId, click: &EnrichedClick) -> NewDelivery {
    NewDelivery {
        line: None,
        click_id: Some(click.click.id),
        owed: Owed { endpoint_id, event_id: click.event_id },
        id: DeliveryId::generate_at(click.event_id.timestamp()),
        progress: Progress::due(Utc::now(), Some(webhook::payload::link_clicked(click))),
        ..owed(rig, endpoint_id, Utc::now(), 0)
    }
}

pub async fn insert(rig: &Rig, new: &[NewDelivery]) {
    let mut conn = rig.pool.get().await.expect("a connection");
    let stored = deliveries::insert(&mut conn, new, &[], Uuid::from_u128(1), Utc::now()).await;
    assert_eq!(stored.expect("deliveries").len(), new.len());
}

/// The ids of the events in a batch, in their order; the request is one of a batch.
pub fn events_in(request: &Received) -> Vec<String> {
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!((&body["type"], request.header("clickwire-event-type")), (&json!("batch"), Some("batch")));
    assert_eq!(body["id"].as_str(), request.header("webhook-id"), "{body}");
    assert!(body["id"].as_str().expect("an id").starts_with("bat_"), "{body}");
    assert_eq!(request.header("clickwire-delivery-id"), None);
    let events = body["data"].as_array().expect("a list");
    events.iter().map(|event| event["id"].as_str().expect("an id").to_owned()).collect()
}

pub async fn batch(rig: &Rig, request: &Received) -> (LoggedBatch, Vec<LoggedAttempt>) {
    let id = request.header("webhook-id").expect("an id").parse().expect("a batch");
    let mut conn = rig.pool.get().await.expect("a connection");
    let batch = batch_log::find(&mut conn, rig.workspace_id, id).await.expect("a query").expect("a batch");
    (batch, batch_log::attempts(&mut conn, rig.workspace_id, id).await.expect("a query"))
}

#[tokio::test]
async fn events_go_together_as_soon_as_they_are_enough_each_as_it_would_go_alone() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (id, secret) = rig.endpoint_with(&subscriber.url(), batches_of(3, WAIT_MS)).await;
    let running = rig.start().await;

    let clicks = rig.publish_some(7).await;

    let requests = subscriber.received(2).await;
    let delivered = rig.stand(DeliveryStatus::Delivered, 6).await;
    let mut told: Vec<String> = Vec::new();
    for request in &requests {
        assert!(verify(request, &secret), "one signature for all");
        let events = events_in(request);
        assert_eq!(events.len(), 3);
        for event_id in &events {
            let is_told = |click: &&EnrichedClick| click.event_id.to_string() == *event_id;
            let alone = webhook::payload::link_clicked(clicks.iter().find(is_told).expect("a click"));
            let alone = String::from_utf8(alone).expect("UTF-8");
            assert!(String::from_utf8_lossy(&request.body).contains(&alone), "{alone}");
        }
        told.extend(events);
        let (batch, attempts) = batch(&rig, request).await;
        assert_eq!((batch.status.as_str(), batch.events, attempts.len()), ("delivered", 3, 1));
    }
    assert_eq!(told.iter().collect::<HashSet<_>>().len(), 6, "none of them twice");
    assert!(delivered.iter().all(|delivery| delivery.batch_id.is_some() && delivery.attempt_count == 1));
    let rest = rig.stand(DeliveryStatus::Pending, 1).await;
    assert_eq!((rest.len(), rest[0].batch_id), (1, None), "it waits for more");

    let accepted = until(LIMIT, || async {
        let delivered = rig.endpoint_now(id).await.health?.delivered;
        (delivered >= 6).then_some(delivered)
    })
    .await;
    assert_eq!(accepted, 6, "each event counts");
    running.stop().await;
}

#[tokio::test]
async fn events_that_are_not_enough_go_when_the_oldest_has_waited() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (id, _) = rig.endpoint_with(&subscriber.url(), batches_of(1000, WAIT_MS)).await;
    let (waited, now) = (Utc::now() - TimeDelta::milliseconds(WAIT_MS.into()), Utc::now());
    let new = [owed(&rig, id, waited, 0), owed(&rig, id, now, 0)];
    insert(&rig, &new).await;

    let running = rig.start().await;

    rig.stand(DeliveryStatus::Delivered, 2).await;
    let requests = subscriber.requests();
    assert_eq!(requests.len(), 1);
    let ids: HashSet<String> = new.iter().map(|new| new.owed.event_id.to_string()).collect();
    assert_eq!(events_in(&requests[0]).into_iter().collect::<HashSet<_>>(), ids);
    running.stop().await;
}

#[tokio::test]
async fn a_body_is_as_long_as_it_may_be_and_an_event_that_is_longer_goes_alone() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (id, _) = rig
        .endpoint_with(&subscriber.url(), |options| {
            options.batch = Some(Batching { max_events: 1000, max_wait_ms: WAIT_MS, max_bytes: 4500 });
        })
        .await;
    let now = Utc::now();
    let at = |ms| now - TimeDelta::milliseconds(ms);
    let new = [
        owed(&rig, id, at(5), 2000),
        owed(&rig, id, at(4), 2000),
        owed(&rig, id, at(3), 9000),
        owed(&rig, id, at(2), 2000),
    ];
    insert(&rig, &new).await;

    let running = rig.start().await;

    let delivered = rig.stand(DeliveryStatus::Delivered, 3).await;
    let batches: HashSet<_> = delivered.iter().map(|delivery| delivery.batch_id).collect();
    assert_eq!((delivered.len(), batches.len()), (3, 2));
    let mut sizes: Vec<_> =
        subscriber.requests().iter().map(|request| (events_in(request).len(), request.body.len())).collect();
    sizes.sort_unstable();
    let [(1, long), (2, full)] = sizes[..] else { panic!("{sizes:?}") };
    assert!(long > 9000 && full <= 4500, "{sizes:?}");
    running.stop().await;
}

#[tokio::test]
async fn an_event_that_comes_twice_is_in_one_batch_once() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    rig.endpoint_with(&subscriber.url(), batches_of(2, WAIT_MS)).await;
    let running = rig.start().await;
    let clicks = rig.publish_some(2).await;
    rig.stand(DeliveryStatus::Delivered, 2).await;

    for click in &clicks {
        let again = bus::Outgoing { id: EventId::generate().to_string(), ..outgoing(click) };
        rig.bus.publisher().publish(again).await.expect("another message id");
    }
    rig.all_acknowledged().await;

    assert_eq!((subscriber.count(), rig.deliveries().await.len()), (1, 2));
    running.stop().await;
}

fn outgoing(click: &EnrichedClick) -> bus::Outgoing {
    use bus::Message as _;
    click.outgoing()
}

#[tokio::test]
async fn an_endpoint_that_gets_batches_is_tested_with_a_batch_of_one() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (id, secret) = rig.endpoint_with(&subscriber.url(), batches_of(100, WAIT_MS)).await;
    let running = rig.start().await;

    let attempt = rig.attempt(id).await;

    assert_eq!(attempt.status, Some(200));
    let request = subscriber.requests().remove(0);
    assert!(verify(&request, &secret));
    assert_eq!(events_in(&request).len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn what_is_replayed_goes_in_batches_of_its_own() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (id, _) = rig.endpoint_with(&subscriber.url(), batches_of(2, 100)).await;
    let running = rig.start().await;
    let clicks = rig.publish_some(2).await;
    for click in &clicks {
        rig.record(click).await;
    }
    rig.stand(DeliveryStatus::Delivered, 2).await;
    let before = subscriber.count();

    let now = Utc::now();
    let selection = Selection {
        workspace_id: rig.workspace_id,
        endpoint_id: id,
        what: What::Delivered,
        since: now - TimeDelta::hours(1),
        until: now + TimeDelta::seconds(1),
        event_type: None,
        campaign_id: None,
        delivery_ids: Vec::new(),
    };
    let mut conn = rig.pool.get().await.expect("a connection");
    replays::insert(&mut conn, &selection, 100, None, "a test", now)
        .await
        .expect("a query")
        .expect("a replay");
    drop(conn);

    rig.stand(DeliveryStatus::Delivered, 4).await;
    let again = subscriber.requests_from(before);
    assert!(again.iter().all(|request| request.header("clickwire-replayed") == Some("true")));
    let told: HashSet<String> = again.iter().flat_map(events_in).collect();
    assert_eq!(told, clicks.iter().map(|click| click.event_id.to_string()).collect());
    running.stop().await;
}

#[tokio::test]
async fn an_event_that_waited_for_evidence_is_in_its_batch_as_it_is_known_by_then_or_not_at_all() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (id, _) = rig
        .endpoint_with(&subscriber.url(), |options| {
            options.settle_ms = 1000;
            options.filter = Some(json!({"verdicts": ["human", "unknown"]}));
            batches_of(3, 0)(options);
        })
        .await;
    let clicks = [rig.click(), rig.click(), rig.click()];
    insert(&rig, &[0, 1, 2].map(|at: usize| first_telling(&rig, id, &clicks[at]))).await;
    let known =
        [clicks[0].clone(), amended(&clicks[1], Verdict::Unknown), amended(&clicks[2], Verdict::Automated)];
    for click in &known {
        rig.record(click).await;
    }

    let running = rig.start().await;

    let delivered = rig.stand(DeliveryStatus::Delivered, 2).await;
    let requests = subscriber.requests();
    assert_eq!(requests.len(), 1);
    let body: Value = serde_json::from_slice(&requests[0].body).expect("JSON");
    let mut told: Vec<_> = body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| (event["id"].as_str().expect("an id"), event["data"]["revision"].as_u64()))
        .collect();
    told.sort_unstable();
    let ids = [clicks[0].event_id.to_string(), clicks[1].event_id.to_string()];
    let mut expected = [(ids[0].as_str(), Some(0)), (ids[1].as_str(), Some(1))];
    expected.sort_unstable();
    assert_eq!(told, expected);
    assert_eq!((delivered.len(), rig.deliveries().await.len()), (2, 2), "nothing of the third is left");
    running.stop().await;
}
