//! The alert URL: what it is told, in which shape, and how seldom.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use model::delivery::DeliveryStatus;
use model::event_type::EventTypePattern;
use model::secret::SigningSecret;
use model::{AlertFormat, EndpointId};
use serde_json::{Value, json};
use store::endpoints::{Kind, State};
use testkit::{Answer, Received, Script, Subscriber, until};

use crate::rig::{LIMIT, Rig, verify};

async fn alert_url(rig: &Rig, subscriber: &Subscriber, format: AlertFormat) -> (EndpointId, SigningSecret) {
    rig.endpoint_with(&subscriber.url(), |options| {
        options.kind = Kind::Alert(format);
        options.event_types = EventTypePattern::alerts();
    })
    .await
}

/// A webhook that gives up at once.
async fn webhook(rig: &Rig, subscriber: &Subscriber) -> EndpointId {
    rig.endpoint_with(&subscriber.url(), |options| options.retry_schedule = Some(Vec::new())).await.0
}

fn told_by(request: &Received) -> Value {
    serde_json::from_slice(&request.body).expect("a body is JSON")
}

async fn tell(rig: &Rig, event_type: &str, data: Value) {
    let mut conn = rig.pool.get().await.expect("a connection");
    store::events::announce(&mut conn, rig.workspace_id, event_type, data, Utc::now())
        .await
        .expect("it is told");
}

#[tokio::test]
async fn the_alert_url_hears_of_a_webhook_that_is_disabled_and_never_of_itself() {
    let rig = Rig::new().await;
    let (gone, people) = (
        Subscriber::start(Script::always(Answer::Status(410))).await,
        Subscriber::start(Script::always(Answer::Status(200))).await,
    );
    let gone_id = webhook(&rig, &gone).await;
    let (alert_id, secret) = alert_url(&rig, &people, AlertFormat::Webhook).await;
    let running = rig.start().await;
    rig.publish(&rig.click()).await;
    until(LIMIT, || async { (rig.endpoint_now(gone_id).await.state == State::Disabled).then_some(()) }).await;
    tell(&rig, "endpoint.disabled", json!({ "endpoint_id": alert_id, "reason": "failing" })).await;
    tell(&rig, "endpoint.updated", json!({ "id": gone_id, "actor": "key", "details": {} })).await;

    rig.relay().await;

    let requests = people.received(2).await;
    assert!(requests.iter().all(|request| verify(request, &secret)));
    let told: BTreeSet<String> = requests
        .iter()
        .map(|request| {
            let body = told_by(request);
            assert_eq!(body["data"]["endpoint_id"], json!(gone_id));
            body["type"].as_str().expect("a type").to_owned()
        })
        .collect();
    assert_eq!(told, BTreeSet::from(["delivery.dead", "endpoint.disabled"].map(str::to_owned)));
    rig.all_told().await;
    // one delivery was the click's
    assert_eq!(rig.deliveries().await.len(), 3);
    running.stop().await;
    assert_eq!(people.count(), 2);
}

#[tokio::test]
async fn slack_is_told_in_a_sentence_and_signed_like_everybody() {
    let rig = Rig::new().await;
    let slack = Subscriber::start(Script::always(Answer::Status(200))).await;
    let (_, secret) = alert_url(&rig, &slack, AlertFormat::Slack).await;
    let running = rig.start().await;
    let endpoint_id = EndpointId::generate();
    tell(&rig, "endpoint.recovered", json!({ "endpoint_id": endpoint_id, "host": "<!channel>" })).await;

    rig.relay().await;

    let request = slack.received(1).await.remove(0);
    assert!(verify(&request, &secret));
    assert_eq!(
        told_by(&request),
        json!({ "text": format!(
            "The webhook to &lt;!channel&gt; works again. Nothing has to be done; what was given up meanwhile can be \
             replayed. Its page: Settings &gt; Link settings &gt; Webhooks &gt; {endpoint_id}"
        ) })
    );
    running.stop().await;
}

#[tokio::test]
async fn a_flood_of_dead_deliveries_is_one_alert_and_later_one_more_with_the_rest() {
    let pause = Duration::from_secs(4);
    let rig = Rig::new().await;
    let (broken, people) = (
        Subscriber::start(Script::always(Answer::Status(500))).await,
        Subscriber::start(Script::always(Answer::Status(200))).await,
    );
    let broken_id = webhook(&rig, &broken).await;
    alert_url(&rig, &people, AlertFormat::Webhook).await;
    let mut settings = rig.settings();
    settings.deliver.alert_pause = pause;
    let running = rig.start_with(settings).await;

    for dead in [2, 4] {
        rig.publish_some(2).await;
        rig.stand(DeliveryStatus::Dead, dead).await;
        rig.relay().await;
        rig.all_told().await;
        // or all four were one alert, on a machine that is busy
        people.received(1).await;
    }

    let alerts: Vec<Value> = people.received(2).await.iter().map(told_by).collect();
    let number = |alert: &Value| alert["data"]["deliveries"].as_u64().expect("a number");
    let at = |alert: &Value| -> DateTime<Utc> {
        alert["timestamp"].as_str().expect("a text").parse().expect("a time")
    };
    assert!((at(&alerts[1]) - at(&alerts[0])).to_std().expect("later") >= pause);
    assert_eq!(number(&alerts[0]) + number(&alerts[1]), 4);
    for alert in &alerts {
        let sample = webhook::own_event::sample("delivery.dead", rig.workspace_id, Utc::now());
        let sample: Value = serde_json::from_slice(&sample.expect("a sample").body()).expect("JSON");
        let keys = |body: &Value| {
            body["data"].as_object().expect("an object").keys().cloned().collect::<BTreeSet<String>>()
        };
        let mut expected = keys(&sample);
        expected.insert("host".to_owned());
        assert_eq!(keys(alert), expected);
        assert_eq!(alert["data"]["host"], "127.0.0.1");
        assert_eq!(alert["data"]["endpoint_id"], json!(broken_id));
        assert_eq!(alert["data"]["last_status"], 500);
    }
    running.stop().await;
    assert_eq!(people.count(), 2);
}

#[tokio::test]
async fn a_test_of_the_alert_url_is_an_alert_that_says_that_it_is_a_test() {
    let rig = Rig::new().await;
    let slack = Subscriber::start(Script::always(Answer::Status(200))).await;
    let (endpoint_id, _) = alert_url(&rig, &slack, AlertFormat::Slack).await;
    let running = rig.start().await;

    let attempt = rig.attempt(endpoint_id).await;

    assert_eq!(attempt.status, Some(200));
    let text = told_by(&slack.received(1).await.remove(0))["text"].to_string();
    assert!(text.contains("This is a test") && text.contains("is disabled"), "{text}");
    running.stop().await;
}
