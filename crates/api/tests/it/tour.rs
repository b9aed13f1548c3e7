//! A tour of the whole API: every operation of its description, once, with something real to work on. A new route is on it by
//! itself when it only reads; one that changes something says here what it is to be asked with.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use model::delivery::{Attempt, TestReply, Timings};
use model::{PasswordHash, Role};
use reqwest::Method;
use serde_json::{Value, json};
use store::{memberships, people};
use tokio_util::sync::CancellationToken;

use crate::delivery_batches::failed_batch;
use crate::harness::{Api, answer, failed_delivery, recorded_click_at};
use crate::quarantine::put_aside;

/// How long the beginning of an answer is waited for, and what of a long one is read.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// An operation of the description.
#[derive(Debug, Clone)]
pub struct Operation {
    pub method: Method,
    /// Its address, with `{id}` in it.
    pub pattern: String,
    /// What a key needs for it; `None`: any key does.
    pub scope: Option<String>,
    pub tag: String,
    /// The media type of its body, if it takes one.
    pub body_type: Option<String>,
    /// The names of the fields of its body.
    pub fields: Vec<String>,
    /// The names of the parameters of its query.
    pub query: Vec<String>,
    /// The media types of its answers.
    pub answer_types: Vec<String>,
}

impl Operation {
    /// `GET /v1/links/{id}`.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.pattern)
    }

    /// Whether it may change something.
    pub fn is_unsafe(&self) -> bool {
        self.method != Method::GET
    }
}

/// Something of everything, in one workspace.
pub struct World {
    pub api: Api,
    /// A key with every scope, the operator's as well.
    pub key: String,
    pub operations: Vec<Operation>,
    ids: BTreeMap<&'static str, String>,
    spare_endpoint: String,
}

/// An answer.
pub struct Told {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    /// The beginning of its body.
    pub text: String,
}

impl Told {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

impl World {
    pub async fn begin() -> Self {
        let api = Api::start_with_nats().await;
        let bus = api.bus.clone().expect("a broker");
        tokio::spawn(async move { bus.serve_tests(|_| async { tested() }, CancellationToken::new()).await });
        let key = api.key_with(&["*", "admin"], None).await;
        let (link, endpoint, spare_endpoint) = (api.link().await, api.endpoint().await, api.endpoint().await);
        let before = Utc::now() - TimeDelta::minutes(10);
        let click = recorded_click_at(&api, &link, before).await;
        let delivery = failed_delivery(&api, &endpoint, &click).await;
        let (batch, _) = failed_batch(&api, &spare_endpoint, std::slice::from_ref(&click)).await;
        let replay = json!({"endpoint_id": endpoint, "delivery_ids": [delivery]});
        let replay = id_of(&api.post("/v1/replays", replay).await.body);
        let domain = id_of(&api.post("/v1/domains", json!({"host": "click.example.com"})).await.body);
        let made = json!({"name": "CRM integration", "scopes": ["links:read"]});
        let made = id_of(&api.post("/v1/api-keys", made).await.body);
        let template = format!("/v1/links/{link}/template");
        assert_eq!(api.call(Method::PUT, &template, None).await.status, 200);
        api.post(&format!("{template}/denied-recipients"), json!({"recipients": ["17"]})).await;
        let minting_key = id_of(&api.call(Method::POST, "/v1/minting-keys", None).await.body);
        let secrets = api.get(&format!("/v1/webhook-endpoints/{endpoint}/secrets")).await.body;
        let secret = id_of(&secrets["data"][0]);
        let quarantined = put_aside(&api, "clk_01jd8m3x5v9k2n4p6q8r0s1t3w", before, b"\x0a\x1aclk_").await;
        let ids = BTreeMap::from([
            ("links", link),
            ("by-external-id", "order-7".to_owned()),
            ("webhook-endpoints", endpoint),
            ("secrets", secret),
            ("deliveries", delivery.to_string()),
            ("delivery-batches", batch.to_string()),
            ("replays", replay),
            ("clicks", click.click.id.to_string()),
            ("contacts", "cont_erased".to_owned()),
            ("domains", domain),
            ("api-keys", made),
            ("quarantine", quarantined),
            ("minting-keys", minting_key),
            ("denied-recipients", "17".to_owned()),
        ]);
        let (person, invitation) = given_people(&api).await;
        let ids = ids.into_iter().chain([("people", person), ("invitations", invitation)]).collect();
        let operations = operations(&api).await;
        Self { api, key, operations, ids, spare_endpoint }
    }

