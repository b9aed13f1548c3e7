//! The trace of a click: redirected, enriched, recorded, and what became of it at each endpoint.
//!
//! Which node redirected, and when the click left its spool, is not kept: the message of a click does not carry it.

use std::collections::HashMap;

use chrono::Utc;
use serde_json::Value;

use model::{ClickId, DeliveryId, EndpointId};
use store::click_log;
use store::delivery_log::{self, DeliveryFilter, LoggedAttempt, LoggedDelivery};
use store::endpoints::{self, Endpoint};

use super::clicks::{ShownClick, decode};
use super::deliveries::only_attempt;
use super::standing::Standing;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// Most deliveries of one click that its trace shows, newest first.
const DELIVERIES_MAX: i64 = 250;

/// Most attempts of these together.
const ATTEMPTS_MAX: i64 = 1000;

/// Most endpoints that are looked at. `api.endpoints_max` is less, unless it was raised.
const ENDPOINTS_MAX: i64 = 1000;

/// Where a click has been.
pub struct Trace {
    /// The click.
    pub shown: ShownClick,
    /// What became of it at each endpoint: those that are there first, newest first, then those that were removed since.
    pub endpoints: Vec<AtEndpoint>,
}

/// What became of a click at an endpoint.
pub struct AtEndpoint {
    /// Which.
    pub id: EndpointId,
    /// Where it posts to; `None`: it was removed.
    pub url: Option<String>,
    /// How it stands to the click now; `None`: it was removed.
    pub standing: Option<Standing>,
    /// What it is or was owed of the click, newest first.
    pub deliveries: Vec<TracedDelivery>,
}

/// A delivery with its attempts.
pub struct TracedDelivery {
    /// The delivery.
    pub delivery: LoggedDelivery,
    /// First to last.
    pub attempts: Vec<LoggedAttempt>,
}

impl AtEndpoint {
    /// Whether the endpoint was told, or will be.
    pub fn is_matched(&self) -> bool {
        !self.deliveries.is_empty()
    }

    /// Why the endpoint has no delivery of the click: a word for programs and a sentence for people; `None` when it has one.
    pub fn reason(&self) -> Option<(&'static str, String)> {
        if self.is_matched() {
            return None;
        }
        let standing = self.standing.as_ref()?;
        if standing.is_match() {
            let sentence = "It would get this click as it is set now, but no delivery was made: it is on its way, or the \
                            endpoint was set otherwise when the click came.";
            return Some(("no_delivery", sentence.to_owned()));
        }
        Some((standing.code(), standing.sentence()))
    }
}

/// The trace of a click.
///
/// # Errors
/// When the workspace has no such click.
pub async fn of_click(shared: &Shared, caller: &Caller, id: ClickId) -> Result<Trace, ApiError> {
    let workspace_id = caller.workspace_id;
    let mut conn = shared.pool.get().await?;
    let row = click_log::find(&mut conn, workspace_id, id).await?.ok_or(ApiError::NotFound("click"))?;
    let shown = decode(row)?;
    let of_click = DeliveryFilter { click_id: Some(id), ..DeliveryFilter::default() };
    let deliveries = delivery_log::list(&mut conn, workspace_id, &of_click, None, DELIVERIES_MAX).await?;
    let retried: Vec<DeliveryId> = deliveries.iter().map(|delivery| delivery.id).collect();
    let attempts = delivery_log::attempts_of(&mut conn, workspace_id, &retried, ATTEMPTS_MAX).await?;
    let endpoints = endpoints::list(&mut conn, workspace_id, None, ENDPOINTS_MAX).await?;
    drop(conn);
    let endpoints = at_endpoints(&shown, endpoints, deliveries, attempts);
    Ok(Trace { shown, endpoints })
}

fn at_endpoints(
    shown: &ShownClick,
    endpoints: Vec<Endpoint>,
    deliveries: Vec<LoggedDelivery>,
    attempts: Vec<(DeliveryId, LoggedAttempt)>,
) -> Vec<AtEndpoint> {
    let now = Utc::now();
    let mut by_delivery: HashMap<DeliveryId, Vec<LoggedAttempt>> = HashMap::new();
    for (id, mut attempt) in attempts {
        // what was sent and answered is shown with the delivery
        (attempt.request_headers, attempt.response_headers) = (Value::Null, Value::Null);
        by_delivery.entry(id).or_default().push(attempt);
    }
    let mut traced: Vec<AtEndpoint> = endpoints
        .into_iter()
        .map(|endpoint| AtEndpoint {
            id: endpoint.id,
            url: Some(endpoint.options.url.to_string()),
            standing: Some(Standing::of(&endpoint, Some(&shown.click), now)),
            deliveries: Vec::new(),
        })
        .collect();
    for delivery in deliveries {
        let mut attempts = by_delivery.remove(&delivery.id).unwrap_or_default();
        // that of a batch is told by its delivery as well
        if attempts.is_empty() && delivery.attempt_count > 0 {
            attempts.extend(only_attempt(&delivery));
        }
        let endpoint_id = delivery.endpoint_id;
        let delivery = TracedDelivery { delivery, attempts };
        match traced.iter_mut().find(|at| at.id == endpoint_id) {
            Some(at) => at.deliveries.push(delivery),
            None => {
                let deliveries = vec![delivery];
                traced.push(AtEndpoint { id: endpoint_id, url: None, standing: None, deliveries });
            }
        }
    }
    traced
}
