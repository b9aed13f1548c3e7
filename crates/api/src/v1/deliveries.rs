//! `/v1/deliveries`: what became of events that are owed to endpoints.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use model::delivery::Timings;
use store::delivery_log::{LoggedAttempt, LoggedDelivery};

use super::conditional::digested;
use super::{done, time};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Query, path_id};
use crate::desk::deliveries::{self, Asked, DeliveryQuery};
use crate::desk::idempotency::IdempotencyKey;
use crate::error::{ApiError, Problem};
use crate::page::Page;

/// One event owed to one endpoint.
#[derive(Serialize, ToSchema)]
pub struct DeliveryView {
    #[schema(example = "dlv_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    endpoint_id: String,
    /// Also the header `webhook-id`, unless it went in a batch.
    event_id: String,
    event_type: String,
    click_id: Option<String>,
    /// `pending`, `delivered`, `dead`, or `offered`: nothing is sent, its endpoint fetches it.
    status: &'static str,
    attempt_count: u32,
    next_attempt_at: Option<String>,
    created_at: String,
    attempted_at: Option<String>,
    finished_at: Option<String>,
    duration_ms: Option<u32>,
    last_status: Option<u16>,
    last_error: Option<String>,
    /// A replay put it in line: which.
    replay_id: Option<String>,
    /// 0 for the first delivery of its event, one more for each replay of it.
    replay_number: u32,
    /// The last batch that it went in, or waits in: its attempts are shown there. `null`: it goes alone.
    batch_id: Option<String>,
    /// Its place among what its endpoint is owed, also the header `clickwire-sequence`; `null` where that is not counted. A replay has
    /// that of what it replays.
    sequence: Option<u64>,
}

impl From<LoggedDelivery> for DeliveryView {
    fn from(delivery: LoggedDelivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            endpoint_id: delivery.endpoint_id.to_string(),
            event_id: delivery.event_id.to_string(),
            event_type: delivery.event_type,
            click_id: delivery.click_id.map(|id| id.to_string()),
            status: delivery.status.as_str(),
            attempt_count: delivery.attempt_count,
            next_attempt_at: delivery.next_attempt_at.map(time),
            created_at: time(delivery.created_at),
            attempted_at: delivery.attempted_at.map(time),
            finished_at: delivery.finished_at.map(time),
            duration_ms: delivery.duration_ms,
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            replay_id: delivery.replay_id.map(|id| id.to_string()),
            replay_number: delivery.replay_number,
            batch_id: delivery.batch_id.map(|id| id.to_string()),
            sequence: delivery.sequence,
        }
    }
}

/// One attempt.
#[derive(Serialize, ToSchema)]
pub struct AttemptView {
    /// 1 for the first.
    number: u32,
    /// `schedule` or `manual`.
    trigger: String,
    /// Where it was sent, which may not be where its endpoint is by now. `null` where that was not kept, as of a success at first try,
    /// and to who may not read endpoints.
    url: Option<String>,
    started_at: String,
    duration_ms: u32,
    status: Option<u16>,
    error: Option<String>,
    error_detail: Option<String>,
    /// Pairs of name and value.
    #[schema(value_type = Vec<Vec<String>>)]
    request_headers: Value,
    /// Pairs of name and value.
    #[schema(value_type = Vec<Vec<String>>)]
    response_headers: Value,
    response_body: Option<String>,
    remote_ip: Option<String>,
    timings: TimingsView,
}

/// Where the time of an attempt went; what was not reached or not measured is `null`.
#[derive(Serialize, ToSchema)]
pub struct TimingsView {
    /// Milliseconds for the look-up of the name.
    dns_ms: Option<f64>,
    /// Milliseconds from then until the connection stood, without the handshake of https.
    connect_ms: Option<f64>,
    /// Milliseconds for the handshake of https.
    tls_ms: Option<f64>,
    /// Milliseconds from the beginning until the first byte of the answer.
    first_byte_ms: Option<f64>,
    /// Whether a kept connection was used, which takes neither look-up nor connecting.
    reused_connection: Option<bool>,
}

