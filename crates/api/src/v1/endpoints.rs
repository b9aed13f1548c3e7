//! `/v1/webhook-endpoints`: where events are sent.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use model::EndpointId;
use model::retry::RetryPreset;
use store::endpoints::{Endpoint, State};
use store::lines::HoldUp;
use webhook::Shape;

use super::conditional::tagged;
use super::deliveries::TimingsView;
use super::endpoint_order::{HoldUpView, OrderingView};
use super::ownership::OwnershipView;
use super::{done, if_match, time};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Body, Query, path_id};
use crate::desk::batch_body::BatchOption;
use crate::desk::endpoint_auth;
use crate::desk::endpoint_body::{EndpointChange, FilterPreview, NewEndpoint, Signatures};
use crate::desk::endpoint_create::{self, Created};
use crate::desk::endpoint_order;
use crate::desk::endpoints::{self, Tested};
use crate::desk::idempotency::{self, IdempotencyKey};
use crate::desk::payload_body::{self, PayloadText};
use crate::desk::previews;
use crate::error::{ApiError, Problem};
use crate::page::{Page, PageQuery, PageRequest};

/// What is shown instead of the value of a custom header.
const MASK: &str = "********";

/// A webhook endpoint.
#[derive(Serialize, ToSchema)]
pub struct EndpointView {
    #[schema(example = "whe_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    #[schema(example = "https://crm.example.com/hooks/clicks")]
    url: String,
    description: Option<String>,
    event_types: Vec<String>,
    #[schema(value_type = Option<Object>)]
    filter: Option<Value>,
    /// Custom headers; values are masked.
    headers: BTreeMap<String, &'static str>,
    enabled: bool,
    /// `active`, `paused` (what it is owed waits) or `disabled` (it is owed nothing).
    state: &'static str,
    state_reason: Option<String>,
    max_in_flight: Option<u32>,
    rate_per_second: Option<u32>,
    rate_burst: Option<u32>,
    /// Seconds before the second, third, … attempt; `null` for the default.
    retry_schedule: Option<Vec<u32>>,
    /// The name of that schedule, if it has one: `default`, `fast` or `long`.
    retry_preset: Option<&'static str>,
    /// How long after a click evidence that a machine made it is waited for before it is told of; 0: it is told at once.
    settle_ms: u32,
    timeout_ms: Option<u32>,
    permanent_statuses: Vec<u16>,
    /// Whether it is disabled when it has only failed for days.
    auto_disable: bool,
    /// How the bodies look that it gets.
    #[schema(value_type = PayloadText)]
    payload: Shape,
    /// Several events in one request; `null`: each in its own.
    batch: Option<BatchOption>,
    /// `push`: events are posted to it. `pull`: it fetches them.
    delivery: &'static str,
    ownership: OwnershipView,
    ordering: OrderingView,
    /// How often a checkpoint is made of what it was owed; `null`: none is.
    checkpoint_minutes: Option<u32>,
    /// Deliveries that have failed, and that others wait for because of the order; the first 10.
    held_up_by: Vec<HoldUpView>,
    /// Which signatures its webhooks carry: `v1`, and `v1a` where it is wanted.
    signatures: Vec<&'static str>,
    /// What each request shows at the receiver's door; what is secret is masked.
    #[schema(value_type = Option<Object>)]
    auth: Option<Value>,
    health: HealthView,
    /// Counts the changes; the `ETag` begins with it.
    revision: i64,
    created_at: String,
    updated_at: String,
    /// What is allowed but worth knowing; only in the answer to a save.
    warnings: Vec<String>,
    /// The signing secret; only in the answer that makes the endpoint, and to its repeat. Later: `GET …/secrets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")]
    secret: Option<String>,
}

/// What has been learned of an endpoint.
#[derive(Serialize, ToSchema)]
struct HealthView {
    /// Deliveries that were accepted; of a batch, each one in it.
    delivered: i64,
    /// Failed attempts since the last success; that of a batch is one.
    failed: i64,
    first_failure_at: Option<String>,
    last_failure_at: Option<String>,
    last_success_at: Option<String>,
    /// The subscriber asked for a pause until then.
    paused_until: Option<String>,
}

impl EndpointView {
    fn of(shared: &Shared, caller: &Caller, endpoint: Endpoint) -> Result<Self, ApiError> {
        let headers = endpoints::open_headers(shared, caller, &endpoint)?;
        let ownership = OwnershipView::of(shared, &endpoint);
        let auth = endpoint_auth::shown(shared, caller, &endpoint)?;
        let health = endpoint.health.unwrap_or_default();
        let options = endpoint.options;
        Ok(Self {
            id: endpoint.id.to_string(),
            url: options.url.to_string(),
            description: options.description,
            event_types: options.event_types.iter().map(ToString::to_string).collect(),
            filter: options.filter,
            headers: headers.iter().map(|(name, _)| (name.to_owned(), MASK)).collect(),
            enabled: endpoint.state != State::Disabled,
            state: endpoint.state.as_str(),
            state_reason: endpoint.state_reason,
            max_in_flight: options.max_in_flight,
            rate_per_second: options.rate_per_second,
            rate_burst: options.rate_burst,
            retry_preset: options
                .retry_schedule
                .as_deref()
                .map_or(Some(RetryPreset::Default), RetryPreset::of)
                .map(RetryPreset::as_str),
            retry_schedule: options.retry_schedule,
            settle_ms: options.settle_ms,
            timeout_ms: options.timeout_ms,
            permanent_statuses: options.permanent_statuses,
            auto_disable: options.auto_disable,
            payload: payload_body::shape(options.payload.as_ref()),
            batch: options.batch.map(BatchOption::from),
            delivery: options.delivery.as_str(),
            ownership,
            ordering: options.ordering.into(),
            checkpoint_minutes: options.checkpoint_minutes,
            held_up_by: Vec::new(),
            signatures: Signatures { has_v1a: options.signs_v1a }.words(),
            auth,
            health: HealthView {
                delivered: health.delivered,
                failed: health.failed,
                first_failure_at: health.first_failure_at.map(time),
                last_failure_at: health.last_failure_at.map(time),
                last_success_at: health.last_success_at.map(time),
                paused_until: health.paused_until.map(time),
            },
            revision: endpoint.revision,
            created_at: time(endpoint.created_at),
            updated_at: time(endpoint.updated_at),
            warnings: Vec::new(),
            secret: None,
        })
    }

    fn held_up(mut self, hold_ups: &[HoldUp]) -> Self {
        self.held_up_by = hold_ups.iter().copied().map(HoldUpView::from).collect();
        self
    }
}

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
/// `Idempotency-Key` holds it too, while it signs; the audit log says so.
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
    let tested = endpoints::test(&shared, &caller, endpoint_id(&id)?).await?;
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
