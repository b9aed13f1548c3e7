//! The contract says what a webhook says: field by field, and no other.

use std::collections::BTreeSet;

use chrono::Utc;
use model::WorkspaceId;
use serde_json::Value;

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