impl From<Timings> for TimingsView {
    fn from(timings: Timings) -> Self {
        let ms = |us: Option<u32>| us.map(|us| f64::from(us) / 1000.0);
        Self {
            dns_ms: ms(timings.dns_us),
            connect_ms: ms(timings.connect_us),
            tls_ms: ms(timings.tls_us),
            first_byte_ms: ms(timings.first_byte_us),
            reused_connection: timings.is_reused,
        }
    }
}

impl From<LoggedAttempt> for AttemptView {
    fn from(attempt: LoggedAttempt) -> Self {
        Self {
            number: attempt.number,
            trigger: attempt.trigger,
            url: attempt.url,
            started_at: time(attempt.started_at),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            error: attempt.error,
            error_detail: attempt.error_detail,
            request_headers: attempt.request_headers,
            response_headers: attempt.response_headers,
            response_body: attempt.response_body,
            remote_ip: attempt.remote_ip,
            timings: attempt.timings.into(),
        }
    }
}

/// A delivery with its attempts.
#[derive(Serialize, ToSchema)]
struct DeliveryWithAttempts {
    #[serde(flatten)]
    delivery: DeliveryView,
    attempts: Vec<AttemptView>,
}

/// List deliveries, newest event first
#[utoipa::path(tag = "deliveries", params(DeliveryQuery), security(("api_key" = ["deliveries:read"])),
    responses((status = 200, body = Page<DeliveryView>),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/deliveries")]
pub async fn list_deliveries(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesRead)?;
    let asked: Asked = query.read()?;
    let rows = deliveries::list(&shared, &caller, &asked).await?;
    Ok(HttpResponse::Ok().json(asked.page.page(rows, |delivery| delivery.id, DeliveryView::from)))
}

/// Show a delivery with its attempts
#[utoipa::path(tag = "deliveries", params(("id" = String, Path), ("If-None-Match" = Option<String>, Header)),
    security(("api_key" = ["deliveries:read"])), responses((status = 200, body = DeliveryWithAttempts),
        (status = 304, description = "Nothing is new"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/deliveries/{id}")]
pub async fn show_delivery(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesRead)?;
    let (delivery, attempts) = deliveries::find(&shared, &caller, path_id(&id, "delivery")?).await?;
    let attempts = attempts.into_iter().map(AttemptView::from).collect();
    Ok(digested(&request, &DeliveryWithAttempts { delivery: delivery.into(), attempts }))
}

/// Try a delivery again now
///
/// Whatever became of it before; `webhook-id` stays the same, so that the subscriber can tell. One that waits in a batch is sent with
/// that whole batch; one whose batch has ended is sent alone, under the id of its event, which stood in the batch too. It is sent as
/// soon as its endpoint may be sent to: not during a pause that it asked for, and to one that does not answer with its next probe, in 5
/// minutes at most.
#[utoipa::path(tag = "deliveries", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), security(("api_key" = ["deliveries:write"])),
    responses((status = 202, body = DeliveryView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/deliveries/{id}/retry")]
pub async fn retry_delivery(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesWrite)?;
    let key = IdempotencyKey::of(&shared, &request, &[])?;
    let retried = deliveries::retry(&shared, &caller, path_id(&id, "delivery")?, key.as_ref()).await?;
    done(retried, |delivery| Ok(HttpResponse::Accepted().json(DeliveryView::from(delivery))))
}

/// Give a delivery up
///
/// One that waits is tried no more; where there is an order, what waits behind it goes on. It can still be sent again, or replayed.
/// Of one that was given up before, nothing is changed.
#[utoipa::path(tag = "deliveries", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), security(("api_key" = ["deliveries:write"])),
    responses((status = 200, body = DeliveryView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/deliveries/{id}/give-up")]
pub async fn give_up_delivery(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesWrite)?;
    let key = IdempotencyKey::of(&shared, &request, &[])?;
    let ended = deliveries::give_up(&shared, &caller, path_id(&id, "delivery")?, key.as_ref()).await?;
    done(ended, |delivery| Ok(HttpResponse::Ok().json(DeliveryView::from(delivery))))
}
