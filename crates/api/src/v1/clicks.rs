//! `/v1/clicks`: what visitors did, as subscribers are told of it.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, post};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use model::EnrichedClick;
use store::delivery_log::LoggedAttempt;

use super::deliveries::DeliveryView;
use super::time;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Body, Query, path_id};
use crate::desk::click_query::{Asked, ClickQuery};
use crate::desk::clicks::{self, place};
use crate::desk::trace::{self, AtEndpoint, TracedDelivery};
use crate::desk::verdicts::{self, Overruling};
use crate::error::{ApiError, Problem};
use crate::page::Page;

/// A click with its trace.
#[derive(Serialize, ToSchema)]
struct TracedClick {
    /// The `data` of the event `link.clicked`.
    #[schema(value_type = Object)]
    click: Value,
    trace: TraceView,
}

/// Where a click has been. Which server redirected is not kept.
#[derive(Serialize, ToSchema)]
struct TraceView {
    /// When the visitor was redirected.
    #[schema(example = "2026-11-23T14:16:12.345Z")]
    redirected_at: String,
    /// When its place, device and verdict were added; of an amended click when it was amended last.
    #[schema(example = "2026-11-23T14:16:12.391Z")]
    enriched_at: String,
    /// When it was stored for reports.
    #[schema(example = "2026-11-23T14:16:12.480Z")]
    recorded_at: String,
    /// Its place in words, or why it has none: `no public address`, `not found`, `no location data`.
    #[schema(example = "Linköping, Sweden")]
    location: String,
    /// What became of it at each webhook endpoint: those that are there, then those that were removed since.
    endpoints: Vec<AtEndpointView>,
}

/// What became of a click at an endpoint.
#[derive(Serialize, ToSchema)]
struct AtEndpointView {
    #[schema(example = "whe_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    endpoint_id: String,
    /// Where it posts to. `null`: it was removed, or the key has not the scope `endpoints:read`.
    #[schema(example = "https://crm.example.com/hooks/clicks")]
    url: Option<String>,
    /// Whether it was told of the click, or will be.
    matched: bool,
    /// Why it is not, by what is set now: `not_subscribed`, `filtered`, `too_old`, `disabled`, `erased`, or `no_delivery` (it would be
    /// told now; it is on its way, or the endpoint was set otherwise then).
    #[schema(example = "filtered")]
    reason: Option<&'static str>,
    /// The reason in words; `null` also for a key without the scope `endpoints:read`.
    detail: Option<String>,
    /// What it is or was owed of the click: the first telling, amendments, replays. Newest first.
    deliveries: Vec<TracedDeliveryView>,
}

/// A delivery with its attempts.
#[derive(Serialize, ToSchema)]
struct TracedDeliveryView {
    #[serde(flatten)]
    delivery: DeliveryView,
    /// First to last. Headers and bodies are shown with the delivery.
    attempts: Vec<TracedAttemptView>,
}

/// One attempt.
#[derive(Serialize, ToSchema)]
struct TracedAttemptView {
    /// 1 for the first.
    #[schema(example = 1)]
    number: u32,
    /// `schedule` or `manual`.
    #[schema(example = "schedule")]
    trigger: String,
    #[schema(example = "2026-11-23T14:16:12.402Z")]
    started_at: String,
    #[schema(example = 34)]
    duration_ms: u32,
    /// Status of the answer.
    #[schema(example = 200)]
    status: Option<u16>,
    /// Class of the failure.
    error: Option<String>,
    /// The failure in words.
    error_detail: Option<String>,
}

impl AtEndpointView {
    fn of(caller: &Caller, at: AtEndpoint) -> Self {
        let may_see = caller.may(Scope::EndpointsRead);
        let (reason, detail) = at.reason().unzip();
        Self {
            endpoint_id: at.id.to_string(),
            matched: at.is_matched(),
            reason,
            detail: detail.filter(|_| may_see),
            url: at.url.filter(|_| may_see),
            deliveries: at.deliveries.into_iter().map(TracedDeliveryView::from).collect(),
        }
    }
}

impl From<TracedDelivery> for TracedDeliveryView {
    fn from(TracedDelivery { delivery, attempts }: TracedDelivery) -> Self {
        let attempts = attempts.into_iter().map(TracedAttemptView::from).collect();
        Self { delivery: delivery.into(), attempts }
    }
}

impl From<LoggedAttempt> for TracedAttemptView {
    fn from(attempt: LoggedAttempt) -> Self {
        Self {
            number: attempt.number,
            trigger: attempt.trigger,
            started_at: time(attempt.started_at),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            error: attempt.error,
            error_detail: attempt.error_detail,
        }
    }
}

/// List clicks, newest first
///
/// Each is the `data` of its event `link.clicked`. Conditions on campaign, verdict, country and device are looked for among 20,000
/// clicks a page: a page may have fewer entries than its limit, even none, and there is more as long as there is a `next_cursor`.
#[utoipa::path(tag = "clicks", params(ClickQuery), security(("api_key" = ["clicks:read"])),
    responses((status = 200, body = Page<Object>),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/clicks")]
pub async fn list_clicks(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::ClicksRead)?;
    let asked: Asked = query.read()?;
    let (clicks, next) = clicks::page(&shared, &caller, &asked).await?;
    let clicks = clicks.iter().map(|shown| data(&shown.click)).collect();
    Ok(HttpResponse::Ok().json(Page::until(clicks, next)))
}

/// Show a click with its trace
///
/// Where the click has been, and what became of it at each webhook endpoint: told, with every attempt, or not, and why.
#[utoipa::path(tag = "clicks", params(("id" = String, Path)), security(("api_key" = ["clicks:read"])),
    responses((status = 200, body = TracedClick),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/clicks/{id}")]
pub async fn show_click(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::ClicksRead)?;
    let trace = trace::of_click(&shared, &caller, path_id(&id, "click")?).await?;
    let click = &trace.shown.click;
    let view = TraceView {
        redirected_at: time(click.click.clicked_at),
        enriched_at: time(click.enriched_at),
        recorded_at: time(trace.shown.recorded_at),
        location: place(click),
        endpoints: trace.endpoints.into_iter().map(|at| AtEndpointView::of(&caller, at)).collect(),
    };
    Ok(HttpResponse::Ok().json(TracedClick { click: data(click), trace: view }))
}

/// Overrule the verdict on a click
///
/// Reports and filters follow it, and every endpoint that was told of the click is told again: `link.click.amended`, the
/// whole click with a higher `revision`. An endpoint that wants it only now gets `link.clicked`. What is stored follows within
/// a second. No rule judges the click again. In its first minute the answer is 409 `too_soon`: other clicks may still
/// show something of it.
#[utoipa::path(tag = "clicks", params(("id" = String, Path)), request_body = Overruling,
    security(("api_key" = ["clicks:write"])),
    responses((status = 202, description = "The `data` of the event that tells of it", body = Object),
        (status = 204, description = "A person has said so before"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/clicks/{id}/verdict")]
pub async fn overrule_verdict(
    caller: Caller,
    id: Path<String>,
    body: Body,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::ClicksWrite)?;
    let said: Overruling = body.read()?;
    Ok(match verdicts::overrule(&shared, &caller, path_id(&id, "click")?, &said).await? {
        Some(amended) => HttpResponse::Accepted().json(data(&amended)),
        None => HttpResponse::NoContent().finish(),
    })
}

/// The `data` of the event that tells of a click.
fn data(click: &EnrichedClick) -> Value {
    serde_json::from_slice(&webhook::payload::data(click)).expect("it is JSON")
}
