//! A person's way through the console, in a real browser without scripts of ours.
//!
//! Runs when `CLICKWIRE_TEST_BROWSER` is 1 (`scripts/test --all`): it needs Chromium and chromedriver.

use std::process::Stdio;

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use testkit::{ScratchDir, until};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::endpoints::serve_tests;
use crate::harness::{Api, LIMIT, failed_delivery, recorded_click};
use crate::quarantine::put_aside;

const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

#[tokio::test]
async fn a_person_adds_a_webhook_and_sees_its_secret_and_its_test() {
    if std::env::var("CLICKWIRE_TEST_BROWSER").as_deref() != Ok("1") {
        println!("not asked for: set CLICKWIRE_TEST_BROWSER=1 to walk through the console in Chromium");
        return;
    }
    let api = Api::start_with_nats().await;
    serve_tests(&api);
    let profile = ScratchDir::new("chromium");
    let (_driver, browser) = browser(&profile).await;

    browser.goto(&api.url).await.expect("the console opens");
    fill(&browser, "#key", &api.key).await;
    press(&browser, "Sign in").await;
    follow(&browser, "Link settings").await;
    browser.find(Locator::Css("a.step")).await.expect("the way to webhooks").click().await.expect("a click");
    follow(&browser, "Add webhook").await;

    fill(&browser, "#url", "http://10.0.0.1/").await;
    press(&browser, "Add webhook").await;
    assert!(text(&browser, "#url-wrong").await.contains("private address"));

    fill(&browser, "#url", "http://127.0.0.1:9/hook").await;
    press(&browser, "Add webhook").await;
    assert!(text(&browser, "[data-secret]").await.starts_with("whsec_"));

    press(&browser, "Send test").await;
    let result = text(&browser, ".result").await;
    assert!(result.contains("Delivered") && result.contains("thanks"), "{result}");

    browser.close().await.expect("the browser closes");
}

#[tokio::test]
async fn a_person_names_an_alert_url_tries_a_filter_and_looks_at_what_was_put_aside() {
    if std::env::var("CLICKWIRE_TEST_BROWSER").as_deref() != Ok("1") {
        println!("not asked for: set CLICKWIRE_TEST_BROWSER=1 to walk through the console in Chromium");
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
    let profile = ScratchDir::new("chromium");
    let (_driver, browser) = browser(&profile).await;
    browser.goto(&api.url).await.expect("the console opens");
    fill(&browser, "#key", &key).await;
    press(&browser, "Sign in").await;

    follow(&browser, "Webhooks").await;
    fill(&browser, "#url", "http://127.0.0.1:9/alerts").await;
    press(&browser, "Save").await;
    assert!(text(&browser, "[data-secret]").await.starts_with("whsec_"));
    follow(&browser, "Webhooks").await;
    press(&browser, "Send a test").await;
    assert!(text(&browser, ".result").await.contains("Delivered"));

    browser.goto(&format!("{}/settings/webhooks/{endpoint}", api.url)).await.expect("the page opens");
    follow(&browser, "Change").await;
    let own = "input[name=audience][value=filter]";
    browser.find(Locator::Css(own)).await.expect("a choice").click().await.expect("a click");
    fill(&browser, "#filter", r#"{"location.country": "NO"}"#).await;
    fill(&browser, "#rate_per_second", "many").await;
    press(&browser, "Try the filter on the last clicks").await;
    assert!(text(&browser, "#tried").await.contains("lets 0 of the last 1"));
    press(&browser, "Save").await;
    assert!(text(&browser, "#rate_per_second-wrong").await.contains("number"));

    follow(&browser, "Quarantine").await;
    browser.find(Locator::Css("td a")).await.expect("a message").click().await.expect("a click");
    press(&browser, "Publish again").await;
    assert!(text(&browser, ".notice").await.contains("on CLICKS again"));

    browser.close().await.expect("the browser closes");
}

/// A browser with a profile of its own. The driver ends with the test.
pub async fn browser(profile: &ScratchDir) -> (Child, Client) {
    browser_with(profile, &[], json!({})).await
}

/// The same with more flags and other options of `goog:chromeOptions`.
pub async fn browser_with(profile: &ScratchDir, more: &[&str], others: Value) -> (Child, Client) {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("chromedriver is installed");
    let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
    let port = loop {
        let line = lines.next_line().await.expect("chromedriver speaks").expect("chromedriver runs");
        if let Some((_, port)) = line.split_once("successfully on port ") {
            break port.trim_end_matches('.').to_owned();
        }
    };
    let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
    flags.push(format!("--user-data-dir={}", profile.path().display()));
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    let mut chrome = json!({"args": flags, "binary": "/usr/bin/chromium"});
    for (name, value) in others.as_object().expect("an object") {
        chrome[name] = value.clone();
    }
    let options = json!({"goog:chromeOptions": chrome});
    let url = format!("http://127.0.0.1:{port}");
    let client = until(LIMIT, || async {
        let capabilities = options.as_object().expect("an object").clone();
        let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(capabilities).connect(&url).await.ok()
    })
    .await;
    (driver, client)
}

pub async fn fill(browser: &Client, selector: &str, value: &str) {
    let field = browser.wait().for_element(Locator::Css(selector)).await.expect(selector);
    field.clear().await.expect("a field");
    field.send_keys(value).await.expect("a field");
}

pub async fn press(browser: &Client, label: &str) {
    let button = format!("//main//button[normalize-space()='{label}']");
    let button = browser.wait().for_element(Locator::XPath(&button)).await.expect(label);
    button.click().await.expect(label);
}

pub async fn follow(browser: &Client, label: &str) {
    let link = browser.wait().for_element(Locator::LinkText(label)).await.expect(label);
    link.click().await.expect(label);
}

pub async fn text(browser: &Client, selector: &str) -> String {
    let element = browser.wait().for_element(Locator::Css(selector)).await.expect(selector);
    element.text().await.expect(selector)
}
