//! The codec keeps what it is given, and says what is wrong with what it is not.

use std::net::IpAddr;

use bytes::Bytes;
use model::automation::{Automation, MachineClass, Reason, Verdict};
use model::click::{Enrichment, LocationMissing};
use model::device::{Device, DeviceKind};
use model::location::Location;
use model::privacy::Telling;
use model::{ClickId, EventId, LinkId, OrphanId, WorkspaceId};
use proptest::prelude::*;
use testkit::given;

use super::*;
use crate::borrowed::{ClickRef, ClickTemplate, Parts, RequestRef};
use crate::messages::Message as _;

fn ids() -> impl Strategy<Value = u128> {
    any::<u128>()
}

fn times() -> impl Strategy<Value = DateTime<Utc>> {
    (0_i64..4_102_444_800, 0_u32..1_000_000_000)
        .prop_map(|(seconds, nanos)| DateTime::from_timestamp(seconds, nanos).expect("in range"))
}

fn addresses() -> impl Strategy<Value = Option<IpAddr>> {
    prop_oneof![
        Just(None),
        any::<[u8; 4]>().prop_map(|octets| Some(IpAddr::from(octets))),
        any::<[u8; 16]>().prop_map(|octets| Some(IpAddr::from(octets))),
    ]
}

prop_compose! {
    fn labels()(
        external_id in any::<Option<String>>(), contact_id in any::<Option<String>>(),
        message_id in any::<Option<String>>(), channel in any::<Option<String>>(),
        sequence_id in any::<Option<String>>(), step_id in any::<Option<String>>(),
        tags in prop::collection::vec(any::<String>(), 0..4),
        metadata in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
    ) -> LinkLabels {
        LinkLabels {
            external_id,
            contact_id,
            message_id,
            channel,
            sequence_id,
            step_id,
            tags,
            metadata,
            ..LinkLabels::default()
        }
    }
}

prop_compose! {
    fn requests()(
        method in "GET|HEAD", ip in addresses(),
        ip_quality in prop::sample::select(vec![IpQuality::Direct, IpQuality::Proxied, IpQuality::Obfuscated]),
        user_agent in any::<Option<String>>(), referrer in any::<Option<String>>(),
        headers in prop::collection::vec(("[a-z-]{0,20}", "\\PC{0,200}"), 0..5),
    ) -> Request {
        Request { method, ip, ip_quality, user_agent, referrer, headers }
    }
}

prop_compose! {
    fn clicks()(
        id in ids(), workspace_id in ids(), link_id in ids(), clicked_at in times(), revision in any::<u32>(),
        slug in any::<String>(), labels in labels(), request in requests(), traceparent in any::<Option<String>>(),
        destination_url in "\\PC{0,200}", telling in prop::sample::select(vec![Telling::Full, Telling::Redacted, Telling::Anonymous]),
        kind in prop::sample::select(LinkKind::ALL.to_vec()), sent_at in prop::option::of(times()),
        address_treatment in prop::sample::select(
            vec![AddressTreatment::Drop, AddressTreatment::Truncate, AddressTreatment::Keep]
        ),
    ) -> Click {
        let sample = given::click();
        Click {
            id: ClickId::from_uuid(uuid(id)),
            workspace_id: WorkspaceId::from_uuid(uuid(workspace_id)),
            link: ClickedLink {
                id: LinkId::from_uuid(uuid(link_id)),
                kind, revision, slug, labels, sent_at,
                ..sample.link
            },
            clicked_at, request, address_treatment, traceparent, destination_url,
            is_anonymous: telling == Telling::Anonymous,
            is_redacted: telling == Telling::Redacted,
        }
    }
}

prop_compose! {
    fn orphans()(
        id in ids(), occurred_at in times(), workspace_id in prop::option::of(ids()), link_id in prop::option::of(ids()),
        reason in prop::sample::select(OrphanReason::ALL.to_vec()), host in any::<String>(), path in "\\PC{0,100}",
        method in "GET|HEAD", user_agent in any::<Option<String>>(), referrer in any::<Option<String>>(),
    ) -> Orphan {
        Orphan {
            id: OrphanId::from_uuid(uuid(id)),
            workspace_id: workspace_id.map(|id| WorkspaceId::from_uuid(uuid(id))),
            link_id: link_id.map(|id| LinkId::from_uuid(uuid(id))),
            occurred_at, reason, host, path, method, user_agent, referrer,
        }
    }
}

