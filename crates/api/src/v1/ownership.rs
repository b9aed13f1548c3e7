//! `POST /v1/webhook-endpoints/{id}/verify`: whether an endpoint wants what is sent to it.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, post};
use serde::Serialize;
use utoipa::ToSchema;

use model::ownership::OwnershipCheck;
use store::endpoints::Endpoint;

use super::endpoints::{TestAttemptView, TestView, endpoint_id};
use super::time;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::desk::idempotency;
use crate::desk::ownership::{self, Challenged, Failure};
use crate::error::{ApiError, Problem};

/// Whether an endpoint has shown that it wants what is sent to it.
#[derive(Serialize, ToSchema)]
pub struct OwnershipView {
    /// Whether this installation asks for it: until then the endpoint gets one request a second.
    required: bool,
    /// When it gave its challenge back; `null`: it has not, or its URL leads to another server since.
    verified_at: Option<String>,
}

impl OwnershipView {
    pub(super) fn of(shared: &Shared, endpoint: &Endpoint) -> Self {
        Self {
            required: shared.ownership == OwnershipCheck::Required,
            verified_at: endpoint.verified_at.map(time),
        }
    }
}

/// How a challenge was answered.
#[derive(Serialize, ToSchema)]
struct VerifiedView {
    verified: bool,
    /// Why not: `not_accepted` (no 2xx), `not_echoed`, or `moved` (it was changed meanwhile).
    reason: Option<&'static str>,
    /// The same for people.
    detail: Option<&'static str>,
    ownership: OwnershipView,
    attempt: TestAttemptView,
}

/// Verify an endpoint
///
/// Sends `endpoint.verification` with a random `data.challenge`, signed like any event. The endpoint is verified when it answers 2xx
/// with the challenge: as `{"challenge": "…"}`, or as plain text and nothing else. Where an operator asks for it
/// (`deliver.ownership`), an endpoint gets one request a second until then, and again when its URL leads to another server.
/// Each request sends one: it takes no `Idempotency-Key`.
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path)),
    security(("api_key" = ["endpoints:write"])), responses((status = 200, body = VerifiedView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/webhook-endpoints/{id}/verify")]
pub async fn verify_endpoint(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsWrite)?;
    let detail = "a challenge is sent each time it is asked for: leave the header out";
    idempotency::refuse(&request, detail)?;
    let Challenged { endpoint, tested, failure } =
        ownership::verify(&shared, &caller, endpoint_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(VerifiedView {
        verified: failure.is_none(),
        reason: failure.map(Failure::as_str),
        detail: failure.map(Failure::detail),
        ownership: OwnershipView::of(&shared, &endpoint),
        attempt: TestView::from(tested).attempt,
    }))
}
