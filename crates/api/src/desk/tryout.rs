//! Trying a webhook out with a real click: the link that is clicked, and how far that click has come.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use bus::Message as _;
use model::delivery::DeliveryStatus;
use model::{EndpointId, EnrichedClick, LinkId};
use store::click_log::{self, ClickFilter, RecordedClick};
use store::delivery_log::{self, LoggedAttempt, LoggedDelivery};
use store::endpoints::Endpoint;
use store::links::{self, Link};

use super::clicks::{ShownClick, decode};
use super::diagnosis::{self, Code, Finding};
use super::link_upsert::{Upserted, upsert};
use super::signature_check::{self, CheckedSignature};
use super::{deliveries, endpoints, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields;

/// The campaign of test links, by which reports leave their clicks out.
const TEST_CAMPAIGN: &str = "clickwire-test";

/// Where a test link leads: a page that is there for examples, on every network.
const TEST_DESTINATION: &str = "https://example.com/";

/// Without a click for so long, whoever tries is told what to do.
const CLICK_AWAITED: TimeDelta = TimeDelta::seconds(10);

/// How many test links may have been archived before there is none any more.
const TEST_LINKS_MAX: u32 = 20;

/// The workspace's test link, if it was made.
///
/// # Errors
/// When the database is away.
pub async fn test_link(shared: &Shared, caller: &Caller) -> Result<Option<Link>, ApiError> {
    let mut conn = shared.pool.get().await?;
    for number in 1..=TEST_LINKS_MAX {
        let Some(id) =
            links::find_by_external_id(&mut conn, caller.workspace_id, &external_id(number)).await?
        else {
            return Ok(None);
        };
        let link = links::find(&mut conn, caller.workspace_id, id).await?;
        if let Some(link) = link.filter(|link| link.archived_at.is_none()) {
            return Ok(Some(link));
        }
    }
    Ok(None)
}

/// The workspace's test link; made where there is none, or the one that was is archived.
///
/// # Errors
/// When the workspace has no domain, or all the test links that it may have are archived.
pub async fn make_test_link(shared: &Shared, caller: &Caller) -> Result<Link, ApiError> {
    if let Some(link) = test_link(shared, caller).await? {
        return Ok(link);
    }
    let mut refused = None;
    for number in 1..=TEST_LINKS_MAX {
        let new = json!({"url": TEST_DESTINATION, "campaign_id": TEST_CAMPAIGN, "tags": ["test"]});
        match upsert(shared, caller, external_id(number), None, fields::read(&new)?).await {
            Ok(Upserted::Created(link) | Upserted::Kept(link)) => return Ok(link),
            Err(error @ ApiError::Conflict { .. }) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or(ApiError::NotFound("link")))
}

fn external_id(number: u32) -> String {
    if number == 1 { TEST_CAMPAIGN.to_owned() } else { format!("{TEST_CAMPAIGN}-{number}") }
}

/// How far the last click on the test link has come.
pub struct Progress {
    /// The webhook that is tried.
    pub endpoint: Endpoint,
    /// What keeps the link's clicks from being recorded, or waits on the streams.
    pub before: Vec<Finding>,
    /// The click, as soon as it is recorded.
    pub click: Option<ShownClick>,
    /// What is missing in its payload.
    pub incomplete: Vec<Finding>,
    /// Whether the webhook wants it.
    pub matched: Option<Finding>,
    /// Its delivery.
    pub delivery: Option<Sent>,
}

/// A delivery of the click.
pub struct Sent {
    /// Where it stands.
    pub delivery: LoggedDelivery,
    /// Its last attempt.
    pub attempt: Option<LoggedAttempt>,
    /// What there is to say of it.
    pub finding: Finding,
    /// Whether what was sent verifies.
    pub signature: Option<CheckedSignature>,
}

impl Progress {
    /// Whether there is nothing more to wait for: the subscriber has it, or it is there to be fetched.
    pub fn is_done(&self) -> bool {
        use DeliveryStatus::{Delivered, Offered};
        self.delivery.as_ref().is_some_and(|sent| matches!(sent.delivery.status, Delivered | Offered))
    }

    /// Whether the subscriber fetches it, or would: whether it has, only the subscriber knows.
    pub fn is_pulled(&self) -> bool {
        match &self.delivery {
            Some(sent) => sent.delivery.status == DeliveryStatus::Offered,
            None => self.endpoint.options.is_pulled(),
        }
    }
}

/// How far the newest click on a link since a moment has come on its way to an endpoint.
///
/// # Errors
/// When there is no such endpoint, or the database is away.
pub async fn progress(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    link: &Link,
    since: DateTime<Utc>,
) -> Result<Progress, ApiError> {
    let now = now();
    let endpoint = endpoints::find(shared, caller, id).await?;
    let recorded = newest_click(shared, caller, link.id, since).await?;
    let mut progress = Progress {
        endpoint,
        before: Vec::new(),
        click: None,
        incomplete: Vec::new(),
        matched: None,
        delivery: None,
    };
    let Some(recorded) = recorded else {
        progress.before = before(shared, caller, link, now).await?;
        if !progress.before.iter().any(|finding| finding.stops) && now - since >= CLICK_AWAITED {
            progress.before.push(diagnosis::no_click(Some(since)));
        }
        progress.matched = Some(diagnosis::endpoint::finding(&progress.endpoint, None, now));
        return Ok(progress);
    };
    let event = EnrichedClick::decode(&recorded.event).ok();
    progress.incomplete = event.iter().flat_map(diagnosis::click::findings).collect();
    progress.delivery = delivery(shared, caller, &progress.endpoint, &recorded, now).await?;
    progress.matched = Some(match diagnosis::endpoint::finding(&progress.endpoint, event.as_ref(), now) {
        fine if !fine.stops && progress.delivery.is_none() => {
            diagnosis::endpoint::not_told(&progress.endpoint, &recorded, now)
        }
        finding => finding,
    });
    if progress.matched.as_ref().is_some_and(|matched| matched.code == Code::NotTold) {
        progress.before = diagnosis::services::findings(&shared.bus, true).await;
    }
    progress.click = Some(decode(recorded)?);
    Ok(progress)
}

async fn newest_click(
    shared: &Shared,
    caller: &Caller,
    link_id: LinkId,
    since: DateTime<Utc>,
) -> Result<Option<RecordedClick>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let filter = ClickFilter { link_id: Some(link_id), since: Some(since), ..ClickFilter::default() };
    Ok(click_log::list(&mut conn, caller.workspace_id, &filter, None, 1).await?.into_iter().next())
}

/// Why a click may not have been recorded.
async fn before(
    shared: &Shared,
    caller: &Caller,
    link: &Link,
    now: DateTime<Utc>,
) -> Result<Vec<Finding>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let mut findings = diagnosis::link::look(&mut conn, caller.workspace_id, link, now).await?;
    drop(conn);
    findings.retain(|finding| !finding.code.is_fine());
    if !findings.iter().any(|finding| finding.stops) {
        findings.extend(diagnosis::services::findings(&shared.bus, true).await);
    }
    Ok(findings)
}

async fn delivery(
    shared: &Shared,
    caller: &Caller,
    endpoint: &Endpoint,
    click: &RecordedClick,
    now: DateTime<Utc>,
) -> Result<Option<Sent>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let event_id = model::EventId::of_click(click.id, 0);
    let found = delivery_log::of_event(&mut conn, caller.workspace_id, endpoint.id, event_id).await?;
    drop(conn);
    let Some(found) = found else { return Ok(None) };
    let (delivery, mut attempts) = deliveries::find(shared, caller, found.id).await?;
    let attempt = attempts.pop();
    let signature = match &attempt {
        Some(attempt) => signature_check::check_attempt(shared, caller, &delivery, attempt).await?,
        None => None,
    };
    let finding = diagnosis::delivery::finding(&delivery, Some(endpoint), shared.ownership, now);
    Ok(Some(Sent { delivery, attempt, finding, signature }))
}
