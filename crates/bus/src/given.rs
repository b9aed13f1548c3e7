//! Values that tests begin with.

use chrono::{TimeZone, Utc};
use model::automation::{Automation, MachineClass, Reason, Verdict};
use model::click::{ClickedLink, Enrichment, IpQuality, Request};
use model::device::{Device, DeviceKind};
use model::link::{LinkKind, LinkLabels};
use model::location::Location;
use model::{AddressTreatment, Click, ClickId, EnrichedClick, EventId, LinkId, WorkspaceId};

pub fn click() -> Click {
    Click {
        id: ClickId::generate(),
        clicked_at: Utc.with_ymd_and_hms(2026, 11, 23, 14, 16, 12).unwrap(),
        workspace_id: WorkspaceId::generate(),
        link: ClickedLink {
            kind: LinkKind::Shareable,
            sent_at: None,
            id: LinkId::generate(),
            revision: 3,
            domain: "go.example.com".into(),
            slug: "k7m2xq9ra".into(),
            tracked_url: "https://go.example.com/k7m2xq9ra".into(),
            original_url: "https://example.com/offer".into(),
            labels: LinkLabels {
                campaign_id: Some("cmp_42".into()),
                tags: vec!["spring".into()],
                metadata: [("a".to_owned(), "b".to_owned())].into(),
                ..LinkLabels::default()
            },
        },
        destination_url: "https://example.com/offer?utm_source=sms".into(),
        request: Request {
            method: "GET".into(),
            ip: Some("8.8.8.8".parse().expect("an address")),
            ip_quality: IpQuality::Proxied,
            user_agent: Some("Mozilla/5.0".into()),
            referrer: None,
            headers: vec![("accept-language".into(), "sv-SE".into())],
        },
        address_treatment: AddressTreatment::Truncate,
        is_anonymous: false,
        is_redacted: false,
        traceparent: None,
    }
}

pub fn enriched_click() -> EnrichedClick {
    let click = click();
    EnrichedClick {
        event_id: EventId::of_click(click.id, 0),
        enriched_at: click.clicked_at,
        click,
        location: Location { country: Some("SE".into()), latitude: Some(58.4), ..Location::default() },
        location_missing: None,
        device: Device { kind: DeviceKind::Mobile, os: Some("iOS".into()), ..Device::default() },
        automation: Automation {
            verdict: Verdict::Human,
            class: Some(MachineClass::Ai),
            score: 7,
            reasons: vec![Reason { code: "x".into(), weight: -3 }],
            ruleset: "2026-11".into(),
        },
        is_first_click: Some(true),
        redacted_fields: vec!["ip".into()],
        enrichment: Enrichment::Partial,
        test: false,
        earlier: Vec::new(),
        first_click_before: None,
        is_erased: false,
    }
}
