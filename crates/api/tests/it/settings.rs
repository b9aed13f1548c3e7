//! Link settings and domains over the API.

use serde_json::{Value, json};

use crate::harness::Api;

#[tokio::test]
async fn settings_have_defaults_and_are_changed_one_by_one() {
    let api = Api::start().await;

    let defaults = api.get("/v1/settings/links").await;
    assert_eq!(
        defaults.body,
        json!({"tracking": true, "address_policy": "drop", "fallback_url": null, "revision": 0})
    );

    let changed = api
        .patch("/v1/settings/links", json!({"tracking": false, "fallback_url": "https://example.com/"}))
        .await;
    assert_eq!(
        changed.body,
        json!({"tracking": false, "address_policy": "drop", "fallback_url": "https://example.com/", "revision": 1})
    );
    let cleared =
        api.patch("/v1/settings/links", json!({"fallback_url": null, "address_policy": "truncate"})).await;
    assert_eq!((&cleared.body["fallback_url"], &cleared.body["revision"]), (&Value::Null, &json!(2)));
    assert_eq!(api.patch("/v1/settings/links", json!({"address_policy": "sell"})).await.status, 422);
}

#[tokio::test]
async fn a_domain_serves_links_and_stays_while_it_does() {
    let api = Api::start().await;

    let added = api.post("/v1/domains", json!({"host": "Go.Example.COM"})).await;
    assert_eq!((added.status, added.body["host"].as_str()), (201, Some("go.example.com")));
    let path = format!("/v1/domains/{}", added.body["id"].as_str().expect("an id"));
    assert_eq!(api.post("/v1/domains", json!({"host": "go.example.com"})).await.body["code"], "host_taken");
    let link = api
        .post("/v1/links", json!({"url": "https://example.com/", "domain": "go.example.com", "slug": "x1"}))
        .await;
    assert_eq!(link.body["tracked_url"], "http://go.example.com/x1");
    assert_eq!(api.delete(&path).await.body["code"], "domain_in_use");
    assert_eq!(api.post("/v1/domains", json!({"host": "https://x.example/"})).await.status, 422);
    let unused = api.post("/v1/domains", json!({"host": "unused.example"})).await;
    assert_eq!(
        api.delete(&format!("/v1/domains/{}", unused.body["id"].as_str().expect("an id"))).await.status,
        204
    );
}
