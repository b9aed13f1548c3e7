//! Links: the list, a new one, one with its clicks, on and off.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpResponse, get, post};
use askama::Template;
use chrono::Utc;
use serde_json::Value;

use store::click_log::ClickFilter;
use store::links::Link;

use super::form::{self, Errors, Form};
use super::view::{Chip, ClickRow, Layout, When, click_row, html, html_with, when};
use super::{Flash, PageResult, Signed, see_other, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::{Query, path_id};
use crate::desk::link_body::LinkChange;
use crate::desk::links::{self, tracked_url};
use crate::desk::{clicks, settings};
use crate::page::{Page, PageRequest};
use crate::v1::links::Asked;

/// Clicks of one link that are shown.
const CLICKS_SHOWN: i64 = 20;

const TEXT_FIELDS: [&str; 8] =
    ["url", "slug", "domain", "campaign_id", "contact_id", "message_id", "channel", "external_id"];

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    // `new` comes before `{id}`, which would match it
    config.service(list).service(new_link).service(create).service(show).service(switch).service(archive);
}

pub struct LinkRow {
    pub id: String,
    pub slug: String,
    pub tracked_url: String,
    pub url: String,
    pub campaign: String,
    pub chip: Chip,
    pub created: When,
}

fn link_row(shared: &Shared, link: &Link) -> LinkRow {
    let now = Utc::now();
    LinkRow {
        id: link.id.to_string(),
        slug: link.slug.to_string(),
        tracked_url: tracked_url(shared, link),
        url: link.options.original_url.to_string(),
        campaign: link.options.labels.campaign_id.clone().unwrap_or_default(),
        chip: link_chip(link),
        created: when(link.created_at, now),
    }
}

fn link_chip(link: &Link) -> Chip {
    let now = Utc::now();
    let options = &link.options;
    if link.archived_at.is_some() {
        Chip { kind: "plain", text: "Archived" }
    } else if !options.enabled {
        Chip { kind: "plain", text: "Off" }
    } else if options.expires_at.is_some_and(|at| at <= now) {
        Chip { kind: "plain", text: "Expired" }
    } else if options.starts_at.is_some_and(|at| at > now) {
        Chip { kind: "wait", text: "Not started" }
    } else if options.tracking == model::link::Tracking::Off {
        Chip { kind: "wait", text: "Not tracked" }
    } else {
        Chip { kind: "good", text: "Live" }
    }
}

#[derive(Template)]
#[template(path = "links.html")]
struct LinksPage {
    layout: Layout,
    links: Vec<LinkRow>,
    text: String,
    next: Option<String>,
}

#[get("/links")]
async fn list(signed: Signed, query: Query, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksRead)?;
    let Asked { filter, page } = query.read()?;
    let rows = links::list(&shared, &signed.caller, &filter, &page).await?;
    let Page { data, next_cursor } = page.page(rows, |link| link.id, |link| link_row(&shared, &link));
    let text = filter.text.unwrap_or_default();
    let next = next_cursor.map(|cursor| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("cursor", &cursor);
        if !text.is_empty() {
            query.append_pair("q", &text);
        }
        query.finish()
    });
    let page = LinksPage { layout: signed.layout("links"), links: data, text, next };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

#[derive(Template)]
#[template(path = "link_new.html")]
struct NewLinkPage {
    layout: Layout,
    domains: Vec<String>,
    values: Values,
    errors: Errors,
}

