//! API keys over the API.

use serde_json::json;

use crate::harness::Api;

#[tokio::test]
async fn nobody_gives_away_more_than_they_hold() {
    let api = Api::start().await;
    let keeper = api.key_with(&["keys:write", "links:read"], None).await;
    let make = async |scopes| {
        let body = json!({"name": "x", "scopes": scopes});
        api.call_as(&keeper, reqwest::Method::POST, "/v1/api-keys", Some(body)).await
    };

    assert_eq!(make(json!(["links:read"])).await.status, 201);
    let refused = make(json!(["links:read", "links:write"])).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.body["errors"][0]["pointer"], "/scopes/1");
    assert_eq!(make(json!(["*"])).await.status, 422);
    assert_eq!(make(json!(["links:fly"])).await.status, 422);
    assert_eq!(make(json!([])).await.status, 422);
}
