//! `/v1/webhook-endpoints`: where events are sent.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post};
use serde::Serialize;
use utoipa::ToSchema;

use model::EndpointId;
use store::endpoints::Endpoint;
use store::lines::HoldUp;

use super::conditional::tagged;
use super::deliveries::TimingsView;
use super::endpoint_view::EndpointView;
use super::{done, if_match, time};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Body, Query, path_id};
use crate::desk::endpoint_body::{EndpointChange, FilterPreview, NewEndpoint};
use crate::desk::endpoint_create::{self, Created};
use crate::desk::endpoint_order;
use crate::desk::endpoints;
use crate::desk::idempotency::{self, IdempotencyKey};
use crate::desk::previews;
use crate::desk::test_requests::{self, Tested};
use crate::error::{ApiError, Problem};
use crate::page::{Page, PageQuery, PageRequest};

/// How a test went.
#[derive(Serialize, ToSchema)]
pub(super) struct TestView {
    /// Whether the subscriber answered 2xx.
    delivered: bool,
    pub(super) attempt: TestAttemptView,
}

/// The attempt of a test.
#[derive(Serialize, ToSchema)]
pub(super) struct TestAttemptView {
    started_at: String,
    duration_ms: u32,
    status: Option<u16>,
    /// `dns`, `connect`, `tls`, `timeout`, `protocol`, `blocked`, `token`, `proxy` or `status`; `null` when delivered.
    error: Option<&'static str>,
    error_detail: Option<String>,
    remote_ip: Option<String>,
    timings: TimingsView,
    #[schema(value_type = Vec<Vec<String>>)]
    request_headers: Vec<(String, String)>,
    request_body: String,
    #[schema(value_type = Vec<Vec<String>>)]
    response_headers: Vec<(String, String)>,
    response_body: Option<String>,
}

impl From<Tested> for TestView {
    fn from(Tested { attempt, request_body }: Tested) -> Self {
        Self {
            delivered: attempt.is_success(),
            attempt: TestAttemptView {
                started_at: time(attempt.started_at),
                duration_ms: attempt.duration_ms,
                status: attempt.status,
                error: attempt.error.map(|error| error.as_str()),
                error_detail: attempt.error_detail,
                remote_ip: attempt.remote_ip,
                timings: attempt.timings.into(),
                request_headers: attempt.request_headers,
                request_body,
                response_headers: attempt.response_headers,
                response_body: attempt.response_body,
            },
        }
    }
}