prop_compose! {
    fn enriched_clicks()(
        click in clicks(), revision in any::<u32>(), enriched_at in times(), test in any::<bool>(), is_erased in any::<bool>(),
        country in any::<Option<String>>(), latitude in prop::option::of(-90.0..90.0), asn in any::<Option<u32>>(),
        location_missing in prop::option::of(prop::sample::select(
            vec![LocationMissing::NoPublicAddress, LocationMissing::NotFound, LocationMissing::NoData]
        )),
        kind in prop::sample::select(vec![
            DeviceKind::Mobile, DeviceKind::Tablet, DeviceKind::Desktop, DeviceKind::Tv, DeviceKind::Console,
            DeviceKind::Watch, DeviceKind::Bot, DeviceKind::Unknown,
        ]),
        verdict in prop::sample::select(vec![Verdict::Human, Verdict::Automated, Verdict::Unknown]),
        class in prop::option::of(prop::sample::select(vec![
            MachineClass::Preview, MachineClass::Crawler, MachineClass::Scanner, MachineClass::Monitor,
            MachineClass::Library, MachineClass::Ai, MachineClass::Prefetch, MachineClass::Other,
        ])),
        score in 0_u8..=100, weight in any::<i16>(), is_first_click in any::<Option<bool>>(),
        enrichment in prop::sample::select(vec![Enrichment::Complete, Enrichment::Partial]),
        amendments in 0_usize..3, first_click_before in any::<Option<bool>>(),
    ) -> EnrichedClick {
        let sample = given::enriched_click();
        let automation = Automation {
            verdict, class, score,
            reasons: vec![Reason { code: "x".into(), weight }],
            ..sample.automation.clone()
        };
        EnrichedClick {
            event_id: EventId::of_click(click.id, revision),
            location: Location { country, latitude, asn, ..sample.location },
            device: Device { kind, ..sample.device },
            earlier: vec![automation.clone(); amendments],
            first_click_before,
            automation,
            click, enriched_at, test, is_erased, location_missing, is_first_click, enrichment,
            redacted_fields: sample.redacted_fields,
        }
    }
}

fn uuid(bits: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(bits)
}

proptest! {
    #[test]
    fn a_click_decodes_to_what_was_encoded(click in clicks()) {
        prop_assert_eq!(decode_click(&encode_click(&click)).expect("decodes"), click);
    }

    #[test]
    fn an_enriched_click_decodes_to_what_was_encoded(click in enriched_clicks()) {
        prop_assert_eq!(decode_enriched(&encode_enriched(&click)).expect("decodes"), click);
    }

    #[test]
    fn a_click_that_owns_nothing_is_the_same_bytes_subject_and_id(
        click in clicks(),
        is_as_in_template in any::<bool>(),
    ) {
        let headers = click.request.headers.iter().map(|(n, v)| (n.as_str(), v.into())).collect();
        let led_to = if is_as_in_template { click.destination_url.as_str() } else { "https://other.example/" };
        let template =
            ClickTemplate::new(click.workspace_id, &click.link, led_to, click.address_treatment, b"beside");
        let telling = match (click.is_anonymous, click.is_redacted) {
            (true, _) => Telling::Anonymous,
            (false, true) => Telling::Redacted,
            (false, false) => Telling::Full,
        };
        let borrowed = ClickRef {
            template: &template,
            id: click.id,
            clicked_at: click.clicked_at,
            destination_url: (!is_as_in_template).then_some(&click.destination_url),
            recipient: None,
            request: RequestRef {
                method: &click.request.method,
                ip: click.request.ip,
                ip_quality: click.request.ip_quality,
                user_agent: click.request.user_agent.as_deref().map(Into::into),
                referrer: click.request.referrer.as_deref().map(Into::into),
                headers,
            },
            telling,
            traceparent: click.traceparent.as_deref(),
        };
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = b"before".to_vec();
            write(&mut out);
            out.split_off(b"before".len())
        };

        let expected = click.outgoing();

        prop_assert_eq!(written(&|out| borrowed.append_payload(out)), expected.payload.to_vec());
        prop_assert_eq!(written(&|out| borrowed.append_subject(out)), expected.subject.into_bytes());
        prop_assert_eq!(written(&|out| borrowed.append_id(out)), expected.id.into_bytes());
        prop_assert_eq!(borrowed.traceparent(), expected.traceparent.as_deref());
        prop_assert_eq!(template.destination(), led_to.as_bytes());
        prop_assert_eq!(template.beside(), b"beside");

        let mut payload = Vec::new();
        ClickRef { recipient: Some(u64::MAX), ..borrowed.clone() }.append_payload(&mut payload);
        let mut of_recipient = click.clone();
        of_recipient.link.labels.contact_id = Some(u64::MAX.to_string());
        prop_assert_eq!(decode_click(&payload).expect("decodes"), of_recipient);
    }

    #[test]
    fn an_orphan_decodes_to_what_was_encoded(orphan in orphans()) {
        prop_assert_eq!(decode_orphan(&encode_orphan(&orphan)).expect("decodes"), orphan);
    }

    #[test]
    fn equal_clicks_are_equal_bytes(click in clicks()) {
        prop_assert_eq!(encode_click(&click), encode_click(&click.clone()));
    }
}

