//! A link as the template of recipients' links: what its page says of that, and the page with what programs need to make them and
//! whom it denies.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{get, post};
use askama::Template;
use chrono::Utc;
use serde_json::Map;

use model::LinkId;
use store::links::Link;
use store::templates::{DENIED_MAX, Denied};

use super::form::{self, Errors, Form};
use super::links::done;
use super::report::natural;
use super::view::{Layout, When, html_with, when};
use super::{PageResult, Signed, session};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::path_id;
use crate::desk::links;
use crate::desk::templates::{self, NewDenied, Told, plain_number};
use crate::error::ApiError;

/// Adds the page and its forms.
pub fn configure(config: &mut ServiceConfig) {
    config.service(show).service(open).service(close).service(deny).service(allow);
}

/// What the page of a link says of its being a template.
pub struct TemplateText {
    pub number: u32,
    pub is_closed: bool,
    /// How many recipients it denies.
    pub denied: u64,
}

impl TemplateText {
    /// Of a link; `None` when it is no template.
    pub async fn of(shared: &Shared, caller: &Caller, link: &Link) -> Result<Option<Self>, ApiError> {
        let found = templates::of_link(shared, caller, link).await?;
        Ok(found.map(|(template, denied)| Self {
            number: template.number,
            is_closed: template.closed_at.is_some(),
            denied: natural(denied),
        }))
    }
}

struct DeniedRow {
    recipient: u64,
    denied: When,
}

#[derive(Template)]
#[template(path = "link_template.html")]
struct TemplatePage {
    layout: Layout,
    id: String,
    slug: String,
    number: u32,
    url_prefix: String,
    closed: Option<When>,
    is_archived: bool,
    may_change: bool,
    denied: Vec<DeniedRow>,
    denied_max: i64,
    /// What was typed, so that nobody types it twice.
    recipients: String,
    errors: Errors,
}

#[get("/links/{id}/template")]
async fn show(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    let id = path_id(&id, "link")?;
    page(&signed, &shared, id, StatusCode::OK, None, Errors::default()).await
}

async fn page(
    signed: &Signed,
    shared: &Shared,
    id: LinkId,
    status: StatusCode,
    typed: Option<&Form>,
    errors: Errors,
) -> PageResult {
    let caller = &signed.caller;
    caller.require(Scope::LinksRead)?;
    let link = links::find(shared, caller, id).await?;
    let Told { template, url_prefix } = templates::find(shared, caller, id).await?;
    let denied = templates::denied(shared, caller, id).await?;
    let now = Utc::now();
    let row = |denied: Denied| DeniedRow { recipient: denied.recipient, denied: when(denied.denied_at, now) };
    let is_archived = link.archived_at.is_some();
    let page = TemplatePage {
        layout: signed.layout("links"),
        id: id.to_string(),
        slug: link.slug.to_string(),
        number: template.number,
        url_prefix,
        closed: template.closed_at.map(|at| when(at, now)),
        is_archived,
        may_change: caller.may(Scope::LinksWrite) && !is_archived,
        denied: denied.into_iter().map(row).collect(),
        denied_max: DENIED_MAX,
        recipients: typed.and_then(|form| form.text("recipients")).unwrap_or_default().to_owned(),
        errors,
    };
    Ok(session::taken(shared, html_with(status, &page), signed.flash.as_ref()))
}

fn address(id: LinkId) -> String {
    format!("/links/{id}/template")
}

#[post("/links/{id}/template")]
async fn open(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let told = templates::open(&shared, &signed.caller, path_id(&id, "link")?).await?;
    let text = format!("The link is template {}: recipients’ links can be made of it.", told.template.number);
    Ok(done(&shared, &address(told.template.link_id), &text))
}

#[post("/links/{id}/template/close")]
async fn close(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let id = path_id(&id, "link")?;
    templates::close(&shared, &signed.caller, id).await?;
    Ok(done(&shared, &address(id), "The template is closed: all recipients’ links of it lead nowhere."))
}

#[post("/links/{id}/template/deny")]
async fn deny(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let id = path_id(&id, "link")?;
    let typed = form.text("recipients").unwrap_or_default();
    let typed = typed.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';'));
    let typed: Vec<&str> = typed.filter(|word| !word.is_empty()).collect();
    let mut object = Map::new();
    object.insert("recipients".to_owned(), typed.iter().copied().collect());
    let denied = match form::read::<NewDenied>(object) {
        Ok(new) => templates::deny(&shared, &signed.caller, id, &new).await,
        Err(error) => Err(error),
    };
    match denied {
        Ok(denied) => {
            let text = format!("Denied. The template now denies: {}.", denied.len());
            Ok(done(&shared, &address(id), &text))
        }
        Err(error) => {
            let errors = Errors::of(error)?.quoting("recipients", &typed);
            page(&signed, &shared, id, StatusCode::UNPROCESSABLE_ENTITY, Some(&form), errors).await
        }
    }
}

#[post("/links/{id}/template/allow")]
async fn allow(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let id = path_id(&id, "link")?;
    let recipient = form.text("recipient").and_then(plain_number);
    let recipient = recipient.ok_or(ApiError::NotFound("denied recipient"))?;
    templates::allow(&shared, &signed.caller, id, recipient).await?;
    let text = format!("The link of recipient {recipient} leads on again.");
    Ok(done(&shared, &address(id), &text))
}
