//! Everything a click passes, running: the five processes, NATS, PostgreSQL; and a person who uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bus::ConsumerName;
use futures::future::join_all;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use testkit::{OwnDatabase, Received, Subscriber, TestDatabase, TestNats, given, until};

use crate::services::{LIMIT, Services};

/// The domain that links are served under.
pub const HOST: &str = "go.example.com";

/// An address in Rome, as the location data that are compiled in know.
pub const ROME: &str = "82.90.81.233";

/// A browser that a person uses.
pub const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 \
                          (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";

/// People who click at the same time, and how long each takes for the next click.
pub const VISITORS: usize = 4;
const BETWEEN_CLICKS: Duration = Duration::from_millis(10);

/// The running system.
pub struct Stack {
    pub services: Services,
    pub nats: TestNats,
    pub database: Database,
    pub visitors: Visitors,
    /// An API key of the workspace that owns [`HOST`].
    pub key: String,
    pub client: reqwest::Client,
}

/// Where the stack keeps what it knows.
pub enum Database {
    /// In the cluster that all tests share.
    Shared(TestDatabase),
    /// In a cluster that the test may kill.
    Own(OwnDatabase),
}

/// People who click.
#[derive(Clone)]
pub struct Visitors {
    client: reqwest::Client,
    port: u16,
}

/// A tracked link.
pub struct Link {
    pub id: String,
    pub slug: String,
}

/// An endpoint that a subscriber listens behind.
pub struct Endpoint {
    pub id: String,
    pub secret: String,
}

impl Stack {
    /// Starts everything and waits until it is ready.
    pub async fn start() -> Self {
        Self::start_with(Database::Shared(TestDatabase::new().await)).await
    }

    /// Like [`Stack::start`], with this database.
    pub async fn start_with(database: Database) -> Self {
        Self::start_as(database, &[]).await
    }

    /// Like [`Stack::start_with`], with these settings: `("REDIRECT__WORKERS", "1")`.
    pub async fn start_as(database: Database, settings: &[(&str, &str)]) -> Self {
        let nats = TestNats::start().await;
        let mut services = Services::new(database.url(), nats.url());
        for (name, value) in settings {
            services.set(name, value);
        }
        Self::start_around(database, nats, services).await
    }

    /// Like [`Stack::start_with`], with this broker, and processes that have their settings.
    pub async fn start_around(database: Database, nats: TestNats, mut services: Services) -> Self {
        services.start_all().await;
        let client =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
        let client = client.expect("a client");
        let visitors = Visitors { client: client.clone(), port: services.redirect_port };
        let mut stack = Self { services, nats, database, visitors, key: String::new(), client };
        stack.key = stack.workspace(HOST).await;
        stack
    }

    /// A workspace with this domain; returns an API key for it.
    pub async fn workspace(&self, host: &str) -> String {
        let mut conn = self.database.pool().get().await.expect("a connection");
        let workspace_id = given::workspace(&mut conn).await;
        given::domain(&mut conn, workspace_id, host).await;
        given::api_key(&mut conn, workspace_id).await.reveal().to_owned()
    }

    /// Asks the API with the stack's key.
    pub async fn api(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        self.api_as(&self.key, method, path, body).await
    }

    /// Asks the API.
    pub async fn api_as(&self, key: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let url = format!("http://127.0.0.1:{}{path}", self.services.api_port);
        let mut request = self.client.request(method, url).bearer_auth(key);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.expect("the API answers");
        let status = response.status();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Makes a link to `https://example.com/offer`, with these fields added.
    pub async fn link(&self, more: Value) -> Link {
        let body = merged(json!({"url": "https://example.com/offer"}), more);
        let (status, link) = self.api(Method::POST, "/v1/links", body).await;
        assert_eq!(status, StatusCode::CREATED, "{link}");
        Link { id: text(&link["id"]), slug: text(&link["slug"]) }
    }

    /// Makes an endpoint for a subscriber, with these fields added.
    pub async fn endpoint(&self, subscriber: &Subscriber, more: Value) -> Endpoint {
        let body = merged(json!({"url": subscriber.url()}), more);
        let (status, endpoint) = self.api(Method::POST, "/v1/webhook-endpoints", body).await;
        assert_eq!(status, StatusCode::CREATED, "{endpoint}");
        Endpoint { id: text(&endpoint["id"]), secret: text(&endpoint["secret"]) }
    }

    /// A visit with these headers.
    pub async fn visit(&self, slug: &str, headers: &[(&str, &str)]) -> Response {
        self.visitors.visit(&format!("/{slug}"), headers).await.expect("an answer")
    }

    /// A form that a page of the redirect has, sent with these headers.
    pub async fn send_form(&self, slug: &str, headers: &[(&str, &str)]) -> Response {
        self.visitors.send_form(&format!("/{slug}"), headers).await.expect("an answer")
    }

    /// Waits until nobody has anything to do that stands on a stream.
    pub async fn settled(&self, bus: &bus::Bus) {
        until(LIMIT, async || {
            for consumer in [ConsumerName::Enrich, ConsumerName::Record, ConsumerName::Deliver] {
                if bus.pending(consumer).await.ok()? > 0 {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// A person in Rome clicks on a phone and is redirected.
    pub async fn click(&self, link: &Link) {
        let response = self.visit(&link.slug, &PERSON).await;
        assert_eq!(response.status(), StatusCode::FOUND);
    }
}

impl Database {
    /// Where it is.
    pub fn url(&self) -> &str {
        match self {
            Self::Shared(database) => database.url(),
            Self::Own(database) => database.url(),
        }
    }

    /// Connections to it.
    pub fn pool(&self) -> store::Pool {
        match self {
            Self::Shared(database) => database.pool(),
            Self::Own(database) => database.pool(),
        }
    }
}

impl Visitors {
    /// People click on `/{slug}?click={number}` while something happens: until it has, and at least so many times.
    /// Who gets no answer, because the redirect is down, tries again.
    pub async fn click_while<T>(
        &self,
        link: &Link,
        numbers: &AtomicU32,
        at_least: u32,
        happening: impl Future<Output = T>,
    ) -> T {
        let end = numbers.load(Ordering::SeqCst) + at_least;
        let has_happened = AtomicBool::new(false);
        let visitor = async || {
            while !has_happened.load(Ordering::SeqCst) || numbers.load(Ordering::SeqCst) < end {
                let number = numbers.fetch_add(1, Ordering::SeqCst);
                let path = format!("/{}?click={number}", link.slug);
                until(LIMIT, || async {
                    let response = self.visit(&path, &PERSON).await.ok()?;
                    (response.status() == StatusCode::FOUND).then_some(())
                })
                .await;
                tokio::time::sleep(BETWEEN_CLICKS).await;
            }
        };
        let happening = async {
            let result = happening.await;
            has_happened.store(true, Ordering::SeqCst);
            result
        };
        let (result, _) = tokio::join!(happening, join_all((0..VISITORS).map(|_| visitor())));
        result
    }

    async fn visit(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::Result<Response> {
        self.ask(Method::GET, path, headers).await
    }

    async fn send_form(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::Result<Response> {
        self.ask(Method::POST, path, headers).await
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> reqwest::Result<Response> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let request = self.client.request(method, url).header("host", HOST);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await
    }
}

/// What a person's request carries; the address comes from a proxy that is trusted.
pub const PERSON: [(&str, &str); 7] = [
    ("user-agent", IPHONE),
    ("x-forwarded-for", ROME),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "it-IT,it;q=0.9"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "none"),
];

/// The numbers of [`Visitors::click_while`] that have arrived, each with the ids it arrived under.
pub type Arrived = BTreeMap<u32, BTreeSet<String>>;

/// Notes what these requests tell of.
pub fn note_arrived(arrived: &mut Arrived, requests: &[Received]) {
    for request in requests {
        let body = body(request);
        let url = body["data"]["link"]["destination_url"].as_str().expect("a URL");
        let number = url.split_once("click=").and_then(|(_, number)| number.parse().ok()).expect("a number");
        let id = request.header("webhook-id").expect("an id");
        arrived.entry(number).or_default().insert(id.to_owned());
    }
}

/// The JSON that was posted.
pub fn body(request: &Received) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

fn merged(mut one: Value, other: Value) -> Value {
    if let (Some(one), Value::Object(other)) = (one.as_object_mut(), other) {
        one.extend(other);
    }
    one
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
