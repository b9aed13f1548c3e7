//! The fast lane.

use std::time::Duration;

use bus::Message as _;
use model::automation::Verdict;
use model::delivery::{DeliveryStatus, TestReply, TestRequest};
use model::{EndpointId, EventId};
use serde_json::{Value, json};
use testkit::{Answer, Script, Subscriber, until};

use crate::rig::{LIMIT, Rig, verify};

#[tokio::test]
async fn a_click_arrives_once_with_a_signature_that_others_verify() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    let (_, secret) = rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;

    let click = rig.click();
    rig.publish(&click).await;

    let request = subscriber.received(1).await.remove(0);
    assert!(verify(&request, &secret));
    let event_id = click.event_id.to_string();
    for (name, value) in [
        ("webhook-id", event_id.as_str()),
        ("content-type", "application/json"),
        ("clickwire-attempt", "1"),
        ("clickwire-event-type", "link.clicked"),
        ("authorization", "Bearer token"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert!(request.header("user-agent").is_some_and(|agent| agent.starts_with("Clickwire/")));
    assert_eq!(request.body, webhook::payload::link_clicked(&click));

    let delivery = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);
    assert_eq!(request.header("clickwire-delivery-id"), Some(delivery.id.to_string().as_str()));
    assert_eq!((delivery.attempt_count, delivery.last_status), (1, Some(200)));
    assert!(rig.attempts(&delivery).await.is_empty(), "a first-try success is one row");
    rig.all_acknowledged().await;
    running.stop().await;
    assert_eq!(subscriber.count(), 1);
}

#[tokio::test]
async fn an_event_published_twice_is_owed_once_to_each_endpoint() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    rig.endpoint(&subscriber.url()).await;
    rig.endpoint(&subscriber.url()).await;

    let click = rig.click();
    let mut again = click.outgoing();
    again.id = EventId::generate().to_string();
    rig.publish(&click).await;
    rig.bus.publisher().publish(again).await.expect("another message id");
    let running = rig.start().await;

    rig.all_acknowledged().await;
    running.stop().await;
    assert_eq!(rig.deliveries().await.len(), 2);
    assert_eq!(subscriber.count(), 2);
}

#[tokio::test]
async fn only_who_wants_a_click_gets_it() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    let (people_only, _) = rig
        .endpoint_with(&subscriber.url(), |options| options.filter = Some(json!({"verdicts": ["human"]})))
        .await;
    let (everything, _) = rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;

    let mut machine = rig.click();
    machine.automation.verdict = Verdict::Automated;
    let mut earlier = rig.click();
    earlier.click.clicked_at -= chrono::Duration::hours(1);
    let person = rig.click();
    for click in [&machine, &earlier, &person] {
        rig.publish(click).await;
    }

    let deliveries = rig.stand(DeliveryStatus::Delivered, 3).await;
    rig.all_acknowledged().await;
    let of = |endpoint: EndpointId| {
        deliveries.iter().filter(move |d| d.endpoint_id == endpoint).map(|d| d.event_id).collect::<Vec<_>>()
    };
    assert_eq!(of(people_only), [person.event_id]);
    assert_eq!(of(everything).len(), 2, "none older than the endpoint");
    running.stop().await;
}

#[tokio::test]
async fn an_endpoint_saved_before_a_click_gets_it_although_nobody_said_so() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    let running = rig.start().await;
    rig.publish(&rig.click()).await;
    rig.all_acknowledged().await;

    rig.endpoint(&subscriber.url()).await;
    rig.publish(&rig.click()).await;

    subscriber.received(1).await;
    rig.stand(DeliveryStatus::Delivered, 1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_hanging_endpoint_holds_up_neither_the_other_nor_the_acknowledgement() {
    let rig = Rig::new().await;
    let (hanging, healthy) = (
        Subscriber::start(Script::always(Answer::Hang)).await,
        Subscriber::start(Script::always(Answer::Status(200))).await,
    );
    rig.endpoint_with(&hanging.url(), |options| options.timeout_ms = Some(2000)).await;
    rig.endpoint(&healthy.url()).await;
    let mut settings = rig.settings();
    settings.deliver.max_in_flight = 4;
    let running = rig.start_with(settings).await;

    let clicks = rig.publish_some(100).await;

    let arrived = healthy.received(100).await;
    rig.all_acknowledged().await;
    let bodies = arrived.iter().filter_map(|r| serde_json::from_slice::<Value>(&r.body).ok());
    let event_ids: std::collections::HashSet<String> =
        bodies.filter_map(|body| Some(body["id"].as_str()?.to_owned())).collect();
    assert!(clicks.iter().all(|click| event_ids.contains(&click.event_id.to_string())));
    assert!(hanging.in_flight_max() <= 4, "an endpoint has only its slots");
    let deliveries = rig.deliveries().await;
    assert_eq!(deliveries.len(), 200, "what hangs is a row");
    running.stop().await;
}

#[tokio::test]
async fn an_answer_that_comes_late_updates_the_row_of_its_delivery() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Late(Duration::from_millis(900)))).await;
    rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;

    rig.publish(&rig.click()).await;

    rig.stand(DeliveryStatus::Pending, 1).await;
    rig.all_acknowledged().await;
    let delivery = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);
    assert_eq!(delivery.attempt_count, 1);
    assert!(delivery.duration_ms >= Some(900));
    assert!(rig.attempts(&delivery).await.is_empty());
    running.stop().await;
    assert_eq!(subscriber.count(), 1, "nobody else took it meanwhile");
}

#[tokio::test]
async fn while_the_database_is_away_clicks_wait_and_none_is_lost() {
    let mut database = testkit::OwnDatabase::start().await;
    let rig = Rig::on(database.settings()).await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;
    rig.publish(&rig.click()).await;
    subscriber.received(1).await;
    rig.all_acknowledged().await;

    database.kill().await;
    rig.publish_some(5).await;
    database.restart().await;

    until(LIMIT, || async { (rig.deliveries().await.len() == 6).then_some(()) }).await;
    rig.stand(DeliveryStatus::Delivered, 6).await;
    running.stop().await;
}

#[tokio::test]
async fn a_test_request_sends_a_signed_sample_and_stores_nothing() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(testkit::Response::new(200).body("thank you"))).await;
    let (endpoint_id, secret) = rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;

    let request = TestRequest { workspace_id: rig.workspace_id, endpoint_id, challenge: None };
    let reply = until(LIMIT, || async { rig.bus.request_test(&request, LIMIT).await.ok() }).await;

    let TestReply::Attempted { attempt, request_body } = reply else { panic!("{reply:?}") };
    assert_eq!((attempt.status, attempt.response_body.as_deref()), (Some(200), Some("thank you")));
    let authorization = attempt.request_headers.iter().find(|(name, _)| name == "authorization");
    assert_eq!(authorization.map(|(_, value)| value.as_str()), Some("***"));
    let received = subscriber.received(1).await.remove(0);
    assert!(verify(&received, &secret));
    assert_eq!(received.body, request_body.as_bytes());
    let body: Value = serde_json::from_slice(&received.body).expect("JSON");
    assert_eq!(body["data"]["test"], json!(true));
    assert!(rig.deliveries().await.is_empty());

    let other = TestRequest { workspace_id: model::WorkspaceId::generate(), ..request };
    let reply = rig.bus.request_test(&other, LIMIT).await.expect("a reply");
    assert_eq!(reply, TestReply::NoSuchEndpoint);
    running.stop().await;
}
