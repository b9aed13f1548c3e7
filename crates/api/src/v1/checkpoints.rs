//! `/v1/webhook-endpoints/{id}/checkpoints`: what an endpoint was owed, by number.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use serde::Serialize;
use utoipa::ToSchema;

use store::checkpoints::Closed;

use super::endpoints::endpoint_id;
use super::time;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::Query;
use crate::desk::checkpoints::{self, Asked, CheckpointQuery};
use crate::error::{ApiError, Problem};
use crate::page::Page;

/// A closed range of an endpoint's deliveries.
#[derive(Serialize, ToSchema)]
struct CheckpointView {
    /// The lowest number in it.
    first_sequence: u64,
    /// The highest.
    last_sequence: u64,
    /// How many deliveries there are: one for each number.
    count: u64,
    /// The earliest moment that they tell of.
    first_event_at: String,
    /// The latest.
    last_event_at: String,
    /// SHA-256 of their webhook ids in the order of their numbers, each followed by a line feed; in hexadecimal.
    #[schema(example = "1d6c255e25277c014125fbef7330148802a257a9d2c23b4317adb30e92d59b8d")]
    sha256: String,
    /// When it was made.
    closed_at: String,
}

impl From<Closed> for CheckpointView {
    fn from(Closed { checkpoint, closed_at }: Closed) -> Self {
        Self {
            first_sequence: checkpoint.first_sequence,
            last_sequence: checkpoint.last_sequence,
            count: checkpoint.count,
            first_event_at: time(checkpoint.first_event_at),
            last_event_at: time(checkpoint.last_event_at),
            sha256: checkpoint.sha256(),
            closed_at: time(closed_at),
        }
    }
}

/// List the checkpoints of an endpoint, first to last
///
/// They are made every `checkpoint_minutes` when something was owed, and kept for 90 days. Each begins where the one before ended. A
/// receiver that has every number of one, and the same digest of their webhook ids, has missed nothing.
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path), CheckpointQuery), security(("api_key" = ["deliveries:read"])),
    responses((status = 200, body = Page<CheckpointView>),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/webhook-endpoints/{id}/checkpoints")]
pub async fn list_checkpoints(
    caller: Caller,
    id: Path<String>,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesRead)?;
    let asked: Asked = query.read()?;
    let rows = checkpoints::list(&shared, &caller, endpoint_id(&id)?, &asked).await?;
    let page = asked.page.page(rows, |closed| closed.checkpoint.first_sequence, CheckpointView::from);
    Ok(HttpResponse::Ok().json(page))
}
