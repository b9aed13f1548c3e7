//! Whose a domain is: links are made and served under it once a record of its name shows that it is the workspace's.

use std::sync::{Arc, Mutex};

use api::settings::DomainVerification;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{NameAnswer, NameServer};

use crate::harness::Api;

/// An API that asks a name server of the test, and what that has for the record of `go.example.com`.
struct Zone {
    api: Api,
    record: Arc<Mutex<NameAnswer>>,
    names: NameServer,
}

/// Where the record belongs.
const RECORD: &str = "_clickwire.go.example.com";

impl Zone {
    async fn start() -> Self {
        let record = Arc::new(Mutex::new(NameAnswer::Unknown));
        let told = record.clone();
        let names = NameServer::start(move |name, _| match name {
            RECORD => told.lock().expect("a record").clone(),
            _ => NameAnswer::Unknown,
        })
        .await;
        let addr = names.addr();
        let api = Api::start_with(|settings| {
            settings.links.domain_verification = DomainVerification::Required;
            settings.deliver.dns_servers = vec![addr];
        })
        .await;
        Self { api, record, names }
    }

    fn has(&self, texts: &[&str]) {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        *self.record.lock().expect("a record") = NameAnswer::Texts(texts);
    }

    fn answers(&self, answer: NameAnswer) {
        *self.record.lock().expect("a record") = answer;
    }
}

async fn verify(api: &Api, key: &str, domain: &Value) -> (u16, Value) {
    let path = format!("/v1/domains/{}/verify", domain["id"].as_str().expect("an id"));
    let answer = api.call_as(key, Method::POST, &path, None).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn links_are_made_under_a_domain_once_its_record_shows_whose_it_is() {
    let zone = Zone::start().await;
    let api = &zone.api;
    let added = api.post("/v1/domains", json!({"host": "go.example.com"})).await;
    let shown = &added.body["verification"];
    assert_eq!(
        (added.status, &shown["status"], &shown["record_name"]),
        (201, &json!("pending"), &json!(RECORD))
    );
    let value = shown["record_value"].as_str().expect("a value").to_owned();
    let link = json!({"url": "https://example.com/", "domain": "go.example.com"});

    let early = api.post("/v1/links", link.clone()).await;
    assert_eq!((early.status, &early.body["errors"][0]["code"]), (422, &json!("domain_unverified")));
    let detail = early.body["errors"][0]["detail"].as_str().expect("a detail");
    assert!(detail.contains(RECORD) && detail.contains(&value), "{detail}");
    for (answer, reason) in [
        (NameAnswer::Unknown, "no_record"),
        (NameAnswer::Texts(Vec::new()), "no_record"),
        (
            NameAnswer::Texts(vec!["v=spf1 -all".to_owned(), value[..value.len() - 1].to_owned()]),
            "other_record",
        ),
        (NameAnswer::Failure, "no_answer"),
        (NameAnswer::Silence, "no_answer"),
    ] {
        zone.answers(answer);
        let (status, failed) = verify(api, &api.key, &added.body).await;
        let failed = &failed["verification"];
        assert_eq!((status, &failed["status"], &failed["reason"]), (200, &json!("failed"), &json!(reason)));
        assert!(failed["checked_at"].is_string() && failed["verified_at"].is_null(), "{failed}");
    }
    zone.has(&["v=spf1 -all", &value]);
    let (_, verified) = verify(api, &api.key, &added.body).await;

    assert_eq!(verified["verification"]["status"], "verified");
    assert_eq!(verified["verification"]["reason"], Value::Null);
    assert_eq!(api.post("/v1/links", link).await.status, 201);
    let path = format!("/v1/domains/{}", added.body["id"].as_str().expect("an id"));
    assert_eq!(api.patch(&path, json!({"default": true})).await.status, 200);
    zone.answers(NameAnswer::Unknown);
    let (_, still) = verify(api, &api.key, &added.body).await;
    assert_eq!(still["verification"]["status"], "verified", "what was shown once stays so");
    assert!(zone.names.asked("go.example.com") == 0, "nobody connects there");
}

#[tokio::test]
async fn several_may_claim_a_domain_and_who_shows_it_first_has_it() {
    let zone = Zone::start().await;
    let api = &zone.api;
    let (_, other) = api.other_workspace().await;
    let new = json!({"host": "go.example.com"});
    let own = api.post("/v1/domains", new.clone()).await.body;
    let theirs = api.call_as(&other, Method::POST, "/v1/domains", Some(new.clone())).await;
    assert_eq!(theirs.status, 201, "a claim keeps nobody out");
    let token = |domain: &Value| domain["verification"]["record_value"].as_str().expect("a value").to_owned();
    assert_ne!(token(&own), token(&theirs.body));

    zone.has(&[&token(&theirs.body)]);
    assert_eq!(verify(api, &api.key, &own).await.1["verification"]["reason"], "other_record");
    assert_eq!(verify(api, &other, &own).await.0, 404, "another workspace's");
    assert_eq!(verify(api, &other, &theirs.body).await.1["verification"]["status"], "verified");
    zone.has(&[&token(&own)]);
    let (status, late) = verify(api, &api.key, &own).await;

    assert_eq!((status, &late["code"]), (409, &json!("host_taken")));
    assert_eq!(api.delete(&format!("/v1/domains/{}", own["id"].as_str().expect("an id"))).await.status, 204);
    assert_eq!(api.post("/v1/domains", new).await.body["code"], "host_taken");
}

#[tokio::test]
async fn a_domain_that_nobody_has_shown_is_no_default_and_an_address_is_never_shown() {
    let zone = Zone::start().await;
    let api = &zone.api;

    let default = api.post("/v1/domains", json!({"host": "go.example.com", "default": true})).await;
    let address = api.post("/v1/domains", json!({"host": "192.0.2.1"})).await.body;
    let pending = api.post("/v1/domains", json!({"host": "go.example.com"})).await.body;

    assert_eq!((default.status, &default.body["errors"][0]["pointer"]), (422, &json!("/default")));
    assert_eq!(verify(api, &api.key, &address).await.1["verification"]["reason"], "no_name");
    let path = format!("/v1/domains/{}", pending["id"].as_str().expect("an id"));
    assert_eq!(api.patch(&path, json!({"default": true})).await.status, 422);
    let reader = api.key_with(&["settings:read"], None).await;
    assert_eq!(verify(api, &reader, &pending).await.0, 403);
    let lines = "{\"url\": \"https://example.com/\", \"domain\": \"go.example.com\"}\n";
    let bulk = api.request(Method::POST, "/v1/links/bulk").bearer_auth(&api.key);
    let bulk =
        bulk.header("content-type", "application/x-ndjson").body(lines).send().await.expect("an answer");
    let told = bulk.text().await.expect("a body");
    assert!(told.contains("domain_unverified"), "{told}");
}

#[tokio::test]
async fn where_no_proof_is_required_a_domain_is_used_at_once() {
    let api = Api::start().await;

    let added = api.post("/v1/domains", json!({"host": "go.example.com"})).await;

    assert_eq!((added.status, &added.body["verification"]["status"]), (201, &json!("verified")));
}
