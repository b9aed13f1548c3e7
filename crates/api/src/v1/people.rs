//! `/v1/people` and `/v1/invitations`: who signs in, and what they are.

use actix_web::http::header::HOST;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use model::{InvitationId, PersonId};
use store::invitations::{Invitation, Purpose};
use store::memberships::Member;

use super::{done, time};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Body, Query, path_id};
use crate::console::WELCOME;
use crate::desk::idempotency::{self, IdempotencyKey};
use crate::desk::people::NewLink;
use crate::desk::{invitations, people};
use crate::error::{ApiError, Problem};
use crate::page::{Page, PageQuery, PageRequest};

/// A person of the workspace.
#[derive(Serialize, ToSchema)]
pub struct PersonView {
    #[schema(example = "per_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    #[schema(example = "Ada Lovelace")]
    name: String,
    #[schema(example = "ada@example.com")]
    email: String,
    /// `owner`, `operator` or `viewer`.
    #[schema(example = "operator")]
    role: &'static str,
    joined_at: String,
    /// To the minute; `null`: not lately.
    last_seen_at: Option<String>,
}

impl From<Member> for PersonView {
    fn from(member: Member) -> Self {
        Self {
            id: member.person.id.to_string(),
            name: member.person.name,
            email: member.person.email.to_string(),
            role: member.role.as_str(),
            joined_at: time(member.joined_at),
            last_seen_at: member.last_seen_at.map(time),
        }
    }
}

/// A link for somebody, which works once.
#[derive(Serialize, ToSchema)]
pub struct InvitationView {
    #[schema(example = "inv_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    #[schema(example = "ada@example.com")]
    email: String,
    /// What they become; `null`: the link only sets another password of a person.
    #[schema(example = "viewer")]
    role: Option<&'static str>,
    /// The id of the person or API key that made it.
    created_by: String,
    created_at: String,
    /// It opens nothing from then on.
    expires_at: String,
    /// The link to pass on; only in the answer that makes it, not to its repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://clicks.example.com/welcome/x6oMFR8vjLQ3v2yZ7dUVmZ0yY5bq3nQeN1sT4wKc8aE")]
    url: Option<String>,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        let role = match invitation.purpose {
            Purpose::Join(role) => Some(role.as_str()),
            Purpose::ResetPassword => None,
        };
        Self {
            id: invitation.id.to_string(),
            email: invitation.email.to_string(),
            role,
            created_by: invitation.created_by,
            created_at: time(invitation.created_at),
            expires_at: time(invitation.expires_at),
            url: None,
        }
    }
}

/// How a person is removed.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
struct RemovalQuery {
    /// `true`: the API keys that they made are revoked too, which takes `keys:write`. Default: those go on.
    revoke_keys: Option<bool>,
}

/// Where a link leads that was just made.
pub fn link(request: &HttpRequest, shared: &Shared, made: &NewLink) -> Option<String> {
    let token = made.token.as_ref()?.reveal();
    let base = match shared.settings.console_url() {
        Some(url) => url.to_string(),
        None => {
            let scheme = if shared.settings.secure_cookies { "https" } else { "http" };
            let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            format!("{scheme}://{host}")
        }
    };
    Some(format!("{}{WELCOME}{token}", base.trim_end_matches('/')))
}

fn shown(request: &HttpRequest, shared: &Shared, made: NewLink) -> HttpResponse {
    let url = link(request, shared, &made);
    HttpResponse::Created().json(InvitationView { url, ..made.invitation.into() })
}

/// List people, those first who came last
#[utoipa::path(tag = "people", params(PageQuery), security(("api_key" = ["people:read"])),
    responses((status = 200, body = Page<PersonView>),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/people")]
pub async fn list_people(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::PeopleRead)?;
    let page: PageRequest<PersonId> = query.read()?;
    let rows = people::list(&shared, &caller, &page).await?;
    Ok(HttpResponse::Ok().json(page.page(rows, |member| member.person.id, PersonView::from)))
}

