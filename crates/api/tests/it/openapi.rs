//! The description of the API is the API.

use reqwest::Method;

use crate::harness::Api;

#[tokio::test]
async fn a_wrong_address_and_a_wrong_method_are_told() {
    let api = Api::start().await;

    let nowhere = api.get("/v1/nothing").await;
    assert_eq!((nowhere.status, nowhere.body["code"].as_str()), (404, Some("no_such_route")));
    let wrong = api.request(Method::PUT, "/v1/links").send().await.expect("an answer");
    assert_eq!(wrong.status(), 405);
    assert_eq!(wrong.headers()["allow"], "GET, POST");
}

#[tokio::test]
async fn the_description_is_readable_without_the_internet() {
    let api = Api::start().await;

    let response = api.request(Method::GET, "/docs").send().await.expect("an answer");

    assert_eq!(response.status(), 200);
    assert!(
        response.headers()["content-security-policy"].to_str().expect("text").contains("default-src 'none'")
    );
    let page = response.text().await.expect("a page");
    for expected in ["/v1/webhook-endpoints", "slug_taken", "campaign_id", "links:write"] {
        assert!(page.contains(expected), "{expected}");
    }
}
