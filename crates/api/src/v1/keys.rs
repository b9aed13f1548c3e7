//! `/v1/api-keys`: who may do what.

use actix_web::http::header;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use serde::Serialize;
use utoipa::ToSchema;

use model::KeyId;
use store::api_keys::StoredKey;

use super::conditional::digested;
use super::{done, time};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Body, Query, path_id};
use crate::desk::idempotency::IdempotencyKey;
use crate::desk::keys::{self, Created, NewKey, Rotation};
use crate::error::{ApiError, Problem};
use crate::page::{Page, PageQuery, PageRequest};

/// An API key.
#[derive(Serialize, ToSchema)]
pub struct KeyView {
    #[schema(example = "key_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    name: String,
    /// Its beginning.
    #[schema(example = "cw_F3k9Qz1")]
    shown: String,
    scopes: Vec<String>,
    created_at: String,
    expires_at: Option<String>,
    /// To the minute.
    last_used_at: Option<String>,
    /// The id of the person or API key that made it; `null`: nobody knows. `operator` is whoever runs the server.
    created_by: Option<String>,
    /// The key itself; only in the answer that makes it, not to its repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl From<StoredKey> for KeyView {
    fn from(key: StoredKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name,
            shown: key.shown,
            scopes: key.scopes,
            created_at: time(key.created_at),
            expires_at: key.expires_at.map(time),
            last_used_at: key.last_used_at.map(time),
            created_by: key.created_by,
            key: None,
        }
    }
}

/// Make an API key
///
/// The answer holds the key: keep it, it is never shown again. The answer to a repeat with the same `Idempotency-Key` is without it,
/// since only its hash is kept: who missed the key revokes it and makes another.
#[utoipa::path(tag = "keys and audit", params(("Idempotency-Key" = Option<String>, Header)), request_body = NewKey, security(("api_key" = ["keys:write"])),
    responses((status = 201, body = KeyView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/api-keys")]
pub async fn create_key(
    caller: Caller,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::KeysWrite)?;
    let idempotency_key = IdempotencyKey::of(&shared, &request, body.bytes())?;
    let made = keys::create(&shared, &caller, body.read()?, idempotency_key.as_ref()).await?;
    done(made, created)
}

/// List API keys, newest first
#[utoipa::path(tag = "keys and audit", params(PageQuery), security(("api_key" = ["keys:write"])),
    responses((status = 200, body = Page<KeyView>),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/api-keys")]
pub async fn list_keys(caller: Caller, query: Query, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::KeysWrite)?;
    let page: PageRequest<KeyId> = query.read()?;
    let rows = keys::list(&shared, &caller, &page).await?;
    Ok(HttpResponse::Ok().json(page.page(rows, |key| key.id, KeyView::from)))
}

/// Show an API key
#[utoipa::path(tag = "keys and audit", params(("id" = String, Path), ("If-None-Match" = Option<String>, Header)),
    security(("api_key" = ["keys:write"])), responses((status = 200, body = KeyView),
        (status = 304, description = "Nothing is new"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/api-keys/{id}")]
pub async fn show_key(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::KeysWrite)?;
    let stored = keys::find(&shared, &caller, path_id(&id, "API key")?).await?;
    Ok(digested(&request, &KeyView::from(stored)))
}

/// Rotate an API key
///
/// The answer holds a new key with the same name and scopes; the old one goes on for a day, or as long as you say, so that you can
/// change over. You must hold every scope of it, with a key that ends no sooner. The answer to a repeat with the same `Idempotency-Key` is without the key, since
/// only its hash is kept: who missed it rotates again, also with the old key itself. Until the old key ends it does all that it did: let
/// it end at once (`overlap_seconds`: 0) when somebody else may have it.
#[utoipa::path(tag = "keys and audit", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Rotation, security(("api_key" = ["keys:write"])), responses((status = 201, body = KeyView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/api-keys/{id}/rotate")]
pub async fn rotate_key(
    caller: Caller,
    id: Path<String>,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::KeysWrite)?;
    let id = path_id(&id, "API key")?;
    let idempotency_key = IdempotencyKey::of(&shared, &request, body.bytes())?;
    let made = keys::rotate(&shared, &caller, id, body.read()?, idempotency_key.as_ref()).await?;
    done(made, created)
}

fn created(made: Created) -> Result<HttpResponse, ApiError> {
    let Created { stored, key } = made;
    let location = (header::LOCATION, format!("/v1/api-keys/{}", stored.id));
    let view = KeyView { key: key.map(|key| key.reveal().to_owned()), ..stored.into() };
    Ok(HttpResponse::Created().insert_header(location).json(view))
}

/// Revoke an API key
///
/// It opens nothing from now on, and console sessions that were begun with it end.
#[utoipa::path(tag = "keys and audit", params(("id" = String, Path)), security(("api_key" = ["keys:write"])),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[delete("/v1/api-keys/{id}")]
pub async fn revoke_key(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::KeysWrite)?;
    keys::revoke(&shared, &caller, path_id(&id, "API key")?).await?;
    Ok(HttpResponse::NoContent().finish())
}
