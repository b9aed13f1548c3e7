//! Bodies of the API, mutated: whatever is refused is refused by the name of a field, and no field is overlooked.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use super::*;
use crate::desk::domain_body::NewDomain;
use crate::desk::endpoint_body::{EndpointChange, NewEndpoint};
use crate::desk::link_body::NewLink;
use crate::desk::link_change::LinkChange;
use crate::desk::replay_body::NewReplay;
use crate::desk::settings::SettingsChange;

/// One step away from a sound body.
#[derive(Debug, Clone)]
enum Mutation {
    /// Another value in the place of one.
    Replace(Index, Value),
    /// A field of an object, or an entry of a list, less.
    Remove(Index),
    /// A field of an object, or an entry of a list, more.
    Add(Index, String, Value),
}

/// Words that a rule somewhere may stumble over, beside any text.
const WORDS: [&str; 24] = [
    "",
    " ",
    "\0",
    "null",
    "*",
    "link.*",
    "$and",
    "$not",
    "$in",
    "verdicts",
    "/",
    "~1",
    "a/b~c",
    "-1",
    "v1a",
    "strict",
    "default",
    "basic",
    "javascript:alert(1)",
    "http://127.0.0.1:9/",
    "https://[::1]/%00",
    "2026-11-23T14:16:12Z",
    "9999999-12-31T23:59:60Z",
    "whe_01jd8m3x5v9k2n4p6q8r0s1t3w",
];

fn a_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
        3 => "\\PC{0,40}",
        1 => any::<String>(),
        1 => (prop::sample::select(&["x", "é", "https://example.com/", "a,"][..]), 1000usize..10_000)
            .prop_map(|(part, bytes)| part.repeat(bytes / part.len())),
    ]
}

fn a_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        2 => any::<i64>().prop_map(Value::from),
        2 => (-2i64..3000).prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        6 => a_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((a_text(), inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let one = prop_oneof![
        4 => (any::<Index>(), a_value()).prop_map(|(at, value)| Mutation::Replace(at, value)),
        1 => any::<Index>().prop_map(Mutation::Remove),
        1 => (any::<Index>(), a_text(), a_value()).prop_map(|(at, name, value)| Mutation::Add(at, name, value)),
    ];
    prop::collection::vec(one, 0..5)
}

/// The pointers of a value and of everything in it.
fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let step = name.replace('~', "~0").replace('/', "~1");
                pointers(value, format!("{at}/{step}"), found);
            }
        }
        Value::Array(values) => {
            for (number, value) in values.iter().enumerate() {
                pointers(value, format!("{at}/{number}"), found);
            }
        }
        _ => {}
    }
    found.push(at);
}

fn mutated(mut body: Value, mutations: &[Mutation]) -> Value {
    for mutation in mutations {
        let mut found = Vec::new();
        pointers(&body, String::new(), &mut found);
        let (Mutation::Replace(at, _) | Mutation::Remove(at) | Mutation::Add(at, ..)) = mutation;
        let place = body.pointer_mut(&found[at.index(found.len())]).expect("it was found there");
        match (mutation, place) {
            (Mutation::Replace(_, value), place) => *place = value.clone(),
            (Mutation::Remove(at), Value::Object(object)) if !object.is_empty() => {
                let names: Vec<String> = object.keys().cloned().collect();
                object.remove(at.get(&names));
            }
            (Mutation::Remove(_), Value::Array(values)) => {
                values.pop();
            }
            (Mutation::Add(_, name, value), Value::Object(object)) => {
                object.insert(name.clone(), value.clone());
            }
            (Mutation::Add(_, _, value), Value::Array(values)) => values.push(value.clone()),
            (Mutation::Remove(_) | Mutation::Add(..), _) => {}
        }
    }
    body
}

