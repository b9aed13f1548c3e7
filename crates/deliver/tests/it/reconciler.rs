//! What was recorded and never came to us is found, once, and nothing else is taken for it.

use std::sync::Arc;

use chrono::{Duration, Utc};
use deliver::endpoints::Endpoints;
use deliver::lanes::Lanes;
use deliver::metrics::Metrics;
use deliver::reconciler::Reconciler;
use model::EventId;
use model::automation::Verdict;
use model::delivery::DeliveryStatus;
use store::endpoints;
use store::untold::Place;
use testkit::{Answer, Subscriber};

use crate::amendments::amended;
use crate::rig::{Rig, verify};

async fn reconciler(rig: &Rig) -> Reconciler {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
    let keyring = rig.settings().sealing.resolve(|path| std::fs::read_to_string(path)).expect("a key");
    let endpoints = Endpoints::new(rig.pool.clone(), keyring, Lanes::new(10, 10), 100, metrics.clone());
    endpoints.refresh().await.expect("the endpoints");
    Reconciler {
        endpoints: Arc::new(endpoints),
        pool: rig.pool.clone(),
        bus: rig.bus.clone(),
        work: Arc::default(),
        metrics,
    }
}

#[tokio::test]
async fn a_click_that_was_recorded_and_never_came_is_delivered_once() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (_, secret) = rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;
    let told = rig.publish_some(3).await;
    rig.stand(DeliveryStatus::Delivered, 3).await;
    for click in &told {
        rig.record(click).await;
    }
    let lost = rig.click();
    rig.record(&lost).await;
    let (reconciler, begun) = (reconciler(&rig).await, Utc::now() - Duration::hours(1));

    let too_early = reconciler.look(&mut Place::beginning(begun), Utc::now()).await.expect("a look");
    let mut place = Place::beginning(begun);
    let later = Utc::now() + Duration::minutes(2);
    let first = reconciler.look(&mut place, later).await.expect("a look");
    let second = reconciler.look(&mut Place::beginning(begun), later).await.expect("a look");

    assert_eq!((too_early, first, second), (0, 1, 0));
    assert_eq!(place, Place::beginning(later - Duration::minutes(1)));
    rig.stand(DeliveryStatus::Delivered, 4).await;
    let request = subscriber.requests().pop().expect("it arrived");
    assert_eq!(request.header("webhook-id"), Some(lost.event_id.to_string().as_str()));
    assert!(verify(&request, &secret));
    running.stop().await;
}

#[tokio::test]
async fn what_nobody_is_owed_and_what_is_still_to_come_is_left_alone() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let filter = serde_json::json!({"verdicts": ["automated"]});
    rig.endpoint_with(&subscriber.url(), |options| options.filter = Some(filter)).await;
    rig.record(&rig.click()).await;
    let (reconciler, begun) = (reconciler(&rig).await, Place::beginning(Utc::now() - Duration::hours(1)));
    let later = Utc::now() + Duration::minutes(2);

    assert_eq!(reconciler.look(&mut begun.clone(), later).await.expect("a look"), 0);

    // nobody works on ENRICHED here: we are behind
    rig.endpoint(&subscriber.url()).await;
    reconciler.endpoints.refresh().await.expect("the endpoints");
    rig.publish_some(101).await;
    let mut place = begun;
    assert_eq!(reconciler.look(&mut place, later).await.expect("a look"), 0);
    assert_eq!(place, begun);
}

#[tokio::test]
async fn what_a_filter_kept_back_before_it_was_changed_is_not_taken_for_lost() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let filter = serde_json::json!({"verdicts": ["automated"]});
    let (endpoint_id, _) =
        rig.endpoint_with(&subscriber.url(), |options| options.filter = Some(filter)).await;
    rig.record(&rig.click()).await;
    let mut options = rig.endpoint_now(endpoint_id).await.options;
    options.filter = None;
    let mut conn = rig.pool.get().await.expect("a connection");
    endpoints::update(&mut conn, rig.workspace_id, endpoint_id, &options, Utc::now())
        .await
        .expect("it is saved");
    drop(conn);
    let lost = rig.click();
    rig.record(&lost).await;
    let (reconciler, later) = (reconciler(&rig).await, Utc::now() + Duration::minutes(2));

    let made = reconciler.look(&mut Place::beginning(Utc::now() - Duration::hours(1)), later).await;

    assert_eq!(made.expect("a look"), 1);
    let found: Vec<EventId> = rig.deliveries().await.iter().map(|delivery| delivery.event_id).collect();
    assert_eq!(found, [lost.event_id]);
}

#[tokio::test]
async fn a_click_that_was_amended_is_missing_only_to_who_wants_it_as_it_is_now() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let filter = serde_json::json!({"verdicts": ["human"]});
    rig.endpoint_with(&subscriber.url(), |options| options.filter = Some(filter)).await;
    let (person, machine) = (rig.click(), rig.click());
    let became_a_machine = amended(&person, Verdict::Automated);
    let became_a_person = amended(&amended(&machine, Verdict::Automated), Verdict::Human);
    rig.record(&became_a_machine).await;
    rig.record(&became_a_person).await;
    let (reconciler, later) = (reconciler(&rig).await, Utc::now() + Duration::minutes(2));

    let made = reconciler.look(&mut Place::beginning(Utc::now() - Duration::hours(1)), later).await;

    assert_eq!(made.expect("a look"), 1);
    let running = rig.start().await;
    let request = subscriber.received(1).await.remove(0);
    assert_eq!(request.header("webhook-id"), Some(machine.event_id.to_string().as_str()));
    let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!(body["id"].as_str(), request.header("webhook-id"));
    assert_eq!((&body["type"], &body["data"]["revision"]), (&"link.clicked".into(), &2.into()));
    // what was lost comes after all: it is known
    rig.publish(&became_a_person).await;
    rig.publish(&became_a_machine).await;
    rig.all_acknowledged().await;
    running.stop().await;
    let told: Vec<_> =
        subscriber.requests().iter().map(|r| r.header("webhook-id").map(str::to_owned)).collect();
    assert_eq!(told, [Some(machine.event_id.to_string()), Some(became_a_machine.event_id.to_string())]);
}
