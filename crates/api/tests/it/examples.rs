//! The examples in the description are answers that the API gives.
//!
//! `CLICKWIRE_WRITE_EXAMPLES=1 cargo test -p api --test it -- the_examples_in_the_description` writes them.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::harness::Api;
use crate::tour::{Told, World};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/answers.json");

/// Set: the examples are written, not compared.
const WRITE: &str = "CLICKWIRE_WRITE_EXAMPLES";

/// Entries of a list that an example shows.
const ENTRIES_MAX: usize = 1;

#[tokio::test]
async fn the_examples_in_the_description_are_answers_that_the_api_gives() {
    let world = World::begin().await;
    let mut given = Map::new();
    for operation in world.in_order() {
        let told = world.ask(&operation).await;
        let content_type =
            told.headers.get("content-type").map(|value| value.to_str().expect("text").to_owned());
        let is_described = match &content_type {
            Some(content_type) => operation.answer_types.contains(content_type),
            None => operation.answer_types.is_empty(),
        };
        assert!(is_described, "{}: {content_type:?}: {}", operation.name(), told.text);
        let request = world.body(&operation).map_or(Value::Null, |body| text_or_json(&body));
        let example = json!({
            "path": world.path(&operation.pattern), "request": request, "status": told.status, "answer": answer(&told),
        });
        given.insert(operation.name(), example);
    }

    let given = as_public(&Value::Object(given));
    if std::env::var_os(WRITE).is_some() {
        let text = serde_json::to_string_pretty(&given).expect("JSON") + "\n";
        std::fs::write(Path::new(FILE), text).expect("the examples are written");
        return;
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(FILE).expect("examples")).expect("JSON");
    let names = |value: &Value| value.as_object().expect("examples").keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&kept), names(&given), "{WRITE}=1 writes {FILE}");
    for (name, given) in given.as_object().expect("examples") {
        assert_eq!(kept[name]["status"], given["status"], "{name}");
        for part in ["request", "answer"] {
            if let Some(place) = differ(&kept[name][part], &given[part], part) {
                panic!("{name} is answered otherwise at {place}: {WRITE}=1 writes {FILE}\n{}", given[part]);
            }
        }
    }
}

#[tokio::test]
async fn the_description_shows_its_examples() {
    let api = Api::start().await;
    let document = api.get("/openapi.json").await.body;

    let link = &document["paths"]["/v1/links/{id}"]["get"]["responses"]["200"]["content"]["application/json"];
    assert_eq!(link["example"]["url"], "https://example.com/offer");
    let made = &document["paths"]["/v1/links"]["post"]["requestBody"]["content"]["application/json"];
    assert_eq!(made["example"]["campaign_id"], "spring");
    let page = crate::tour::told(api.request(reqwest::Method::GET, "/docs")).await.text;
    assert!(page.contains("&#34;campaign_id&#34;: &#34;spring&#34;"));
}

fn answer(told: &Told) -> Value {
    let kind = told.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind {
        "application/json" => shortened(&told.json()),
        "application/octet-stream" | "" => Value::Null,
        _ => told.text.lines().next().map_or(Value::Null, |line| format!("{line}\n").into()),
    }
}

fn text_or_json(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|_| body.into())
}

fn shortened(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().take(ENTRIES_MAX).map(shortened).collect(),
        Value::Object(object) => {
            object.iter().map(|(name, value)| (name.clone(), shortened(value))).collect()
        }
        value => value.clone(),
    }
}

/// What stands for a test's addresses and secrets in public.
fn as_public(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("whsec_") => {
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=".into()
        }
        Value::String(text) if text.starts_with("cw_") && text.len() > 20 => "cw_…".into(),
        Value::String(text) if text.starts_with("mint_") => {
            "mint_1_ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM".into()
        }
        Value::String(text) if text.contains("/welcome/") => {
            "https://clicks.example.com/welcome/x6oMFR8vjLQ3v2yZ7dUVmZ0yY5bq3nQeN1sT4wKc8aE".into()
        }
        Value::String(text) => text
            .replace("http://127.0.0.1:9", "https://crm.example.com")
            .replace("http://localhost:8080", "https://go.example.com")
            .replace("localhost", "go.example.com")
            .into(),
        Value::Array(values) => values.iter().map(as_public).collect(),
        Value::Object(object) => {
            object.iter().map(|(name, value)| (name.clone(), as_public(value))).collect()
        }
        value => value.clone(),
    }
}

/// Where two values have not the same shape: other fields, or other types. `null` may stand for anything.
fn differ(kept: &Value, given: &Value, place: &str) -> Option<String> {
    match (kept, given) {
        (Value::Object(kept), Value::Object(given)) => {
            let names = |object: &Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            if names(kept) != names(given) {
                return Some(place.to_owned());
            }
            kept.iter().find_map(|(name, kept)| differ(kept, &given[name], &format!("{place}/{name}")))
        }
        (Value::Array(kept), Value::Array(given)) => {
            let first = kept.first().zip(given.first());
            first.and_then(|(kept, given)| differ(kept, given, &format!("{place}/0")))
        }
        (Value::Null, _) | (_, Value::Null) => None,
        (kept, given) => {
            let is_same = std::mem::discriminant(kept) == std::mem::discriminant(given);
            (!is_same).then(|| place.to_owned())
        }
    }
}