/// Change what a person is
///
/// It holds from their next request on. The last owner stays one, and nobody gives away or changes a role that may do more than
/// they may themselves.
#[utoipa::path(tag = "people", params(("id" = String, Path)), request_body = people::PersonChange,
    security(("api_key" = ["people:write"])), responses((status = 200, body = PersonView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[patch("/v1/people/{id}")]
pub async fn update_person(
    caller: Caller,
    id: Path<String>,
    body: Body,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::PeopleWrite)?;
    let id = path_id(&id, "person")?;
    let member = people::change(&shared, &caller, id, body.read()?).await?;
    Ok(HttpResponse::Ok().json(PersonView::from(member)))
}

/// Remove a person from the workspace
///
/// Their sessions here end, and open links for them, or made by them or by API keys that they made, are taken back. Those keys are the
/// workspace's and go on, unless you have them revoked with `revoke_keys`, also those that were made with such a key: `created_by` of
/// each key says who made it. Whoever belongs to no other workspace cannot sign in any more.
#[utoipa::path(tag = "people", params(("id" = String, Path), RemovalQuery), security(("api_key" = ["people:write"])),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[delete("/v1/people/{id}")]
pub async fn remove_person(
    caller: Caller,
    id: Path<String>,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::PeopleWrite)?;
    people::remove(&shared, &caller, path_id(&id, "person")?, query.read()?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Make a link with which a person sets another password
///
/// It works once, for seven days; an earlier one opens nothing from then on. Their password holds until they use it. It is made for
/// nobody who belongs to another workspace as well.
#[utoipa::path(tag = "people", params(("id" = String, Path)), security(("api_key" = ["people:write"])),
    responses((status = 201, body = InvitationView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/people/{id}/reset-password")]
pub async fn reset_password(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::PeopleWrite)?;
    let instead = "each request makes a link, and only the last one opens anything: leave the header out";
    idempotency::refuse(&request, instead)?;
    let made = people::reset(&shared, &caller, path_id(&id, "person")?).await?;
    Ok(shown(&request, &shared, made))
}

/// Invite a person
///
/// The answer holds the link to pass on: whoever opens it sets name and password, and is signed in. It works once, for seven days, and
/// is never shown again; a second invitation of the same address takes the first one's place. Nobody gives away a role that may
/// do more than they may themselves.
#[utoipa::path(tag = "people", params(("Idempotency-Key" = Option<String>, Header)),
    request_body = invitations::NewInvitation, security(("api_key" = ["people:write"])),
    responses((status = 201, body = InvitationView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/invitations")]
pub async fn create_invitation(
    caller: Caller,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::PeopleWrite)?;
    let key = IdempotencyKey::of(&shared, &request, body.bytes())?;
    let made = invitations::create(&shared, &caller, body.read()?, key.as_ref()).await?;
    done(made, |made| Ok(shown(&request, &shared, made)))
}

/// List open invitations, newest first
///
/// Links for another password are among them.
#[utoipa::path(tag = "people", params(PageQuery), security(("api_key" = ["people:read"])),
    responses((status = 200, body = Page<InvitationView>),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/invitations")]
pub async fn list_invitations(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::PeopleRead)?;
    let page: PageRequest<InvitationId> = query.read()?;
    let rows = invitations::list(&shared, &caller, &page).await?;
    Ok(HttpResponse::Ok().json(page.page(rows, |invitation| invitation.id, InvitationView::from)))
}

/// Take an invitation back
///
/// Its link opens nothing any more.
#[utoipa::path(tag = "people", params(("id" = String, Path)), security(("api_key" = ["people:write"])),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[delete("/v1/invitations/{id}")]
pub async fn revoke_invitation(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::PeopleWrite)?;
    invitations::revoke(&shared, &caller, path_id(&id, "invitation")?).await?;
    Ok(HttpResponse::NoContent().finish())
}
