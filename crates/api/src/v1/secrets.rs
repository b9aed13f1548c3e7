//! `/v1/webhook-endpoints/{id}/secrets`: what signatures are made with.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use serde::Serialize;
use utoipa::ToSchema;

use super::endpoints::endpoint_id;
use super::{done, time};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Body, path_id};
use crate::desk::idempotency::IdempotencyKey;
use crate::desk::secrets::{self, Revealed, SecretRotation};
use crate::error::{ApiError, Problem};
use crate::page::Page;

/// A signing secret.
#[derive(Serialize, ToSchema)]
pub struct SecretView {
    #[schema(example = "sec_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")]
    secret: String,
    created_at: String,
    /// It signs nothing from then on.
    expires_at: Option<String>,
    /// What verifies the `v1a` signatures that are made beside its own; `null` when the endpoint never asked for such.
    #[schema(example = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")]
    public_key: Option<String>,
}

impl From<Revealed> for SecretView {
    fn from(revealed: Revealed) -> Self {
        Self {
            id: revealed.id.to_string(),
            secret: revealed.secret.reveal(),
            created_at: time(revealed.created_at),
            expires_at: revealed.expires_at.map(time),
            public_key: revealed.public_key.map(|key| key.to_string()),
        }
    }
}

/// Reveal the signing secrets
///
/// Newest first; each webhook carries a signature of every one. Who looked is written into the audit log. The private keys of `v1a`
/// are shown to nobody; their public halves are also at `/.well-known/clickwire-webhook-keys?endpoint_id=…`, without a key.
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path)),
    security(("api_key" = ["secrets:read"])), responses((status = 200, body = Page<SecretView>),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/webhook-endpoints/{id}/secrets")]
pub async fn list_secrets(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::SecretsRead)?;
    let revealed = secrets::reveal(&shared, &caller, endpoint_id(&id)?).await?;
    let data = revealed.into_iter().map(SecretView::from).collect();
    Ok(HttpResponse::Ok().json(Page { data, next_cursor: None }))
}

/// Rotate the signing secret
///
/// The new secret signs first, beside the old ones, which end after a day, or when you say; at most 3 sign at the same time. A repeat
/// with the same `Idempotency-Key` is shown the same secret, while it signs, if you made it or have `secrets:read`; the audit log
/// says so.
#[utoipa::path(tag = "webhook endpoints",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = SecretRotation,
    security(("api_key" = ["endpoints:write"])), responses((status = 201, body = SecretView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/webhook-endpoints/{id}/secrets")]
pub async fn rotate_secret(
    caller: Caller,
    id: Path<String>,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsWrite)?;
    let id = endpoint_id(&id)?;
    let key = IdempotencyKey::of(&shared, &request, body.bytes())?;
    let rotated = secrets::rotate(&shared, &caller, id, body.read()?, key.as_ref()).await?;
    done(rotated, |secret| Ok(HttpResponse::Created().json(SecretView::from(secret))))
}

/// Revoke a signing secret
///
/// It signs nothing from now on. The last one stays.
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path), ("secret_id" = String, Path)),
    security(("api_key" = ["endpoints:write"])), responses((status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[delete("/v1/webhook-endpoints/{id}/secrets/{secret_id}")]
pub async fn revoke_secret(
    caller: Caller,
    path: Path<(String, String)>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::EndpointsWrite)?;
    let (id, secret_id) = path.into_inner();
    secrets::revoke(&shared, &caller, endpoint_id(&id)?, path_id(&secret_id, "secret")?).await?;
    Ok(HttpResponse::NoContent().finish())
}
