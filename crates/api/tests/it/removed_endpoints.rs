//! What is left of a webhook endpoint that is removed.

use serde_json::json;
use store::sealed::{self, Kind};

use crate::harness::Api;

#[tokio::test]
async fn of_a_removed_endpoint_nothing_sealed_is_kept() {
    let api = Api::start().await;
    let new = json!({
        "url": "http://127.0.0.1:9/hook", "headers": {"X-Key": "hunter2"}, "signatures": ["v1", "v1a"],
        "auth": {"type": "bearer", "token": "hunter2"},
    });
    let made = api.post("/v1/webhook-endpoints", new).await;
    let id = made.body["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/webhook-endpoints/{id}");
    // one that ends, and one that has ended
    let first = api.get(&format!("{path}/secrets")).await.body["data"][0]["id"].clone();
    for _ in 0..2 {
        assert_eq!(api.post(&format!("{path}/secrets"), json!({})).await.status, 201);
    }
    let revoked = format!("{path}/secrets/{}", first.as_str().expect("an id"));
    assert_eq!(api.delete(&revoked).await.status, 204);
    let other = api.endpoint().await;
    let sealed_of = async |endpoint: &str| {
        let mut conn = api.pool.get().await.expect("a connection");
        let mut found = Vec::new();
        for kind in [Kind::Secret, Kind::Headers, Kind::Key, Kind::Auth] {
            let page = sealed::page(&mut conn, kind, None, 1000).await.expect("a query");
            found.push(page.iter().filter(|sealed| sealed.endpoint_id.to_string() == endpoint).count());
        }
        found
    };
    assert_eq!(sealed_of(id.as_str()).await, [3, 1, 3, 1]);

    assert_eq!(api.delete(&path).await.status, 204);

    assert_eq!(sealed_of(id.as_str()).await, [0; 4]);
    assert_eq!(sealed_of(other.as_str()).await, [1, 0, 0, 0], "another's stay");
}
