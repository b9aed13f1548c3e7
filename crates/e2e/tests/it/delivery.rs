//! From the click to the webhook.

use serde_json::json;
use standardwebhooks::Webhook;
use testkit::{Answer, Subscriber};

use crate::stack::{Stack, body};
use crate::verifiers::headers;

#[tokio::test]
async fn a_click_reaches_the_subscriber_once_with_the_documented_payload() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let endpoint = stack.endpoint(&subscriber, json!({})).await;
    let link = stack
        .link(json!({
            "url": "https://example.com/offer?utm_source=sms",
            "slug": "spring-sale", "campaign_id": "cmp_42", "conversation_id": "conv_7",
            "contact_id": "cont_9", "channel": "sms", "sequence_id": "seq_5", "step_id": "step_2", "tags": ["spring"], "metadata": {"order": "1001"}
        }))
        .await;

    stack.click(&link).await;
    subscriber.received(1).await;
    stack.click(&link).await;

    let requests = subscriber.received(2).await;
    let [first, second] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    assert_ne!(first.header("webhook-id"), second.header("webhook-id"), "two clicks, each once");
    let body = body(first);
    assert_eq!(first.header("webhook-id"), body["id"].as_str());
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(body["data"]["link"]["id"], link.id);
    Webhook::new(&endpoint.secret).unwrap().verify(&first.body, &headers(first)).unwrap();
    insta::assert_json_snapshot!(body, {
        ".id" => "[evt]",
        ".timestamp" => "[time]",
        ".data.click_id" => "[clk]",
        ".data.workspace_id" => "[wks]",
        ".data.clicked_at" => "[time]",
        ".data.link.id" => "[lnk]",
    }, @r#"
    {
      "data": {
        "automation": {
          "class": null,
          "reasons": [],
          "ruleset": "2026-11.6",
          "score": 0,
          "verdict": "human"
        },
        "campaign_id": "cmp_42",
        "channel": "sms",
        "click_id": "[clk]",
        "clicked_at": "[time]",
        "contact_id": "cont_9",
        "conversation_id": "conv_7",
        "device": {
          "brand": "Apple",
          "browser": "Mobile Safari",
          "browser_version": "18.1",
          "in_app": null,
          "model": "iPhone",
          "model_name": null,
          "os": "iOS",
          "os_version": "18.1",
          "type": "mobile"
        },
        "enrichment": "complete",
        "ip": null,
        "is_first_click": true,
        "language": "it-IT",
        "link": {
          "destination_url": "https://example.com/offer?utm_source=sms",
          "domain": "go.example.com",
          "external_id": null,
          "id": "[lnk]",
          "kind": "message",
          "metadata": {
            "order": "1001"
          },
          "original_url": "https://example.com/offer?utm_source=sms",
          "revision": 1,
          "slug": "spring-sale",
          "tags": [
            "spring"
          ],
          "tracked_url": "https://go.example.com/spring-sale"
        },
        "location": {
          "accuracy_km": null,
          "as_organization": null,
          "asn": null,
          "city": "Rome",
          "continent": "EU",
          "country": "IT",
          "country_name": "Italy",
          "is_anonymizer": null,
          "is_eu": true,
          "is_hosting": null,
          "latitude": 41.9,
          "longitude": 12.4,
          "missing": null,
          "postal_code": null,
          "region": "Lazio",
          "timezone": null
        },
        "message_id": null,
        "previous_verdict": null,
        "privacy": {
          "redacted_fields": [
            "ip"
          ]
        },
        "referrer": null,
        "revision": 0,
        "sequence_id": "seq_5",
        "step_id": "step_2",
        "test": false,
        "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
        "workspace_id": "[wks]"
      },
      "id": "[evt]",
      "sequence": null,
      "timestamp": "[time]",
      "type": "link.clicked"
    }
    "#);
}

#[tokio::test]
async fn a_refused_event_comes_again_under_the_same_id() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start([Answer::Status(500), Answer::Status(200)]).await;
    let endpoint = stack.endpoint(&subscriber, json!({"retry_schedule": [1, 5]})).await;
    let link = stack.link(json!({})).await;

    stack.click(&link).await;

    let requests = subscriber.received(2).await;
    let [refused, accepted] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    assert_eq!(refused.header("webhook-id"), accepted.header("webhook-id"));
    assert_eq!(refused.body, accepted.body);
    for request in [refused, accepted] {
        Webhook::new(&endpoint.secret).unwrap().verify(&request.body, &headers(request)).unwrap();
    }
}
