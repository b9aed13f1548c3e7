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
use crate::desk::check_match;
use crate::error::{ApiError, Problem};

/// Settings of the workspace.
#[derive(Serialize, ToSchema)]
pub struct WorkspaceView {
    /// The alert URL; `null`: nobody is alerted.
    alert: Option<AlertView>,
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
    let view = WorkspaceView { alert: saved.and_then(AlertView::of) };
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
    Ok(tagged(&request, StatusCode::OK, revision, &WorkspaceView { alert }))
}
