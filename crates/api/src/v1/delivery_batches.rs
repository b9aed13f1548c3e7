//! `/v1/delivery-batches`: what became of requests that carry several events.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get};
use serde::Serialize;
use utoipa::ToSchema;

use store::batch_log::LoggedBatch;

use super::conditional::digested;
use super::deliveries::AttemptView;
use super::time;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::path_id;
use crate::desk::delivery_batches;
use crate::error::{ApiError, Problem};

/// Deliveries to one endpoint in one request.
#[derive(Serialize, ToSchema)]
struct BatchView {
    /// Also the header `webhook-id` of each attempt.
    #[schema(example = "bat_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    endpoint_id: String,
    /// `pending`, `delivered`, `dead`, or `dissolved`: the contact of an event in it was erased, and the others go in other
    /// requests.
    status: String,
    /// How many deliveries it was made of; `GET /v1/deliveries?batch_id=` lists those that were in no other since.
    events: u32,
    /// Replays put its deliveries in line.
    replayed: bool,
    attempt_count: u32,
    next_attempt_at: Option<String>,
    created_at: String,
    finished_at: Option<String>,
    /// Its attempts, each with the same events and the same bytes.
    attempts: Vec<AttemptView>,
}

impl BatchView {
    fn of(batch: LoggedBatch, attempts: Vec<AttemptView>) -> Self {
        Self {
            id: batch.id.to_string(),
            endpoint_id: batch.endpoint_id.to_string(),
            status: batch.status,
            events: batch.events,
            replayed: batch.is_replay,
            attempt_count: batch.attempt_count,
            next_attempt_at: batch.next_attempt_at.map(time),
            created_at: time(batch.created_at),
            finished_at: batch.finished_at.map(time),
            attempts,
        }
    }
}

/// Show a batch with its attempts
///
/// The deliveries in it are listed by `GET /v1/deliveries?batch_id=`. All of them are delivered or dead together.
#[utoipa::path(tag = "deliveries", params(("id" = String, Path), ("If-None-Match" = Option<String>, Header)),
    security(("api_key" = ["deliveries:read"])), responses((status = 200, body = BatchView),
        (status = 304, description = "Nothing is new"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/delivery-batches/{id}")]
pub async fn show_delivery_batch(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesRead)?;
    let (batch, attempts) = delivery_batches::find(&shared, &caller, path_id(&id, "delivery batch")?).await?;
    let attempts = attempts.into_iter().map(AttemptView::from).collect();
    Ok(digested(&request, &BatchView::of(batch, attempts)))
}
