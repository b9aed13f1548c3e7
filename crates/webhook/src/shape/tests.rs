//! What subscribers get in each shape, to the letter.

mod slack;

use std::collections::BTreeSet;

use chrono::{TimeZone, Utc};
use model::event_type::{LINK_CLICK_AMENDED, LINK_CLICKED};
use model::{EnrichedClick, EventId};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{OwnEvent, own_event, payload};

/// Formats whose body has the data of a click somewhere.
const WITH_DATA: &[Format] = &[Format::StandardWebhooks, Format::CloudEvents, Format::Request];

fn click() -> EnrichedClick {
    let now = Utc.timestamp_millis_opt(1_795_443_372_345).unwrap();
    let mut click = payload::sample("wks_01kbr5zj7v0000000000000001".parse().unwrap(), now);
    click.click.id = "clk_01kbr5zj7v0000000000000002".parse().unwrap();
    click.click.link.id = "lnk_01kbr5zj7v0000000000000003".parse().unwrap();
    click.event_id = EventId::of_click(click.click.id, 0);
    click
}

fn site() -> Site {
    Site::new("https://clicks.example.com/")
}

fn shape(chosen: Value) -> Shape {
    Shape::newest().changed(ShapeChange::parse(&chosen).expect("a shape"))
}

/// A few fields, so that what stands around them shows.
fn few(format: &str) -> Shape {
    let fields = ["click_id", "contact_id", "link.tracked_url", "location.country"];
    shape(json!({ "format": format, "fields": { "include": fields } }))
}

fn body(shape: &Shape, click: &EnrichedClick) -> Value {
    serde_json::from_slice(&shape.of_click(LINK_CLICKED, click, &site())).expect("JSON")
}

/// One field a line, so that a change shows as one line.
fn lines(body: &[u8]) -> String {
    std::str::from_utf8(body).expect("JSON is UTF-8").replace(",\"", ",\n\"")
}

/// The path of each value in `data` that is no object, or one whose names are the customer's.
fn paths(data: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, value) in data.as_object().expect("an object") {
        match value {
            Value::Object(inner) => found.extend(inner.keys().map(|inner| format!("{name}.{inner}"))),
            _ => {
                found.insert(name.clone());
            }
        }
    }
    found
}

#[test]
fn what_nobody_chose_differently_is_the_body_that_there_always_was() {
    let click = click();

    for shape in [Shape::newest(), Shape::stored(None).expect("a shape"), shape(json!({}))] {
        assert_eq!(shape.of_click(LINK_CLICKED, &click, &site()), payload::link_clicked(&click));
        assert_eq!(shape.again(LINK_CLICKED, &click, 0, &site()), Some(payload::link_clicked(&click)));
    }
    let event =
        own_event::sample("endpoint.disabled", click.click.workspace_id, Utc::now()).expect("a sample");
    assert_eq!(Shape::newest().of_event(&event, &site()), event.body());
}

#[test]
fn every_field_of_the_body_can_be_chosen_and_no_other() {
    let data = body(&Shape::newest(), &click())["data"].clone();

    assert_eq!(paths(&data), FIELDS.iter().map(|path| (*path).to_owned()).collect::<BTreeSet<_>>());
    let groups: BTreeSet<&str> = FIELDS.iter().filter_map(|path| Some(path.split_once('.')?.0)).collect();
    assert_eq!(groups, GROUPS.iter().copied().collect::<BTreeSet<_>>());
}