    /// The address of an operation, about what this world holds.
    pub fn path(&self, pattern: &str) -> String {
        fill(pattern, |resource| {
            let id = self.ids.get(resource);
            id.unwrap_or_else(|| panic!("{pattern}: World::begin makes none of {resource}")).clone()
        })
    }

    /// Everything of this world that has an id.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.values().map(String::as_str).filter(|id| id.contains("_01"))
    }

    /// A body that the operation accepts; `None`: it takes none.
    pub fn body(&self, operation: &Operation) -> Option<String> {
        operation.body_type.as_ref()?;
        let body = match operation.name().as_str() {
            "POST /v1/links" => json!({
                "url": "https://example.com/offer", "campaign_id": "spring", "contact_id": "cont_9",
                "channel": "sms", "tags": ["sale"], "metadata": {"order": "7"},
            }),
            "POST /v1/links/bulk" => {
                return Some(
                    "{\"url\": \"https://example.com/a\"}\n{\"url\": \"https://example.com/b\"}\n".into(),
                );
            }
            "PATCH /v1/links/{id}" => json!({"url": "https://example.com/new-offer", "tags": ["spring"]}),
            "PUT /v1/links/by-external-id/{id}" => json!({"url": "https://example.com/order/7"}),
            "POST /v1/webhook-endpoints" => json!({
                "url": "http://127.0.0.1:9/hook", "description": "CRM", "event_types": ["link.clicked"],
            }),
            "PATCH /v1/webhook-endpoints/{id}" => {
                json!({"description": "CRM, Europe", "rate_per_second": 20})
            }
            "POST /v1/webhook-endpoints/{id}/preview-filter" => json!({}),
            "POST /v1/replays" => json!({
                "endpoint_id": self.spare_endpoint, "missing_only": true,
                "since": (Utc::now() - TimeDelta::hours(1)).to_rfc3339(),
            }),
            "POST /v1/clicks/{id}/verdict" => {
                json!({"verdict": "automated", "note": "Our own monitoring clicks every hour"})
            }
            "PATCH /v1/settings/links" => json!({"gpc_policy": "redact", "address_policy": "truncate"}),
            "PATCH /v1/settings" => json!({"alert": {"url": "http://127.0.0.1:9/alerts", "format": "slack"}}),
            "POST /v1/domains" => json!({"host": "go2.example.com"}),
            "PATCH /v1/domains/{id}" => {
                json!({"hsts_max_age": 86400, "fallback_url": "https://example.com/"})
            }
            "POST /v1/api-keys" => json!({"name": "Warehouse", "scopes": ["clicks:read", "deliveries:read"]}),
            "POST /v1/api-keys/{id}/rotate" | "POST /v1/webhook-endpoints/{id}/secrets" => {
                json!({"overlap_seconds": 3600})
            }
            "POST /v1/invitations" => json!({"email": "ada@example.com", "role": "operator"}),
            "POST /v1/links/{id}/template/denied-recipients" => json!({"recipients": ["1234567890123"]}),
            "PATCH /v1/people/{id}" => json!({"role": "operator"}),
            other => panic!("{other} takes a body: World::body says none that it accepts"),
        };
        Some(body.to_string())
    }

    /// Asks for an operation on what this world holds.
    pub async fn ask(&self, operation: &Operation) -> Told {
        let path = self.path(&operation.pattern);
        ask(&self.api, &self.key, operation, &path, self.body(operation)).await
    }

    /// Every operation in an order in which each finds what it is about: what looks, what changes, what takes away.
    pub fn in_order(&self) -> Vec<Operation> {
        let mut operations = self.operations.clone();
        operations.sort_by_key(|operation| {
            let ends = ["/erase", "/cancel", "/give-up"].iter().any(|end| operation.pattern.ends_with(end));
            match operation.method {
                Method::GET => 0,
                Method::DELETE if operation.pattern.contains("{secret_id}") => 3,
                Method::DELETE => 4,
                _ if ends => 2,
                _ => 1,
            }
        });
        operations
    }
}

