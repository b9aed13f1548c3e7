//! Clicks over the API.

use crate::harness::{Api, failed_delivery, recorded_click};

#[tokio::test]
async fn a_click_is_shown_with_its_trace() {
    let api = Api::start().await;
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    failed_delivery(&api, &endpoint, &click).await;

    let shown = api.get(&format!("/v1/clicks/{}", click.click.id)).await;

    assert_eq!(shown.body["click"]["click_id"], click.click.id.to_string());
    assert_eq!(shown.body["trace"]["location"], "Linköping, Sweden");
    assert_eq!(shown.body["trace"]["deliveries"][0]["status"], "dead");
    for moment in ["redirected_at", "enriched_at", "recorded_at"] {
        assert!(shown.body["trace"][moment].is_string(), "{moment}");
    }
    let list = api.get(&format!("/v1/clicks?link_id={link}&verdict=human")).await;
    assert_eq!(list.body["data"][0], shown.body["click"]);
    assert_eq!(api.get("/v1/clicks?verdict=automated").await.body["data"].as_array().map(Vec::len), Some(0));
}