#[test]
fn a_cloud_event_has_the_data_of_the_click() {
    insta::assert_snapshot!(lines(&few("cloudevents").of_click(LINK_CLICKED, &click(), &site())), @r#"
    {"specversion":"1.0",
    "id":"evt_01kbr5zj7v0000000000000002",
    "source":"https://clicks.example.com/workspaces/wks_01kbr5zj7v0000000000000001",
    "type":"link.clicked",
    "subject":"clk_01kbr5zj7v0000000000000002",
    "time":"2026-11-23T14:16:12.345Z",
    "datacontenttype":"application/json",
    "data":{"click_id":"clk_01kbr5zj7v0000000000000002",
    "contact_id":"cont_9",
    "link":{"tracked_url":"https://go.example.com/k7m2xq9ra"},
    "location":{"country":"SE"}}}
    "#);
}

#[test]
fn a_request_has_data_event_and_request_id() {
    insta::assert_snapshot!(lines(&few("request").of_click(LINK_CLICKED, &click(), &site())), @r#"
    {"data":{"click_id":"clk_01kbr5zj7v0000000000000002",
    "contact_id":"cont_9",
    "link":{"tracked_url":"https://go.example.com/k7m2xq9ra"},
    "location":{"country":"SE"}},
    "event":"link.clicked",
    "request_id":"evt_01kbr5zj7v0000000000000002"}
    "#);
}

#[test]
fn a_thin_event_has_ids_times_and_where_the_rest_is() {
    let thin = shape(json!({ "profile": "thin" }));

    insta::assert_snapshot!(lines(&thin.of_click(LINK_CLICKED, &click(), &site())), @r#"
    {"id":"evt_01kbr5zj7v0000000000000002",
    "type":"link.clicked",
    "sequence":null,
    "timestamp":"2026-11-23T14:16:12.345Z",
    "data":{"click_id":"clk_01kbr5zj7v0000000000000002",
    "clicked_at":"2026-11-23T14:16:12.345Z",
    "link":{"id":"lnk_01kbr5zj7v0000000000000003"},
    "revision":0,
    "test":true,
    "url":"https://clicks.example.com/v1/clicks/clk_01kbr5zj7v0000000000000002",
    "workspace_id":"wks_01kbr5zj7v0000000000000001"}}
    "#);
    let nobody_knows_where: Value =
        serde_json::from_slice(&thin.of_click(LINK_CLICKED, &click(), &Site::default())).expect("JSON");
    assert_eq!(nobody_knows_where["data"]["url"], "/v1/clicks/clk_01kbr5zj7v0000000000000002");
}

#[test]
fn the_standard_profile_leaves_out_what_most_receivers_do_not_want() {
    let left_out = [
        "automation.reasons",
        "automation.ruleset",
        "device.browser_version",
        "device.model",
        "device.os_version",
        "ip",
        "location.accuracy_km",
        "location.as_organization",
        "location.asn",
        "location.is_anonymizer",
        "location.is_hosting",
        "location.latitude",
        "location.longitude",
        "location.postal_code",
        "referrer",
        "user_agent",
    ];
    let standard = paths(&body(&shape(json!({ "profile": "standard" })), &click())["data"]);

    let missing = FIELDS.iter().copied().filter(|path| !standard.contains(*path));
    assert_eq!(missing.collect::<BTreeSet<_>>(), left_out.into_iter().collect::<BTreeSet<_>>());
}

#[test]
fn a_mask_takes_single_fields_and_whole_objects() {
    let without = shape(json!({ "fields": { "exclude": ["location", "device.model", "link.metadata"] } }));
    let data = body(&without, &click())["data"].clone();
    assert!(data.get("location").is_none() && data["device"].get("model").is_none());
    assert_eq!((&data["device"]["model_name"], &data["device"]["brand"]), (&Value::Null, &json!("Apple")));
    assert!(data["link"].get("metadata").is_none() && data["link"]["tags"] == json!(["spring"]));

    let thin = shape(json!({ "profile": "thin", "fields": { "include": ["link", "location"] } }));
    let data = body(&thin, &click())["data"].clone();
    let url = "https://clicks.example.com/v1/clicks/clk_01kbr5zj7v0000000000000002";
    assert_eq!(data, json!({ "link": { "id": "lnk_01kbr5zj7v0000000000000003" }, "url": url }));
}

#[test]
fn an_event_of_ours_is_told_whole_in_each_format() {
    let now = Utc.timestamp_millis_opt(1_795_443_372_345).unwrap();
    let data = json!({ "endpoint_id": "whe_01kbr5zj7v0000000000000003", "host": "crm.example.com", "reason": "gone" });
    let Value::Object(data) = data else { panic!("an object") };
    let event = OwnEvent {
        id: "evt_01kbr5zj7v0000000000000002".parse().unwrap(),
        workspace_id: "wks_01kbr5zj7v0000000000000001".parse().unwrap(),
        event_type: "endpoint.disabled".to_owned(),
        occurred_at: now,
        data,
    };
    let told = |format: &str| {
        let chosen = json!({ "format": format, "profile": "thin", "fields": { "include": ["click_id"] } });
        let body = shape(chosen).of_event(&event, &site());
        serde_json::from_slice::<Value>(&body).expect("JSON")
    };

    let whole: Value = serde_json::from_slice(&event.body()).expect("JSON");
    assert_eq!(told("standard_webhooks"), whole);
    let cloud_event = told("cloudevents");
    assert_eq!((&cloud_event["id"], &cloud_event["data"]), (&whole["id"], &whole["data"]));
    assert_eq!(cloud_event["subject"], "whe_01kbr5zj7v0000000000000003");
    let request = told("request");
    assert_eq!((&request["request_id"], &request["data"]), (&whole["id"], &whole["data"]));
    assert_eq!(request["event"], "endpoint.disabled");
    let text = told("slack")["text"].as_str().map(str::to_owned).expect("a text");
    assert!(text.starts_with("The webhook to crm.example.com is disabled: it answered 410"), "{text}");
}

#[test]
fn an_amendment_is_rendered_again_as_it_was_told() {
    let amended = payload::amended_sample(&click());
    let cloud_events = shape(json!({ "format": "cloudevents" }));
    let again = |event_type, revision| {
        let body = cloud_events.again(event_type, &amended, revision, &site())?;
        serde_json::from_slice::<Value>(&body).ok()
    };

    let told = again(LINK_CLICK_AMENDED, 1).expect("a body");
    assert_eq!((&told["id"], &told["type"]), (&json!(amended.event_id), &json!(LINK_CLICK_AMENDED)));
    let first = again(LINK_CLICKED, 0).expect("a body");
    assert_eq!((&first["id"], &first["data"]["revision"]), (&json!(click().event_id), &json!(1)));
    assert_eq!(again(LINK_CLICK_AMENDED, 7), None);
}

#[test]
fn a_body_says_what_it_is() {
    let event =
        own_event::sample("endpoint.disabled", click().click.workspace_id, Utc::now()).expect("a sample");
    for format in Format::ALL {
        let shape = shape(json!({ "format": format }));
        let expected = match format {
            Format::CloudEvents => "application/cloudevents+json; charset=UTF-8",
            _ => "application/json",
        };
        assert_eq!(content_type(&shape.of_click(LINK_CLICKED, &click(), &site())), expected, "{format:?}");
        assert_eq!(content_type(&shape.of_event(&event, &site())), expected, "{format:?}");
    }
}

#[test]
fn what_is_stored_is_read_as_it_was_chosen() {
    let chosen = json!({
        "profile": "standard", "fields": { "exclude": ["contact_id", "link"] }, "format": "request",
        "version": "2026-11-01",
    });

    let kept = shape(chosen.clone());

    assert_eq!(kept.to_json(), chosen);
    assert_eq!(Shape::stored(Some(&chosen)), Ok(kept.clone()));
    let other = kept.clone().changed(ShapeChange::parse(&json!({ "format": null })).expect("a shape"));
    assert_eq!(other, Shape { format: Format::StandardWebhooks, ..kept.clone() });
    assert_eq!(kept.reset(), Shape::newest());
}

#[test]
fn what_there_is_not_is_refused_with_where_it_stands() {
    let many: Vec<&str> = std::iter::repeat_n("ip", 101).collect();
    for (chosen, path, rule) in [
        (json!("thin"), "", "an object"),
        (json!({ "mask": [] }), "mask", "there are `profile`, `fields`, `format`, `version`"),
        (json!({ "profile": "small" }), "profile", "`full`, `standard`, `thin`"),
        (json!({ "format": 1 }), "format", "a string"),
        (json!({ "format": "xml" }), "format", "`standard_webhooks`, `cloudevents`, `request`, `slack`"),
        (json!({ "version": "2020-01-01" }), "version", "`2026-11-01`"),
        (json!({ "version": null }), "version", "a string"),
        (json!({ "fields": ["ip"] }), "fields", "an object"),
        (json!({ "fields": {} }), "fields", "either `include` or `exclude`"),
        (json!({ "fields": { "include": ["ip"], "exclude": ["ip"] } }), "fields", "either"),
        (json!({ "fields": { "only": ["ip"] } }), "fields/only", "`include`, `exclude`"),
        (json!({ "fields": { "include": [] } }), "fields/include", "at least one"),
        (json!({ "fields": { "include": many } }), "fields/include", "at most 100"),
        (json!({ "fields": { "exclude": ["ip", "location.town"] } }), "fields/exclude/1", "`location.city`"),
        (json!({ "fields": { "exclude": [["ip"]] } }), "fields/exclude/0", "a string"),
        (json!({ "fields": { "exclude": ["link.metadata.order"] } }), "fields/exclude/0", "`link.metadata`"),
    ] {
        let error = ShapeChange::parse(&chosen).expect_err("refused");
        assert_eq!(error.path.join("/"), path, "{chosen}");
        assert!(error.rule.contains(rule), "{chosen}: {}", error.rule);
    }
    let long = json!({ "fields": { "exclude": ["x".repeat(100_000)] } });
    assert!(ShapeChange::parse(&long).expect_err("refused").rule.len() < 5000);
}

/// Whether there is nothing in `part` that is not in `whole`.
fn is_part_of(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|whole| is_part_of(value, whole)))
        }
        _ => part == whole,
    }
}

