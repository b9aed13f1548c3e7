//! `/v1/minting-keys`: what senders make recipients' links with.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use serde::Serialize;
use utoipa::ToSchema;

use model::MintingKeyId;
use store::minting_keys::StoredKey;

use super::{done, time};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Query, path_id};
use crate::desk::idempotency::IdempotencyKey;
use crate::desk::minting_keys::{self, Created};
use crate::error::{ApiError, Problem};
use crate::page::{Page, PageQuery, PageRequest};

/// A minting key.
#[derive(Serialize, ToSchema)]
pub struct MintingKeyView {
    #[schema(example = "mky_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    /// Stands in each token. It may be given again when the key was revoked.
    number: u8,
    created_by: String,
    created_at: String,
    /// Since when another is to be used; links that were made with it stay good.
    retired_at: Option<String>,
    /// Since when all links that were made with it lead nowhere.
    revoked_at: Option<String>,
    /// The key itself; only in the answer that makes it, not to its repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl From<StoredKey> for MintingKeyView {
    fn from(key: StoredKey) -> Self {
        Self {
            id: key.id.to_string(),
            number: key.number,
            created_by: key.created_by,
            created_at: time(key.created_at),
            retired_at: key.retired_at.map(time),
            revoked_at: key.revoked_at.map(time),
            key: None,
        }
    }
}

/// Make a minting key
///
/// With it, and without asking us, you make one link for each recipient of a template (`PUT /v1/links/{id}/template`). The answer
/// holds the key: keep it, it is never shown again. The answer to a repeat with the same `Idempotency-Key` is without it. A workspace
/// has at most 16 keys that are not revoked.
#[utoipa::path(tag = "keys and audit", params(("Idempotency-Key" = Option<String>, Header)),
    security(("api_key" = ["keys:write"])), responses((status = 201, body = MintingKeyView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/minting-keys")]
pub async fn create_minting_key(
    caller: Caller,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::KeysWrite)?;
    let idempotency_key = IdempotencyKey::of(&shared, &request, &[])?;
    let made = minting_keys::create(&shared, &caller, idempotency_key.as_ref()).await?;
    done(made, created)
}

/// List minting keys, newest first
///
/// Revoked ones among them.
#[utoipa::path(tag = "keys and audit", params(PageQuery), security(("api_key" = ["keys:write"])),
    responses((status = 200, body = Page<MintingKeyView>),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/minting-keys")]
pub async fn list_minting_keys(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::KeysWrite)?;
    let page: PageRequest<MintingKeyId> = query.read()?;
    let rows = minting_keys::list(&shared, &caller, &page).await?;
    Ok(HttpResponse::Ok().json(page.page(rows, |key| key.id, MintingKeyView::from)))
}

/// Rotate a minting key
///
/// The answer holds another key, with another number; the old one is retired. Links that were made with it stay good, until it is
/// revoked.
#[utoipa::path(tag = "keys and audit", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    security(("api_key" = ["keys:write"])), responses((status = 201, body = MintingKeyView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/minting-keys/{id}/rotate")]
pub async fn rotate_minting_key(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::KeysWrite)?;
    let idempotency_key = IdempotencyKey::of(&shared, &request, &[])?;
    let id = path_id(&id, "minting key")?;
    let made = minting_keys::rotate(&shared, &caller, id, idempotency_key.as_ref()).await?;
    done(made, created)
}

fn created(made: Created) -> Result<HttpResponse, ApiError> {
    let Created { stored, key } = made;
    let view = MintingKeyView { key: key.map(|key| key.reveal()), ..stored.into() };
    Ok(HttpResponse::Created().json(view))
}

/// Revoke a minting key
///
/// All links that were made with it lead nowhere, within a second, and for good.
#[utoipa::path(tag = "keys and audit", params(("id" = String, Path)), security(("api_key" = ["keys:write"])),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[delete("/v1/minting-keys/{id}")]
pub async fn revoke_minting_key(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::KeysWrite)?;
    minting_keys::revoke(&shared, &caller, path_id(&id, "minting key")?).await?;
    Ok(HttpResponse::NoContent().finish())
}
