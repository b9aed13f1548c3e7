//! What subscribers get, to the letter.

use chrono::{TimeZone, Utc};
use model::click::{Enrichment, LocationMissing, Request};
use model::event_type::LINK_CLICK_AMENDED;
use model::link::LinkLabels;

use super::*;

fn click() -> EnrichedClick {
    let now = Utc.timestamp_millis_opt(1_795_443_372_345).unwrap();
    let mut click = sample("wks_01kbr5zj7v0000000000000001".parse().unwrap(), now);
    click.click.id = "clk_01kbr5zj7v0000000000000002".parse().unwrap();
    click.click.link.id = "lnk_01kbr5zj7v0000000000000003".parse().unwrap();
    click.event_id = EventId::of_click(click.click.id, 0);
    click
}

fn text(click: &EnrichedClick) -> String {
    String::from_utf8(link_clicked(click)).expect("JSON is UTF-8")
}

/// One field a line, so that a change shows as one line.
fn lines(click: &EnrichedClick) -> String {
    text(click).replace(",\"", ",\n\"")
}

#[test]
fn the_body_has_every_field_in_its_order() {
    insta::assert_snapshot!(lines(&click()), @r#"
    {"id":"evt_01kbr5zj7v0000000000000002",
    "type":"link.clicked",
    "sequence":null,
    "timestamp":"2026-11-23T14:16:12.345Z",
    "data":{"click_id":"clk_01kbr5zj7v0000000000000002",
    "workspace_id":"wks_01kbr5zj7v0000000000000001",
    "clicked_at":"2026-11-23T14:16:12.345Z",
    "link":{"id":"lnk_01kbr5zj7v0000000000000003",
    "kind":"shareable",
    "tracked_url":"https://go.example.com/k7m2xq9ra",
    "original_url":"https://example.com/offer",
    "destination_url":"https://example.com/offer?utm_source=sms",
    "domain":"go.example.com",
    "slug":"k7m2xq9ra",
    "external_id":"your-id",
    "revision":1,
    "tags":["spring"],
    "metadata":{"order":"1001"}},
    "campaign_id":"cmp_42",
    "conversation_id":"conv_7",
    "contact_id":"cont_9",
    "message_id":"msg_3",
    "channel":"sms",
    "sequence_id":"seq_5",
    "step_id":"step_2",
    "location":{"country":"SE",
    "country_name":"Sweden",
    "region":"Östergötland County",
    "city":"Linköping",
    "postal_code":null,
    "latitude":58.4,
    "longitude":15.6,
    "accuracy_km":null,
    "timezone":"Europe/Stockholm",
    "continent":"EU",
    "is_eu":true,
    "asn":29518,
    "as_organization":"Bredband2 AB",
    "is_anonymizer":null,
    "is_hosting":null,
    "missing":null},
    "device":{"type":"mobile",
    "brand":"Apple",
    "model":"iPhone",
    "model_name":null,
    "os":"iOS",
    "os_version":"18.1",
    "browser":"Mobile Safari",
    "browser_version":"18.1",
    "in_app":null},
    "referrer":null,
    "language":"sv-SE",
    "ip":"203.0.113.0",
    "user_agent":"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
    "automation":{"verdict":"human",
    "class":null,
    "score":0,
    "reasons":[],
    "ruleset":"sample"},
    "is_first_click":true,
    "revision":0,
    "previous_verdict":null,
    "test":true,
    "privacy":{"redacted_fields":["ip"]},
    "enrichment":"complete"}}
    "#);
}

#[test]
fn what_is_not_known_is_null_and_every_object_is_there() {
    let mut click = click();
    click.event_id = EventId::of_click(click.click.id, 2);
    click.click.link.labels = LinkLabels::default();
    click.click.request = Request::default();
    click.location = Location::default();
    click.location_missing = Some(LocationMissing::NoPublicAddress);
    click.device = Device::default();
    click.is_first_click = None;
    click.enrichment = Enrichment::Partial;
    click.test = false;

    insta::assert_snapshot!(lines(&click), @r#"
    {"id":"evt_01kbr5zj7v0000000000000002",
    "type":"link.clicked",
    "sequence":null,
    "timestamp":"2026-11-23T14:16:12.345Z",
    "data":{"click_id":"clk_01kbr5zj7v0000000000000002",
    "workspace_id":"wks_01kbr5zj7v0000000000000001",
    "clicked_at":"2026-11-23T14:16:12.345Z",
    "link":{"id":"lnk_01kbr5zj7v0000000000000003",
    "kind":"shareable",
    "tracked_url":"https://go.example.com/k7m2xq9ra",
    "original_url":"https://example.com/offer",
    "destination_url":"https://example.com/offer?utm_source=sms",
    "domain":"go.example.com",
    "slug":"k7m2xq9ra",
    "external_id":null,
    "revision":1,
    "tags":[],
    "metadata":{}},
    "campaign_id":null,
    "conversation_id":null,
    "contact_id":null,
    "message_id":null,
    "channel":null,
    "sequence_id":null,
    "step_id":null,
    "location":{"country":null,
    "country_name":null,
    "region":null,
    "city":null,
    "postal_code":null,
    "latitude":null,
    "longitude":null,
    "accuracy_km":null,
    "timezone":null,
    "continent":null,
    "is_eu":null,
    "asn":null,
    "as_organization":null,
    "is_anonymizer":null,
    "is_hosting":null,
    "missing":"no public address"},
    "device":{"type":"unknown",
    "brand":null,
    "model":null,
    "model_name":null,
    "os":null,
    "os_version":null,
    "browser":null,
    "browser_version":null,
    "in_app":null},
    "referrer":null,
    "language":null,
    "ip":null,
    "user_agent":null,
    "automation":{"verdict":"human",
    "class":null,
    "score":0,
    "reasons":[],
    "ruleset":"sample"},
    "is_first_click":null,
    "revision":2,
    "previous_verdict":null,
    "test":false,
    "privacy":{"redacted_fields":["ip"]},
    "enrichment":"partial"}}
    "#);
}

#[test]
fn an_amendment_has_an_id_of_its_own_and_the_click_keeps_its_id() {
    let amended = amended_sample(&click());
    let id = |event_type| {
        let body: serde_json::Value = serde_json::from_slice(&of_type(event_type, &amended)).expect("JSON");
        assert_eq!(body["data"]["revision"], 1);
        body["id"].as_str().map(str::to_owned)
    };

    assert_eq!(id(LINK_CLICKED), Some(click().event_id.to_string()));
    assert_eq!(id(LINK_CLICK_AMENDED), Some(amended.event_id.to_string()));
    assert_ne!(id(LINK_CLICKED), id(LINK_CLICK_AMENDED));
}

#[test]
fn the_same_click_gives_the_same_bytes() {
    assert_eq!(link_clicked(&click()), link_clicked(&click()));
}
