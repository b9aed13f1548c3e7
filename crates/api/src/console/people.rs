//! The people of a workspace: who there is, inviting somebody, what they are, removing them.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, get, post};
use askama::Template;
use chrono::{DateTime, Utc};

use model::{PersonId, Role};
use store::api_keys::StoredKey;
use store::invitations::{Invitation, Purpose};

use super::form::{self, Errors, Form};
use super::view::{Layout, When, html_with, when};
use super::{Flash, PageResult, Signed, refused, see_other, session};
use crate::app::Shared;
use crate::auth::{Caller, Identity, Scope};
use crate::body::path_id;
use crate::desk::people::Removal;
use crate::desk::{invitations, people, person_keys};
use crate::error::ApiError;
use crate::page::{LIMIT_MAX, PageRequest};
use crate::{roles, v1};

/// Where the page is.
const PATH: &str = "/settings/people";

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(show).service(invite).service(change).service(reset).service(remove).service(revoke);
}

struct PersonRow {
    id: String,
    name: String,
    email: String,
    role: Role,
    role_name: &'static str,
    joined: When,
    seen: Option<When>,
    is_own: bool,
    /// Whether whoever looks may change anything about them.
    may_change: bool,
    /// The live API keys that they made.
    keys: Vec<KeyLine>,
}

struct KeyLine {
    name: String,
    shown: String,
    /// Whether this session was begun with it.
    is_own: bool,
}

struct InvitationRow {
    id: String,
    email: String,
    purpose: String,
    expires: When,
}

struct RoleChoice {
    word: &'static str,
    name: &'static str,
    meaning: &'static str,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    layout: Layout,
    people: Vec<PersonRow>,
    invitations: Vec<InvitationRow>,
    /// Whether whoever looks may see API keys and revoke them.
    may_revoke: bool,
    /// What somebody may be invited as; none when whoever looks may invite nobody.
    roles: Vec<RoleChoice>,
    /// A link that was just made: for whom, and the link.
    link: Option<(String, String)>,
    email: String,
    errors: Errors,
}

#[get("/settings/people")]
async fn show(signed: Signed, shared: Data<Shared>) -> PageResult {
    page(&signed, &shared, StatusCode::OK, None, Errors::default()).await
}

async fn page(
    signed: &Signed,
    shared: &Shared,
    status: StatusCode,
    typed: Option<&Form>,
    errors: Errors,
) -> PageResult {
    let caller = &signed.caller;
    caller.require(Scope::PeopleRead)?;
    let now = Utc::now();
    let members = people::list(shared, caller, &PageRequest::first(LIMIT_MAX)).await?;
    let open = invitations::list(shared, caller, &PageRequest::first(LIMIT_MAX)).await?;
    let may_write = caller.may(Scope::PeopleWrite);
    let mut keys = match may_write {
        true => person_keys::by_person(shared, caller).await?,
        false => HashMap::new(),
    };
    let chosen = typed.and_then(|form| form.text("role")).unwrap_or(Role::Viewer.as_str());
    let page = PeoplePage {
        layout: signed.layout("people"),
        people: members
            .into_iter()
            .map(|member| PersonRow {
                id: member.person.id.to_string(),
                is_own: caller.identity == Identity::Person(member.person.id),
                may_change: may_write && caller.may_all_of(member.role),
                role: member.role,
                role_name: roles::name(member.role),
                keys: keys
                    .remove(&member.person.id)
                    .into_iter()
                    .flatten()
                    .map(|key| key_line(caller, key))
                    .collect(),
                joined: when(member.joined_at, now),
                seen: member.last_seen_at.map(|at| when(at, now)),
                name: member.person.name,
                email: member.person.email.to_string(),
            })
            .collect(),
        invitations: open.iter().map(|invitation| invitation_row(invitation, now)).collect(),
        may_revoke: caller.may(Scope::KeysWrite),
        roles: role_choices(caller, chosen),
        link: match &signed.flash {
            Some(Flash::Link { text, url, .. }) if may_write => Some((text.clone(), url.clone())),
            _ => None,
        },
        email: typed.and_then(|form| form.text("email")).unwrap_or_default().to_owned(),
        errors,
    };
    Ok(session::taken(shared, html_with(status, &page), signed.flash.as_ref()))
}

fn invitation_row(invitation: &Invitation, now: DateTime<Utc>) -> InvitationRow {
    InvitationRow {
        id: invitation.id.to_string(),
        purpose: match invitation.purpose {
            Purpose::Join(role) => roles::name(role).to_owned(),
            Purpose::ResetPassword => "New password".to_owned(),
        },
        email: invitation.email.to_string(),
        expires: when(invitation.expires_at, now),
    }
}

fn key_line(caller: &Caller, key: StoredKey) -> KeyLine {
    let is_own = caller.identity == Identity::Key(key.id);
    KeyLine { name: key.name, shown: key.shown, is_own }
}

