//! What keeps clicks from becoming webhooks: each finding has a cause and what to do about it.
//!
//! The one place that knows. The wizard and the page of a link show findings as they are made here; `clickwire why` prints
//! them. In the order of a click's way: the link ([`link`]), the services it passes ([`services`]), each endpoint
//! ([`endpoint`]), what the click carries ([`click`]), and what became of each delivery ([`delivery`], [`answer`]).

pub mod answer;
pub mod click;
mod code;
pub mod delivery;
pub mod endpoint;
pub mod link;
pub mod services;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use bus::{Bus, Message as _};
use model::delivery::DeliveryStatus;
use model::ownership::OwnershipCheck;
use model::{EndpointId, EnrichedClick, WorkspaceId};
use store::click_log::{self, ClickFilter, RecordedClick};
use store::delivery_log::{self, DeliveryFilter, LoggedDelivery};
use store::endpoints::{self, Endpoint};
use store::lines::{self, HoldUp};
use store::links::Link;
use store::{Connection, QueryResult};

pub use code::Code;

/// More endpoints, and more deliveries of one click, are not looked at.
pub const LOOKED_AT_MAX: i64 = 1_000;

/// Most deliveries of one endpoint that are looked at as holding up others.
const HOLD_UPS_MAX: i64 = 100;

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// For scripts.
    pub code: Code,
    /// Whether it keeps webhooks from arriving, or from arriving now.
    pub stops: bool,
    /// What is so.
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The page of the console where that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

impl Finding {
    /// Something that keeps webhooks from arriving, and what to do about it.
    pub fn stop(code: Code, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code, stops: true, text: text.into(), fix: Some(fix.into()), page: None }
    }

    /// Something that is as it should be.
    pub fn note(code: Code, text: impl Into<String>) -> Self {
        Self { code, stops: false, text: text.into(), fix: None, page: None }
    }

    /// Something that keeps nothing back, and still wants looking at.
    pub fn hint(code: Code, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { stops: false, ..Self::stop(code, text, fix) }
    }

    /// With the page where it is mended.
    #[must_use]
    pub fn at(mut self, page: impl Into<String>) -> Self {
        self.page = Some(page.into());
        self
    }
}

/// Looks at a link of a workspace, the last click on it, and every webhook of the workspace; `check` is what those are held to.
///
/// # Errors
/// When the database is away.
pub async fn look(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    link: &Link,
    check: OwnershipCheck,
    now: DateTime<Utc>,
) -> QueryResult<Vec<Finding>> {
    let mut findings = link::look(conn, workspace_id, link, now).await?;
    let endpoints = endpoints::list(conn, workspace_id, None, LOOKED_AT_MAX).await?;
    let filter = ClickFilter { link_id: Some(link.id), ..ClickFilter::default() };
    let last = click_log::list(conn, workspace_id, &filter, None, 1).await?.into_iter().next();
    let event = last.as_ref().and_then(|click| EnrichedClick::decode(&click.event).ok());
    if endpoints.is_empty() {
        findings.push(endpoint::none());
    }
    let Some(last) = last else {
        findings.extend(endpoints.iter().map(|endpoint| endpoint::finding(endpoint, event.as_ref(), now)));
        findings.push(no_click(None));
        return Ok(findings);
    };
    let filter = DeliveryFilter { click_id: Some(last.id), ..DeliveryFilter::default() };
    let deliveries = delivery_log::list(conn, workspace_id, &filter, None, LOOKED_AT_MAX).await?;
    findings.extend(of_last(&endpoints, &last, event.as_ref(), &deliveries, now));
    for delivery in &deliveries {
        let endpoint = endpoints.iter().find(|endpoint| endpoint.id == delivery.endpoint_id);
        findings.push(delivery::finding(delivery, endpoint, check, now));
    }
    findings.extend(held_up(conn, workspace_id, link, &endpoints, &deliveries).await?);
    Ok(findings)
}

/// What the last click waits behind, of each endpoint that it waits for.
async fn held_up(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    link: &Link,
    endpoints: &[Endpoint],
    deliveries: &[LoggedDelivery],
) -> QueryResult<Vec<Finding>> {
    let waits = |endpoint: &Endpoint| {
        let own = deliveries.iter().filter(|delivery| delivery.endpoint_id == endpoint.id);
        own.filter(|delivery| delivery.status == DeliveryStatus::Pending).any(|d| d.attempt_count == 0)
    };
    let in_order = endpoints.iter().filter(|endpoint| endpoint.options.ordering.is_kept() && waits(endpoint));
    let ids: Vec<EndpointId> = in_order.map(|endpoint| endpoint.id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let hold_ups = lines::hold_ups(conn, workspace_id, &ids, HOLD_UPS_MAX).await?;
    let finding = |hold_up: &HoldUp| {
        let endpoint = endpoints.iter().find(|endpoint| endpoint.id == hold_up.endpoint_id)?;
        let is_before = endpoint.options.ordering.is_strict() || hold_up.link_id == Some(link.id);
        is_before.then(|| delivery::holding_up(hold_up, endpoint))
    };
    Ok(hold_ups.iter().filter_map(finding).collect())
}

/// What waits on the streams, besides what was found by [`look`]: it stops what is awaited.
pub async fn services(bus: &Bus, found: &[Finding]) -> Vec<Finding> {
    services::findings(bus, found.iter().any(|finding| finding.code.is_awaited())).await
}

/// No click of the link has come as far as the database, since a moment if one is given.
pub fn no_click(since: Option<DateTime<Utc>>) -> Finding {
    let when = since.map_or_else(|| "yet".to_owned(), |at| format!("since {}", moment(at)));
    Finding::stop(
        Code::NoClick,
        format!("no click of this link has been recorded {when}"),
        "open the link (`no_track` in its query, or a browser that asks for privacy, may keep it from being recorded); if you \
         did, `enrich` or `record` does not run or is behind",
    )
}

fn of_last(
    endpoints: &[Endpoint],
    last: &RecordedClick,
    event: Option<&EnrichedClick>,
    deliveries: &[LoggedDelivery],
    now: DateTime<Utc>,
) -> Vec<Finding> {
    let of = |endpoint: &Endpoint| deliveries.iter().any(|delivery| delivery.endpoint_id == endpoint.id);
    let mut findings: Vec<Finding> = endpoints
        .iter()
        .map(|endpoint| match endpoint::finding(endpoint, event, now) {
            // it wants the click, and nobody has begun to give it
            fine if !fine.stops && !of(endpoint) => endpoint::not_told(endpoint, last, now),
            // what it was told before, it was told
            erased if erased.code == Code::Erased && of(endpoint) => endpoint::active(endpoint),
            finding => finding,
        })
        .collect();
    findings.push(Finding::note(
        Code::Click,
        format!("the last click is {} of {}", last.id, moment(last.id.timestamp())),
    ));
    findings.extend(event.into_iter().flat_map(click::findings));
    if deliveries.is_empty() && !endpoints.is_empty() {
        findings.push(Finding::stop(
            Code::NoDelivery,
            "that click is owed to no endpoint",
            "mend what is named above, and click again; what was missed can be replayed",
        ));
    }
    findings
}

/// A moment as findings write it.
pub(crate) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
