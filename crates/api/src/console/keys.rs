//! API keys: the list, a new one, replacing and revoking one.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use chrono::{TimeDelta, Utc};
use serde_json::Value;

use super::form::{self, Errors, Form};
use super::view::{Layout, When, html_with, when};
use super::{Flash, PageResult, Signed, refused, see_other, session};
use crate::app::Shared;
use crate::auth::{ALL, Identity, Scope};
use crate::body::path_id;
use crate::desk::idempotency::Done;
use crate::desk::keys::{self, Created};
use crate::page::{LIMIT_MAX, PageRequest};

/// When a new key may end, in days from its making, and how the form says so. Empty: never.
const ENDS: [(&str, &str); 4] =
    [("", "Never"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year")];

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(show).service(create).service(rotate).service(revoke);
}

struct KeyRow {
    id: String,
    name: String,
    shown: String,
    scopes: String,
    created: When,
    last_used: Option<When>,
    expires: Option<When>,
    is_own: bool,
    /// Whether whoever looks holds all that it does.
    may_rotate: bool,
}

struct ScopeChoice {
    word: &'static str,
    meaning: &'static str,
    is_ticked: bool,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    layout: Layout,
    keys: Vec<KeyRow>,
    scopes: Vec<ScopeChoice>,
    may_all: bool,
    is_all: bool,
    new_key: Option<String>,
    name: String,
    ends: [(&'static str, &'static str); ENDS.len()],
    /// The one of them that was chosen.
    ends_in: String,
    errors: Errors,
}

#[get("/settings/keys")]
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
    caller.require(Scope::KeysWrite)?;
    let now = Utc::now();
    let rows = keys::list(shared, caller, &PageRequest::first(LIMIT_MAX)).await?;
    let ticked = typed.map(|form| form.all("scopes")).unwrap_or_default();
    let scopes = Scope::EVERY.iter().filter(|scope| caller.may(**scope)).map(|scope| ScopeChoice {
        word: scope.as_str(),
        meaning: scope.meaning(),
        is_ticked: ticked.contains(&scope.as_str()),
    });
    let page = KeysPage {
        layout: signed.layout("keys"),
        keys: rows
            .into_iter()
            .map(|key| KeyRow {
                id: key.id.to_string(),
                may_rotate: key.is_live(now) && key.scopes.iter().all(|scope| caller.may_word(scope)),
                name: key.name,
                shown: key.shown,
                scopes: if key.scopes.iter().any(|scope| scope == ALL) {
                    "Everything".to_owned()
                } else {
                    key.scopes.join(", ")
                },
                created: when(key.created_at, now),
                last_used: key.last_used_at.map(|at| when(at, now)),
                expires: key.expires_at.map(|at| when(at, now)),
                is_own: caller.identity == Identity::Key(key.id),
            })
            .collect(),
        scopes: scopes.collect(),
        may_all: caller.may_word(ALL),
        is_all: ticked.contains(&ALL),
        new_key: match &signed.flash {
            Some(Flash::NewKey { key, .. }) => Some(key.clone()),
            _ => None,
        },
        name: typed.and_then(|form| form.text("name")).unwrap_or_default().to_owned(),
        ends: ENDS,
        ends_in: typed.and_then(|form| form.text("expires_at")).unwrap_or_default().to_owned(),
        errors,
    };
    Ok(session::taken(shared, html_with(status, &page), signed.flash.as_ref()))
}

#[post("/settings/keys")]
async fn create(signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::KeysWrite)?;
    let mut object = form.object(&["name"]);
    let scopes = form.all("scopes").into_iter().map(Value::from).collect();
    object.insert("scopes".to_owned(), scopes);
    if let Some(days) = form.text("expires_at") {
        // what is no number of days is refused by the rules of the API
        let ends_at = days.parse::<u16>().map(|days| Utc::now() + TimeDelta::days(days.into()));
        object.insert(
            "expires_at".to_owned(),
            ends_at.map_or_else(|_| days.into(), |at| at.to_rfc3339().into()),
        );
    }
    let made = match form::read(object) {
        Ok(new) => keys::create(&shared, &signed.caller, new, None).await.map(Done::into_inner),
        Err(error) => Err(error),
    };
    match made {
        Ok(Created { key, .. }) => {
            let flash = match key {
                Some(key) => signed.new_key(&key),
                None => Flash::Done("The key was made before.".to_owned()),
            };
            Ok(session::leave(&shared, see_other("/settings/keys"), &flash))
        }
        Err(error) => {
            let errors = Errors::of(error)?;
            page(&signed, &shared, StatusCode::UNPROCESSABLE_ENTITY, Some(&form), errors).await
        }
    }
}

#[post("/settings/keys/{id}/rotate")]
async fn rotate(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::KeysWrite)?;
    let id = path_id(&id, "API key")?;
    let seconds =
        form.text("overlap_seconds").map(|text| text.parse::<u32>().map_or(text.into(), Value::from));
    let object = seconds.map(|seconds| ("overlap_seconds".to_owned(), seconds));
    let made = match form::read(object.into_iter().collect()) {
        Ok(how) => keys::rotate(&shared, &signed.caller, id, how, None).await.map(Done::into_inner),
        Err(error) => Err(error),
    };
    let flash = match made {
        Ok(Created { key: Some(key), .. }) => signed.new_key(&key),
        Ok(Created { key: None, .. }) => Flash::Done("The key was replaced before.".to_owned()),
        Err(error) => refused(error)?,
    };
    Ok(session::leave(&shared, see_other("/settings/keys"), &flash))
}

#[post("/settings/keys/{id}/revoke")]
async fn revoke(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::KeysWrite)?;
    keys::revoke(&shared, &signed.caller, path_id(&id, "API key")?).await?;
    let flash = Flash::Done("The key is revoked: it opens nothing any more.".to_owned());
    Ok(session::leave(&shared, see_other("/settings/keys"), &flash))
}
