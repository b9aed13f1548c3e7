//! Events of our own as webhooks.

use bus::Message as _;
use chrono::Utc;
use model::EndpointId;
use model::delivery::DeliveryStatus;
use model::event_type::EventTypePattern;
use model::secret::SigningSecret;
use serde_json::{Value, json};
use store::delivery_log;
use store::endpoints::State;
use testkit::{Answer, Received, Script, Subscriber, until};

use crate::rig::{LIMIT, Rig, verify};

/// An endpoint that chose these types and gives up at once.
async fn endpoint(rig: &Rig, subscriber: &Subscriber, event_types: &[&str]) -> (EndpointId, SigningSecret) {
    let types: Vec<EventTypePattern> =
        event_types.iter().map(|text| text.parse().expect("a pattern")).collect();
    rig.endpoint_with(&subscriber.url(), |options| {
        options.event_types = types;
        options.retry_schedule = Some(Vec::new());
        // a filter is about clicks
        options.filter = Some(json!({ "verdicts": ["human"] }));
    })
    .await
}

fn told_by(request: &Received) -> Value {
    serde_json::from_slice(&request.body).expect("a body is JSON")
}

/// The keys of `data` in the sample that `GET /v1/event-types` shows.
fn sample_keys(rig: &Rig, event_type: &str) -> Vec<String> {
    let sample = webhook::own_event::sample(event_type, rig.workspace_id, Utc::now()).expect("a sample");
    keys(&serde_json::from_slice(&sample.body()).expect("a body is JSON"))
}

fn keys(body: &Value) -> Vec<String> {
    body["data"].as_object().expect("an object").keys().cloned().collect()
}

#[tokio::test]
async fn an_event_of_ours_arrives_signed_and_never_at_the_endpoint_that_it_tells_of() {
    let rig = Rig::new().await;
    let (gone, listening, other) = (
        Subscriber::start(Script::always(Answer::Status(410))).await,
        Subscriber::start(Script::always(Answer::Status(200))).await,
        Subscriber::start(Script::always(Answer::Status(200))).await,
    );
    let (gone_id, _) = endpoint(&rig, &gone, &["*"]).await;
    let (_, secret) = endpoint(&rig, &listening, &["endpoint.*"]).await;
    endpoint(&rig, &other, &["link.clicked", "delivery.failing"]).await;
    let running = rig.start().await;
    rig.publish(&rig.click()).await;
    until(LIMIT, || async { (rig.endpoint_now(gone_id).await.state == State::Disabled).then_some(()) }).await;
    // enabled again before its event is told: it is owed events, but not this one
    let mut conn = rig.pool.get().await.expect("a connection");
    let past = Utc::now() - chrono::Duration::hours(1);
    store::endpoints::set_state(&mut conn, rig.workspace_id, gone_id, State::Active, None, past)
        .await
        .expect("it is enabled");
    drop(conn);

    let events = rig.relay().await;

    let request = listening.received(1).await.remove(0);
    let event = events.iter().find(|event| event.event_type == "endpoint.disabled").expect("it is told");
    assert!(verify(&request, &secret));
    assert_eq!(request.header("webhook-id"), Some(event.id.to_string().as_str()));
    assert_eq!(request.header("clickwire-event-type"), Some("endpoint.disabled"));
    let body = told_by(&request);
    assert_eq!((&body["id"], &body["type"]), (&json!(event.id), &json!("endpoint.disabled")));
    assert_eq!(
        body["data"],
        json!({ "workspace_id": rig.workspace_id, "endpoint_id": gone_id, "reason": "gone" })
    );
    rig.all_told().await;
    running.stop().await;
    assert_eq!((gone.count(), listening.count(), other.count()), (1, 1, 1));
}

