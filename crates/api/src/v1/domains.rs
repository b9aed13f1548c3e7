//! `/v1/domains`: the host names that links are served under.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post};
use serde::Serialize;
use utoipa::ToSchema;

use model::domain_proof::{ProofStatus, record_name, record_value};
use store::domains::Domain;

use super::conditional::tagged;
use super::{done, if_match, time};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Body, path_id};
use crate::desk::domain_body::{DomainChange, NewDomain};
use crate::desk::idempotency::IdempotencyKey;
use crate::desk::{domain_proof, domains};
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
    /// Where visitors go of a closed link under it that names nothing of its own, and of a slug that no link has; `null`: for closed
    /// links where the link settings say, else a small page.
    #[schema(example = "https://example.com/")]
    fallback_url: Option<String>,
    created_at: String,
    /// Since when who runs the server has all of its links blocked: visitors get 451.
    blocked_at: Option<String>,
    verification: VerificationView,
}

/// What has been shown of whose a domain is. Links are made and served under it once it is verified.
#[derive(Serialize, ToSchema)]
pub struct VerificationView {
    /// `pending`: nobody has looked yet; `verified`; `failed`: the record was looked up, and proved nothing.
    #[schema(value_type = String, example = "pending")]
    status: &'static str,
    /// The name of the TXT record that proves it.
    #[schema(example = "_clickwire.go.example.com")]
    record_name: String,
    /// What that record has to hold.
    #[schema(example = "clickwire-domain=6f9619ff8b86d011b42d00c04fc964ff")]
    record_value: String,
    /// Why the last look-up proved nothing: `no_record`, `other_record`, `no_answer` or `no_name`.
    #[schema(value_type = Option<String>, example = "no_record")]
    reason: Option<&'static str>,
    /// The same for people.
    detail: Option<&'static str>,
    checked_at: Option<String>,
    verified_at: Option<String>,
}

impl VerificationView {
    fn of(domain: &Domain) -> Self {
        let status = domain.proof.status();
        let failure = match status {
            ProofStatus::Failed(failure) => Some(failure),
            ProofStatus::Pending | ProofStatus::Verified => None,
        };
        Self {
            status: status.as_str(),
            record_name: record_name(&domain.host),
            record_value: record_value(&domain.proof.token),
            reason: failure.map(|failure| failure.as_str()),
            detail: failure.map(|failure| failure.detail()),
            checked_at: domain.proof.checked_at.map(time),
            verified_at: domain.proof.verified_at.map(time),
        }
    }
}

impl From<Domain> for DomainView {
    fn from(domain: Domain) -> Self {
        Self {
            verification: VerificationView::of(&domain),
            id: domain.id.to_string(),
            host: domain.host.to_string(),
            default: domain.is_default,
            hsts_max_age: domain.hsts_max_age,
            case: domain.slug_case.as_str(),
            fallback_url: domain.fallback_url.map(|url| url.to_string()),
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
    let added = domains::add(&shared, &caller, body.read()?, key.as_ref()).await?;
    done(added, |domain| Ok(shown(&request, StatusCode::CREATED, domain)))
}

fn shown(request: &HttpRequest, status: StatusCode, domain: Domain) -> HttpResponse {
    let revision = domains::revision(&domain);
    tagged(request, status, revision, &DomainView::from(domain))
}

/// List domains, the default one first
#[utoipa::path(tag = "settings", security(("api_key" = ["settings:read"])), responses((status = 200, body = Page<DomainView>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/domains")]
pub async fn list_domains(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::SettingsRead)?;
    let data = domains::list(&shared, &caller).await?.into_iter().map(DomainView::from).collect();
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
    let domain = domains::find(&shared, &caller, path_id(&id, "domain")?).await?;
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
    let domain = domains::change(&shared, &caller, id, if_match(&request), body.read()?).await?;
    Ok(shown(&request, StatusCode::OK, domain))
}

/// Look for the record that proves whose a domain is
///
/// With the TXT record `record_name` set to `record_value`, the domain is used from now on. It may be asked as often as it takes:
/// the answer says what was found.
#[utoipa::path(tag = "settings", params(("id" = String, Path)), security(("api_key" = ["settings:write"])),
    responses((status = 200, body = DomainView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/domains/{id}/verify")]
pub async fn verify_domain(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::SettingsWrite)?;
    let domain = domain_proof::verify(&shared, &caller, path_id(&id, "domain")?).await?;
    Ok(HttpResponse::Ok().json(DomainView::from(domain)))
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
    domains::remove(&shared, &caller, path_id(&id, "domain")?, if_match(&request)).await?;
    Ok(HttpResponse::NoContent().finish())
}
