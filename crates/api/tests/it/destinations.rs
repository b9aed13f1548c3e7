//! Destinations that an operator has blocked are refused wherever a URL is set.

use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};
use store::destinations;

use crate::harness::{Answer, Api};

const EVIL: &str = "https://www.evil.example/login";

fn refused(answer: &Answer) -> (u16, &Value, &Value) {
    let error = &answer.body["errors"][0];
    (answer.status, &error["pointer"], &error["code"])
}

#[tokio::test]
async fn a_blocked_destination_is_refused_at_every_door() {
    let api = Api::start().await;
    let link = api.link().await;
    let before = api.post("/v1/links", json!({"url": EVIL})).await;
    assert_eq!(before.status, 201, "{}", before.body);
    let mut conn = api.pool.get().await.expect("a connection");
    let host = "evil.example".parse().expect("a host");
    destinations::block(&mut conn, &host, Utc::now()).await.expect("blocked");

    let code = &json!("blocked_destination");
    let made = api.post("/v1/links", json!({"url": EVIL})).await;
    assert_eq!(refused(&made), (422, &json!("/url"), code), "{}", made.body);
    let made = api.post("/v1/links", json!({"url": "https://example.com/", "expired_url": EVIL})).await;
    assert_eq!(refused(&made), (422, &json!("/expired_url"), code), "{}", made.body);
    let changed = api.patch(&format!("/v1/links/{link}"), json!({"url": EVIL})).await;
    assert_eq!(refused(&changed), (422, &json!("/url"), code), "{}", changed.body);
    let put = api.put("/v1/links/by-external-id/a", json!({"url": EVIL})).await;
    assert_eq!(refused(&put), (422, &json!("/url"), code), "{}", put.body);
    let fallback = api.patch("/v1/settings/links", json!({"fallback_url": EVIL})).await;
    assert_eq!(refused(&fallback), (422, &json!("/fallback_url"), code), "{}", fallback.body);
    let lines = format!("{{\"url\": \"{EVIL}\"}}\n{{\"url\": \"https://example.com/\"}}\n");
    let bulk = api.request(Method::POST, "/v1/links/bulk").bearer_auth(&api.key);
    let bulk =
        bulk.header("content-type", "application/x-ndjson").body(lines).send().await.expect("an answer");
    let bulk = bulk.text().await.expect("it is whole");
    let results: Vec<Value> = bulk.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&results[0]["status"], &results[1]["status"]), (&json!(422), &json!(201)), "{bulk}");

    // a link that led there before may have the rest of it changed: it is the operator's to block it
    let path = format!("/v1/links/{}", before.body["id"].as_str().expect("an id"));
    assert_eq!(api.patch(&path, json!({"url": EVIL, "tags": ["x"]})).await.status, 200);
    destinations::unblock(&mut conn, &host).await.expect("lifted");
    assert_eq!(api.post("/v1/links", json!({"url": EVIL})).await.status, 201);
}
