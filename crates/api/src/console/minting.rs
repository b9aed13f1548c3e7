//! Minting keys: the list, a new one, replacing and revoking one.

use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use chrono::Utc;
use serde::Deserialize;

use model::MintingKeyId;
use store::minting_keys::StoredKey;

use super::form::Form;
use super::view::{Layout, When, html, when};
use super::{Flash, PageResult, Signed, refused, see_other, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::path_id;
use crate::desk::activity;
use crate::desk::idempotency::Done;
use crate::desk::minting_keys::{self, Created};
use crate::error::ApiError;
use crate::page::{LIMIT_DEFAULT, PageRequest};

const PATH: &str = "/settings/minting";

/// Adds the page.
pub fn configure(config: &mut ServiceConfig) {
    config.service(show).service(create).service(rotate).service(revoke);
}

struct KeyRow {
    id: String,
    number: u8,
    made: When,
    made_by: String,
    retired: Option<When>,
    revoked: Option<When>,
}

/// Which page of the list.
#[derive(Deserialize)]
struct After {
    /// The last key of the page before.
    before: Option<String>,
}

#[derive(Template)]
#[template(path = "minting.html")]
struct MintingPage {
    layout: Layout,
    keys: Vec<KeyRow>,
    /// The last key, if there are older ones.
    next: Option<String>,
    new_key: Option<String>,
    is_set_up: bool,
}

#[get("/settings/minting")]
async fn show(signed: Signed, after: Query<After>, shared: Data<Shared>) -> PageResult {
    let caller = &signed.caller;
    caller.require(Scope::KeysWrite)?;
    let now = Utc::now();
    let before = after.before.as_deref().map(|id| path_id::<MintingKeyId>(id, "minting key")).transpose()?;
    let mut rows = minting_keys::list(&shared, caller, &PageRequest { before, limit: LIMIT_DEFAULT }).await?;
    let has_more = rows.len() as i64 > LIMIT_DEFAULT;
    rows.truncate(LIMIT_DEFAULT as usize);
    let next = rows.last().filter(|_| has_more).map(|key| key.id.to_string());
    let by: Vec<&str> = rows.iter().map(|key| key.created_by.as_str()).collect();
    let names = activity::named(&shared, caller, &by).await?;
    let row = |(key, made_by): (StoredKey, String)| KeyRow {
        id: key.id.to_string(),
        number: key.number,
        made: when(key.created_at, now),
        made_by,
        retired: key.retired_at.map(|at| when(at, now)),
        revoked: key.revoked_at.map(|at| when(at, now)),
    };
    let page = MintingPage {
        layout: signed.layout("settings"),
        keys: rows.into_iter().zip(names).map(row).collect(),
        next,
        new_key: match &signed.flash {
            Some(Flash::NewKey { key, .. }) => Some(key.clone()),
            _ => None,
        },
        is_set_up: shared.minting.is_some(),
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

#[post("/settings/minting")]
async fn create(signed: Signed, _form: Form, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::KeysWrite)?;
    let made = minting_keys::create(&shared, &signed.caller, None).await;
    shown(&signed, &shared, made)
}

#[post("/settings/minting/{id}/rotate")]
async fn rotate(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::KeysWrite)?;
    let id = path_id(&id, "minting key")?;
    let made = minting_keys::rotate(&shared, &signed.caller, id, None).await;
    shown(&signed, &shared, made)
}

fn shown(signed: &Signed, shared: &Shared, made: Result<Done<Created>, ApiError>) -> PageResult {
    let flash = match made.map(Done::into_inner) {
        Ok(Created { key: Some(key), .. }) => signed.new_minting_key(&key),
        Ok(Created { key: None, .. }) => Flash::Done("The key was made before.".to_owned()),
        Err(error) => refused(error)?,
    };
    Ok(session::leave(shared, see_other(PATH), &flash))
}

#[post("/settings/minting/{id}/revoke")]
async fn revoke(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::KeysWrite)?;
    minting_keys::revoke(&shared, &signed.caller, path_id(&id, "minting key")?).await?;
    let flash = Flash::Done("The key is revoked: what it signed leads nowhere.".to_owned());
    Ok(session::leave(&shared, see_other(PATH), &flash))
}
