//! A running API of one test, and short ways to talk to it.

use std::time::Duration;

use bus::Message as _;
use chrono::{DateTime, Utc};
use model::delivery::{Attempt, DeliveryStatus, ErrorClass, Timings};
use model::secret::ApiKey;
use model::{DeliveryId, EnrichedClick, WorkspaceId};
use reqwest::{Client, Method, RequestBuilder, Response, redirect};
use serde_json::{Value, json};
use store::api_keys::{self, NewKey};
use store::attempts::{NewAttempt, Trigger};
use store::clicks;
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::rollups::{self, Grain};
use testkit::{HeldTable, TestDatabase, TestNats, given, until};
use tokio_util::sync::CancellationToken;

/// How long something may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// An API with a workspace, its domain `localhost` and a key for everything.
pub struct Api {
    pub url: String,
    pub ops_url: String,
    pub workspace_id: WorkspaceId,
    pub key: String,
    pub pool: store::Pool,
    pub bus: Option<bus::Bus>,
    pub stop: CancellationToken,
    client: Client,
    database: Option<TestDatabase>,
    /// Its broker, kept alive as long as the test.
    pub nats: Option<TestNats>,
}

/// What an answer said.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub etag: Option<String>,
    pub content_type: String,
}

impl Answer {
    /// What its entity tag says of the revision.
    pub fn revision(&self) -> Option<&str> {
        self.etag.as_deref()?.trim_matches('"').split('-').next()
    }
}

