//! `/v1/domains`: the host names that links are served under.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post};
use serde::Serialize;
use utoipa::ToSchema;

use store::domains::Domain;

use super::conditional::tagged;
use super::{done, if_match, time};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Body, path_id};
use crate::desk::idempotency::IdempotencyKey;
use crate::desk::settings::{self, DomainChange, NewDomain};
use crate::error::{ApiError, Problem};
use crate::page::Page;

/// A domain.
#[derive(Serialize, ToSchema)]
pub struct DomainView {
    #[schema(example = "dom_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    #[schema(example = "go.example.com")]
    host: String,
    default: bool,
    /// For how many seconds browsers are to reach it over https alone; `null`: as the server is set.
    hsts_max_age: Option<u32>,
    /// Whether capital letters in slugs tell links apart: `insensitive` or `sensitive`.
    #[schema(value_type = String, example = "insensitive")]
    case: &'static str,
    created_at: String,
    /// Since when who runs the server has all of its links blocked: visitors get 451.
    blocked_at: Option<String>,
}

impl From<Domain> for DomainView {
    fn from(domain: Domain) -> Self {
        Self {
            id: domain.id.to_string(),
            host: domain.host.to_string(),
            default: domain.is_default,
            hsts_max_age: domain.hsts_max_age,
            case: domain.slug_case.as_str(),
            created_at: time(domain.created_at),
            blocked_at: domain.blocked_at.map(time),
        }
    }
}

/// Add a domain
#[utoipa::path(tag = "settings", params(("Idempotency-Key" = Option<String>, Header)), request_body = NewDomain, security(("api_key" = ["settings:write"])),
    responses((status = 201, body = DomainView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/domains")]
pub async fn add_domain(
    caller: Caller,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::SettingsWrite)?;
    let key = IdempotencyKey::of(&shared, &request, body.bytes())?;
    let added = settings::add_domain(&shared, &caller, body.read()?, key.as_ref()).await?;
    done(added, |domain| Ok(shown(&request, StatusCode::CREATED, domain)))
}

fn shown(request: &HttpRequest, status: StatusCode, domain: Domain) -> HttpResponse {
    let revision = settings::domain_revision(&domain);
    tagged(request, status, revision, &DomainView::from(domain))
}

/// List domains, the default one first
#[utoipa::path(tag = "settings", security(("api_key" = ["settings:read"])), responses((status = 200, body = Page<DomainView>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/domains")]
pub async fn list_domains(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::SettingsRead)?;
    let data = settings::domains(&shared, &caller).await?.into_iter().map(DomainView::from).collect();
    Ok(HttpResponse::Ok().json(Page { data, next_cursor: None }))
}

/// Show a domain
#[utoipa::path(tag = "settings", params(("id" = String, Path), ("If-None-Match" = Option<String>, Header)),
    security(("api_key" = ["settings:read"])), responses((status = 200, body = DomainView),
    (status = 304, description = "Nothing is new"),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/domains/{id}")]
pub async fn show_domain(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::SettingsRead)?;
    let domain = settings::find_domain(&shared, &caller, path_id(&id, "domain")?).await?;
    Ok(shown(&request, StatusCode::OK, domain))
}

/// Change a domain
#[utoipa::path(tag = "settings", params(("id" = String, Path), ("If-Match" = Option<String>, Header)), request_body = DomainChange,
    security(("api_key" = ["settings:write"])), responses((status = 200, body = DomainView),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[patch("/v1/domains/{id}")]
pub async fn update_domain(
    caller: Caller,
    id: Path<String>,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::SettingsWrite)?;
    let id = path_id(&id, "domain")?;
    let domain = settings::change_domain(&shared, &caller, id, if_match(&request), body.read()?).await?;
    Ok(shown(&request, StatusCode::OK, domain))
}

/// Remove a domain under which no link was ever made
#[utoipa::path(tag = "settings", params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    security(("api_key" = ["settings:write"])), responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[delete("/v1/domains/{id}")]
pub async fn remove_domain(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::SettingsWrite)?;
    settings::remove_domain(&shared, &caller, path_id(&id, "domain")?, if_match(&request)).await?;
    Ok(HttpResponse::NoContent().finish())
}