/// Somebody who signs in, and a link for somebody else.
async fn given_people(api: &Api) -> (String, String) {
    let mut conn = api.pool.get().await.expect("the database runs");
    let email = "grace@example.com".parse().expect("an address");
    let password = PasswordHash::of("green tea at four").expect("randomness");
    let person = people::insert(&mut conn, &email, "Grace Hopper", &password, Utc::now()).await;
    let id = person.expect("a query").expect("a new address").id;
    memberships::insert(&mut conn, api.workspace_id, id, Role::Viewer, Utc::now()).await.expect("a member");
    let body = json!({"email": "joan@example.com", "role": "viewer"});
    let invitation = id_of(&api.post("/v1/invitations", body).await.body);
    (id.to_string(), invitation)
}

/// Operations whose query must say something, and what it says here.
const QUERIES: &[(&str, &str)] = &[("GET /v1/analytics/top", "?by=country")];

fn query(operation: &Operation) -> &'static str {
    let name = operation.name();
    QUERIES.iter().find(|(known, _)| *known == name).map_or("", |(_, query)| query)
}

/// Fills the ids in: `resource` is what stands before each.
pub fn fill(pattern: &str, id: impl Fn(&str) -> String) -> String {
    let mut before = "";
    let segments = pattern.split('/').map(|segment| {
        let filled = if segment.starts_with('{') { id(before) } else { segment.to_owned() };
        before = segment;
        filled
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Asks, and reads what comes soon of the answer: a stream that goes on is not waited for.
pub async fn ask(api: &Api, key: &str, operation: &Operation, path: &str, body: Option<String>) -> Told {
    let url = format!("{path}{}", query(operation));
    let mut request = api.request(operation.method.clone(), &url).bearer_auth(key);
    if let (Some(body), Some(body_type)) = (body, &operation.body_type) {
        request = request.header("content-type", body_type).body(body);
    }
    told(request).await
}

/// The head of an answer, and of its body what comes soon.
pub async fn told(request: reqwest::RequestBuilder) -> Told {
    let mut response =
        tokio::time::timeout(HEAD_LIMIT, request.send()).await.expect("in time").expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let is_live = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let mut bytes = Vec::new();
    if !is_live {
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout(HEAD_LIMIT, response.chunk()).await {
            bytes.extend_from_slice(&chunk);
        }
    }
    Told { status, headers, text: String::from_utf8_lossy(&bytes).into_owned() }
}

/// Every operation that is described.
pub async fn operations(api: &Api) -> Vec<Operation> {
    let document =
        answer(api.request(Method::GET, "/openapi.json").send().await.expect("an answer")).await.body;
    let mut operations = Vec::new();
    for (pattern, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("an item") {
            let body = operation["requestBody"]["content"].as_object();
            let body_type = body.and_then(|content| content.keys().next().cloned());
            let schema = body.and_then(|content| content.values().next()).map(|media| &media["schema"]);
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
            let answers = operation["responses"].as_object().expect("answers").iter();
            let good = answers.filter(|(status, _)| status.starts_with('2'));
            let contents = good.filter_map(|(_, answer)| answer["content"].as_object());
            operations.push(Operation {
                method: Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method"),
                pattern: pattern.clone(),
                scope: operation["security"][0]["api_key"][0].as_str().map(str::to_owned),
                tag: operation["tags"][0].as_str().expect("a tag").to_owned(),
                body_type,
                fields: schema.map(|schema| fields(&document, schema)).unwrap_or_default(),
                query: in_query.filter_map(|p| p["name"].as_str().map(str::to_owned)).collect(),
                answer_types: contents.flat_map(|content| content.keys().cloned()).collect(),
            });
        }
    }
    assert!(operations.len() >= 45, "{}", operations.len());
    operations
}

fn fields(document: &Value, schema: &Value) -> Vec<String> {
    let named = schema["$ref"].as_str().and_then(|path| document.pointer(path.trim_start_matches('#')));
    let properties = named.unwrap_or(schema)["properties"].as_object();
    properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
}

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("an id in {value}")).to_owned()
}

/// What `deliver` says of a test.
fn tested() -> TestReply {
    let attempt = Attempt {
        started_at: Utc::now(),
        duration_ms: 34,
        status: Some(204),
        error: None,
        error_detail: None,
        request_headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        response_headers: Vec::new(),
        response_body: None,
        remote_ip: Some("192.0.2.7".to_owned()),
        timings: Timings::default(),
    };
    TestReply::Attempted { attempt, request_body: "{\"type\":\"link.clicked\"}".to_owned() }
}
