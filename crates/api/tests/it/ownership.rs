//! Endpoints show that they want what is sent to them by giving a challenge back, and not otherwise.

use std::sync::{Arc, Mutex};

use chrono::Utc;
use model::delivery::{Attempt, ErrorClass, TestReply, TestRequest, Timings};
use model::ownership::OwnershipCheck;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::console::Browser;
use crate::harness::Api;

/// What an endpoint answers to a challenge: status and body.
type Answers = fn(&str) -> (u16, String);

/// An API that asks for proof, with a `deliver` whose endpoints answer so; the first answer is the one to begin with.
async fn asked(first: Answers) -> (Api, Arc<Mutex<Answers>>) {
    let api =
        Api::start_with_nats_and(|settings| settings.deliver.ownership = OwnershipCheck::Required).await;
    let answers = Arc::new(Mutex::new(first));
    let (bus, current) = (api.bus.clone().expect("a broker"), Arc::clone(&answers));
    tokio::spawn(async move {
        let answer = move |request: TestRequest| {
            let challenge = request.challenge.expect("it is challenged");
            let (status, body) = (*current.lock().expect("no panic"))(&challenge);
            async move { TestReply::Attempted { attempt: attempt(status, body), request_body: challenge } }
        };
        bus.serve_tests(answer, CancellationToken::new()).await;
    });
    (api, answers)
}

fn attempt(status: u16, body: String) -> Attempt {
    Attempt {
        started_at: Utc::now(),
        duration_ms: 34,
        status: Some(status),
        error: (!(200..300).contains(&status)).then_some(ErrorClass::Status),
        error_detail: None,
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        response_body: Some(body),
        remote_ip: None,
        timings: Timings::default(),
    }
}

/// Asks until there is a `deliver` to ask.
async fn verified(api: &Api, endpoint: &str) -> Value {
    testkit::until(crate::harness::LIMIT, || async {
        let answer = api.post(&format!("/v1/webhook-endpoints/{endpoint}/verify"), json!({})).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_verified_by_its_challenge_and_only_at_the_server_that_gave_it_back() {
    let (api, answers) = asked(|_| (204, String::new())).await;
    let endpoint = api.endpoint().await;
    let path = format!("/v1/webhook-endpoints/{endpoint}");
    let given_back: Answers = |challenge| (200, json!({ "challenge": challenge }).to_string());
    let refused: [(Answers, &str); 4] = [
        (|_| (204, String::new()), "not_echoed"),
        (|_| (200, json!({"challenge": "another"}).to_string()), "not_echoed"),
        (|challenge| (200, json!({"data": {"challenge": challenge}}).to_string()), "not_echoed"),
        (|challenge| (500, challenge.to_owned()), "not_accepted"),
    ];

    for (answer, reason) in refused {
        *answers.lock().expect("no panic") = answer;
        let told = verified(&api, &endpoint).await;
        assert_eq!((&told["verified"], &told["reason"]), (&json!(false), &json!(reason)));
        assert_eq!(told["ownership"], json!({"required": true, "verified_at": null}));
    }
    *answers.lock().expect("no panic") = given_back;
    let told = verified(&api, &endpoint).await;
    assert_eq!((&told["verified"], &told["reason"]), (&json!(true), &json!(null)));
    assert!(told["ownership"]["verified_at"].is_string(), "{told}");
    let entries = api.get("/v1/audit").await.body;
    let mut actions = [&entries["data"][0]["action"], &entries["data"][1]["action"]].map(Value::as_str);
    actions.sort_unstable();
    assert_eq!(actions, [Some("endpoint.challenged"), Some("endpoint.verified")]);

    let verified_at = async || api.get(&path).await.body["ownership"]["verified_at"].clone();
    assert_eq!(api.patch(&path, json!({"url": "http://127.0.0.1:9/another-path"})).await.status, 200);
    assert_eq!(verified_at().await, told["ownership"]["verified_at"]);
    assert_eq!(api.patch(&path, json!({"url": "http://127.0.0.1:18123/hook"})).await.status, 200);
    assert_eq!(verified_at().await, json!(null), "another port is another program");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_was_at_another_server_while_it_was_challenged_is_not_verified() {
    let api =
        Api::start_with_nats_and(|settings| settings.deliver.ownership = OwnershipCheck::Required).await;
    let endpoint = api.endpoint().await;
    let path = format!("/v1/webhook-endpoints/{endpoint}");
    let (bus, stop) = (api.bus.clone().expect("a broker"), CancellationToken::new());
    let (owner, at) = (&api, path.as_str());
    // there, and back to where it was
    let answer = move |request: TestRequest| async move {
        for url in ["http://127.0.0.1:18123/own", "http://127.0.0.1:9/hook"] {
            assert_eq!(owner.patch(at, json!({"url": url})).await.status, 200);
        }
        let challenge = request.challenge.expect("it is challenged");
        TestReply::Attempted { attempt: attempt(200, challenge.clone()), request_body: challenge }
    };
    let asking = async {
        let told = verified(&api, &endpoint).await;
        stop.cancel();
        told
    };

    let ((), told) = tokio::join!(bus.serve_tests(answer, stop.clone()), asking);

    assert_eq!((&told["verified"], &told["reason"]), (&json!(false), &json!("moved")));
    assert_eq!(api.get(&path).await.body["ownership"]["verified_at"], json!(null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_may_change_an_endpoint_of_the_workspace_has_it_challenged() {
    let (api, _answers) = asked(|challenge| (200, challenge.to_owned())).await;
    let path = format!("/v1/webhook-endpoints/{}/verify", api.endpoint().await);
    let (_, stranger) = api.other_workspace().await;
    let reader = api.key_with(&["endpoints:read"], None).await;

    assert_eq!(api.call_as(&stranger, Method::POST, &path, None).await.status, 404);
    assert_eq!(api.call_as(&reader, Method::POST, &path, None).await.status, 403);
    let keyed = api.request(Method::POST, &path).bearer_auth(&api.key).header("idempotency-key", "once");
    assert_eq!(keyed.send().await.expect("an answer").status(), 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_a_webhook_says_that_it_is_limited_and_verifies_it() {
    let (api, answers) = asked(|_| (200, "ok".to_owned())).await;
    let endpoint = api.endpoint().await;
    verified(&api, &endpoint).await;
    let mut browser = Browser::signed_in(&api).await;
    let page = format!("/settings/webhooks/{endpoint}");
    let button = format!("action=\"{page}/ownership\"");
    let (status, shown) = browser.open(&page).await;
    assert!(status == 200 && shown.contains("One request a second") && shown.contains(&button), "{shown}");

    let refused = browser.fill(&page, &format!("{page}/ownership"), &[]).await;
    assert!(refused.contains("does not give the challenge back") && refused.contains(&button), "{refused}");
    *answers.lock().expect("no panic") = |challenge| (200, challenge.to_owned());
    let done = browser.fill(&page, &format!("{page}/ownership"), &[]).await;

    assert!(done.contains("It gave the challenge back") && !done.contains(&button), "{done}");
}
