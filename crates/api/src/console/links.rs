//! Links: the list, one with its clicks, on and off. The form that makes and changes one is in `link_form`.

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpResponse, get, post};
use askama::Template;
use chrono::{DateTime, Utc};

use model::link::{LinkKind, Tracking};
use store::click_log::ClickFilter;
use store::links::Link;

use super::findings::{self, FindingText};
use super::form::Form;
use super::view::{Chip, ClickRow, Layout, When, click_row, html, when};
use super::{Flash, PageResult, Signed, link_form, see_other, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::{Query, path_id};
use crate::desk::clicks;
use crate::desk::link_change::LinkChange;
use crate::desk::links::{self, tracked_url};
use crate::page::{Page, PageRequest};
use crate::v1::links::Asked;

/// Clicks of one link that are shown.
const CLICKS_SHOWN: i64 = 20;

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(list);
    // `new` comes before `{id}`, which would match it
    link_form::configure(config);
    config.service(show).service(switch).service(archive);
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
    } else if link.blocked_at.is_some() {
        Chip { kind: "bad", text: "Blocked" }
    } else if !options.enabled {
        Chip { kind: "plain", text: "Off" }
    } else if options.expires_at.is_some_and(|at| at <= now) {
        Chip { kind: "plain", text: "Expired" }
    } else if options.starts_at.is_some_and(|at| at > now) {
        Chip { kind: "wait", text: "Not started" }
    } else if link.exhausted_at.is_some() {
        Chip { kind: "plain", text: "Exhausted" }
    } else if options.tracking == Tracking::Off {
        Chip { kind: "wait", text: "Not tracked" }
    } else if options.password.is_some() {
        Chip { kind: "good", text: "Live, with password" }
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
#[template(path = "link.html")]
struct LinkPage {
    layout: Layout,
    row: LinkRow,
    is_enabled: bool,
    is_archived: bool,
    may_change: bool,
    notes: Vec<&'static str>,
    facts: Vec<(&'static str, String)>,
    tags: Vec<String>,
    clicks: Vec<ClickRow>,
    /// What keeps its last click from becoming webhooks, and what else there is to say of it.
    why: Vec<FindingText>,
    is_stopped: bool,
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
    let why = findings::of_link(&shared, caller, &link).await?;
    let page = LinkPage {
        layout: signed.layout("links"),
        row: link_row(&shared, &link),
        is_enabled: link.options.enabled,
        is_archived: link.archived_at.is_some(),
        may_change: caller.may(Scope::LinksWrite),
        notes: notes(&link),
        facts: facts(&link, now),
        tags: link.options.labels.tags.clone(),
        clicks,
        is_stopped: why.iter().any(|finding| finding.stops),
        why,
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

/// What is easily overlooked about a link.
fn notes(link: &Link) -> Vec<&'static str> {
    let options = &link.options;
    let notes = [
        (
            options.status_code.is_cacheable(),
            "Browsers keep this redirect (301, 308): who clicks again may not be seen, and a change of the link may not be \
             noticed. Its clicks are undercounted.",
        ),
        (
            options.tracking == Tracking::Anonymous,
            "Clicks are recorded without what tells who it was: no address, no User-Agent, no contact, no conversation, no \
             message.",
        ),
        (options.tracking == Tracking::Off, "Clicks are not recorded: the link only redirects."),
        (
            options.tracking == Tracking::Off && options.max_clicks.is_some(),
            "Clicks that are not recorded do not count: the link is never exhausted.",
        ),
    ];
    notes.into_iter().filter(|(holds, _)| *holds).map(|(_, note)| note).collect()
}

/// Who a link is for, unless it is anybody.
const fn audience(kind: LinkKind) -> Option<&'static str> {
    match kind {
        LinkKind::Shareable => None,
        LinkKind::Message => Some("One recipient"),
        LinkKind::Honeypot => Some("Nobody: a honeypot that only machines follow"),
    }
}

/// What is known of a link, by name.
fn facts(link: &Link, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
    let (options, labels) = (&link.options, &link.options.labels);
    let utm: Vec<String> = options.utm.pairs().map(|(name, value)| format!("{name}={value}")).collect();
    let facts = [
        ("For", audience(options.kind).map(str::to_owned)),
        ("Campaign", labels.campaign_id.clone()),
        ("Conversation", labels.conversation_id.clone()),
        ("Contact", labels.contact_id.clone()),
        ("Message", labels.message_id.clone()),
        ("Channel", labels.channel.clone()),
        ("Sequence", labels.sequence_id.clone()),
        ("Step", labels.step_id.clone()),
        ("Your id", labels.external_id.clone()),
        ("Sent", options.sent_at.map(|at| when(at, now).full)),
        ("Adds", (!utm.is_empty()).then(|| utm.join(", "))),
        ("Preview", options.preview.as_ref().map(|preview| preview.title.clone())),
        ("Starts", options.starts_at.map(|at| when(at, now).full)),
        ("Expires", options.expires_at.map(|at| when(at, now).full)),
        ("Clicks", options.max_clicks.map(|most| format!("{} of at most {most}", link.counted_clicks))),
        ("Exhausted", link.exhausted_at.map(|at| when(at, now).full)),
        ("Then leads to", options.expired_url.as_ref().map(ToString::to_string)),
        ("Password", options.password.is_some().then(|| "Visitors are asked for it".to_owned())),
        ("Redirect", Some(options.status_code.code().to_string())),
        ("Query", Some(link_form::query_words(options.query_mode).to_owned())),
        ("Created", Some(when(link.created_at, now).full)),
        ("Made by", link.created_by.clone()),
        ("Revision", Some(link.revision.to_string())),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
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

pub(super) fn done(shared: &Shared, location: &str, text: &str) -> HttpResponse {
    session::leave(shared, see_other(location), &Flash::Done(text.to_owned()))
}
