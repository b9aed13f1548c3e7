//! A person's way through the console, in a real browser.
//!
//! Runs when `CLICKWIRE_TEST_BROWSER` is 1 (`scripts/test --all`): it needs Chromium and chromedriver.

use testkit::browser::{self, Browser, Options};

use crate::harness::{Api, failed_delivery, recorded_click};
use crate::quarantine::put_aside;
use crate::test_requests::serve_tests;

#[tokio::test]
async fn a_person_adds_a_webhook_and_sees_its_secret_and_its_test() {
    if !browser::is_asked_for() {
        return;
    }
    let api = Api::start_with_nats().await;
    serve_tests(&api);
    let browser = Browser::start(Options::default()).await;

    browser.open(&api.url).await;
    browser.fill("#key", &api.key).await;
    browser.press("Sign in").await;
    browser.follow("Link settings").await;
    browser.click("a.step").await;
    browser.follow("Add webhook").await;

    browser.fill("#url", "http://10.0.0.1/").await;
    browser.press("Add webhook").await;
    assert!(browser.text("#url-wrong").await.contains("private address"));

    browser.fill("#url", "http://127.0.0.1:9/hook").await;
    browser.press("Add webhook").await;
    assert!(browser.text("[data-secret]").await.starts_with("whsec_"));

    browser.press("Send test").await;
    let result = browser.text(".result").await;
    assert!(result.contains("Delivered") && result.contains("thanks"), "{result}");

    browser.close().await;
}

#[tokio::test]
async fn a_person_names_an_alert_url_tries_a_filter_and_looks_at_what_was_put_aside() {
    if !browser::is_asked_for() {
        return;
    }
    let api = Api::start_with_nats().await;
    serve_tests(&api);
    let (link, endpoint) = (api.link().await, api.endpoint().await);
    let click = recorded_click(&api, &link).await;
    failed_delivery(&api, &endpoint, &click).await;
    put_aside(&api, "clk_malformed", chrono::Utc::now() - chrono::TimeDelta::hours(1), b"\x0a\x1aclk_\xff")
        .await;
    let key = api.key_with(&["*", "admin"], None).await;
    let browser = Browser::start(Options::default()).await;
    browser.open(&api.url).await;
    browser.fill("#key", &key).await;
    browser.press("Sign in").await;

    browser.follow("Webhooks").await;
    browser.fill("#url", "http://127.0.0.1:9/alerts").await;
    browser.press("Save").await;
    assert!(browser.text("[data-secret]").await.starts_with("whsec_"));
    browser.follow("Webhooks").await;
    browser.press("Send a test").await;
    assert!(browser.text(".result").await.contains("Delivered"));

    browser.open(&format!("{}/settings/webhooks/{endpoint}", api.url)).await;
    browser.follow("Change").await;
    let own = "input[name=audience][value=filter]";
    browser.click(own).await;
    browser.fill("#filter", r#"{"location.country": "NO"}"#).await;
    browser.fill("#rate_per_second", "many").await;
    browser.press("Try the filter on the last clicks").await;
    assert!(browser.text("#tried").await.contains("lets 0 of the last 1"));
    browser.press("Save").await;
    assert!(browser.text("#rate_per_second-wrong").await.contains("number"));

    browser.follow("Quarantine").await;
    browser.click("td a").await;
    browser.press("Publish again").await;
    assert!(browser.text(".notice").await.contains("on CLICKS again"));

    browser.close().await;
}

#[tokio::test]
async fn somebody_is_invited_joins_from_another_browser_and_sees_no_secret() {
    if !browser::is_asked_for() {
        return;
    }
    let api = Api::start().await;
    let endpoint = api.endpoint().await;
    let webhook = format!("{}/settings/webhooks/{endpoint}", api.url);
    let owner = Browser::start(Options::default()).await;
    owner.open(&api.url).await;
    owner.fill("#key", &api.key).await;
    owner.press("Sign in").await;

    owner.follow("People").await;
    owner.fill("#email", "ada@example.com").await;
    owner.press("Make invitation").await;
    let link = owner.text("[data-link]").await;
    owner.open(&webhook).await;
    owner.press("Show secret").await;
    let secret = owner.text("[data-secret]").await;
    assert!(secret.starts_with("whsec_"), "{secret}");

    let viewer = Browser::start(Options::default()).await;
    viewer.open(&link).await;
    viewer.fill("#name", "Ada").await;
    viewer.fill("#password", "too short").await;
    viewer.press("Join").await;
    assert!(viewer.text("#password-wrong").await.contains("at least 12 characters"));
    viewer.fill("#password", "green tea at four").await;
    viewer.press("Join").await;
    assert!(viewer.text(".who").await.contains("Ada"));

    viewer.open(&webhook).await;
    let page = viewer.client.source().await.expect("a page");
    assert!(page.contains("127.0.0.1:9/hook"), "{page}");
    for hidden in [secret.as_str(), "data-secret", "Show secret"] {
        assert!(!page.contains(hidden), "{hidden}: {page}");
    }
    assert!(!viewer.has("a[href='/settings/keys']").await, "what a viewer may not open is not offered");

    owner.follow("People").await;
    assert!(owner.text("li.person").await.contains("Viewer"));
    owner.click("li.person summary").await;
    owner.press("Remove").await;
    assert!(owner.text(".notice").await.contains("They are removed"));
    viewer.open(&webhook).await;
    assert!(viewer.text("h1").await.contains("Sign in"));

    owner.close().await;
    viewer.close().await;
}