/// What is accepted is refused with an unknown field beside it, by that name alone; what is refused names places that are in
/// the body, or are missing right there, and no more of them than are told at once.
fn check<T: FromFields>(body: &Value) -> Result<(), TestCaseError> {
    let Err(error) = read::<T>(body) else {
        let mut more = body.clone();
        more["no_such_field"] = Value::Bool(true);
        let errors = read::<T>(&more).err().map(|error| error.field_errors()).unwrap_or_default();
        let named: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        prop_assert_eq!(named, ["/no_such_field"], "{}", body);
        return Ok(());
    };
    let errors = error.field_errors();
    prop_assert!((1..=ERRORS_MAX).contains(&errors.len()), "{} errors: {}", errors.len(), error);
    for FieldError { pointer, code, detail } in errors {
        let around = pointer.rsplit_once('/').map_or("", |(around, _)| around);
        prop_assert!(body.pointer(around).is_some(), "{pointer} ({detail}) is not in {body}");
        prop_assert!(!code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
        prop_assert!(!detail.trim().is_empty(), "{pointer} says nothing");
    }
    Ok(())
}

/// A body without these fields.
fn without(names: &[&str], mut body: Value) -> Value {
    if let Value::Object(object) = &mut body {
        object.retain(|name, _| !names.contains(&name.as_str()));
    }
    body
}

fn a_link() -> Value {
    json!({
        "url": "https://example.com/offer?a=1#b", "slug": "spring-sale", "domain": "go.example.com", "kind": "message",
        "campaign_id": "cmp_42", "contact_id": "cont_9", "external_id": "x-1", "tags": ["spring", "vip"],
        "metadata": {"order": "7"}, "starts_at": "2026-11-23T14:16:12Z", "expires_at": "2027-11-23T14:16:12+01:00",
        "expired_url": "https://example.com/over", "enabled": true, "tracking": "full", "status_code": 302,
        "query_mode": "append", "utm": {"source": "mail"}, "max_clicks": 10, "password": "a long pass phrase",
        "preview": {"title": "Spring", "image_url": "https://example.com/a.png"},
    })
}

fn an_endpoint() -> Value {
    json!({
        "url": "https://crm.example.com/hooks/clicks", "description": "CRM", "event_types": ["link.clicked", "endpoint.*"],
        "filter": {"location.country": {"$in": ["SE", "NO"]}, "$not": {"campaign_id": {"$startsWith": "test"}}},
        "headers": {"x-tenant": "42"}, "enabled": true, "max_in_flight": 10, "rate_per_second": 5, "rate_burst": 9,
        "retry_schedule": [5, 60, 3600], "timeout_ms": 1500, "permanent_statuses": [404, 422], "auto_disable": false,
        "payload": {"format": "standard_webhooks"}, "batch": {}, "delivery": "push", "signatures": ["v1", "v1a"],
        "auth": {"type": "basic", "username": "clickwire", "password": "secret"},
    })
}

fn a_replay() -> Value {
    json!({
        "endpoint_id": "whe_01jd8m3x5v9k2n4p6q8r0s1t3w", "since": "2026-11-23T00:00:00Z",
        "until": "2026-11-24T00:00:00Z", "status": "dead", "event_type": "link.*", "rate_per_second": 10, "dry_run": true,
    })
}

fn some_settings() -> Value {
    json!({
        "tracking": true, "anonymous": false, "channel_tracking": {"sms": "off"}, "campaign_tracking": {"cmp_42": "off"},
        "gpc_policy": "off", "address_policy": "drop", "fallback_url": "https://example.com/", "app_schemes": ["tel"],
    })
}

proptest! {
    #[test]
    fn whatever_a_link_says_it_is_read_or_refused_by_field(changes in mutations()) {
        let body = mutated(a_link(), &changes);

        check::<NewLink>(&body)?;
        check::<LinkChange>(&without(&["slug", "domain", "kind"], body))?;
    }

    #[test]
    fn whatever_an_endpoint_says_it_is_read_or_refused_by_field(changes in mutations()) {
        let body = mutated(an_endpoint(), &changes);

        check::<NewEndpoint>(&body)?;
        check::<EndpointChange>(&body)?;
    }

    #[test]
    fn whatever_a_replay_or_settings_say_they_are_read_or_refused_by_field(changes in mutations()) {
        check::<NewReplay>(&mutated(a_replay(), &changes))?;
        check::<SettingsChange>(&mutated(some_settings(), &changes))?;
    }

    #[test]
    fn any_json_is_read_or_refused_by_field(body in a_value()) {
        check::<NewLink>(&body)?;
        check::<NewEndpoint>(&body)?;
        check::<NewDomain>(&body)?;
    }
}

#[test]
fn the_bodies_that_are_mutated_are_sound_ones() {
    fn refusal<T: FromFields>(body: &Value) -> Option<String> {
        read::<T>(body).err().map(|error| error.to_string())
    }

    assert_eq!(refusal::<NewLink>(&a_link()), None);
    assert_eq!(refusal::<LinkChange>(&without(&["slug", "domain", "kind"], a_link())), None);
    assert_eq!(refusal::<NewEndpoint>(&an_endpoint()), None);
    assert_eq!(refusal::<EndpointChange>(&an_endpoint()), None);
    assert_eq!(refusal::<NewReplay>(&a_replay()), None);
    assert_eq!(refusal::<SettingsChange>(&some_settings()), None);
}