/// Settings on free ports, with loopback as the only private network that may be posted to.
pub fn settings(database: store::Settings, nats: bus::Settings) -> api::Settings {
    let key = webhook::sealing::generate_key();
    let variables = [
        ("CLICKWIRE__API__ADDR", "127.0.0.1:0"),
        ("CLICKWIRE__API__OPS_ADDR", "127.0.0.1:0"),
        ("CLICKWIRE__SEALING__KEY", key.as_str()),
        ("CLICKWIRE__MINTING__KEY", key.as_str()),
        ("CLICKWIRE__DELIVER__ALLOWED_NETWORKS", "127.0.0.0/8,::1/128"),
        // `discard`: nobody listens there
        ("CLICKWIRE__DELIVER__ALLOWED_PORTS", "9"),
        ("CLICKWIRE__API__ENDPOINTS_MAX", "5"),
        ("CLICKWIRE__API__SIGN_IN_FAILURES_MAX", "3"),
        ("CLICKWIRE__API__TEST_TIMEOUT", "5s"),
        ("CLICKWIRE__LINKS__DOMAIN_VERIFICATION", "off"),
        // all tests come from one address, and some ask much
        ("CLICKWIRE__API__REQUESTS_PER_SECOND", "100000"),
        ("CLICKWIRE__API__REQUESTS_BURST", "100000"),
        ("CLICKWIRE__API__WORKSPACE_REQUESTS_PER_SECOND", "100000"),
        ("CLICKWIRE__API__WORKSPACE_REQUESTS_BURST", "100000"),
        ("CLICKWIRE__API__UNKNOWN_REQUESTS_PER_SECOND", "100000"),
        ("CLICKWIRE__API__UNKNOWN_REQUESTS_BURST", "100000"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut settings: api::Settings =
        service::settings::load_from(api::Settings::DEFAULTS, None, variables).expect("settings");
    settings.database = database;
    settings.nats = nats;
    settings
}

impl Api {
    /// An API whose broker is away: most of it does not need one.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same with some settings changed.
    pub async fn start_with(change: impl FnOnce(&mut api::Settings)) -> Self {
        let database = TestDatabase::new().await;
        let nats = testkit::defaults(bus::DEFAULTS, "nats");
        let nats = bus::Settings { url: "nats://127.0.0.1:9".to_owned(), ..nats };
        let mut settings = settings(database.settings(), nats);
        change(&mut settings);
        let pool = database.pool();
        let mut api = Self::serve(settings, pool).await;
        api.database = Some(database);
        api
    }

    /// An API with a broker.
    pub async fn start_with_nats() -> Self {
        Self::start_with_nats_and(|_| {}).await
    }

    /// The same with some settings changed.
    pub async fn start_with_nats_and(change: impl FnOnce(&mut api::Settings)) -> Self {
        let (database, nats) = tokio::join!(TestDatabase::new(), TestNats::start());
        let mut settings = settings(database.settings(), nats.settings());
        change(&mut settings);
        let bus = nats.bus("test").await;
        let mut api = Self::serve(settings, database.pool()).await;
        (api.bus, api.nats, api.database) = (Some(bus), Some(nats), Some(database));
        api
    }

    /// Serves with these settings; the workspace is made through `pool`.
    pub async fn serve(settings: api::Settings, pool: store::Pool) -> Self {
        let mut conn = pool.get().await.expect("the database runs");
        let workspace_id = given::workspace(&mut conn).await;
        given::domain(&mut conn, workspace_id, "localhost").await;
        let key = given::api_key(&mut conn, workspace_id).await.reveal().to_owned();
        drop(conn);
        let app = api::App::build(settings).await.expect("the app is built");
        let url = format!("http://{}", app.addr());
        let ops_url = format!("http://{}", app.ops_addr().expect("ops are served"));
        let stop = CancellationToken::new();
        tokio::spawn(app.run(stop.clone()));
        let client = Client::builder().redirect(redirect::Policy::none()).build().expect("a client");
        Self { url, ops_url, workspace_id, key, pool, bus: None, stop, client, nats: None, database: None }
    }

    /// Another workspace of the same API, with a domain and a key for everything.
    pub async fn other_workspace(&self) -> (WorkspaceId, String) {
        let mut conn = self.pool.get().await.expect("the database runs");
        let other = given::workspace(&mut conn).await;
        given::domain(&mut conn, other, &format!("{}.example", other.to_string().replace('_', "-"))).await;
        (other, given::api_key(&mut conn, other).await.reveal().to_owned())
    }

    /// A key of the workspace with these scopes.
    pub async fn key_with(&self, scopes: &[&str], expires_at: Option<chrono::DateTime<Utc>>) -> String {
        let mut conn = self.pool.get().await.expect("the database runs");
        let key = ApiKey::generate();
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let new = NewKey {
            workspace_id: self.workspace_id,
            name: "Scoped",
            key: &key,
            scopes: &scopes,
            expires_at,
            created_by: "operator",
        };
        api_keys::insert(&mut conn, new, Utc::now()).await.expect("a key").expect("a new key");
        key.reveal().to_owned()
    }

    /// Revokes what [`Api::key_with`] made.
    pub async fn revoke_scoped_key(&self) {
        let keys = self.get("/v1/api-keys").await.body["data"].as_array().expect("keys").clone();
        let id = keys.iter().find(|key| key["name"] == "Scoped").expect("the key")["id"].clone();
        assert_eq!(self.delete(&format!("/v1/api-keys/{}", id.as_str().expect("an id"))).await.status, 204);
    }

    /// A request without a key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    /// A request with the key for everything.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.call_as(&self.key, method, path, body).await
    }

    pub async fn call_as(&self, key: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.request(method, path).bearer_auth(key);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        answer(request.send().await.expect("an answer")).await
    }

    /// Makes a link and tells its id.
    pub async fn link(&self) -> String {
        let made = self.post("/v1/links", json!({"url": "https://example.com/offer"})).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.body["id"].as_str().expect("an id").to_owned()
    }

    /// Makes an endpoint and tells its id.
    pub async fn endpoint(&self) -> String {
        let made = self.post("/v1/webhook-endpoints", json!({"url": "http://127.0.0.1:9/hook"})).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.body["id"].as_str().expect("an id").to_owned()
    }

    /// Everything that a table of its database holds.
    pub async fn dump(&self, table: &str) -> String {
        self.database.as_ref().expect("it has a database of its own").dump(table).await
    }

    /// Holds a table of its database: whoever reads it waits.
    pub async fn hold_from_readers(&self, table: &str) -> HeldTable {
        self.database.as_ref().expect("it has a database of its own").hold_from_readers(table).await
    }

    /// Waits until the API says that it is ready.
    pub async fn ready(&self) {
        until(LIMIT, || async {
            let answer = self.client.get(format!("{}/readyz", self.ops_url)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub async fn answer(response: Response) -> Answer {
    let text = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
    let (status, etag) = (response.status().as_u16(), text("etag"));
    let content_type = text("content-type").unwrap_or_default();
    let bytes = response.bytes().await.expect("a body");
    let body =
        if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
    Answer { status, body, etag, content_type }
}

/// What is left of an answer, and whether it came to its end: one that breaks off does not.
pub async fn rest_of(mut response: Response) -> (Vec<u8>, bool) {
    let mut rest = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => rest.extend_from_slice(&chunk),
            Ok(None) => return (rest, true),
            Err(_) => return (rest, false),
        }
    }
}

/// A click on a link of a workspace, as `enrich` tells of it.
pub fn enriched_click(workspace_id: WorkspaceId, link_id: &str) -> EnrichedClick {
    enriched_click_at(workspace_id, link_id, Utc::now())
}

/// The same of this moment.
pub fn enriched_click_at(workspace_id: WorkspaceId, link_id: &str, at: DateTime<Utc>) -> EnrichedClick {
    let mut click = webhook::payload::sample(workspace_id, at);
    click.test = false;
    click.click.link.id = link_id.parse().expect("an id");
    click
}

/// A click on a link, as `record` stores it.
pub async fn recorded_click(api: &Api, link_id: &str) -> EnrichedClick {
    recorded_click_at(api, link_id, Utc::now()).await
}

/// A click at this moment, as `record` stores it.
pub async fn recorded_click_at(api: &Api, link_id: &str, at: DateTime<Utc>) -> EnrichedClick {
    let click = enriched_click_at(api.workspace_id, link_id, at);
    record(api, std::slice::from_ref(&click)).await;
    click
}

/// Stores clicks as `record` does.
pub async fn record(api: &Api, enriched: &[EnrichedClick]) {
    let mut conn = api.pool.get().await.expect("the database runs");
    for enriched in enriched.chunks(1000) {
        let events: Vec<_> = enriched.iter().map(|click| click.outgoing().payload).collect();
        let new = enriched.iter().zip(&events).map(|(click, event)| clicks::NewClick { click, event });
        let new: Vec<_> = new.collect();
        clicks::record(&mut conn, &new, Utc::now()).await.expect("the clicks are stored");
    }
}

/// Counts the clicks that are recorded, as `record` does in the background.
pub async fn count_clicks(api: &Api) {
    let mut conn = api.pool.get().await.expect("the database runs");
    let later = Utc::now() + chrono::TimeDelta::days(1);
    for grain in [Grain::Quarter, Grain::Day] {
        for bucket in rollups::due(&mut conn, grain, later, 1000).await.expect("buckets") {
            rollups::recount(&mut conn, bucket, Utc::now()).await.expect("it is counted");
        }
    }
}

/// A delivery of a click that failed at its first attempt, as `deliver` stores it.
pub async fn failed_delivery(api: &Api, endpoint_id: &str, click: &EnrichedClick) -> DeliveryId {
    let now = Utc::now();
    let id = DeliveryId::generate_at(click.click.clicked_at);
    let attempt = Attempt {
        started_at: now,
        duration_ms: 34,
        status: Some(500),
        error: Some(ErrorClass::Status),
        error_detail: Some("answered 500".to_owned()),
        request_headers: vec![("webhook-id".to_owned(), click.event_id.to_string())],
        response_headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        response_body: Some("out of order".to_owned()),
        remote_ip: Some("127.0.0.1".to_owned()),
        timings: Timings {
            dns_us: Some(400),
            connect_us: Some(1500),
            tls_us: Some(2500),
            first_byte_us: Some(33_000),
            is_reused: Some(false),
        },
    };
    let new = NewDelivery {
        id,
        workspace_id: api.workspace_id,
        owed: Owed { endpoint_id: endpoint_id.parse().expect("an id"), event_id: click.event_id },
        event_type: "link.clicked",
        click_id: Some(click.click.id),
        told_revision: 0,
        progress: Progress {
            status: DeliveryStatus::Dead,
            attempt_count: 1,
            next_attempt_at: None,
            attempted_at: Some(now),
            finished_at: Some(now),
            duration_ms: Some(34),
            last_status: Some(500),
            last_error: Some("status"),
            response_body: Some("out of order".to_owned()),
            body: Some(b"{}".to_vec()),
            throttled: 0,
            timings: model::delivery::Timings::default(),
        },
        leased_until: None,
        line: None,
    };
    let attempt = NewAttempt {
        delivery_id: id,
        workspace_id: api.workspace_id,
        number: 1,
        trigger: Trigger::Schedule,
        url: Some("http://127.0.0.1:9/hook".to_owned()),
        attempt,
    };
    let mut conn = api.pool.get().await.expect("the database runs");
    let us = id.uuid();
    deliveries::insert(&mut conn, &[new], &[attempt], us, now).await.expect("the delivery is stored");
    id
}

/// Waits until a query waits for a lock that another holds.
pub async fn until_one_waits_for_another(api: &Api) {
    until(LIMIT, || async {
        let mut conn = api.pool.get().await.ok()?;
        (store::locks::waiting(&mut conn).await.ok()? > 0).then_some(())
    })
    .await;
}
