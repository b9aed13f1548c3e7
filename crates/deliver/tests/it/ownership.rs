//! Endpoints that have not shown that they want what is sent get one request a second.

use deliver::App;
use model::delivery::{DeliveryStatus, TestReply, TestRequest};
use model::ownership::OwnershipCheck;
use serde_json::{Value, json};
use service::ops::Ops;
use store::ownership;
use testkit::{Answer, Response, Script, Subscriber, until};
use tokio_util::sync::CancellationToken;

use crate::receiver_auth::oauth2;
use crate::rig::{LIMIT, Rig, Running, verify};

async fn start(rig: &Rig) -> (Running, Ops) {
    let (mut settings, ops, stop) = (rig.settings(), Ops::new(), CancellationToken::new());
    settings.deliver.ownership = OwnershipCheck::Required;
    let app = App::build_with(settings, ops.clone()).await.expect("the service is put together");
    let run = tokio::spawn(app.run(stop.clone()));
    (Running { stop, run }, ops)
}

/// Deliveries that went through the database because their endpoint has a rate.
fn rate_limited(ops: &Ops) -> f64 {
    let families = ops.registry().gather();
    let queued = families.iter().find(|family| family.name() == "clickwire_deliver_queued_total");
    let metrics = queued.into_iter().flat_map(|family| family.get_metric());
    metrics
        .filter(|metric| metric.get_label().iter().any(|label| label.value() == "rate_limited"))
        .map(|metric| metric.get_counter().get_value())
        .sum()
}

#[tokio::test]
async fn an_endpoint_is_held_to_one_request_a_second_until_it_is_verified() {
    let rig = Rig::new().await;
    let (unproven, proven) = (
        Subscriber::start(Script::always(Answer::Status(200))).await,
        Subscriber::start(Script::always(Answer::Status(200))).await,
    );
    let (limited, _) = rig.endpoint(&unproven.url()).await;
    let (free, _) = rig.endpoint(&proven.url()).await;
    let mut conn = rig.pool.get().await.expect("a connection");
    ownership::verified(&mut conn, rig.workspace_id, free, chrono::Utc::now()).await.expect("it is noted");
    let (running, ops) = start(&rig).await;

    rig.publish_some(3).await;

    rig.stand(DeliveryStatus::Delivered, 4).await;
    rig.all_acknowledged().await;
    proven.received(3).await;
    assert_eq!(rate_limited(&ops), 3.0, "those of one of them go through the slow lane");

    ownership::verified(&mut conn, rig.workspace_id, limited, chrono::Utc::now()).await.expect("it is noted");
    rig.say_that_endpoints_changed().await;
    rig.stand(DeliveryStatus::Delivered, 6).await;
    rig.publish_some(3).await;
    rig.stand(DeliveryStatus::Delivered, 12).await;
    rig.all_acknowledged().await;
    assert_eq!(rate_limited(&ops), 3.0, "none since");
    running.stop().await;
}

#[tokio::test]
async fn a_challenge_is_a_signed_event_and_an_unproven_endpoint_gets_one_a_second() {
    let rig = Rig::new().await;
    let given_back = Response::new(200).body(r#"{"challenge": "tea"}"#);
    let subscriber = Subscriber::start(Script::always(given_back)).await;
    let (endpoint_id, secret) = rig.endpoint(&subscriber.url()).await;
    let (running, _) = start(&rig).await;
    let challenge = Some("tea".to_owned());
    let request = TestRequest { workspace_id: rig.workspace_id, endpoint_id, challenge };

    let reply = until(LIMIT, || async { rig.bus.request_test(&request, LIMIT).await.ok() }).await;
    let again = futures::future::join_all((0..8).map(|_| rig.bus.request_test(&request, LIMIT))).await;

    let TestReply::Attempted { attempt, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(attempt.response_body.as_deref(), Some(r#"{"challenge": "tea"}"#));
    let received = subscriber.received(1).await.remove(0);
    assert!(verify(&received, &secret));
    assert_eq!(received.header("clickwire-event-type"), Some("endpoint.verification"));
    let body: Value = serde_json::from_slice(&received.body).expect("JSON");
    assert_eq!(
        (&body["type"], &body["data"]),
        (&json!("endpoint.verification"), &json!({"challenge": "tea"}))
    );
    assert_eq!(received.header("webhook-id"), body["id"].as_str());
    let refused = again.iter().filter(|reply| matches!(reply, Ok(TestReply::Failed { .. }))).count();
    assert!(refused >= 1, "eight at once are more than one a second: {again:?}");
    assert!(rig.deliveries().await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn the_token_server_of_an_endpoint_that_is_verified_is_asked_by_one_test_a_second() {
    let rig = Rig::new().await;
    let tokens = Subscriber::start(Script::always(Response::new(400))).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (endpoint_id, _) =
        rig.endpoint_with(&subscriber.url(), |options| options.headers_sealed = None).await;
    rig.let_in_by(endpoint_id, &oauth2(&tokens)).await;
    let mut conn = rig.pool.get().await.expect("a connection");
    let now = chrono::Utc::now();
    ownership::verified(&mut conn, rig.workspace_id, endpoint_id, now).await.expect("it is noted");
    let (running, _) = start(&rig).await;
    let request = TestRequest { workspace_id: rig.workspace_id, endpoint_id, challenge: None };

    rig.attempt(endpoint_id).await;
    let more = futures::future::join_all((0..8).map(|_| rig.bus.request_test(&request, LIMIT))).await;

    let refused = more.iter().filter(|reply| matches!(reply, Ok(TestReply::Failed { .. }))).count();
    assert!(refused >= 1, "eight at once are more than one a second: {more:?}");
    assert_eq!(tokens.count(), 1 + more.len() - refused);
    running.stop().await;
}
