//! A usual click, for tests.

use chrono::DateTime;
use model::click::{ClickedLink, IpQuality, Request};
use model::link::{LinkKind, LinkLabels};
use model::{AddressTreatment, Click, ClickId, LinkId, WorkspaceId};

/// A person in Rome on an iPhone.
pub fn click() -> Click {
    Click {
        id: ClickId::generate(),
        clicked_at: DateTime::from_timestamp(1_795_000_000, 0).expect("a moment of 2026"),
        workspace_id: WorkspaceId::generate(),
        link: ClickedLink {
            kind: LinkKind::Shareable,
            sent_at: None,
            id: LinkId::generate(),
            revision: 1,
            domain: "go.example.com".into(),
            slug: "k7m2xq9ra".into(),
            tracked_url: "https://go.example.com/k7m2xq9ra".into(),
            original_url: "https://example.com/offer".into(),
            labels: LinkLabels { contact_id: Some("cont_9".into()), ..LinkLabels::default() },
        },
        destination_url: "https://example.com/offer".into(),
        request: Request {
            method: "GET".into(),
            ip: "82.90.81.233".parse().ok(),
            ip_quality: IpQuality::Direct,
            user_agent: Some(
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 \
                 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
                    .into(),
            ),
            referrer: None,
            headers: vec![("accept-language".into(), "it-IT,it;q=0.9".into())],
        },
        address_treatment: AddressTreatment::Drop,
        is_anonymous: false,
        is_redacted: false,
        traceparent: None,
    }
}