#[tokio::test]
async fn an_event_that_comes_twice_is_owed_once_and_can_be_asked_for_again() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    endpoint(&rig, &subscriber, &["endpoint.removed"]).await;
    let running = rig.start().await;
    let data = json!({ "id": EndpointId::generate(), "actor": "key", "details": { "state": "active" } });
    let mut conn = rig.pool.get().await.expect("a connection");
    store::events::announce(&mut conn, rig.workspace_id, "endpoint.removed", data, Utc::now())
        .await
        .expect("it is told");
    drop(conn);
    let event = rig.relay().await.remove(0);
    let first = subscriber.received(1).await.remove(0);

    // under another message id, as after a broker that lost its memory
    let again = bus::Outgoing { id: "again".to_owned(), ..event.outgoing() };
    rig.bus.publisher().publish(again).await.expect("the stream confirms");
    rig.all_told().await;

    let delivery = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);
    assert_eq!(rig.deliveries().await.len(), 1);
    let mut conn = rig.pool.get().await.expect("a connection");
    assert!(
        delivery_log::retry(&mut conn, rig.workspace_id, delivery.id, Utc::now()).await.expect("a retry")
    );
    drop(conn);
    let second = subscriber.received(2).await.remove(1);
    assert_eq!((first.header("webhook-id"), &first.body), (second.header("webhook-id"), &second.body));
    running.stop().await;
}

#[tokio::test]
async fn dead_deliveries_are_told_of_once_an_hour_and_those_of_our_own_events_never() {
    let rig = Rig::new().await;
    let (broken, listening) = (
        Subscriber::start(Script::always(Answer::Status(500))).await,
        Subscriber::start(Script::always(Answer::Status(500))).await,
    );
    let (broken_id, _) = endpoint(&rig, &broken, &["link.clicked", "delivery.*"]).await;
    endpoint(&rig, &listening, &["delivery.*"]).await;
    let running = rig.start().await;
    rig.publish_some(3).await;
    rig.stand(DeliveryStatus::Dead, 3).await;

    assert_eq!(rig.relay().await.len(), 3);

    let request = listening.received(1).await.remove(0);
    let body = told_by(&request);
    assert_eq!((&body["type"], &body["data"]["endpoint_id"]), (&json!("delivery.dead"), &json!(broken_id)));
    assert_eq!(keys(&body), sample_keys(&rig, "delivery.dead"));
    rig.stand(DeliveryStatus::Dead, 4).await;
    // what tells of the dead delivery died as well: that stands on the bus, and is no webhook
    let events = rig.relay().await;
    let of: Vec<Value> =
        events.iter().map(|event| serde_json::from_str(&event.data).expect("JSON")).collect();
    assert_eq!(of.iter().map(|data| &data["event_type"]).collect::<Vec<_>>(), ["delivery.dead"]);
    rig.all_told().await;
    // and within the hour no other
    rig.publish(&rig.click()).await;
    rig.stand(DeliveryStatus::Dead, 5).await;
    rig.relay().await;
    rig.all_told().await;
    running.stop().await;
    assert_eq!((broken.count(), listening.count()), (4, 1));
    assert_eq!(rig.deliveries().await.len(), 5);
}

#[tokio::test]
async fn what_is_told_of_failing_endpoints_is_what_the_samples_show() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(500))).await;
    rig.endpoint_with(&subscriber.url(), |options| options.retry_schedule = Some(vec![0, 0, 3600])).await;
    let mut settings = rig.settings();
    settings.deliver.auto_disable_after = std::time::Duration::from_secs(6);
    settings.deliver.auto_disable_failed_min = 1;
    settings.deliver.auto_disable_span_min = std::time::Duration::ZERO;
    let running = rig.start_with(settings).await;

    rig.publish(&rig.click()).await;

    until(LIMIT, || async { (!rig.told_of("endpoint.disabled").await.is_empty()).then_some(()) }).await;
    running.stop().await;
    let events = rig.relay().await;
    for event_type in ["delivery.failing", "endpoint.warning", "endpoint.disabled"] {
        let event = events.iter().find(|event| event.event_type == event_type).expect(event_type);
        let Value::Object(data) = serde_json::from_str(&event.data).expect("JSON") else {
            panic!("an object")
        };
        let (id, occurred_at) = (event.id, event.occurred_at);
        let event_type = event_type.to_owned();
        let own = webhook::OwnEvent { id, workspace_id: rig.workspace_id, event_type, occurred_at, data };
        let body = serde_json::from_slice(&own.body()).expect("a body is JSON");
        assert_eq!(keys(&body), sample_keys(&rig, &own.event_type), "{}", own.event_type);
    }
}