#[test]
fn events_and_quarantined_messages_decode_to_what_was_encoded() {
    let event = Event {
        id: EventId::generate(),
        workspace_id: WorkspaceId::generate(),
        event_type: "endpoint.disabled".into(),
        occurred_at: given::click().clicked_at,
        data: "{}".into(),
    };
    let quarantined = Quarantined {
        stream: "CLICKS".into(),
        stream_sequence: 7,
        message_id: None,
        consumer: "enrich".into(),
        subject: "clickwire.clicks.raw.x.00".into(),
        reason: "field `link` is missing".into(),
        payload: Bytes::from_static(b"\xff"),
        quarantined_at: given::click().clicked_at,
    };

    assert_eq!(decode_event(&encode_event(&event)).expect("decodes"), event);
    assert_eq!(decode_quarantined(&encode_quarantined(&quarantined)).expect("decodes"), quarantined);
}

#[test]
fn numbers_from_a_newer_writer_become_what_claims_least() {
    let mut click = enriched_to_proto(&given::enriched_click());
    click.enrichment = 99;
    click.location_missing = 99;
    click.device.get_or_insert_default().kind = 99;
    let automation = click.automation.get_or_insert_default();
    automation.verdict = 99;
    automation.class = 99;
    automation.score = 9999;
    automation.reasons = vec![proto::Reason { code: "x".into(), weight: i32::MIN }];
    let raw = click.click.get_or_insert_default();
    raw.address_treatment = 99;
    raw.request.get_or_insert_default().ip_quality = 99;
    raw.link.get_or_insert_default().kind = 99;

    let click = enriched_from_proto(click).expect("decodes");

    assert_eq!(click.enrichment, Enrichment::Partial);
    assert_eq!(click.location_missing, Some(LocationMissing::NotFound));
    assert_eq!(click.device.kind, DeviceKind::Unknown);
    assert_eq!(click.automation.verdict, Verdict::Unknown);
    assert_eq!(click.automation.class, Some(MachineClass::Other));
    assert_eq!(click.automation.score, 100);
    assert_eq!(click.automation.reasons[0].weight, i16::MIN);
    assert_eq!(click.click.address_treatment, AddressTreatment::Drop);
    assert_eq!(click.click.request.ip_quality, IpQuality::Obfuscated);
    assert_eq!(click.click.link.kind, LinkKind::Shareable);
}

#[test]
fn a_malformed_click_names_the_field() {
    let broken = |change: fn(&mut proto::Click)| {
        let mut click = click_to_proto(&given::click());
        change(&mut click);
        click_from_proto(click).expect_err("malformed").to_string()
    };

    assert_eq!(broken(|click| click.click_id = "clk_x".into()), "field `click_id` is not an id");
    assert_eq!(broken(|click| click.workspace_id.clear()), "field `workspace_id` is not an id");
    assert_eq!(broken(|click| click.link = None), "field `link` is missing");
    assert_eq!(broken(|click| click.request = None), "field `request` is missing");
    assert_eq!(broken(|click| click.clicked_at = None), "field `clicked_at` is missing");
    assert_eq!(
        broken(|click| click.clicked_at = Some(Timestamp { seconds: 0, nanos: -1 })),
        "field `clicked_at` is not a time"
    );
    assert_eq!(
        broken(|click| click.clicked_at = Some(Timestamp { seconds: i64::MAX, nanos: 0 })),
        "field `clicked_at` is not a time"
    );
    assert_eq!(
        broken(|click| click.request.get_or_insert_default().ip = vec![1, 2, 3]),
        "field `request.ip` is not an IP address"
    );
    assert_eq!(
        broken(|click| click.link.get_or_insert_default().link_id = "clk_".into()),
        "field `link.link_id` is not an id"
    );
}

#[test]
fn overlong_texts_are_cut_between_characters() {
    let mut click = given::click();
    click.request.user_agent = Some("å".repeat(USER_AGENT_BYTES_MAX));
    click.request.headers = vec![("accept".into(), "x".repeat(2 * HEADER_BYTES_MAX)); 2 * KEPT_HEADERS.len()];

    let click = decode_click(&encode_click(&click)).expect("decodes");

    assert_eq!(click.request.user_agent, Some("å".repeat(USER_AGENT_BYTES_MAX / 2)));
    assert_eq!(click.request.headers.len(), KEPT_HEADERS.len());
    assert!(click.request.headers.iter().all(|(_, value)| value.len() == HEADER_BYTES_MAX));
}
