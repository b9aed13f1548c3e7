//! Why did no webhook come? Each cause is made, on the real processes, and found by all three that look: the wizard of a
//! webhook, the page of a link, and `clickwire why`; each names what to do.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{Answer, Subscriber, until};

use crate::console::Session;
use crate::services::{LIMIT, Service};
use crate::stack::{Endpoint, Link, PERSON, Stack};

/// A webhook that is tried with the workspace's test link.
struct Trial<'a> {
    stack: &'a Stack,
    session: Session<'a>,
    link: Link,
}

impl<'a> Trial<'a> {
    async fn of(stack: &'a Stack) -> Self {
        // cargo may have to build it first, and no wait is to count that
        stack.services.clickwire(&["--version"]).await;
        let session = Session::begin(stack).await;
        // the wizard makes the link where it has none
        let subscriber = Subscriber::start(Answer::Status(200)).await;
        let endpoint = stack.endpoint(&subscriber, json!({})).await;
        session.submit(&format!("/settings/webhooks/{}/try", endpoint.id)).await;
        let trial = Self { stack, session, link: test_link(stack).await };
        trial.remove(endpoint).await;
        trial
    }

    async fn remove(&self, endpoint: Endpoint) {
        let path = format!("/v1/webhook-endpoints/{}", endpoint.id);
        assert_eq!(self.stack.api(Method::DELETE, &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    }

    async fn patch(&self, path: &str, change: Value) {
        let (status, answer) = self.stack.api(Method::PATCH, path, change).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    async fn patch_link(&self, change: Value) {
        self.patch(&format!("/v1/links/{}", self.link.id), change).await;
    }

    /// Waits until all three name the cause and what to do about it.
    async fn is_told(&self, endpoint: &Endpoint, since: DateTime<Utc>, code: &str) {
        let since = since.to_rfc3339_opts(SecondsFormat::Millis, true);
        let wizard = format!("/settings/webhooks/{}/try/progress?since={since}", endpoint.id);
        let page = format!("/links/{}", self.link.id);
        let mark = format!("data-code=\"{code}\"");
        for path in [wizard, page] {
            let told = async || {
                let text = self.session.open(&path).await;
                let (_, finding) = text.split_once(&mark)?;
                let finding = finding.split("</li>").next()?.to_owned();
                Some(finding)
            };
            let finding = until(LIMIT, told).await;
            assert!(finding.contains("What to do:"), "{path}, {code}: {finding}");
        }
        let why = until(LIMIT, async || {
            let output = self.stack.services.clickwire(&["why", &self.link.id_url(), "--json"]).await;
            let findings: Vec<Value> = serde_json::from_slice(&output.stdout).ok()?;
            findings.into_iter().find(|finding| finding["code"] == code)
        })
        .await;
        assert!(why["fix"].is_string(), "{why}");
    }

    /// A webhook, a click by a person, and the cause.
    async fn click_is_told(&self, subscriber: &Subscriber, options: Value, code: &str) {
        let endpoint = self.stack.endpoint(subscriber, options).await;
        let since = Utc::now();
        self.stack.click(&self.link).await;
        self.is_told(&endpoint, since, code).await;
        self.remove(endpoint).await;
    }
}

impl Link {
    /// Its tracked URL.
    fn id_url(&self) -> String {
        format!("https://{}/{}", crate::stack::HOST, self.slug)
    }
}

async fn test_link(stack: &Stack) -> Link {
    let (_, links) = stack.api(Method::GET, "/v1/links", Value::Null).await;
    let link = &links["data"][0];
    assert_eq!(link["campaign_id"], "clickwire-test");
    let text = |name: &str| link[name].as_str().expect("a text").to_owned();
    Link { id: text("id"), slug: text("slug") }
}

#[tokio::test]
async fn a_click_that_triggers_nothing_is_explained() {
    let mut stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    {
        let trial = Trial::of(&stack).await;
        let endpoint = stack.endpoint(&subscriber, json!({})).await;

        trial.patch("/v1/settings/links", json!({"tracking": false})).await;
        trial.is_told(&endpoint, Utc::now(), "tracking_off").await;
        trial.patch("/v1/settings/links", json!({"tracking": true})).await;

        let soon = Utc::now() + TimeDelta::seconds(2);
        for (broken, mended, code) in [
            (json!({"tracking": "off"}), json!({"tracking": "inherit"}), "link_tracking_off"),
            (json!({"enabled": false}), json!({"enabled": true}), "link_disabled"),
            (json!({"starts_at": "2036-01-01T00:00:00Z"}), json!({"starts_at": null}), "link_not_started"),
            (json!({"expires_at": soon}), json!({"expires_at": null}), "link_expired"),
        ] {
            trial.patch_link(broken).await;
            trial.is_told(&endpoint, Utc::now(), code).await;
            trial.patch_link(mended).await;
        }
        trial.is_told(&endpoint, Utc::now(), "no_click").await;
        trial.remove(endpoint).await;
    }

    for (service, code) in [(Service::Enrich, "enrich_behind"), (Service::Deliver, "not_told")] {
        stack.services.kill(service).await;
        let endpoint = stack.endpoint(&subscriber, json!({})).await;
        {
            let trial =
                Trial { stack: &stack, session: Session::begin(&stack).await, link: test_link(&stack).await };
            let since = Utc::now();
            stack.click(&trial.link).await;
            trial.is_told(&endpoint, since, code).await;
            trial.remove(endpoint).await;
        }
        stack.services.launch(service);
        stack.services.wait_ready(service).await;
    }
}

#[tokio::test]
async fn a_webhook_that_gets_no_data_is_explained() {
    let stack = Stack::start().await;
    let trial = Trial::of(&stack).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;

    trial.click_is_told(&subscriber, json!({"filter": {"location.country": "NO"}}), "filtered").await;
    trial.click_is_told(&subscriber, json!({"event_types": ["endpoint.*"]}), "event_type").await;
    trial.click_is_told(&subscriber, json!({"enabled": false}), "endpoint_disabled").await;

    let paused = stack.endpoint(&subscriber, json!({})).await;
    let path = format!("/v1/webhook-endpoints/{}/pause", paused.id);
    assert_eq!(stack.api(Method::POST, &path, Value::Null).await.0, StatusCode::OK);
    let since = Utc::now();
    stack.click(&trial.link).await;
    trial.is_told(&paused, since, "endpoint_paused").await;
    trial.is_told(&paused, since, "pending").await;
    trial.remove(paused).await;

    let people = stack.endpoint(&subscriber, json!({"filter": {"verdicts": ["human", "unknown"]}})).await;
    let since = Utc::now();
    stack
        .visit(&trial.link.slug, &[("user-agent", "curl/8.5.0"), ("x-forwarded-for", crate::stack::ROME)])
        .await;
    trial.is_told(&people, since, "automated").await;
    trial.remove(people).await;
}

#[tokio::test]
async fn what_is_missing_or_late_is_explained() {
    let stack = Stack::start().await;
    let trial = Trial::of(&stack).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;

    // without files of the operator's own, only an extract is asked
    let everything = stack.endpoint(&subscriber, json!({})).await;
    for (address, code) in [("10.1.2.3", "location_no_public_address"), ("9.9.9.9", "location_no_data")] {
        let since = Utc::now();
        let mut headers = PERSON;
        headers[1].1 = address;
        stack.visit(&trial.link.slug, &headers).await;
        trial.is_told(&everything, since, code).await;
    }
    trial.is_told(&everything, Utc::now() - TimeDelta::minutes(1), "redacted").await;
    trial.remove(everything).await;

    trial.click_is_told(&subscriber, json!({"settle_ms": 600_000}), "settling").await;

    let slow = stack.endpoint(&subscriber, json!({"rate_per_second": 1, "rate_burst": 1})).await;
    let since = Utc::now();
    for _ in 0..60 {
        stack.click(&trial.link).await;
    }
    trial.is_told(&slow, since, "rate_limited").await;
    trial.remove(slow).await;

    let busy = Subscriber::start(Answer::Cut).await;
    let failing = stack.endpoint(&busy, json!({"retry_schedule": [600, 600]})).await;
    let since = Utc::now();
    let opened = async || {
        stack.click(&trial.link).await;
        let path = format!("/v1/deliveries?endpoint_id={}&limit=1", failing.id);
        let (_, deliveries) = stack.api(Method::GET, &path, Value::Null).await;
        (deliveries["data"][0]["attempt_count"] == 0).then_some(())
    };
    until(LIMIT, opened).await;
    trial.is_told(&failing, since, "circuit_open").await;
}

#[tokio::test]
async fn an_answer_that_is_wrong_is_explained() {
    let stack = Stack::start().await;
    let trial = Trial::of(&stack).await;

    for (answer, code) in [
        (Answer::Status(500), "answer_error"),
        (Answer::Status(401), "answer_refused"),
        (Answer::Status(404), "answer_no_route"),
        (Answer::Status(413), "answer_too_large"),
        (Answer::Status(422), "answer_unreadable"),
        (Answer::Redirect("https://example.com/".to_owned()), "answer_redirect"),
        (Answer::Hang, "timeout"),
        (Answer::Cut, "protocol"),
    ] {
        let subscriber = Subscriber::start(answer).await;
        let options = json!({"timeout_ms": 500, "retry_schedule": [600]});
        trial.click_is_told(&subscriber, options, code).await;
    }

    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let encrypted = subscriber.url().replace("http://", "https://");
    trial.click_is_told(&subscriber, json!({"url": encrypted, "retry_schedule": [600]}), "tls").await;
    let nobody = format!("http://127.0.0.1:{}/", embedded::free_port());
    trial.click_is_told(&subscriber, json!({"url": nobody, "retry_schedule": [600]}), "connect").await;
    let dead = Subscriber::start(Answer::Status(500)).await;
    trial.click_is_told(&dead, json!({"retry_schedule": []}), "dead").await;

    let (status, refused) =
        stack.api(Method::POST, "/v1/webhook-endpoints", json!({"url": "http://10.0.0.1/"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.to_string().contains("private address"), "{refused}");
    trial.address_that_is_forbidden_later().await;
}

impl Trial<'_> {
    /// A URL that was allowed when it was saved, and leads inside by now.
    async fn address_that_is_forbidden_later(&self) {
        let subscriber = Subscriber::start(Answer::Status(200)).await;
        let endpoint = self.stack.endpoint(&subscriber, json!({"retry_schedule": [600]})).await;
        self.stack.click(&self.link).await;
        let told = crate::stack::body(&subscriber.received(1).await[0]);
        let workspace_id = told["data"]["workspace_id"].as_str().expect("an id").parse().expect("an id");
        let id = endpoint.id.parse().expect("an id");
        let mut conn = self.stack.database.pool().get().await.expect("a connection");
        let mut options = store::endpoints::find(&mut conn, workspace_id, id)
            .await
            .expect("a query")
            .expect("there")
            .options;
        options.url = "http://10.0.0.1/".parse().expect("a URL");
        store::endpoints::update(&mut conn, workspace_id, id, &options, Utc::now()).await.expect("a change");
        drop(conn);
        let since = Utc::now();
        self.stack.click(&self.link).await;
        self.is_told(&endpoint, since, "blocked").await;
    }
}
