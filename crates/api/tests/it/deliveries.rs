//! Deliveries over the API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::console::Browser;
use crate::harness::{Api, failed_delivery, recorded_click};

#[tokio::test]
async fn a_delivery_tells_its_attempts_and_can_be_tried_again() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let id = failed_delivery(&api, &endpoint, &click).await;

    let shown = api.get(&format!("/v1/deliveries/{id}")).await;
    insta::assert_json_snapshot!(shown.body, {
        ".id" => "[id]", ".endpoint_id" => "[id]", ".event_id" => "[id]", ".click_id" => "[id]",
        ".created_at" => "[time]", ".attempted_at" => "[time]", ".finished_at" => "[time]",
        ".attempts[].started_at" => "[time]", ".attempts[].request_headers" => "[headers]",
    }, @r#"
    {
      "attempt_count": 1,
      "attempted_at": "[time]",
      "attempts": [
        {
          "duration_ms": 34,
          "error": "status",
          "error_detail": "answered 500",
          "number": 1,
          "remote_ip": "127.0.0.1",
          "request_headers": "[headers]",
          "response_body": "out of order",
          "response_headers": [
            [
              "content-type",
              "text/plain"
            ]
          ],
          "started_at": "[time]",
          "status": 500,
          "timings": {
            "connect_ms": 1.5,
            "dns_ms": 0.4,
            "first_byte_ms": 33.0,
            "reused_connection": false,
            "tls_ms": 2.5
          },
          "trigger": "schedule",
          "url": "http://127.0.0.1:9/hook"
        }
      ],
      "batch_id": null,
      "click_id": "[id]",
      "created_at": "[time]",
      "duration_ms": 34,
      "endpoint_id": "[id]",
      "event_id": "[id]",
      "event_type": "link.clicked",
      "finished_at": "[time]",
      "id": "[id]",
      "last_error": "status",
      "last_status": 500,
      "next_attempt_at": null,
      "replay_id": null,
      "replay_number": 0,
      "sequence": null,
      "status": "dead"
    }
    "#);

    let again = api.post(&format!("/v1/deliveries/{id}/retry"), json!({})).await;
    assert_eq!((again.status, again.body["status"].as_str()), (202, Some("pending")));
    assert!(again.body["next_attempt_at"].is_string());
    assert_eq!(api.get("/v1/audit").await.body["data"][0]["action"], "delivery.retried");
}

#[tokio::test]
async fn an_attempt_says_where_it_went_although_its_endpoint_is_elsewhere_by_now() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    let id = failed_delivery(&api, &endpoint, &click).await;
    let mut browser = Browser::signed_in(&api).await;
    let (_, page) = browser.open(&format!("/deliveries/{id}")).await;
    assert!(!page.contains("where the webhook was then"), "{page}");

    let moved = json!({"url": "http://127.0.0.1:9/elsewhere"});
    assert_eq!(api.patch(&format!("/v1/webhook-endpoints/{endpoint}"), moved).await.status, 200);

    let path = format!("/v1/deliveries/{id}");
    assert_eq!(api.get(&path).await.body["attempts"][0]["url"], "http://127.0.0.1:9/hook");
    let (_, page) = browser.open(&format!("/deliveries/{id}")).await;
    assert!(page.contains("http://127.0.0.1:9/hook</span>, where the webhook was then"), "{page}");
    let few = api.key_with(&["deliveries:read"], None).await;
    let shown = api.call_as(&few, Method::GET, &path, None).await;
    assert_eq!((shown.status, &shown.body["attempts"][0]["url"]), (200, &Value::Null));
}

#[tokio::test]
async fn deliveries_are_found_by_what_they_are_about() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    failed_delivery(&api, &endpoint, &click).await;
    let count = async |query: &str| {
        let page = api.get(&format!("/v1/deliveries?{query}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        page.body["data"].as_array().expect("a page").len()
    };

    assert_eq!(count(&format!("endpoint_id={endpoint}")).await, 1);
    assert_eq!(count(&format!("click_id={}", click.click.id)).await, 1);
    assert_eq!(count("status=dead").await, 1);
    assert_eq!(count("status=delivered").await, 0);
    assert_eq!(count("since=2026-01-01T00:00:00Z").await, 1);
    assert_eq!(count("until=2026-01-01T00:00:00Z").await, 0);
    assert_eq!(api.get("/v1/deliveries?status=lost").await.status, 422);
}
