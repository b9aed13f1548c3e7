//! Tests of endpoints, which `deliver` is asked to make.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::Utc;
use model::EndpointId;
use model::delivery::{Attempt, TestReply, TestRequest, Timings};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::until;
use tokio_util::sync::CancellationToken;

use crate::harness::{Api, LIMIT};

#[tokio::test]
async fn a_test_is_asked_of_deliver_and_shows_the_whole_exchange() {
    let api = Api::start_with_nats().await;
    let path = format!("/v1/webhook-endpoints/{}/test", api.endpoint().await);
    let away = api.post(&path, json!({})).await;
    assert_eq!((away.status, away.body["code"].as_str()), (503, Some("unavailable")));
    serve_tests(&api);

    let tested = until(LIMIT, || async {
        let tested = api.post(&path, json!({})).await;
        (tested.status == 200).then_some(tested)
    })
    .await;

    assert_eq!(tested.body["delivered"], true);
    assert_eq!(tested.body["attempt"]["status"], 200);
    assert_eq!(tested.body["attempt"]["request_headers"][0], json!(["webhook-id", "evt_test"]));
    assert_eq!(tested.body["attempt"]["request_body"], "{\"type\":\"link.clicked\"}");
    assert_eq!(tested.body["attempt"]["response_body"], "thanks");
    assert_eq!(tested.body["attempt"]["error"], Value::Null);
    assert_eq!(
        tested.body["attempt"]["timings"],
        json!({
            "dns_ms": null, "connect_ms": 1.5, "tls_ms": null, "first_byte_ms": null, "reused_connection": null
        })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_has_so_many_tests_under_way_and_takes_none_from_another() {
    let api = Api::start_with_nats_and(|settings| settings.api.test_timeout = Duration::from_secs(25)).await;
    let path = format!("/v1/webhook-endpoints/{}/test", api.endpoint().await);
    let (other, other_key) = api.other_workspace().await;
    let url = json!({"url": "http://127.0.0.1:9/hook"});
    let theirs = api.call_as(&other_key, Method::POST, "/v1/webhook-endpoints", Some(url)).await.body;
    let theirs = format!("/v1/webhook-endpoints/{}/test", theirs["id"].as_str().expect("an id"));
    let (bus, stop) = (api.bus.clone().expect("a broker"), api.stop.clone());
    let (asked, release) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    tokio::spawn({
        let (own, asked, release) = (api.workspace_id, Arc::clone(&asked), release.clone());
        async move {
            let answer = |request: TestRequest| {
                let (is_own, release) = (request.workspace_id == own, release.clone());
                asked.fetch_add(usize::from(is_own), Ordering::Relaxed);
                async move {
                    if is_own {
                        release.cancelled().await;
                    }
                    TestReply::NoSuchEndpoint
                }
            };
            bus.serve_tests(answer, stop).await;
        }
    });
    let of_other = TestRequest { workspace_id: other, endpoint_id: EndpointId::generate(), challenge: None };
    let bus = api.bus.as_ref().expect("a broker");
    until(LIMIT, || async { bus.request_test(&of_other, LIMIT).await.ok() }).await;

    let meanwhile = async {
        until(LIMIT, || async { (asked.load(Ordering::Relaxed) == 2).then_some(()) }).await;
        let refused = api.post(&path, json!({})).await;
        let of_another = api.call_as(&other_key, Method::POST, &theirs, None).await;
        release.cancel();
        (refused, of_another)
    };
    let (one, two, (refused, of_another)) =
        tokio::join!(api.post(&path, json!({})), api.post(&path, json!({})), meanwhile);

    let detail = refused.body["detail"].as_str().unwrap_or_default();
    assert!(refused.status == 503 && detail.contains("wait for one to end"), "{}", refused.body);
    assert_eq!([one, two, of_another].map(|answer| answer.status), [404; 3], "as `deliver` has answered");
    assert_eq!(api.post(&path, json!({})).await.status, 404, "there is room again");
}

/// Answers tests as `deliver` would.
pub fn serve_tests(api: &Api) {
    let (bus, stop) = (api.bus.clone().expect("a broker"), api.stop.clone());
    tokio::spawn(async move {
        let answer = |_| async {
            TestReply::Attempted {
                attempt: Attempt {
                    started_at: Utc::now(),
                    duration_ms: 12,
                    status: Some(200),
                    error: None,
                    error_detail: None,
                    request_headers: vec![("webhook-id".to_owned(), "evt_test".to_owned())],
                    response_headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
                    response_body: Some("thanks".to_owned()),
                    remote_ip: Some("127.0.0.1".to_owned()),
                    timings: Timings { connect_us: Some(1500), ..Timings::default() },
                },
                request_body: "{\"type\":\"link.clicked\"}".to_owned(),
            }
        };
        bus.serve_tests(answer, stop).await;
    });
}
