//! `/v1/settings`: what a workspace has decided about itself.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get, patch};
use serde::Serialize;
use utoipa::ToSchema;

use store::endpoints::Endpoint;

use super::conditional::{if_match, tagged};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::Body;
use crate::desk::alerts::{self, WorkspaceChange};
use crate::desk::entity_tag::check_match;
use crate::desk::retention::Retention;
use crate::error::{ApiError, Problem};

/// Settings of the workspace.
#[derive(Serialize, ToSchema)]
pub struct WorkspaceView {
    /// The alert URL; `null`: nobody is alerted.
    alert: Option<AlertView>,
    /// How long things are kept. It is for reading: who runs the server sets it, for every workspace alike.
    retention: RetentionView,
}

impl WorkspaceView {
    fn of(shared: &Shared, alert: Option<AlertView>) -> Self {
        Self { alert, retention: Retention::of(shared).into() }
    }
}

/// How long things are kept: in days, `null` for ever, or in seconds.
#[derive(Serialize, ToSchema)]
pub struct RetentionView {
    /// Clicks, each with its place, device and verdict; their counts stay.
    clicks_days: Option<u32>,
    /// Deliveries; nothing older can be sent again.
    deliveries_days: Option<u32>,
    /// Attempts of deliveries that failed at first, with their requests and answers.
    attempts_days: Option<u32>,
    /// Counts for reports.
    rollups_days: Option<u32>,
    /// Clicks before their place is looked up, address included.
    raw_clicks_seconds: u64,
    /// Clicks on their way to webhooks and reports.
    enriched_clicks_seconds: u64,
    /// Messages that could not be read.
    quarantine_seconds: u64,
    /// Sign-ins of people.
    session_seconds: u64,
    /// Invitations that nobody accepts.
    invitation_seconds: u64,
    /// `Idempotency-Key`s.
    idempotency_key_seconds: u64,
}

impl From<Retention> for RetentionView {
    fn from(kept: Retention) -> Self {
        Self {
            clicks_days: kept.clicks_days,
            deliveries_days: kept.deliveries_days,
            attempts_days: kept.attempts_days,
            rollups_days: kept.rollups_days,
            raw_clicks_seconds: kept.raw_clicks.as_secs(),
            enriched_clicks_seconds: kept.enriched_clicks.as_secs(),
            quarantine_seconds: kept.quarantine.as_secs(),
            session_seconds: kept.sessions.as_secs(),
            invitation_seconds: kept.invitations.as_secs(),
            idempotency_key_seconds: kept.idempotency_keys.as_secs(),
        }
    }
}

/// Where a workspace hears of webhooks that need a person: `endpoint.warning`, `endpoint.disabled`, `endpoint.recovered`,
/// `delivery.failing` and `delivery.dead`.
#[derive(Serialize, ToSchema)]
pub struct AlertView {
    /// An endpoint like others: test, secrets, pause, resume and deliveries are asked for by this id.
    #[schema(example = "whe_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    endpoint_id: String,
    #[schema(example = "https://hooks.slack.com/services/T000/B000/XXXX")]
    url: String,
    /// `webhook` or `slack`.
    format: &'static str,
    /// `active`, `paused` or `disabled`; to save it makes it active.
    state: &'static str,
    state_reason: Option<String>,
    /// What is allowed but worth knowing; only in the answer to a save.
    warnings: Vec<String>,
    /// The signing secret; only in the answer that makes it. Later: `GET /v1/webhook-endpoints/{endpoint_id}/secrets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")]
    secret: Option<String>,
}

impl AlertView {
    fn of(endpoint: Endpoint) -> Option<Self> {
        Some(Self {
            endpoint_id: endpoint.id.to_string(),
            url: endpoint.options.url.to_string(),
            format: endpoint.options.kind.alert_format()?.as_str(),
            state: endpoint.state.as_str(),
            state_reason: endpoint.state_reason,
            warnings: Vec::new(),
            secret: None,
        })
    }
}

/// Show the settings of the workspace
#[utoipa::path(tag = "settings", params(("If-None-Match" = Option<String>, Header)),
    security(("api_key" = ["endpoints:read"])), responses((status = 200, body = WorkspaceView),
    (status = 304, description = "Nothing is new"),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/settings")]
pub async fn show_workspace(
    caller: Caller,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsRead)?;
    let saved = alerts::find(&shared, &caller).await?;
    let revision = alerts::revision(saved.as_ref());
    let view = WorkspaceView::of(&shared, saved.and_then(AlertView::of));
    Ok(tagged(&request, StatusCode::OK, revision, &view))
}

/// Change the settings of the workspace
///
/// `alert` names the URL that is told of webhooks that need a person, signed like webhooks and by the same rules of egress
/// and retries. Of an endpoint's dead deliveries it is told at most once in ten minutes (`deliver.alert_pause`), with their
/// number in `deliveries`; of itself never.
#[utoipa::path(tag = "settings", params(("If-Match" = Option<String>, Header)), request_body = WorkspaceChange,
    security(("api_key" = ["endpoints:write"])),
    responses((status = 200, body = WorkspaceView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[patch("/v1/settings")]
pub async fn update_workspace(
    caller: Caller,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsWrite)?;
    let wanted: WorkspaceChange = body.read()?;
    let if_match = if_match(&request);
    let (revision, alert) = match wanted.alert {
        None => {
            let saved = alerts::find(&shared, &caller).await?;
            let revision = alerts::revision(saved.as_ref());
            check_match(if_match, &revision)?;
            (revision, saved.and_then(AlertView::of))
        }
        Some(None) => {
            alerts::remove(&shared, &caller, if_match).await?;
            (alerts::revision(None), None)
        }
        Some(Some(wanted)) => {
            let saved = alerts::save(&shared, &caller, if_match, wanted)
                .await
                .map_err(|error| error.below("/alert"))?;
            let revision = alerts::revision(Some(&saved.endpoint));
            let (warnings, secret) = (saved.warnings, saved.secret);
            let secret = secret.map(|secret| secret.reveal().to_string());
            (revision, AlertView::of(saved.endpoint).map(|view| AlertView { warnings, secret, ..view }))
        }
    };
    Ok(tagged(&request, StatusCode::OK, revision, &WorkspaceView::of(&shared, alert)))
}
