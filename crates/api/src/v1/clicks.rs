//! `/v1/clicks`: what visitors did, as subscribers are told of it.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, post};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use model::EnrichedClick;

use super::deliveries::DeliveryView;
use super::time;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Body, Query, path_id};
use crate::desk::clicks::{self, Asked, ClickQuery, ShownClick, place};
use crate::desk::verdicts::{self, Overruling};
use crate::error::{ApiError, Problem};

/// A click with its trace.
#[derive(Serialize, ToSchema)]
struct TracedClick {
    /// The `data` of the event `link.clicked`.
    #[schema(value_type = Object)]
    click: Value,
    trace: Trace,
}

/// Where a click has been.
#[derive(Serialize, ToSchema)]
struct Trace {
    /// When the visitor was redirected.
    redirected_at: String,
    /// When its place, device and verdict were added.
    enriched_at: String,
    /// When it was stored for reports.
    recorded_at: String,
    /// Its place in words, or why it has none: `no public address`, `not found`, `no location data`.
    #[schema(example = "Linköping, Sweden")]
    location: String,
    /// What became of it at each endpoint.
    deliveries: Vec<DeliveryView>,
}

/// List clicks, newest first
///
/// Each is the `data` of its event `link.clicked`.
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
    let rows = clicks::list(&shared, &caller, &asked).await?;
    let page = asked.page.page(rows, |shown| shown.click.click.id, |shown| data(&shown.click));
    Ok(HttpResponse::Ok().json(page))
}

/// Show a click with its trace
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
    let (ShownClick { click, recorded_at }, deliveries) =
        clicks::find(&shared, &caller, path_id(&id, "click")?).await?;
    let trace = Trace {
        redirected_at: time(click.click.clicked_at),
        enriched_at: time(click.enriched_at),
        recorded_at: time(recorded_at),
        location: place(&click),
        deliveries: deliveries.into_iter().map(DeliveryView::from).collect(),
    };
    Ok(HttpResponse::Ok().json(TracedClick { click: data(&click), trace }))
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
    let body = webhook::payload::link_clicked(click);
    let mut event: Value = serde_json::from_slice(&body).expect("a webhook body is JSON");
    event["data"].take()
}
