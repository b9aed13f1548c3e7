//! The body of a `link.clicked` webhook: Standard Webhooks 1.0.0, "Payload structure".
//!
//! The order of the fields is the order of the structs below. What is not known is `null` and every
//! object is always there, so that a subscriber never has to ask whether a key exists.
//! The bytes that come out are signed, sent and stored as they are: nobody serialises an event twice.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, SecondsFormat, Utc};
use model::automation::{Automation, MachineClass, Reason, Verdict};
use model::click::{Click, ClickedLink, EnrichedClick, Enrichment, IpQuality, Request};
use model::device::{Device, DeviceKind};
use model::event_type::LINK_CLICKED;
use model::link::{LinkKind, LinkLabels};
use model::location::Location;
use model::{AddressTreatment, ClickId, EventId, LinkId, WorkspaceId};
use serde::{Serialize, Serializer};

/// Room for an ordinary body, so that writing it allocates once.
const BODY_BYTES_USUAL: usize = 2048;

/// The body that tells of a click.
pub fn link_clicked(click: &EnrichedClick) -> Vec<u8> {
    of_type(LINK_CLICKED, click)
}

/// The body that tells of a click in an event of this type: `link.clicked`, or what has changed since.
///
/// The first telling has the id of the click alone, also when the click was amended before it: whoever looks whether it
/// was told finds it under one id. Which revision it tells is in `data.revision`.
pub fn of_type(event_type: &'static str, click: &EnrichedClick) -> Vec<u8> {
    let mut body = Vec::with_capacity(BODY_BYTES_USUAL);
    serde_json::to_writer(&mut body, &Envelope::of(event_type, click))
        .expect("keys are strings, and a Vec takes every byte");
    body
}

/// The `data` of the body that tells of a click, alone: one line of JSON.
pub fn data(click: &EnrichedClick) -> Vec<u8> {
    let mut data = Vec::with_capacity(BODY_BYTES_USUAL);
    serde_json::to_writer(&mut data, &Data::of(click)).expect("keys are strings, and a Vec takes every byte");
    data
}

/// A click as a person might make it, marked `test`: what an endpoint gets when its owner presses "send a test".
pub fn sample(workspace_id: WorkspaceId, now: DateTime<Utc>) -> EnrichedClick {
    let id = ClickId::generate_at(now);
    EnrichedClick {
        event_id: EventId::of_click(id, 0),
        click: Click {
            id,
            clicked_at: now,
            workspace_id,
            link: sample_link(now),
            destination_url: "https://example.com/offer?utm_source=sms".into(),
            request: Request {
                method: "GET".into(),
                ip: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 0))),
                ip_quality: IpQuality::Direct,
                user_agent: Some(
                    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 \
                     (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
                        .into(),
                ),
                referrer: None,
                headers: vec![("accept-language".into(), "sv-SE,sv;q=0.9".into())],
            },
            address_treatment: AddressTreatment::Truncate,
            is_anonymous: false,
            is_redacted: false,
            traceparent: None,
        },
        location: sample_location(),
        location_missing: None,
        device: Device {
            kind: DeviceKind::Mobile,
            brand: Some("Apple".into()),
            model: Some("iPhone".into()),
            model_name: None,
            os: Some("iOS".into()),
            os_version: Some("18.1".into()),
            browser: Some("Mobile Safari".into()),
            browser_version: Some("18.1".into()),
            in_app: None,
        },
        automation: Automation {
            verdict: Verdict::Human,
            class: None,
            score: 0,
            reasons: Vec::new(),
            ruleset: "sample".into(),
        },
        is_first_click: Some(true),
        redacted_fields: vec!["ip".into()],
        enrichment: Enrichment::Complete,
        enriched_at: now,
        test: true,
        earlier: Vec::new(),
        first_click_before: None,
        is_erased: false,
    }
}

/// What a sample may become: a gateway opened it, as later clicks have shown.
pub fn amended_sample(click: &EnrichedClick) -> EnrichedClick {
    let automation = Automation {
        verdict: Verdict::Automated,
        class: Some(MachineClass::Scanner),
        score: 100,
        reasons: vec![Reason { code: "burst_message".into(), weight: 100 }],
        ruleset: click.automation.ruleset.clone(),
    };
    click.amended(automation, click.enriched_at).expect("the first time")
}

fn sample_link(now: DateTime<Utc>) -> ClickedLink {
    ClickedLink {
        kind: LinkKind::Shareable,
        sent_at: None,
        id: LinkId::generate_at(now),
        revision: 1,
        domain: "go.example.com".into(),
        slug: "k7m2xq9ra".into(),
        tracked_url: "https://go.example.com/k7m2xq9ra".into(),
        original_url: "https://example.com/offer".into(),
        labels: LinkLabels {
            external_id: Some("your-id".into()),
            campaign_id: Some("cmp_42".into()),
            conversation_id: Some("conv_7".into()),
            contact_id: Some("cont_9".into()),
            message_id: Some("msg_3".into()),
            channel: Some("sms".into()),
            sequence_id: Some("seq_5".into()),
            step_id: Some("step_2".into()),
            tags: vec!["spring".into()],
            metadata: BTreeMap::from([("order".to_owned(), "1001".to_owned())]),
        },
    }
}

