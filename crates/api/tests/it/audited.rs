//! Who changed what, and who saw a secret, is written down.

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use store::audit::{self, AuditFilter};

use crate::harness::Api;
use crate::tour::World;

/// What is no change, though it is a POST: it says what would be.
const CHANGES_NOTHING: [&str; 2] = [
    "POST /v1/webhook-endpoints/{id}/preview-filter",
    // domains.rs: of a domain that is verified there is nothing to find out
    "POST /v1/domains/{id}/verify",
];

/// What shows a secret, though it is a GET.
const REVEALS: [&str; 1] = ["GET /v1/webhook-endpoints/{id}/secrets"];

#[tokio::test]
async fn every_change_and_every_look_at_a_secret_is_in_the_audit_log() {
    let world = World::begin().await;
    let entries = async || {
        let mut conn = world.api.pool.get().await.expect("a connection");
        let filter = AuditFilter::default();
        audit::list(&mut conn, world.api.workspace_id, &filter, None, 1000).await.expect("entries").len()
    };

    for operation in world.in_order() {
        let name = operation.name();
        let before = entries().await;

        let told = world.ask(&operation).await;

        assert!((200..300).contains(&told.status), "{name}: {} {}", told.status, told.text);
        let written = entries().await - before;
        let is_change = operation.is_unsafe() && !CHANGES_NOTHING.contains(&name.as_str());
        match is_change || REVEALS.contains(&name.as_str()) {
            true => assert!(written >= 1, "{name} left no trace"),
            false => assert_eq!(written, 0, "{name} changes nothing"),
        }
    }
}

#[tokio::test]
async fn the_audit_log_is_read_by_who_what_whom_and_when() {
    let api = Api::start().await;
    let before = Utc::now();
    let endpoint = api.endpoint().await;
    let link = api.link().await;
    let other = api.post("/v1/api-keys", json!({"name": "Other", "scopes": ["links:write"]})).await.body;
    let key = other["key"].as_str().expect("a key");
    let body = json!({"url": "https://example.com/"});
    api.call_as(key, Method::PATCH, &format!("/v1/links/{link}"), Some(body)).await;
    let actions = async |query: &str| -> Vec<String> {
        let listed = api.get(&format!("/v1/audit?{query}")).await;
        let entries = listed.body["data"].as_array().unwrap_or_else(|| panic!("{}", listed.body)).clone();
        entries.iter().map(|entry| entry["action"].as_str().expect("an action").to_owned()).collect()
    };
    let at = |at: chrono::DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);

    let by_other = actions(&format!("actor={}", other["id"].as_str().expect("an id"))).await;
    assert_eq!(by_other, ["link.updated"]);
    assert_eq!(actions("action=endpoint.created").await, ["endpoint.created"]);
    assert_eq!(actions(&format!("subject={link}")).await, ["link.updated", "link.created"]);
    assert_eq!(actions(&format!("subject={endpoint}&action=link.created")).await, [""; 0]);
    assert_eq!(actions(&format!("since={}", at(before))).await.len(), 4);
    assert_eq!(actions(&format!("until={}", at(before))).await, [""; 0]);
    assert_eq!(actions(&format!("since={}", at(Utc::now() + TimeDelta::minutes(1)))).await, [""; 0]);
    assert_eq!(actions("limit=1&action=link.created").await, ["link.created"]);
}

#[tokio::test]
async fn an_audit_entry_never_holds_a_secret() {
    let world = World::begin().await;
    let mut secrets = Vec::new();
    for operation in world.in_order() {
        let told = world.ask(&operation).await.json();
        secrets.extend(strings(&told).into_iter().filter(|text| {
            ["whsec_", "cw_", "mint_"].iter().any(|beginning| text.starts_with(beginning)) && text.len() > 20
        }));
    }
    assert!(secrets.len() >= 4, "{}", secrets.len());

    let log = world.api.dump("audit").await + &world.api.dump("outbox").await;

    for secret in secrets {
        assert!(!log.contains(&secret));
    }
}

fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(strings).collect(),
        Value::Object(object) => object.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}
