//! Endpoints that chose another shape: what they get, and that it stays the same on a retry.

use chrono::Utc;
use model::delivery::{DeliveryStatus, TestReply, TestRequest};
use model::event_type::LINK_CLICKED;
use model::{DeliveryId, EndpointId};
use serde_json::{Value, json};
use store::{delivery_log, endpoints};
use testkit::{Answer, Received, Script, Subscriber};
use webhook::shape::Format;
use webhook::{Shape, Site};

use crate::rig::{LIMIT, Rig, verify};

/// The media type of CloudEvents.
const CLOUDEVENTS: &str = "application/cloudevents+json; charset=UTF-8";

impl Rig {
    /// As people change it.
    async fn choose(&self, id: EndpointId, chosen: Value) {
        let mut options = self.endpoint_now(id).await.options;
        options.payload = Some(chosen);
        let mut conn = self.pool.get().await.expect("a connection");
        endpoints::update(&mut conn, self.workspace_id, id, &options, Utc::now()).await.expect("it is saved");
        drop(conn);
        self.say_that_endpoints_changed().await;
    }

    /// As people ask for it.
    async fn ask_again(&self, id: DeliveryId) {
        let mut conn = self.pool.get().await.expect("a connection");
        assert!(delivery_log::retry(&mut conn, self.workspace_id, id, Utc::now()).await.expect("a query"));
    }
}

fn told(request: &Received) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

#[tokio::test]
async fn each_format_verifies_and_is_the_same_bytes_on_the_retry() {
    let rig = Rig::new().await;
    let mut settings = rig.settings();
    settings.api.public_url = "https://clicks.example.com/".to_owned();
    let site = Site::new(&settings.api.public_url);
    let mut receivers = Vec::new();
    for format in Format::ALL {
        let subscriber = Subscriber::start(Script::new([Answer::Status(500), Answer::Status(200)])).await;
        let chosen =
            json!({ "format": format, "profile": "standard", "fields": { "exclude": ["contact_id"] } });
        let shape = Shape::stored(Some(&chosen)).expect("a shape");
        let (_, secret) = rig
            .endpoint_with(&subscriber.url(), |options| {
                options.retry_schedule = Some(vec![1, 1]);
                options.payload = Some(chosen);
            })
            .await;
        receivers.push((shape, subscriber, secret));
    }
    let running = rig.start_with(settings).await;

    let click = rig.click();
    rig.publish(&click).await;

    for (shape, subscriber, secret) in &receivers {
        let format = shape.format;
        let requests = subscriber.received(2).await;
        let [first, second] = &requests[..] else { panic!("two requests") };
        assert_eq!(first.body, shape.of_click(LINK_CLICKED, &click, &site), "{format:?}");
        assert!(!String::from_utf8_lossy(&first.body).contains("cont_9"), "{format:?}");
        assert_eq!(first.body, second.body, "{format:?}");
        let media_type = if format == Format::CloudEvents { CLOUDEVENTS } else { "application/json" };
        for request in [first, second] {
            assert!(verify(request, secret), "{format:?}");
            assert_eq!(request.header("webhook-id"), Some(click.event_id.to_string().as_str()));
            assert_eq!(request.header("content-type"), Some(media_type), "{format:?}");
        }
    }
    rig.stand(DeliveryStatus::Delivered, Format::ALL.len()).await;
    running.stop().await;
}

#[tokio::test]
async fn who_chooses_another_shape_gets_it_with_the_next_click_and_retries_as_they_were() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::new([Answer::Status(500), Answer::Status(200)])).await;
    let (id, secret) = rig
        .endpoint_with(&subscriber.url(), |options| {
            options.retry_schedule = Some(vec![3600]);
            options.payload = Some(json!({ "format": "cloudevents" }));
        })
        .await;
    let running = rig.start().await;
    rig.publish(&rig.click()).await;
    subscriber.received(1).await;
    rig.all_acknowledged().await;
    let waiting = rig.stand(DeliveryStatus::Pending, 1).await.remove(0);

    rig.choose(id, json!({ "format": "request", "profile": "thin" })).await;
    rig.ask_again(waiting.id).await;
    let retried = subscriber.received(2).await;
    rig.publish(&rig.click()).await;
    let all = subscriber.received(3).await;

    assert_eq!(retried[0].body, retried[1].body);
    assert_eq!(retried[1].header("content-type"), Some(CLOUDEVENTS), "it is what it was");
    let next = &all[2];
    assert_eq!(next.header("content-type"), Some("application/json"));
    assert!(verify(next, &secret));
    let (said, id) = (told(next), next.header("webhook-id").expect("an id"));
    assert_eq!((&said["event"], &said["request_id"]), (&json!("link.clicked"), &json!(id)));
    let url = said["data"]["url"].as_str().expect("where the rest is");
    assert!(url.starts_with("/v1/clicks/clk_"), "{url}");
    running.stop().await;
}

#[tokio::test]
async fn what_was_not_kept_is_rendered_again_in_the_shape_of_its_endpoint() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    let chosen = json!({ "format": "cloudevents", "fields": { "include": ["click_id", "location"] } });
    rig.endpoint_with(&subscriber.url(), |options| options.payload = Some(chosen)).await;
    let running = rig.start().await;
    let click = rig.click();
    rig.record(&click).await;
    rig.publish(&click).await;
    let delivered = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);

    rig.ask_again(delivered.id).await;

    let requests = subscriber.received(2).await;
    assert_eq!(requests[0].body, requests[1].body);
    let data = told(&requests[1])["data"].clone();
    assert_eq!(data.as_object().map(|data| data.len()), Some(2), "{data}");
    running.stop().await;
}

#[tokio::test]
async fn a_test_has_the_shape_of_its_endpoint() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    let slack = json!({ "format": "slack" });
    let (endpoint_id, _) =
        rig.endpoint_with(&subscriber.url(), |options| options.payload = Some(slack)).await;
    let running = rig.start().await;

    let request = TestRequest { workspace_id: rig.workspace_id, endpoint_id, challenge: None };
    let reply = testkit::until(LIMIT, || async { rig.bus.request_test(&request, LIMIT).await.ok() }).await;

    let request_body = match reply {
        TestReply::Attempted { request_body, .. } => request_body,
        other => panic!("{other:?}"),
    };
    let request = subscriber.received(1).await.remove(0);
    assert_eq!(request.body, request_body.as_bytes());
    let text = told(&request)["text"].as_str().map(str::to_owned).expect("a sentence");
    assert!(text.starts_with("This is a test, nobody clicked."), "{text}");
    running.stop().await;
}
