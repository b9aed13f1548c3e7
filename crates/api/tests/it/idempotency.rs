//! `Idempotency-Key` on everything that makes or starts something: a repeat does nothing, and no secret is kept for it.

use std::time::Duration;

use chrono::Utc;
use model::LinkId;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::idempotency::{self, Claim};
use testkit::until;

use crate::harness::{Answer, Api, LIMIT, answer, failed_delivery, recorded_click};

/// A POST with a key, and whether its answer says that it was done before.
async fn post(api: &Api, key: &str, path: &str, body: &Value) -> (bool, Answer) {
    post_as(api, &api.key, key, path, body).await
}

/// The same of whoever has this API key.
async fn post_as(api: &Api, bearer: &str, key: &str, path: &str, body: &Value) -> (bool, Answer) {
    let request = api.request(Method::POST, path).bearer_auth(bearer).header("idempotency-key", key);
    let request = match body {
        Value::Null => request,
        body => request.header("content-type", "application/json").body(body.to_string()),
    };
    let sent = request.send().await.expect("an answer");
    let is_replayed = sent.headers().contains_key("idempotency-replayed");
    (is_replayed, answer(sent).await)
}

fn refusal(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["code"].as_str().unwrap_or_default())
}

async fn entries(api: &Api, action: &str) -> usize {
    let audit = api.get("/v1/audit?limit=250").await.body;
    audit["data"].as_array().expect("entries").iter().filter(|entry| entry["action"] == action).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_for_twice_with_one_key_is_done_once() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let delivery = failed_delivery(&api, &endpoint, &click).await;
    let hook = json!({"url": "http://127.0.0.1:9/new"});
    let replay = json!({"endpoint_id": endpoint, "delivery_ids": [delivery]});
    let asked = [
        ("/v1/links", json!({"url": "https://example.com/offer"}), 201, "link.created", 2),
        ("/v1/webhook-endpoints", hook, 201, "endpoint.created", 2),
        ("/v1/domains", json!({"host": "new.example"}), 201, "domain.created", 1),
        ("/v1/api-keys", json!({"name": "New", "scopes": ["links:read"]}), 201, "key.created", 1),
        (&format!("/v1/webhook-endpoints/{endpoint}/secrets"), Value::Null, 201, "secret.rotated", 1),
        (&format!("/v1/deliveries/{delivery}/retry"), Value::Null, 202, "delivery.retried", 1),
        ("/v1/replays", replay, 201, "replay.started", 1),
    ];

    // one key may be used for each of them
    for (path, body, status, action, done) in &asked {
        let (one, other) = tokio::join!(post(&api, "k", path, body), post(&api, "k", path, body));
        let later = post(&api, "k", path, body).await;

        for (_, answer) in [&one, &other, &later] {
            assert_eq!(answer.status, *status, "{path}: {}", answer.body);
            assert_eq!(answer.body["id"], later.1.body["id"], "{path}");
        }
        assert!(one.0 ^ other.0, "{path}: one of the two was first");
        assert!(later.0, "{path}");
        assert_eq!(entries(&api, action).await, *done, "{action}");
    }
    let keys = api.get("/v1/api-keys").await.body;
    assert_eq!(keys["data"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_key_is_refused_with_a_body_that_differs_in_its_password_alone_or_with_another_path() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let wanted = |password: &str| json!({"url": "https://example.com/", "password": password});

    let made = post(&api, "k", "/v1/links", &wanted("first password")).await.1;
    let another = post(&api, "k", "/v1/links", &wanted("other password")).await.1;
    let again = post(&api, "k", "/v1/links", &wanted("first password")).await;

    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(refusal(&another), (409, "idempotency_key_reused"));
    assert_eq!((again.0, &again.1.body["id"]), (true, &made.body["id"]));
    let click = recorded_click(&api, &link).await;
    let first = failed_delivery(&api, &endpoint, &click).await;
    let click = recorded_click(&api, &link).await;
    let second = failed_delivery(&api, &endpoint, &click).await;
    let retry = async |id| post(&api, "k", &format!("/v1/deliveries/{id}/retry"), &Value::Null).await.1;
    assert_eq!(retry(first).await.status, 202);
    assert_eq!(refusal(&retry(second).await), (409, "idempotency_key_reused"));
}

#[tokio::test]
async fn a_key_that_came_to_a_release_before_fingerprints_had_one_is_known() {
    let api = Api::start().await;
    let wanted = json!({"url": "https://example.com/", "password": "first password"});
    let made = api.post("/v1/links", wanted.clone()).await.body;
    let id: LinkId = made["id"].as_str().expect("an id").parse().expect("an id");
    let claim = Claim {
        workspace_id: api.workspace_id,
        operation: "link.create",
        key: "k",
        fingerprint: &Sha256::digest(r#"{"password":true,"url":"https://example.com/"}"#),
        earlier_fingerprints: &[],
    };
    let mut conn = api.pool.get().await.expect("the database runs");
    idempotency::claim(&mut conn, claim, Utc::now()).await.expect("claimed");
    idempotency::made(&mut conn, claim, id.uuid()).await.expect("made");

    let (is_replayed, again) = post(&api, "k", "/v1/links", &wanted).await;
    let another = json!({"url": "https://example.com/another", "password": "first password"});

    assert_eq!((is_replayed, &again.body["id"]), (true, &made["id"]));
    assert_eq!(refusal(&post(&api, "k", "/v1/links", &another).await.1), (409, "idempotency_key_reused"));
}

#[tokio::test]
async fn no_secret_and_nothing_of_a_body_lies_with_the_keys() {
    let api = Api::start().await;
    let hook = json!({"url": "http://127.0.0.1:9/new", "headers": {"authorization": "Bearer hunter2"}});
    let link = json!({"url": "https://example.com/", "password": "hunter2!"});
    let key = json!({"name": "New", "scopes": ["links:read"]});

    let endpoint = post(&api, "k", "/v1/webhook-endpoints", &hook).await.1.body;
    let key = post(&api, "k", "/v1/api-keys", &key).await.1.body;
    let path = format!("/v1/webhook-endpoints/{}/secrets", endpoint["id"].as_str().expect("an id"));
    let rotated = post(&api, "k", &path, &Value::Null).await.1.body;
    assert_eq!(post(&api, "k", "/v1/links", &link).await.1.status, 201);

    let kept = api.dump("idempotency_keys").await;
    assert_eq!(kept.lines().count(), 4, "{kept}");
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for secret in [&endpoint["secret"], &key["key"], &rotated["secret"], &json!("hunter2")] {
        let secret = secret.as_str().expect("a secret");
        assert!(!kept.contains(secret) && !kept.contains(&hex(secret)), "{kept}");
    }
    // all that is kept of a request is as long as a fingerprint
    for row in kept.lines() {
        let row: Value = serde_json::from_str(row).expect("a row");
        assert_eq!(row["fingerprint"].as_str().map(str::len), Some(2 + 64), "{row}");
    }
}

#[tokio::test]
async fn a_repeat_shows_a_signing_secret_to_who_made_it_and_to_who_may_see_secrets() {
    let api = Api::start().await;
    let [maker, other] =
        [api.key_with(&["endpoints:write"], None).await, api.key_with(&["endpoints:write"], None).await];
    let seeing = api.key_with(&["endpoints:write", "secrets:read"], None).await;
    let hook = json!({"url": "http://127.0.0.1:9/new"});

    let made = post_as(&api, &maker, "k", "/v1/webhook-endpoints", &hook).await.1.body;
    let path = format!("/v1/webhook-endpoints/{}/secrets", made["id"].as_str().expect("an id"));
    let rotated = post_as(&api, &maker, "k", &path, &Value::Null).await.1.body;

    assert!(made["secret"].is_string() && rotated["secret"].is_string(), "{made} {rotated}");
    for bearer in [&maker, &seeing] {
        let again = post_as(&api, bearer, "k", "/v1/webhook-endpoints", &hook).await.1.body;
        assert_eq!(again["secret"], made["secret"]);
        assert_eq!(post_as(&api, bearer, "k", &path, &Value::Null).await.1.body["secret"], rotated["secret"]);
    }
    let (is_replayed, without) = post_as(&api, &other, "k", "/v1/webhook-endpoints", &hook).await;
    assert_eq!((is_replayed, without.status, without.body.get("secret")), (true, 201, None));
    let (_, refused) = post_as(&api, &other, "k", &path, &Value::Null).await;
    assert_eq!((refused.status, refused.body.get("secret")), (403, None));
}

#[tokio::test]
async fn a_repeat_shows_a_signing_secret_while_it_signs_and_an_api_key_never_again() {
    let api = Api::start().await;
    let hook = json!({"url": "http://127.0.0.1:9/new"});

    let made = post(&api, "k", "/v1/webhook-endpoints", &hook).await.1.body;
    let again = post(&api, "k", "/v1/webhook-endpoints", &hook).await.1.body;

    assert!(made["secret"].is_string());
    assert_eq!(again["secret"], made["secret"]);
    assert_eq!(entries(&api, "secret.revealed").await, 1);
    let path = format!("/v1/webhook-endpoints/{}/secrets", made["id"].as_str().expect("an id"));
    let first = api.get(&path).await.body["data"][0]["id"].as_str().expect("an id").to_owned();
    let rotated = post(&api, "k", &path, &Value::Null).await.1.body;
    assert_eq!(post(&api, "k", &path, &Value::Null).await.1.body["secret"], rotated["secret"]);
    assert_eq!(api.delete(&format!("{path}/{first}")).await.status, 204);
    let (is_replayed, without) = post(&api, "k", "/v1/webhook-endpoints", &hook).await;
    assert_eq!((is_replayed, without.status, without.body.get("secret")), (true, 201, None));

    let expires_at = Utc::now() + Duration::from_secs(3);
    let key = json!({"name": "New", "scopes": ["links:read"], "expires_at": expires_at});
    let made = post(&api, "k", "/v1/api-keys", &key).await.1.body;
    assert!(made["key"].is_string(), "{made}");
    // what was in the future when it was asked for is not looked at again
    until(LIMIT, || async { (Utc::now() > expires_at).then_some(()) }).await;
    let (is_replayed, again) = post(&api, "k", "/v1/api-keys", &key).await;
    assert_eq!((is_replayed, again.status, again.body.get("key")), (true, 201, None));
    assert_eq!(again.body["id"], made["id"]);
}

#[tokio::test]
async fn what_was_removed_since_is_not_made_again() {
    let api = Api::start().await;
    for (path, body) in [
        ("/v1/webhook-endpoints", json!({"url": "http://127.0.0.1:9/new"})),
        ("/v1/domains", json!({"host": "new.example"})),
        ("/v1/api-keys", json!({"name": "New", "scopes": ["links:read"]})),
    ] {
        let made = post(&api, "k", path, &body).await.1.body;
        let id = made["id"].as_str().expect("an id");
        assert_eq!(api.delete(&format!("{path}/{id}")).await.status, 204, "{path}");

        let again = post(&api, "k", path, &body).await.1;

        assert_eq!(refusal(&again), (409, "gone_since"), "{path}");
        let anew = post(&api, "another", path, &body).await;
        assert_eq!((anew.0, anew.1.status), (false, 201), "{path}");
    }
}

#[tokio::test]
async fn what_would_be_refused_by_now_is_told_as_it_was_done() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let delivery = failed_delivery(&api, &endpoint, &click).await;
    let wanted = json!({"endpoint_id": endpoint, "delivery_ids": [delivery]});
    let counted = json!({"endpoint_id": endpoint, "delivery_ids": [delivery], "dry_run": true});

    for _ in 0..2 {
        let (is_replayed, count) = post(&api, "k", "/v1/replays", &counted).await;
        assert_eq!((is_replayed, count.status), (false, 200), "a count is made anew");
    }
    let begun = post(&api, "k", "/v1/replays", &wanted).await.1;
    assert_eq!(begun.status, 201, "{}", begun.body);
    let disabled = api.patch(&format!("/v1/webhook-endpoints/{endpoint}"), json!({"enabled": false})).await;
    assert_eq!(disabled.status, 200);

    let (is_replayed, again) = post(&api, "k", "/v1/replays", &wanted).await;

    assert_eq!((is_replayed, again.status, &again.body["id"]), (true, 201, &begun.body["id"]));
    assert_eq!(refusal(&post(&api, "new", "/v1/replays", &wanted).await.1), (409, "endpoint_disabled"));
}

#[tokio::test]
async fn what_is_done_anew_each_time_refuses_a_key() {
    let api = Api::start().await;
    let endpoint = api.endpoint().await;
    let bulk =
        api.request(Method::POST, "/v1/links/bulk").bearer_auth(&api.key).header("idempotency-key", "k");
    let bulk =
        bulk.header("content-type", "application/x-ndjson").body("{\"url\": \"https://example.com/\"}\n");

    let bulk = answer(bulk.send().await.expect("an answer")).await;
    let test = format!("/v1/webhook-endpoints/{endpoint}/test");
    let test = post(&api, "k", &test, &Value::Null).await.1;

    for (refused, told) in [(&bulk, "external_id"), (&test, "each time")] {
        assert_eq!(refused.status, 422, "{}", refused.body);
        let error = &refused.body["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!("Idempotency-Key"), &json!("not_supported")));
        assert!(error["detail"].as_str().is_some_and(|detail| detail.contains(told)), "{error}");
    }
    assert_eq!(api.get("/v1/links").await.body["data"], json!([]), "nothing was made");
}