fn masks() -> impl Strategy<Value = Value> {
    let all: Vec<&'static str> = GROUPS.iter().chain(FIELDS).copied().collect();
    let chosen = prop::sample::subsequence(all, 1..20);
    (chosen, any::<Option<bool>>()).prop_map(|(chosen, includes)| match includes {
        None => Value::Null,
        Some(true) => json!({ "include": chosen }),
        Some(false) => json!({ "exclude": chosen }),
    })
}

proptest! {
    #[test]
    fn a_shape_only_ever_leaves_out(
        profile in prop::sample::select(Profile::ALL),
        format in prop::sample::select(WITH_DATA),
        mask in masks(),
        is_anonymous in any::<bool>(),
        is_amended in any::<bool>(),
    ) {
        let mut click = if is_amended { payload::amended_sample(&click()) } else { click() };
        if is_anonymous {
            click.click.request.ip = None;
            click.click.request.user_agent = None;
            click.click.link.labels.contact_id = None;
            (click.location.city, click.location.latitude) = (None, None);
        }
        let chosen = shape(json!({ "profile": profile, "format": format, "fields": mask }));

        let mut data = body(&chosen, &click)["data"].clone();
        let whole = body(&Shape::newest(), &click)["data"].clone();

        let url = data.as_object_mut().and_then(|data| data.remove("url"));
        prop_assert_eq!(url.is_some(), profile == Profile::Thin);
        prop_assert!(is_part_of(&data, &whole), "{} {}", chosen.to_json(), data);
        let kept: BTreeSet<String> =
            FIELDS.iter().filter(|path| chosen.keeps(path)).map(|path| (*path).to_owned()).collect();
        prop_assert_eq!(paths(&data), kept);
    }
}