fn sample_location() -> Location {
    Location {
        country: Some("SE".into()),
        country_name: Some("Sweden".into()),
        region: Some("Östergötland County".into()),
        city: Some("Linköping".into()),
        postal_code: None,
        latitude: Some(58.4),
        longitude: Some(15.6),
        accuracy_km: None,
        timezone: Some("Europe/Stockholm".into()),
        continent: Some("EU".into()),
        is_eu: Some(true),
        asn: Some(29518),
        as_organization: Some("Bredband2 AB".into()),
        is_anonymizer: None,
        is_hosting: None,
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    id: EventId,
    #[serde(rename = "type")]
    event_type: &'static str,
    /// Numbers the events of an endpoint that asked for order; nobody can ask yet.
    sequence: Option<u64>,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    click_id: ClickId,
    workspace_id: WorkspaceId,
    clicked_at: Timestamp,
    link: LinkData<'a>,
    campaign_id: Option<&'a str>,
    conversation_id: Option<&'a str>,
    contact_id: Option<&'a str>,
    message_id: Option<&'a str>,
    channel: Option<&'a str>,
    sequence_id: Option<&'a str>,
    step_id: Option<&'a str>,
    location: LocationData<'a>,
    device: &'a Device,
    referrer: Option<&'a str>,
    language: Option<&'a str>,
    ip: Option<IpAddr>,
    user_agent: Option<&'a str>,
    automation: &'a Automation,
    is_first_click: Option<bool>,
    /// Of the click: 0, or how often it was amended.
    revision: u32,
    /// What the revision before said.
    previous_verdict: Option<Verdict>,
    test: bool,
    privacy: Privacy<'a>,
    enrichment: &'static str,
}

#[derive(Serialize)]
struct LinkData<'a> {
    id: LinkId,
    kind: &'static str,
    tracked_url: &'a str,
    original_url: &'a str,
    destination_url: &'a str,
    domain: &'a str,
    slug: &'a str,
    external_id: Option<&'a str>,
    revision: u32,
    tags: &'a [String],
    metadata: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct LocationData<'a> {
    #[serde(flatten)]
    place: &'a Location,
    /// Why there is no place, in words.
    missing: Option<&'static str>,
}

#[derive(Serialize)]
struct Privacy<'a> {
    redacted_fields: &'a [String],
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) struct Timestamp(pub(crate) DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl<'a> Envelope<'a> {
    fn of(event_type: &'static str, enriched: &'a EnrichedClick) -> Self {
        Self {
            id: match event_type {
                LINK_CLICKED => EventId::of_click(enriched.click.id, 0),
                _ => enriched.event_id,
            },
            event_type,
            sequence: None,
            timestamp: Timestamp(enriched.click.clicked_at),
            data: Data::of(enriched),
        }
    }
}

impl<'a> Data<'a> {
    fn of(enriched: &'a EnrichedClick) -> Self {
        let click = &enriched.click;
        let labels = &click.link.labels;
        Self {
            click_id: click.id,
            workspace_id: click.workspace_id,
            clicked_at: Timestamp(click.clicked_at),
            link: LinkData::of(click),
            campaign_id: labels.campaign_id.as_deref(),
            conversation_id: labels.conversation_id.as_deref(),
            contact_id: labels.contact_id.as_deref(),
            message_id: labels.message_id.as_deref(),
            channel: labels.channel.as_deref(),
            sequence_id: labels.sequence_id.as_deref(),
            step_id: labels.step_id.as_deref(),
            location: LocationData {
                place: &enriched.location,
                missing: enriched.location_missing.map(|reason| reason.as_str()),
            },
            device: &enriched.device,
            referrer: click.request.referrer.as_deref(),
            language: click.request.language(),
            ip: click.request.ip,
            user_agent: click.request.user_agent.as_deref(),
            automation: &enriched.automation,
            is_first_click: enriched.is_first_click,
            revision: enriched.event_id.revision(),
            previous_verdict: enriched.earlier.last().map(|earlier| earlier.verdict),
            test: enriched.test,
            privacy: Privacy { redacted_fields: &enriched.redacted_fields },
            enrichment: enriched.enrichment.as_str(),
        }
    }
}

impl<'a> LinkData<'a> {
    fn of(click: &'a Click) -> Self {
        let link = &click.link;
        Self {
            id: link.id,
            kind: link.kind.as_str(),
            tracked_url: &link.tracked_url,
            original_url: &link.original_url,
            destination_url: &click.destination_url,
            domain: &link.domain,
            slug: &link.slug,
            external_id: link.labels.external_id.as_deref(),
            revision: link.revision,
            tags: &link.labels.tags,
            metadata: &link.labels.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use model::click::LocationMissing;

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
            let body: serde_json::Value =
                serde_json::from_slice(&of_type(event_type, &amended)).expect("JSON");
            assert_eq!(body["data"]["revision"], 1);
            body["id"].as_str().map(str::to_owned)
        };

        assert_eq!(id(LINK_CLICKED), Some(click().event_id.to_string()));
        assert_eq!(id(model::event_type::LINK_CLICK_AMENDED), Some(amended.event_id.to_string()));
        assert_ne!(id(LINK_CLICKED), id(model::event_type::LINK_CLICK_AMENDED));
    }

    #[test]
    fn the_same_click_gives_the_same_bytes() {
        assert_eq!(link_clicked(&click()), link_clicked(&click()));
    }
}
