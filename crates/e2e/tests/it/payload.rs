//! The contract says what a webhook says: field by field, and no other.

use std::collections::BTreeSet;

use chrono::{TimeZone as _, Utc};
use model::event_type::LINK_CLICKED;
use model::{EnrichedClick, EventId, WorkspaceId};
use serde_json::{Value, json};
use webhook::shape::{FIELDS, ShapeChange};
use webhook::{Shape, Site};

/// The contract.
const README: &str = include_str!("../../../../proto/README.md");

/// Objects whose names are the customer's own.
const OPEN: [&str; 1] = ["link.metadata"];

#[test]
fn the_contract_names_every_field_of_a_webhook_and_no_other() {
    let sample = webhook::payload::sample(WorkspaceId::generate(), Utc::now());
    let body: Value = serde_json::from_slice(&webhook::payload::link_clicked(&sample)).expect("JSON");
    let mut sent = BTreeSet::new();
    paths("", &body["data"], &mut sent);

    let (_, section) = README.split_once("## The body of a webhook\n").expect("the section is there");
    let section = section.split("\n## ").next().expect("there is a first part");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let named: BTreeSet<String> =
        rows.flat_map(|names| names.split(", ")).map(|name| name.trim_matches('`').to_owned()).collect();

    assert_eq!(named, sent);
}

/// The section with this heading.
fn section(heading: &str) -> &'static str {
    let (_, section) = README.split_once(&format!("\n## {heading}\n")).expect("the section is there");
    section.split("\n## ").next().expect("there is a first part")
}

fn shape(chosen: &Value) -> Shape {
    Shape::newest().changed(ShapeChange::parse(chosen).expect("a shape"))
}

/// The click of the examples.
fn click() -> EnrichedClick {
    let now = Utc.timestamp_millis_opt(1_795_443_372_345).single().expect("a moment");
    let mut click = webhook::payload::sample("wks_01kbr5zj7v0000000000000001".parse().expect("an id"), now);
    click.click.id = "clk_01kbr5zj7v0000000000000002".parse().expect("an id");
    click.event_id = EventId::of_click(click.click.id, 0);
    click.test = false;
    click
}

fn body(chosen: &Value) -> Value {
    let site = Site::new("https://clicks.example.com");
    serde_json::from_slice(&shape(chosen).of_click(LINK_CLICKED, &click(), &site)).expect("JSON")
}

#[test]
fn the_contract_shows_each_format_as_it_is_sent() {
    let blocks = section("Shapes of the body").split("```json\n").skip(1);
    let shown: Vec<Value> = blocks
        .map(|block| serde_json::from_str(block.split("```").next().expect("an end")).expect("JSON"))
        .collect();
    let [choice, cloud_event, request, slack] = &shown[..] else { panic!("{} examples", shown.len()) };

    assert_eq!(shape(choice).to_json(), *choice);
    let few = json!({ "include": ["click_id", "contact_id", "link.tracked_url", "location.country"] });
    assert_eq!(body(&json!({ "format": "cloudevents", "fields": few })), *cloud_event);
    assert_eq!(body(&json!({ "format": "request", "fields": few })), *request);
    let of_people = json!({ "include": [
        "click_id", "clicked_at", "contact_id", "link.domain", "link.slug", "location.city",
        "location.country_name", "automation.verdict",
    ] });
    assert_eq!(body(&json!({ "format": "slack", "fields": of_people })), *slack);
}

#[test]
fn the_contract_names_what_each_profile_has() {
    let named = |profile: &str| {
        let (_, rest) =
            section("Shapes of the body").split_once(&format!("\n- `{profile}`")).expect("it is told");
        let told = rest.split("\n- ").next().and_then(|item| item.split("\n\n").next()).expect("a text");
        let names = told.split('`').skip(1).step_by(2);
        names.filter(|name| FIELDS.contains(name)).map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let sent = |profile: &str| {
        let mut sent = BTreeSet::new();
        paths("", &body(&json!({ "profile": profile }))["data"], &mut sent);
        sent
    };

    let full = sent("full");
    assert_eq!(named("standard"), full.difference(&sent("standard")).cloned().collect::<BTreeSet<_>>());
    let mut thin = sent("thin");
    assert!(thin.remove("url"));
    assert_eq!(named("thin"), thin);
}

/// The path of each value that is no object, or an open one.
fn paths(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !OPEN.contains(&path) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                paths(&path, value, found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}
