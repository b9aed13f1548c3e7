//! What tests begin with. Unusual values belong in the test; these are the usual ones.

use chrono::{DateTime, TimeZone as _, Utc};
use model::automation::{Automation, MachineClass, Reason, Verdict};
use model::click::{ClickedLink, Enrichment, IpQuality, Request};
use model::device::{Device, DeviceKind};
use model::event_type::EventTypePattern;
use model::link::{LinkKind, LinkLabels};
use model::location::Location;
use model::secret::ApiKey;
use model::{AddressTreatment, Click, ClickId, DomainId, EnrichedClick, EventId, Host, LinkId, WorkspaceId};
use store::Connection;
use store::api_keys::NewKey;
use store::domains::Domain;
use store::endpoints::{EndpointOptions, Kind};
use store::link_import::NewLink;
use store::links::{Insertion, LinkOptions};

/// A workspace without anything in it.
///
/// # Panics
/// When the database refuses.
pub async fn workspace(conn: &mut Connection) -> WorkspaceId {
    store::workspaces::insert(conn, "Given", Utc::now()).await.expect("a workspace").id
}

/// A domain of the workspace; its first one is its default.
///
/// # Panics
/// When the host is not one, or is taken.
pub async fn domain(conn: &mut Connection, workspace_id: WorkspaceId, host: &str) -> Domain {
    let host: Host = host.parse().expect("a host");
    let domain = store::domains::insert(conn, workspace_id, &host, Utc::now()).await;
    domain.expect("a domain").expect("a free host")
}

/// A link under a domain of the workspace.
///
/// # Panics
/// When the slug is not one, or is taken.
pub async fn link(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    domain_id: DomainId,
    slug: &str,
    options: &LinkOptions,
) -> LinkId {
    let (id, slug) = (LinkId::generate(), slug.parse().expect("a slug"));
    let new = NewLink { id, domain_id, slug: &slug, options, created_by: "test" };
    let inserted = store::links::insert(conn, workspace_id, &new, Utc::now()).await;
    assert_eq!(inserted.expect("a link"), Insertion::Inserted);
    id
}

/// An endpoint at this URL that wants the clicks, with the defaults for everything else.
///
/// # Panics
/// When the URL is not one.
pub fn endpoint_options(url: &str) -> EndpointOptions {
    let url = url.parse().expect("a URL");
    EndpointOptions::to(Kind::Webhook, url, vec![EventTypePattern::link_clicked()])
}

/// An API key that may do everything in the workspace.
///
/// # Panics
/// When the database refuses.
pub async fn api_key(conn: &mut Connection, workspace_id: WorkspaceId) -> ApiKey {
    let key = ApiKey::generate();
    let scopes = ["*".to_owned()];
    let new = NewKey {
        workspace_id,
        name: "Given",
        key: &key,
        scopes: &scopes,
        expires_at: None,
        created_by: "operator",
    };
    store::api_keys::insert(conn, new, Utc::now()).await.expect("a key").expect("a new key");
    key
}

/// A person's click on a link with labels, as the redirect saw it.
pub fn click() -> Click {
    Click {
        id: ClickId::generate(),
        clicked_at: moment(),
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

/// The same with what is known of it, a little of everything.
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

/// When it was clicked.
fn moment() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 14, 16, 12).single().expect("a moment")
}
