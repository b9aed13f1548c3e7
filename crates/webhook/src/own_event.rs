//! The body of a webhook that tells of something other than a click: `endpoint.disabled`, `delivery.dead`, ….
//!
//! The envelope is that of a click. `data` begins with `workspace_id` and `endpoint_id`; what else stands in it depends
//! on the type, see [`sample`]. Where an endpoint is, is told by its host only: paths hold secrets now and then.

use chrono::{DateTime, TimeDelta, Utc};
use model::event_type::{LINK_CLICKED, is_of_click};
use model::{DeliveryId, EndpointId, EventId, KeyId, SecretId, WorkspaceId};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::envelope::Envelope;

/// An event that does not tell of a click.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnEvent {
    /// Its id.
    pub id: EventId,
    /// Whose it is.
    pub workspace_id: WorkspaceId,
    /// `noun.verb`.
    pub event_type: String,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// What is known of it, as it stands on EVENTS.
    pub data: Map<String, Value>,
}

#[derive(Serialize)]
struct Data {
    workspace_id: WorkspaceId,
    endpoint_id: Option<EndpointId>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl OwnEvent {
    /// The endpoint that it tells of.
    pub fn endpoint_id(&self) -> Option<EndpointId> {
        let id = |name| self.data.get(name).and_then(Value::as_str).and_then(|id| id.parse().ok());
        id("endpoint_id").or_else(|| id("id"))
    }

    /// Whether it tells of the delivery of an event that was not a click. Nobody is told of that by webhook: the
    /// webhook could fail like the one that it tells of, and so on for ever.
    pub fn tells_of_own_event(&self) -> bool {
        self.data.get("event_type").and_then(Value::as_str).is_some_and(|of| !is_of_click(of))
    }

    /// The bytes that are signed, sent and stored.
    pub fn body(&self) -> Vec<u8> {
        let envelope = Envelope::new(self.id, &self.event_type, self.occurred_at, self.told());
        serde_json::to_vec(&envelope).expect("keys are strings, and a Vec takes every byte")
    }

    /// The `data`, for who writes something else around it.
    pub(crate) fn view(&self) -> impl Serialize {
        self.told()
    }

    fn told(&self) -> Data {
        Data { workspace_id: self.workspace_id, endpoint_id: self.endpoint_id(), rest: self.rest() }
    }

    /// What is left of `data`: `details` made flat, an id told once, a URL told by its host.
    fn rest(&self) -> Map<String, Value> {
        let mut rest = Map::new();
        for (name, value) in &self.data {
            match (name.as_str(), value) {
                ("id" | "endpoint_id" | "workspace_id", _) => {}
                ("details", Value::Object(details)) => {
                    for (name, value) in details {
                        let (name, value) = detail(name, value);
                        rest.insert(name.to_owned(), value);
                    }
                }
                _ => {
                    rest.insert(name.clone(), value.clone());
                }
            }
        }
        rest
    }
}

fn detail<'a>(name: &'a str, value: &Value) -> (&'a str, Value) {
    match name {
        "url" => {
            let url = value.as_str().and_then(|url| url.parse::<model::EndpointUrl>().ok());
            ("host", url.and_then(|url| url.url().host_str().map(Value::from)).unwrap_or_default())
        }
        "secret" => ("secret_id", value.clone()),
        _ => (name, value.clone()),
    }
}

