//! The click of a test, and what it may become.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, Utc};
use model::automation::{Automation, MachineClass, Reason, Verdict};
use model::click::{Click, ClickedLink, EnrichedClick, Enrichment, IpQuality, Request};
use model::device::{Device, DeviceKind};
use model::link::{LinkKind, LinkLabels};
use model::location::Location;
use model::{AddressTreatment, ClickId, EventId, LinkId, WorkspaceId};

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
