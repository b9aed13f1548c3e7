//! Who gets in, and how far.

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::json;

use crate::harness::{Api, answer};

#[tokio::test]
async fn without_a_key_nothing_is_told() {
    let api = Api::start().await;

    let response = api.request(Method::GET, "/v1/links").send().await.expect("an answer");

    assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"clickwire\"");
    let refused = answer(response).await;
    assert_eq!((refused.status, refused.content_type.as_str()), (401, "application/problem+json"));
    insta::assert_json_snapshot!(refused.body, @r#"
    {
      "code": "unauthorized",
      "detail": "an API key is required: send `Authorization: Bearer cw_…`",
      "status": 401,
      "title": "Unauthorized",
      "type": "/docs#unauthorized"
    }
    "#);
}

#[tokio::test]
async fn a_key_that_opens_nothing_any_more_is_refused_in_the_same_words_as_one_that_never_was() {
    let api = Api::start().await;
    let expired = api.key_with(&["*"], Some(Utc::now() - TimeDelta::seconds(1))).await;
    let made = api.post("/v1/api-keys", json!({"name": "short-lived", "scopes": ["*"]})).await;
    let revoked = made.body["key"].as_str().expect("a key").to_owned();
    let id = made.body["id"].as_str().expect("an id");
    assert_eq!(api.call_as(&revoked, Method::GET, "/v1/links", None).await.status, 200);
    assert_eq!(api.delete(&format!("/v1/api-keys/{id}")).await.status, 204);
    let unknown = format!("cw_{}", "x".repeat(43));

    for key in [expired.as_str(), revoked.as_str(), unknown.as_str(), "cw_short", "nonsense"] {
        let refused = api.call_as(key, Method::GET, "/v1/links", None).await;
        assert_eq!(refused.status, 401, "{key}");
        assert_eq!(refused.body["detail"], "this API key is not known, or not any more");
    }
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_no_more() {
    let api = Api::start().await;
    let reader = api.key_with(&["links:read"], None).await;

    assert_eq!(api.call_as(&reader, Method::GET, "/v1/links", None).await.status, 200);
    let refused = api.call_as(&reader, Method::POST, "/v1/links", Some(json!({"nonsense": 1}))).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.body["code"], "forbidden");
    assert_eq!(refused.body["detail"], "this key has not the scope `links:write`");
}

#[tokio::test]
async fn the_use_of_a_key_is_noted() {
    let api = Api::start().await;

    api.get("/v1/links").await;

    let keys = api.get("/v1/api-keys").await;
    assert!(keys.body["data"][0]["last_used_at"].is_string(), "{}", keys.body);
    assert!(keys.body["data"][0].get("key").is_none());
}
