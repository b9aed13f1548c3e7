//! The console on top of the real pipeline: a person sets up a webhook, clicks, and sees the click arrive.

use std::collections::HashMap;
use std::sync::Mutex;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::browser::{self, Browser, Options};
use testkit::{Answer, Subscriber};

use crate::stack::{PERSON, Stack};

/// A person who is signed in to the console, with a browser that runs no scripts.
pub struct Session<'a> {
    stack: &'a Stack,
    cookies: Mutex<HashMap<String, String>>,
    token: String,
}

impl<'a> Session<'a> {
    /// Signs in with the stack's key.
    pub async fn begin(stack: &'a Stack) -> Self {
        let mut session = Self { stack, cookies: Mutex::default(), token: String::new() };
        session.token = token(&session.open("/login").await);
        let (status, _) = session.post("/login", &[("key", stack.key.as_str())]).await;
        assert_eq!(status, StatusCode::SEE_OTHER);
        session.token = token(&session.open("/settings/webhooks").await);
        session
    }

    /// A page.
    pub async fn open(&self, path: &str) -> String {
        let (status, page) = self.ask(Method::GET, path, String::new()).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        page
    }

    /// A form without fields that does what it is for.
    pub async fn submit(&self, path: &str) {
        assert_eq!(self.post(path, &[]).await.0, StatusCode::SEE_OTHER, "{path}");
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
        let mut form = vec![("csrf", self.token.as_str())];
        form.extend_from_slice(fields);
        let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.ask(Method::POST, path, pairs.join("&")).await
    }

    async fn ask(&self, method: Method, path: &str, form: String) -> (StatusCode, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.stack.services.api_port);
        let cookie = self
            .cookies
            .lock()
            .expect("nobody panics")
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>();
        let request = self.stack.client.request(method, url).header("cookie", cookie.join("; "));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let response = request.send().await.expect("the console answers");
        for cookie in response.headers().get_all("set-cookie") {
            let (name, rest) = cookie.to_str().expect("text").split_once('=').expect("a cookie");
            let value = rest.split(';').next().unwrap_or_default();
            self.cookies.lock().expect("nobody panics").insert(name.to_owned(), value.to_owned());
        }
        (response.status(), response.text().await.expect("a page"))
    }
}

fn token(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
    rest.split_once('"').expect("a value").0.to_owned()
}

/// The whole way of a person, from the sign-in until a replay has arrived.
async fn walk(options: Options, name: &str) {
    if !browser::is_asked_for() {
        return;
    }
    let stack = Stack::start().await;
    let console = format!("http://127.0.0.1:{}", stack.services.api_port);
    let subscriber = Subscriber::start([Answer::Status(200), Answer::Status(500), Answer::Status(200)]).await;
    let browser = Browser::start(options).await;

    browser.open(&console).await;
    browser.fill("#key", &stack.key).await;
    browser.press("Sign in").await;
    browser.follow("Link settings").await;
    browser.click("a.step").await;
    browser.follow("Add webhook").await;
    browser.fill("#url", &subscriber.url()).await;
    browser.press("Add webhook").await;
    assert!(browser.text("[data-secret]").await.starts_with("whsec_"));
    browser.until_text("#progress", "Waiting for your click").await;
    browser.picture(&format!("{name}-waiting")).await;

    click_test_link(&stack, &browser).await;
    see_it_arrive(&browser, options).await;
    browser.picture(&format!("{name}-arrived")).await;
    if options.has_scripts {
        assert_eq!(browser.overflow().await, 0, "nothing has to be scrolled sideways");
    }
    let received = subscriber.received(1).await;
    assert!(received[0].header("webhook-signature").is_some());

    browser.follow("To the webhook").await;
    // what is folded opens by its summary
    browser.click("#secrets details summary").await;
    browser.press("Rotate now").await;
    let rotated = browser.text(".notice").await;
    assert!(rotated.contains("A new secret signs"), "{rotated}");
    browser.picture(&format!("{name}-webhook")).await;

    // the second click is refused, then sent again by hand
    let endpoint = browser.client.current_url().await.expect("a page").path().to_owned();
    stack.click(&test_link(&stack).await).await;
    subscriber.received(2).await;
    browser.open(&format!("{console}{endpoint}/deliveries?status=pending")).await;
    until_there(&browser, "tbody td a").await;
    browser.click("tbody td a").await;
    browser.until_text("#why", "the answer was 500").await;
    browser.picture(&format!("{name}-delivery")).await;
    browser.press("Send again now").await;
    subscriber.received(3).await;

    // and all of it once more, by a replay of what was chosen
    browser.open(&format!("{console}{endpoint}/deliveries")).await;
    browser.click("input[name=delivery_ids]").await;
    browser.press("Send the chosen ones again").await;
    browser.press("Send them now").await;
    subscriber.received(4).await;
    if !options.has_scripts {
        browser.open(&format!("{console}{endpoint}/replays")).await;
    }
    reload_until(&browser, options, "main", "1 of 1 in line").await;
    browser.picture(&format!("{name}-replay")).await;
    browser.close().await;
}

/// A person clicks the link that the wizard shows. Its host is not this machine's: the click is made for them.
async fn click_test_link(stack: &Stack, browser: &Browser) {
    let url = browser.text("[data-test-link]").await;
    let slug = url.rsplit('/').next().expect("a slug");
    assert_eq!(stack.visit(slug, &PERSON).await.status(), StatusCode::FOUND);
}

async fn see_it_arrive(browser: &Browser, options: Options) {
    reload_until(browser, options, "#progress", "It works").await;
    let told = browser.text("#progress").await;
    for step in [
        "Redirected",
        "Enriched",
        "Recorded",
        "Matched",
        "Delivered",
        "Rome, Italy",
        "verifies with the stored secret",
    ] {
        assert!(told.contains(step), "{step}: {told}");
    }
}

/// With scripts the page looks again by itself; without, the person does.
async fn reload_until(browser: &Browser, options: Options, selector: &str, expected: &str) {
    if options.has_scripts {
        browser.until_text(selector, expected).await;
        return;
    }
    testkit::until(crate::services::LIMIT, || async {
        let is_there = browser.text(selector).await.contains(expected);
        if !is_there {
            browser.client.refresh().await.ok()?;
        }
        is_there.then_some(())
    })
    .await;
}

/// Waits until the page has such an element, looking again.
async fn until_there(browser: &Browser, selector: &str) {
    testkit::until(crate::services::LIMIT, || async {
        let is_there = browser.has(selector).await;
        if !is_there {
            browser.client.refresh().await.ok()?;
        }
        is_there.then_some(())
    })
    .await;
}

async fn test_link(stack: &Stack) -> crate::stack::Link {
    let (_, links) = stack.api(Method::GET, "/v1/links", Value::Null).await;
    let text = |name: &str| links["data"][0][name].as_str().expect("a text").to_owned();
    assert_eq!(links["data"][0]["tags"], json!(["test"]));
    crate::stack::Link { id: text("id"), slug: text("slug") }
}

#[tokio::test]
async fn a_person_sets_up_a_webhook_clicks_and_sees_it_arrive_rotates_retries_and_replays() {
    walk(Options::default(), "wide").await;
}

#[tokio::test]
async fn the_same_works_on_a_phone() {
    walk(Options { size: (390, 844), ..Options::default() }, "phone").await;
}

#[tokio::test]
async fn the_same_works_without_scripts() {
    walk(Options { has_scripts: false, ..Options::default() }, "plain").await;
}