/// An event of this type as it might happen; `None` for a type that is not ours.
pub fn sample(event_type: &str, workspace_id: WorkspaceId, now: DateTime<Utc>) -> Option<OwnEvent> {
    let endpoint_id = EndpointId::generate_at(now);
    let host = "crm.example.com";
    let since = text(now - TimeDelta::hours(60));
    let changed = |state: &str| {
        json!({
            "id": endpoint_id,
            "actor": KeyId::generate_at(now),
            "details": { "url": "https://crm.example.com/hooks/clicks", "state": state, "reason": null, "revision": 4 },
        })
    };
    let secret = json!({
        "id": endpoint_id,
        "actor": KeyId::generate_at(now),
        "details": { "secret": SecretId::generate_at(now) },
    });
    let delivery = |attempts: u32| {
        json!({
            "delivery_id": DeliveryId::generate_at(now),
            "endpoint_id": endpoint_id,
            "event_id": EventId::generate(),
            "event_type": LINK_CLICKED,
            "attempts": attempts,
            "last_status": 500,
            "last_error": "status",
        })
    };
    let mut data = match event_type {
        "endpoint.created" | "endpoint.updated" | "endpoint.resumed" | "endpoint.removed" => {
            changed("active")
        }
        "endpoint.paused" => changed("paused"),
        "endpoint.warning" => json!({
            "endpoint_id": endpoint_id, "host": host, "percent": 50, "failing_since": since,
            "failed_messages": 31, "disable_at": text(now + TimeDelta::hours(60)),
        }),
        "endpoint.disabled" => json!({
            "endpoint_id": endpoint_id, "host": host, "reason": "failing",
            "failing_since": text(now - TimeDelta::days(5)), "failed_messages": 62,
        }),
        "endpoint.checkpoint" => json!({
            "endpoint_id": endpoint_id, "first_sequence": 41, "last_sequence": 43, "count": 3,
            "first_event_at": text(now - TimeDelta::minutes(5)), "last_event_at": text(now),
            "sha256": "1d6c255e25277c014125fbef7330148802a257a9d2c23b4317adb30e92d59b8d",
        }),
        "endpoint.recovered" => json!({ "endpoint_id": endpoint_id, "host": host }),
        "delivery.failing" => delivery(3),
        "delivery.dead" => delivery(10),
        "secret.rotated" | "secret.revoked" => secret,
        _ => return None,
    };
    match event_type {
        "delivery.failing" => {
            data["host"] = host.into();
            data["next_attempt_at"] = text(now + TimeDelta::minutes(30)).into();
        }
        "delivery.dead" => data["deliveries"] = 1.into(),
        _ => {}
    }
    let Value::Object(data) = data else { return None };
    let event_type = event_type.to_owned();
    Some(OwnEvent { id: EventId::generate(), workspace_id, event_type, occurred_at: now, data })
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use model::event_type::EVENT_TYPES;

    fn event(event_type: &str, data: Value) -> OwnEvent {
        let Value::Object(data) = data else { panic!("an object") };
        OwnEvent {
            id: "evt_01kbr5zj7v0000000000000002".parse().unwrap(),
            workspace_id: "wks_01kbr5zj7v0000000000000001".parse().unwrap(),
            event_type: event_type.into(),
            occurred_at: Utc.timestamp_millis_opt(1_795_443_372_345).unwrap(),
            data,
        }
    }

    fn lines(event: &OwnEvent) -> String {
        String::from_utf8(event.body()).expect("JSON is UTF-8").replace(",\"", ",\n\"")
    }

    #[test]
    fn what_people_did_is_told_without_the_path_of_the_url() {
        let event = event(
            "endpoint.paused",
            json!({
                "id": "whe_01kbr5zj7v0000000000000003", "actor": "key_01kbr5zj7v0000000000000004",
                "details": { "url": "https://crm.example.com/hooks/secret?token=1", "state": "paused", "revision": 4 },
            }),
        );

        insta::assert_snapshot!(lines(&event), @r#"
        {"id":"evt_01kbr5zj7v0000000000000002",
        "type":"endpoint.paused",
        "sequence":null,
        "timestamp":"2026-11-23T14:16:12.345Z",
        "data":{"workspace_id":"wks_01kbr5zj7v0000000000000001",
        "endpoint_id":"whe_01kbr5zj7v0000000000000003",
        "actor":"key_01kbr5zj7v0000000000000004",
        "host":"crm.example.com",
        "revision":4,
        "state":"paused"}}
        "#);
    }

    #[test]
    fn what_we_found_is_told_as_it_stands_on_the_bus() {
        let event = event(
            "endpoint.disabled",
            json!({ "endpoint_id": "whe_01kbr5zj7v0000000000000003", "reason": "gone" }),
        );

        insta::assert_snapshot!(lines(&event), @r#"
        {"id":"evt_01kbr5zj7v0000000000000002",
        "type":"endpoint.disabled",
        "sequence":null,
        "timestamp":"2026-11-23T14:16:12.345Z",
        "data":{"workspace_id":"wks_01kbr5zj7v0000000000000001",
        "endpoint_id":"whe_01kbr5zj7v0000000000000003",
        "reason":"gone"}}
        "#);
    }

    #[test]
    fn every_type_but_the_click_has_a_sample_that_tells_of_an_endpoint() {
        for event_type in EVENT_TYPES.into_iter().filter(|t| !is_of_click(t)) {
            let sample = sample(event_type, WorkspaceId::generate(), Utc::now()).expect(event_type);
            assert!(sample.endpoint_id().is_some() && !sample.tells_of_own_event(), "{event_type}");
            assert_eq!(sample.event_type, event_type);
        }
        assert_eq!(sample(LINK_CLICKED, WorkspaceId::generate(), Utc::now()), None);
    }

    #[test]
    fn only_deliveries_of_clicks_are_told_of() {
        let of = |event_type| event("delivery.dead", json!({ "event_type": event_type }));

        assert!(of("endpoint.disabled").tells_of_own_event());
        assert!(!of(LINK_CLICKED).tells_of_own_event());
    }
}