/// What was typed, so that nobody types it twice.
#[derive(Default)]
struct Values(Vec<(&'static str, String)>);

impl Values {
    fn of(form: &Form) -> Self {
        let names = TEXT_FIELDS.into_iter().chain(["tags", "expires_at"]);
        Self(names.map(|name| (name, form.text(name).unwrap_or_default().to_owned())).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| value)
    }
}

#[get("/links/new")]
async fn new_link(signed: Signed, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    new_page(&signed, &shared, StatusCode::OK, Values::default(), Errors::default()).await
}

async fn new_page(
    signed: &Signed,
    shared: &Shared,
    status: StatusCode,
    values: Values,
    errors: Errors,
) -> PageResult {
    let domains = settings::domains(shared, &signed.caller).await?;
    let domains = domains.into_iter().map(|domain| domain.host.to_string()).collect();
    let page = NewLinkPage { layout: signed.layout("links"), domains, values, errors };
    Ok(session::taken(shared, html_with(status, &page), signed.flash.as_ref()))
}

#[post("/links")]
async fn create(signed: Signed, form: Form, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let mut object = form.object(&TEXT_FIELDS);
    if let Some(tags) = form.text("tags") {
        let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
        object.insert("tags".to_owned(), tags.map(Value::from).collect());
    }
    if let Some(local) = form.text("expires_at") {
        // a browser sends `2026-11-23T14:16`, without seconds and zone; the form says that it is UTC
        let seconds = if local.len() == "2026-11-23T14:16".len() { ":00Z" } else { "Z" };
        object.insert("expires_at".to_owned(), format!("{local}{seconds}").into());
    }
    let made = match form::read(object) {
        Ok(wanted) => links::create(&shared, &signed.caller, wanted).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(link) => {
            let flash = Flash::Done("The link is live. Copy it below and send it.".to_owned());
            Ok(session::leave(&shared, see_other(&format!("/links/{}", link.id)), &flash))
        }
        Err(error) => {
            let errors = Errors::of(error)?;
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            new_page(&signed, &shared, status, Values::of(&form), errors).await
        }
    }
}

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage {
    layout: Layout,
    row: LinkRow,
    is_enabled: bool,
    is_archived: bool,
    may_change: bool,
    facts: Vec<(&'static str, String)>,
    tags: Vec<String>,
    clicks: Vec<ClickRow>,
}

#[get("/links/{id}")]
async fn show(signed: Signed, id: Path<String>, shared: Data<Shared>) -> PageResult {
    let caller = &signed.caller;
    caller.require(Scope::LinksRead)?;
    let link = links::find(&shared, caller, path_id(&id, "link")?).await?;
    let now = Utc::now();
    let mut clicks = Vec::new();
    if caller.may(Scope::ClicksRead) {
        let filter = ClickFilter { link_id: Some(link.id), ..ClickFilter::default() };
        let asked = clicks::Asked { filter, page: PageRequest::first(CLICKS_SHOWN - 1) };
        let rows = clicks::list(&shared, caller, &asked).await?;
        clicks = rows.iter().map(|shown| click_row(shown, now)).collect();
    }
    let labels = &link.options.labels;
    let facts = [
        ("Campaign", labels.campaign_id.clone()),
        ("Conversation", labels.conversation_id.clone()),
        ("Contact", labels.contact_id.clone()),
        ("Message", labels.message_id.clone()),
        ("Channel", labels.channel.clone()),
        ("Your id", labels.external_id.clone()),
        ("Starts", link.options.starts_at.map(|at| when(at, now).full)),
        ("Expires", link.options.expires_at.map(|at| when(at, now).full)),
        ("Redirect", Some(link.options.status_code.code().to_string())),
        ("Created", Some(when(link.created_at, now).full)),
        ("Revision", Some(link.revision.to_string())),
    ];
    let page = LinkPage {
        layout: signed.layout("links"),
        row: link_row(&shared, &link),
        is_enabled: link.options.enabled,
        is_archived: link.archived_at.is_some(),
        may_change: caller.may(Scope::LinksWrite),
        facts: facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        tags: labels.tags.clone(),
        clicks,
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

#[post("/links/{id}/switch")]
async fn switch(signed: Signed, form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    let enabled = form.text("enabled") == Some("true");
    let change = LinkChange::enable(enabled);
    let link = links::update(&shared, &signed.caller, path_id(&id, "link")?, None, change).await?;
    let text = if enabled { "The link is on again." } else { "The link is off: visitors see the fallback." };
    Ok(done(&shared, &format!("/links/{}", link.id), text))
}

#[post("/links/{id}/archive")]
async fn archive(signed: Signed, _form: Form, id: Path<String>, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksWrite)?;
    links::archive(&shared, &signed.caller, path_id(&id, "link")?, None).await?;
    Ok(done(&shared, "/links", "The link is archived. Its slug is never given out again."))
}

fn done(shared: &Shared, location: &str, text: &str) -> HttpResponse {
    session::leave(shared, see_other(location), &Flash::Done(text.to_owned()))
}
