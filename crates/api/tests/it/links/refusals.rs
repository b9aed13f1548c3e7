//! What links are refused, and why.

use reqwest::Method;
use serde_json::{Value, json};

use super::pointers;
use crate::harness::Api;

#[tokio::test]
async fn everything_that_is_wrong_with_a_link_is_named() {
    let api = Api::start().await;

    let refused = api
        .post("/v1/links", json!({"url": "javascript:alert(1)", "slug": "a b", "tags": ["ok", 7], "urll": "x", "enabled": "yes"}))
        .await;

    assert_eq!(refused.status, 422);
    insta::assert_json_snapshot!(refused.body["errors"], @r#"
    [
      {
        "code": "invalid",
        "detail": "must begin with `https://` or `http://`; `javascript:` is not allowed",
        "pointer": "/url"
      },
      {
        "code": "invalid",
        "detail": "must consist of letters, digits, `-`, `_` and `.`; ` ` is not allowed",
        "pointer": "/slug"
      },
      {
        "code": "wrong_type",
        "detail": "must be a string",
        "pointer": "/tags/1"
      },
      {
        "code": "wrong_type",
        "detail": "must be true or false",
        "pointer": "/enabled"
      },
      {
        "code": "unknown_field",
        "detail": "is not a field; there are `url`, `slug`, `domain`, `kind`, `campaign_id`, `conversation_id`, `contact_id`, `message_id`, `channel`, `sequence_id`, `step_id`, `external_id`, `tags`, `metadata`, `starts_at`, `expires_at`, `expired_url`, `enabled`, `tracking`, `status_code`, `query_mode`, `utm`, `sent_at`, `max_clicks`, `password`, `preview`",
        "pointer": "/urll"
      }
    ]
    "#);
    let long =
        api.post("/v1/links", json!({"url": format!("https://example.com/{}", "x".repeat(9000))})).await;
    assert_eq!(pointers(&long.body), [("/url".to_owned(), "invalid".to_owned())]);
    let missing = api.post("/v1/links", json!({})).await;
    assert_eq!(pointers(&missing.body), [("/url".to_owned(), "required".to_owned())]);
}

#[tokio::test]
async fn limits_are_held() {
    let api = Api::start().await;
    let url = "https://example.com/";
    let tags: Vec<String> = (0..21).map(|n| n.to_string()).collect();
    let pairs: serde_json::Map<String, Value> = (0..17).map(|n| (n.to_string(), "x".into())).collect();

    for (field, value) in [
        ("campaign_id", json!("x".repeat(129))),
        ("external_id", json!("x".repeat(256))),
        ("tags", json!(tags)),
        ("tags", json!(["x".repeat(51)])),
        ("metadata", json!(pairs)),
        ("metadata", json!({"x": "y".repeat(1024)})),
        ("status_code", json!(303)),
        ("expires_at", json!("tomorrow")),
        ("kind", json!("template")),
        ("query_mode", json!("merge")),
        ("tracking", json!("everything")),
        ("utm", json!({"source": "x".repeat(129)})),
        ("utm", json!({"utm_source": "x"})),
        ("utm", json!("x")),
        ("preview", json!({"description": "no title"})),
        ("preview", json!({"title": "x".repeat(201)})),
        ("preview", json!({"title": "a", "image_url": "javascript:alert(1)"})),
        ("preview", json!({"title": "a", "image": "https://example.com/a.png"})),
        ("sent_at", json!("today")),
        ("max_clicks", json!(0)),
        ("max_clicks", json!(1_000_001)),
        ("max_clicks", json!(1.5)),
        ("password", json!("")),
        ("password", json!("x".repeat(129))),
        ("slug", json!("p\u{430}ypal")),
        ("tags", json!(["a,b"])),
        ("tags", json!([" a"])),
        ("sequence_id", json!("x".repeat(129))),
        ("step_id", json!("")),
        ("campaign_id", json!("a ")),
        ("channel", json!("\u{a0}sms")),
        ("external_id", json!(" a")),
        ("utm", json!({"source": "a "})),
    ] {
        let refused = api.post("/v1/links", json!({"url": url, field: value})).await;
        assert_eq!(refused.status, 422, "{field}: {}", refused.body);
        assert!(pointers(&refused.body)[0].0.starts_with(&format!("/{field}")), "{}", refused.body);
    }
    let fits =
        api.post("/v1/links", json!({"url": url, "campaign_id": "x".repeat(128), "tags": tags[..20]})).await;
    assert_eq!(fits.status, 201, "{}", fits.body);
}

#[tokio::test]
async fn a_link_to_our_own_links_is_refused() {
    let api = Api::start().await;
    assert_eq!(api.post("/v1/domains", json!({"host": "go.example"})).await.status, 201);

    for url in [
        "http://localhost:8080/abc",
        "https://localhost/abc",
        "https://go.example/x",
        "https://go.example.:8443/",
    ] {
        let refused = api.post("/v1/links", json!({"url": url})).await;
        assert_eq!(refused.status, 422, "{url}");
        assert_eq!(pointers(&refused.body), [("/url".to_owned(), "loop".to_owned())]);
    }
    assert_eq!(api.post("/v1/links", json!({"url": "http://localhost:3000/"})).await.status, 201);
}

#[tokio::test]
async fn a_domain_of_another_workspace_closes_nothing_that_links_lead_to() {
    let api = Api::start().await;
    let (_, other) = api.other_workspace().await;
    let shop = json!({"url": "https://shop.example/", "expired_url": "https://shop.example/over"});
    let made = api.post("/v1/links", shop.clone()).await;
    let path = format!("/v1/links/{}", made.body["id"].as_str().expect("an id"));
    let fallback = json!({"fallback_url": "https://shop.example/"});

    let added = api.call_as(&other, Method::POST, "/v1/domains", Some(json!({"host": "shop.example"}))).await;

    assert_eq!(added.status, 201, "{}", added.body);
    for (answer, status) in [
        (api.patch(&path, json!({"tags": ["x"]})).await, 200),
        (api.patch(&path, json!({"url": "https://shop.example/new"})).await, 200),
        (api.post("/v1/links", shop.clone()).await, 201),
        (api.put("/v1/links/by-external-id/x", shop).await, 201),
        (api.patch("/v1/settings/links", fallback).await, 200),
    ] {
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_url_that_a_link_has_already_may_stay() {
    let api = Api::start().await;
    let shop = json!({"url": "https://shop.example/", "expired_url": "https://shop.example/over"});
    let made = api.post("/v1/links", shop).await;
    let path = format!("/v1/links/{}", made.body["id"].as_str().expect("an id"));
    let fallback = json!({"fallback_url": "https://shop.example/"});
    assert_eq!(api.patch("/v1/settings/links", fallback).await.status, 200);

    assert_eq!(api.post("/v1/domains", json!({"host": "shop.example"})).await.status, 201);

    let same =
        json!({"url": "https://shop.example/", "expired_url": "https://shop.example/over", "tags": ["x"]});
    assert_eq!(api.patch(&path, same).await.status, 200);
    let settings = api
        .patch("/v1/settings/links", json!({"fallback_url": "https://shop.example/", "tracking": false}))
        .await;
    assert_eq!(settings.status, 200, "{}", settings.body);
    let changed = api.patch(&path, json!({"expired_url": "https://shop.example/"})).await;
    assert_eq!(pointers(&changed.body), [("/expired_url".to_owned(), "loop".to_owned())]);
    let changed = api.patch("/v1/settings/links", json!({"fallback_url": "https://shop.example/x"})).await;
    assert_eq!(pointers(&changed.body), [("/fallback_url".to_owned(), "loop".to_owned())]);
}

#[tokio::test]
async fn what_is_not_json_is_told_apart() {
    let api = Api::start().await;
    let post = |content_type: &'static str, body: String| {
        let request = api.request(Method::POST, "/v1/links").bearer_auth(&api.key);
        request.header("content-type", content_type).body(body).send()
    };
    let status =
        |response: Result<reqwest::Response, reqwest::Error>| response.expect("an answer").status().as_u16();

    assert_eq!(status(post("application/json", "{".to_owned()).await), 400);
    assert_eq!(status(post("text/plain", "{}".to_owned()).await), 415);
    assert_eq!(status(post("application/json", "[]".to_owned()).await), 422);
    assert_eq!(status(post("application/json", format!("\"{}\"", "x".repeat(70_000))).await), 413);
}
