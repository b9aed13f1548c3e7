//! Clicks as visitors would make them: addresses all over the internet, ordinary browsers.

use std::net::{IpAddr, Ipv4Addr};

use chrono::Utc;
use model::automation::{Automation, Verdict};
use model::click::{ClickedLink, Enrichment, IpQuality, Request};
use model::device::{Device, DeviceKind};
use model::link::{LinkKind, LinkLabels};
use model::location::Location;
use model::{AddressTreatment, Click, ClickId, EnrichedClick, EventId, WorkspaceId};

use crate::world::BenchLink;

const USER_AGENTS: [&str; 4] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
];

/// Browsers of a month's visits, with how often each came: cases of enrichment's own tests.
const CASES: &str = include_str!("../../../enrich/tests/data/clicks.ndjson");

/// The suite of those cases that real visits are.
const REAL: &str = "real";

/// Visitors with the browsers that real visitors have, in their real shares.
pub struct Mixed {
    /// Each browser as often as it came.
    agents: Vec<String>,
}

impl Mixed {
    /// Reads the cases.
    pub fn load() -> anyhow::Result<Self> {
        #[derive(serde::Deserialize)]
        struct Case {
            suite: String,
            user_agent: Option<String>,
            #[serde(default)]
            weight: Option<usize>,
        }
        let mut agents = Vec::new();
        for line in CASES.lines() {
            let case: Case = serde_json::from_str(line)?;
            if let (REAL, Some(agent)) = (case.suite.as_str(), case.user_agent) {
                agents.extend(std::iter::repeat_n(agent, case.weight.unwrap_or(1)));
            }
        }
        anyhow::ensure!(!agents.is_empty(), "there are no real visits among the cases");
        Ok(Self { agents })
    }

    /// A click as the redirect would spool it; browser and address follow from `number`.
    pub fn click(&self, workspace_id: WorkspaceId, link: &BenchLink, number: u64) -> Click {
        let mut click = click(workspace_id, link, number);
        // an odd multiplier mixes the browsers, which lie side by side
        let at = number.wrapping_mul(2_654_435_761) % self.agents.len() as u64;
        click.request.user_agent = usize::try_from(at).ok().and_then(|at| self.agents.get(at)).cloned();
        click
    }
}

/// An ordinary browser; which one follows from `number`.
pub fn user_agent(number: u64) -> &'static str {
    USER_AGENTS[usize::try_from(number % 4).expect("below 4")]
}

/// A public address; which one follows from `number`.
pub fn address(number: u64) -> IpAddr {
    // an odd multiplier spreads the numbers over 1.0.0.0 to 9.255.255.255, all of it public but 10/8 above
    let spread = u32::try_from(number.wrapping_mul(2_654_435_761) % (9 << 24)).expect("below 2^32");
    IpAddr::V4(Ipv4Addr::from((1 << 24) + spread))
}

/// A click as the redirect would spool it.
pub fn click(workspace_id: WorkspaceId, link: &BenchLink, number: u64) -> Click {
    let now = Utc::now();
    Click {
        id: ClickId::generate_at(now),
        clicked_at: now,
        workspace_id,
        link: ClickedLink {
            kind: LinkKind::Shareable,
            sent_at: None,
            id: link.id,
            revision: 1,
            domain: "127.0.0.1".into(),
            slug: link.slug.clone(),
            tracked_url: format!("http://127.0.0.1/{}", link.slug),
            original_url: "https://example.com/offer".into(),
            labels: LinkLabels { campaign_id: Some("bench".into()), ..LinkLabels::default() },
        },
        destination_url: "https://example.com/offer".into(),
        request: Request {
            method: "GET".into(),
            ip: Some(address(number)),
            ip_quality: IpQuality::Proxied,
            user_agent: Some(user_agent(number).into()),
            referrer: None,
            headers: vec![
                ("accept-language".into(), "sv-SE,sv;q=0.9".into()),
                ("accept".into(), "text/html".into()),
            ],
        },
        address_treatment: AddressTreatment::Drop,
        is_anonymous: false,
        is_redacted: false,
        traceparent: None,
    }
}

/// A click as `enrich` would publish it.
pub fn enriched(workspace_id: WorkspaceId, link: &BenchLink, number: u64) -> EnrichedClick {
    let mut click = click(workspace_id, link, number);
    click.request.ip = None;
    EnrichedClick {
        event_id: EventId::of_click(click.id, 0),
        location: Location {
            country: Some("SE".into()),
            country_name: Some("Sweden".into()),
            region: Some("Östergötland County".into()),
            city: Some("Linköping".into()),
            timezone: Some("Europe/Stockholm".into()),
            continent: Some("EU".into()),
            is_eu: Some(true),
            latitude: Some(58.4),
            longitude: Some(15.6),
            ..Location::default()
        },
        location_missing: None,
        device: Device {
            kind: DeviceKind::Mobile,
            brand: Some("Apple".into()),
            model: Some("iPhone".into()),
            os: Some("iOS".into()),
            browser: Some("Mobile Safari".into()),
            ..Device::default()
        },
        automation: Automation {
            verdict: Verdict::Human,
            class: None,
            score: 0,
            reasons: Vec::new(),
            ruleset: "bench".into(),
        },
        is_first_click: Some(true),
        redacted_fields: vec!["ip".into()],
        enrichment: Enrichment::Complete,
        enriched_at: click.clicked_at,
        test: false,
        earlier: Vec::new(),
        first_click_before: None,
        is_erased: false,
        click,
    }
}