/// The roles that a caller may give.
fn role_choices(caller: &Caller, chosen: &str) -> Vec<RoleChoice> {
    if !caller.may(Scope::PeopleWrite) {
        return Vec::new();
    }
    let given = Role::ALL.into_iter().filter(|role| caller.may_all_of(*role));
    let choice = |role: Role| RoleChoice {
        word: role.as_str(),
        name: roles::name(role),
        meaning: roles::meaning(role),
        is_chosen: role.as_str() == chosen,
    };
    given.map(choice).collect()
}

#[post("/settings/people/invite")]
async fn invite(request: HttpRequest, signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::PeopleWrite)?;
    let made = match form::read(form.object(&["email", "role"])) {
        Ok(new) => invitations::create(&shared, &signed.caller, new, None).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(made) => {
            let made = made.into_inner();
            let text = format!("The invitation of {}", made.invitation.email);
            Ok(with_link((&request, &signed), &shared, text, &made))
        }
        Err(error) => {
            let errors = Errors::of(error)?;
            page(&signed, &shared, StatusCode::UNPROCESSABLE_ENTITY, Some(&form), errors).await
        }
    }
}

fn with_link(
    (request, signed): (&HttpRequest, &Signed),
    shared: &Shared,
    text: String,
    made: &people::NewLink,
) -> actix_web::HttpResponse {
    let flash = match v1::people::link(request, shared, made) {
        Some(url) => signed.link(text, url),
        None => Flash::Done("The link was made before.".to_owned()),
    };
    session::leave(shared, see_other(PATH), &flash)
}

#[post("/settings/people/{id}/role")]
async fn change(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::PeopleWrite)?;
    let id = path_id(&id, "person")?;
    let changed = match form::read(form.object(&["role"])) {
        Ok(change) => people::change(&shared, &signed.caller, id, change).await,
        Err(error) => Err(error),
    };
    let told = match changed {
        Ok(member) => {
            let role = roles::name(member.role).to_lowercase();
            let told = format!("From now on {} is {role}.", member.person.name);
            match member.role {
                Role::Owner => Ok(told),
                Role::Operator | Role::Viewer => Ok(with_keys(&shared, &signed.caller, id, &told).await),
            }
        }
        Err(error) => Err(error),
    };
    done(&shared, told)
}

#[post("/settings/people/{id}/reset")]
async fn reset(
    request: HttpRequest,
    signed: Signed,
    _form: Form,
    id: Path<String>,
    shared: Data<Shared>,
) -> PageResult {
    signed.caller.require(Scope::PeopleWrite)?;
    match people::reset(&shared, &signed.caller, path_id(&id, "person")?).await {
        Ok(made) => {
            let text = format!("The new password of {}", made.invitation.email);
            Ok(with_link((&request, &signed), &shared, text, &made))
        }
        Err(error) => done(&shared, Err(error)),
    }
}

#[post("/settings/people/{id}/remove")]
async fn remove(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::PeopleWrite)?;
    let id = path_id(&id, "person")?;
    let removal = Removal { revoke_keys: form.is_set("revoke_keys") };
    let told = "They are removed, and signed out of this workspace.";
    let told = match people::remove(&shared, &signed.caller, id, removal).await {
        Ok(0) => Ok(with_keys(&shared, &signed.caller, id, told).await),
        Ok(1) => Ok(format!("{told} The API key that they made is revoked.")),
        Ok(keys) => Ok(format!("{told} The {keys} API keys that they made are revoked.")),
        Err(error) => Err(error),
    };
    done(&shared, told)
}

/// The same, and how many API keys of somebody go on who may do less from now on.
async fn with_keys(shared: &Shared, caller: &Caller, id: PersonId, told: &str) -> String {
    // what was done is done, whether or not they can be counted
    let keys = person_keys::count(shared, caller, id).await.inspect_err(ApiError::log).unwrap_or_default();
    match keys {
        0 => told.to_owned(),
        1 => format!("{told} An API key that they made goes on: revoke it if they know it."),
        keys => format!("{told} {keys} API keys that they made go on: revoke those that they know."),
    }
}

#[post("/settings/people/invitations/{id}/revoke")]
async fn revoke(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::PeopleWrite)?;
    invitations::revoke(&shared, &signed.caller, path_id(&id, "invitation")?).await?;
    done(&shared, Ok("It is taken back: its link opens nothing any more.".to_owned()))
}

/// Back to the list, which says what was done, or why it was not.
fn done(shared: &Shared, told: Result<String, ApiError>) -> PageResult {
    let flash = match told {
        Ok(text) => Flash::Done(text),
        Err(error) => refused(error)?,
    };
    Ok(session::leave(shared, see_other(PATH), &flash))
}