/// Make an endpoint
///
/// The answer holds the signing secret. Verify each webhook with it as Standard Webhooks 1.0.0 says. The answer to a repeat with the same
/// `Idempotency-Key` holds it too, while it signs, if you made it or have `secrets:read`; the audit log says so.
#[utoipa::path(tag = "webhook endpoints", params(("Idempotency-Key" = Option<String>, Header)), request_body = NewEndpoint, security(("api_key" = ["endpoints:write"])),
    responses((status = 201, body = EndpointView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/webhook-endpoints")]
pub async fn create_endpoint(
    caller: Caller,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsWrite)?;
    let key = IdempotencyKey::of(&shared, &request, body.bytes())?;
    let made = endpoint_create::create(&shared, &caller, body.read()?, key.as_ref()).await?;
    done(made, |Created { endpoint, secret, warnings, .. }| {
        let mut view = EndpointView::of(&shared, &caller, endpoint)?;
        view.secret = secret.map(|secret| secret.reveal());
        view.warnings = warnings;
        let location = format!("/v1/webhook-endpoints/{}", view.id);
        let location = HeaderValue::from_str(&location).expect("an id is visible ASCII");
        let mut answer = tagged(&request, StatusCode::CREATED, view.revision, &view);
        answer.headers_mut().insert(header::LOCATION, location);
        Ok(answer)
    })
}

/// List endpoints, newest first
#[utoipa::path(tag = "webhook endpoints", params(PageQuery), security(("api_key" = ["endpoints:read"])),
    responses((status = 200, body = Page<EndpointView>),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/webhook-endpoints")]
pub async fn list_endpoints(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsRead)?;
    let page: PageRequest<EndpointId> = query.read()?;
    let rows = endpoints::list(&shared, &caller, &page).await?;
    let hold_ups = endpoint_order::hold_ups(&shared, &caller, &rows).await?;
    let view = |endpoint: Endpoint| {
        let hold_ups = hold_ups.get(&endpoint.id).map(Vec::as_slice).unwrap_or_default();
        EndpointView::of(&shared, &caller, endpoint).map(|view| view.held_up(hold_ups))
    };
    let Page { data, next_cursor } = page.page(rows, |endpoint| endpoint.id, view);
    let data = data.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(HttpResponse::Ok().json(Page { data, next_cursor }))
}

/// Show an endpoint
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path), ("If-None-Match" = Option<String>, Header)),
    security(("api_key" = ["endpoints:read"])), responses((status = 200, body = EndpointView),
        (status = 304, description = "Nothing is new"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/webhook-endpoints/{id}")]
pub async fn show_endpoint(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsRead)?;
    let endpoint = endpoints::find(&shared, &caller, endpoint_id(&id)?).await?;
    shown(&shared, &caller, &request, endpoint, Vec::new()).await
}

/// Change an endpoint
///
/// What is left out stays as it is.
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = EndpointChange, security(("api_key" = ["endpoints:write"])),
    responses((status = 200, body = EndpointView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[patch("/v1/webhook-endpoints/{id}")]
pub async fn update_endpoint(
    caller: Caller,
    id: Path<String>,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsWrite)?;
    let id = endpoint_id(&id)?;
    let (endpoint, warnings) =
        endpoints::update(&shared, &caller, id, if_match(&request), body.read()?).await?;
    shown(&shared, &caller, &request, endpoint, warnings).await
}

/// Remove an endpoint
///
/// It gets nothing more; its deliveries stay readable.
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    security(("api_key" = ["endpoints:write"])), responses((status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[delete("/v1/webhook-endpoints/{id}")]
pub async fn delete_endpoint(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsWrite)?;
    endpoints::delete(&shared, &caller, endpoint_id(&id)?, if_match(&request)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Pause an endpoint
///
/// What it is owed waits until it is resumed; what has waited for 3 days (an operator's setting) is dead then, and can be
/// asked for again.
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path)),
    security(("api_key" = ["endpoints:write"])), responses((status = 200, body = EndpointView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/webhook-endpoints/{id}/pause")]
pub async fn pause_endpoint(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsWrite)?;
    let endpoint = endpoints::pause(&shared, &caller, endpoint_id(&id)?).await?;
    shown(&shared, &caller, &request, endpoint, Vec::new()).await
}

/// Resume an endpoint
///
/// A paused one gets what waits; a disabled one is owed what is clicked from now on. What was clicked while it was
/// disabled is offered to it by `POST /v1/replays` with `missing_only`.
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path)),
    security(("api_key" = ["endpoints:write"])), responses((status = 200, body = EndpointView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/webhook-endpoints/{id}/resume")]
pub async fn resume_endpoint(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsWrite)?;
    let endpoint = endpoints::resume(&shared, &caller, endpoint_id(&id)?).await?;
    shown(&shared, &caller, &request, endpoint, Vec::new()).await
}

/// Send a test
///
/// Sends a sample `link.clicked` with `data.test: true` in the endpoint's shape, which is not recorded as a click, and tells how it
/// went; an endpoint that gets batches gets it as a batch of one. Each request sends one: it takes no `Idempotency-Key`.
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path)),
    security(("api_key" = ["endpoints:write"])), responses((status = 200, body = TestView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/webhook-endpoints/{id}/test")]
pub async fn test_endpoint(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsWrite)?;
    let detail =
        "a test is sent each time it is asked for, and how it went is not kept: leave the header out";
    idempotency::refuse(&request, detail)?;
    let tested = test_requests::send(&shared, &caller, endpoint_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(TestView::from(tested)))
}

/// Which of the last clicks a filter lets through.
#[derive(Serialize, ToSchema)]
struct PreviewView {
    /// How many clicks were looked at.
    examined: usize,
    /// How many of them the filter lets through.
    matched: usize,
    /// Each of them, newest first.
    data: Vec<PreviewedClick>,
}

/// A click that a filter was tried on.
#[derive(Serialize, ToSchema)]
struct PreviewedClick {
    click_id: String,
    clicked_at: String,
    tracked_url: String,
    /// Whether the endpoint would get it.
    matches: bool,
    /// If not, which condition does not hold, and what the click has there.
    reason: Option<String>,
}

/// Try a filter
///
/// Says which of the workspace's last clicks the endpoint would get with this filter, or with its own. Nothing is saved.
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path)), request_body = FilterPreview,
    security(("api_key" = ["clicks:read"])), responses((status = 200, body = PreviewView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/webhook-endpoints/{id}/preview-filter")]
pub async fn preview_filter(
    caller: Caller,
    id: Path<String>,
    body: Body,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::ClicksRead)?;
    caller.require(Scope::EndpointsRead)?;
    let clicks = previews::preview(&shared, &caller, endpoint_id(&id)?, body.read()?).await?;
    let data: Vec<PreviewedClick> = clicks
        .into_iter()
        .map(|(shown, refusal)| PreviewedClick {
            click_id: shown.click.click.id.to_string(),
            clicked_at: time(shown.click.click.clicked_at),
            tracked_url: shown.click.click.link.tracked_url,
            matches: refusal.is_none(),
            reason: refusal.map(|refusal| refusal.to_string()),
        })
        .collect();
    let matched = data.iter().filter(|click| click.matches).count();
    Ok(HttpResponse::Ok().json(PreviewView { examined: data.len(), matched, data }))
}

/// The id of an endpoint in a path.
pub fn endpoint_id(text: &str) -> Result<EndpointId, ApiError> {
    path_id(text, "webhook endpoint")
}

async fn shown(
    shared: &Shared,
    caller: &Caller,
    request: &HttpRequest,
    endpoint: Endpoint,
    warnings: Vec<String>,
) -> Result<HttpResponse, ApiError> {
    let hold_ups = endpoint_order::hold_ups(shared, caller, std::slice::from_ref(&endpoint)).await?;
    let hold_ups: Vec<HoldUp> = hold_ups.into_values().flatten().collect();
    let mut view = EndpointView::of(shared, caller, endpoint)?.held_up(&hold_ups);
    view.warnings = warnings;
    Ok(tagged(request, StatusCode::OK, view.revision, &view))
}
