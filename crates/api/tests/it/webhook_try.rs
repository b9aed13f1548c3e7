//! A webhook is tried out with a real click, on a link that is there for it.

use chrono::TimeDelta;
use serde_json::json;
use store::deliveries::Progress;

use crate::console::Browser;
use crate::console_hooks::{accepted, delivery, text};
use crate::harness::{Api, recorded_click};

/// The id of the workspace's test link.
async fn test_link(api: &Api) -> String {
    let links = api.get("/v1/links").await.body;
    let link =
        links["data"].as_array().expect("links").iter().find(|link| link["campaign_id"] == "clickwire-test");
    link.expect("a test link")["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_new_webhook_is_tried_with_a_click_that_is_followed_until_it_is_there() {
    let api = Api::start_with_nats().await;
    let mut browser = Browser::signed_in(&api).await;
    let fields =
        [("url", "http://127.0.0.1:9/hook"), ("event_types", "link.clicked"), ("audience", "people")];

    let page = browser.fill("/settings/webhooks/new", "/settings/webhooks", &fields).await;
    let endpoint = text(&api.get("/v1/webhook-endpoints").await.body["data"][0]["id"]).to_owned();
    let link = test_link(&api).await;
    assert!(page.contains("data-secret") && page.contains("data-test-link"), "{page}");
    assert!(page.contains("Waiting for your click") && !page.contains("data-done"), "{page}");

    let click = recorded_click(&api, &link).await;
    let try_path = format!("/settings/webhooks/{endpoint}/try");
    let progress = format!(
        "{try_path}/progress?since={}",
        (click.click.clicked_at - TimeDelta::seconds(1)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    );
    let (_, recorded) = browser.open(&progress).await;
    assert!(recorded.contains("data-code=\"on_its_way\"") && !recorded.contains("data-done"), "{recorded}");

    delivery(&api, &endpoint, &click, accepted(&click, 340, "thanks")).await;
    let (_, done) = browser.open(&progress).await;
    assert!(done.contains("data-done") && done.contains("thanks"), "{done}");
    assert!(done.contains("What was sent verifies with the stored secret"), "{done}");
    assert!(done.contains(" ms after the click"), "{done}");

    // what is there to be fetched was not delivered
    let pulling = json!({"url": "http://127.0.0.1:9/hook", "delivery": "pull"});
    let pulling = text(&api.post("/v1/webhook-endpoints", pulling).await.body["id"]).to_owned();
    delivery(&api, &pulling, &click, Progress::offered(None)).await;
    let (_, offered) = browser.open(&progress.replace(&endpoint, &pulling)).await;
    assert!(
        offered.contains("<strong>There to be fetched</strong>") && offered.contains("data-done"),
        "{offered}"
    );
    for claim in ["Delivered", "It works", "Signature checked"] {
        assert!(!offered.contains(claim), "{claim}: {offered}");
    }

    // the next webhook uses the same link
    browser.fill("/settings/webhooks/new", "/settings/webhooks", &fields).await;
    assert_eq!(test_link(&api).await, link);
    assert_eq!(api.get("/v1/links").await.body["data"].as_array().map(Vec::len), Some(1));
    api.delete(&format!("/v1/links/{link}")).await;
    browser.fill(&try_path, &try_path, &[]).await;
    assert_ne!(test_link(&api).await, link, "one that was archived leads nowhere");
}

#[tokio::test]
async fn the_test_link_has_a_code_for_phones_which_says_where_no_phone_gets() {
    let api = Api::start_with_nats().await;
    let mut browser = Browser::signed_in(&api).await;
    let endpoint = api.endpoint().await;
    let path = format!("/settings/webhooks/{endpoint}/try");
    assert!(!browser.open(&path).await.1.contains("/qr?"), "there is no link yet");

    let page = browser.fill(&path, &path, &[]).await;
    let code = format!("/links/{}/qr?size=296", test_link(&api).await);
    assert!(page.contains(&code) && page.contains("alt=\"QR code of http://localhost:8080/"), "{page}");
    assert!(page.contains("A phone does not get there"), "{page}");
    let (status, picture) = browser.open(&code).await;
    assert!(status == 200 && picture.starts_with("<svg"), "{picture}");

    api.delete(&format!("/v1/links/{}", test_link(&api).await)).await;
    let domain = json!({"host": "go.example.com", "default": true});
    assert_eq!(api.post("/v1/domains", domain).await.status, 201);
    let page = browser.fill(&path, &path, &[]).await;
    assert!(
        page.contains("QR code of http://go.example.com/") && page.contains("A phone gets there"),
        "{page}"
    );
}
