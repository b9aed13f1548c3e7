//! Links: the list, and what is done with one: on, off, archived. One with its clicks is in `link`, the form in `link_form`.

use std::collections::HashMap;

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpResponse, get, post};
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};

use model::LinkId;
use model::link::Recording;
use store::links::{Link, LinkFilter};
use store::rollups::Range;

use super::form::Form;
use super::link_state::chip;
use super::plot::{Sparkline, grouped};
use super::view::{Chip, Layout, When, html, when};
use super::zone::Zone;
use super::{
    Flash, PageError, PageResult, Signed, link, link_form, link_import, link_template, see_other, session,
};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::{Query, path_id};
use crate::desk::link_change::LinkChange;
use crate::desk::links::{self, tracked_url};
use crate::desk::{domains, link_lists, settings, tracking};
use crate::fields::{Fields, FromFields, word};
use crate::page::Page;
use crate::v1::link_export;
use crate::v1::links::{Asked, LINK_STATES};

/// Links of the list of those with most clicks.
const MOST_CLICKED: i64 = 50;

/// Days that this list looks back.
const MOST_CLICKED_DAYS: i64 = 30;

/// Days that the line beside a link shows.
const LINE_DAYS: u64 = 14;

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(list).service(export);
    // `export`, `new` and `import` come before `{id}`, which would match them
    link_import::configure(config);
    link_form::configure(config);
    link::configure(config);
    link_template::configure(config);
    config.service(switch).service(archive);
}

pub struct LinkRow {
    pub id: String,
    pub slug: String,
    pub host: String,
    pub tracked_url: String,
    pub url: String,
    pub campaign: String,
    pub tags: Vec<String>,
    pub chip: Chip,
    pub created: When,
    /// Clicks of the last days.
    pub clicks: String,
    pub line: Option<Sparkline>,
}

pub(super) fn link_row(shared: &Shared, link: &Link, recording: Recording, now: DateTime<Utc>) -> LinkRow {
    LinkRow {
        id: link.id.to_string(),
        slug: link.slug.to_string(),
        host: link.host.to_string(),
        tracked_url: tracked_url(shared, link),
        url: link.options.original_url.to_string(),
        campaign: link.options.labels.campaign_id.clone().unwrap_or_default(),
        tags: link.options.labels.tags.clone(),
        chip: chip(link, recording, now),
        created: when(link.created_at, now),
        clicks: String::new(),
        line: None,
    }
}

/// In which order links are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// The newest first.
    Newest,
    /// Those with most clicks first.
    Clicks,
}

const SORTS: &[(&str, Sort)] = &[("newest", Sort::Newest), ("clicks", Sort::Clicks)];

/// What the address of the list says.
struct AskedList {
    asked: Asked,
    sort: Sort,
}

impl FromFields for AskedList {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let sort = fields.optional("sort", word(SORTS)).unwrap_or(Sort::Newest);
        Some(Self { asked: Asked::from_fields(fields)?, sort })
    }
}

#[derive(Template)]
#[template(path = "links.html")]
struct LinksPage {
    layout: Layout,
    links: Vec<LinkRow>,
    text: String,
    campaign: String,
    tag: String,
    domain: String,
    state: &'static str,
    domains: Vec<String>,
    states: Vec<(&'static str, &'static str)>,
    is_filtered: bool,
    is_by_clicks: bool,
    has_clicks: bool,
    may_make: bool,
    next: Option<String>,
    /// The address of the same links as a spreadsheet.
    sheet: String,
}

/// The states as a choice.
fn states() -> Vec<(&'static str, &'static str)> {
    let words = |state: &'static str| match state {
        "live" => "Live",
        "off" => "Off",
        "not_started" => "Not started",
        "expired" => "Expired",
        "exhausted" => "Exhausted",
        _ => "Blocked",
    };
    LINK_STATES.iter().map(|(state, _)| (*state, words(state))).collect()
}

#[get("/links")]
async fn list(signed: Signed, zone: Zone, query: Query, shared: Data<Shared>) -> PageResult {
    let caller = &signed.caller;
    caller.require(Scope::LinksRead)?;
    let AskedList { asked: Asked { filter, page }, sort } = query.filled().read()?;
    let now = Utc::now();
    let may_see_clicks = caller.may(Scope::ClicksRead);
    let is_by_clicks = sort == Sort::Clicks && may_see_clicks;
    let Page { data, next_cursor } = if is_by_clicks {
        let range = Range::new(now - TimeDelta::days(MOST_CLICKED_DAYS), now);
        Page {
            data: link_lists::most_clicked(&shared, caller, range, MOST_CLICKED).await?,
            next_cursor: None,
        }
    } else {
        let rows = links::list(&shared, caller, &filter, &page).await?;
        page.page(rows, |link| link.id, |link| link)
    };
    let saved = settings::find(&shared, caller).await?;
    let row = |link: &Link| link_row(&shared, link, tracking::of(link, &saved).0, now);
    let mut rows: Vec<LinkRow> = data.iter().map(row).collect();
    if may_see_clicks {
        let ids: Vec<LinkId> = data.iter().map(|link| link.id).collect();
        let range = Range::new(zone.midnight(now, LINE_DAYS - 1), now);
        let days = link_lists::days(&shared, caller, &ids, range).await?;
        add_clicks(&mut rows, &ids, &days);
    }
    let domains = match caller.may(Scope::SettingsRead) {
        true => domains::list(&shared, caller).await?,
        false => Vec::new(),
    };
    let next = next_cursor.map(|cursor| query_of(&filter, ("cursor", &cursor)));
    let sheet = query_of(&filter, ("format", "csv"));
    let is_filtered = filter != LinkFilter::default();
    let page = LinksPage {
        layout: signed.layout("links"),
        links: rows,
        state: filter.state.map_or("", |(state, _)| state_word(state)),
        text: filter.text.unwrap_or_default(),
        campaign: filter.campaign_id.unwrap_or_default(),
        tag: filter.tag.unwrap_or_default(),
        domain: filter.host.map(|host| host.to_string()).unwrap_or_default(),
        domains: domains.into_iter().map(|domain| domain.host.to_string()).collect(),
        states: states(),
        is_filtered,
        is_by_clicks,
        has_clicks: may_see_clicks,
        may_make: caller.may(Scope::LinksWrite),
        next,
        sheet,
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

#[get("/links/export")]
async fn export(signed: Signed, query: Query, shared: Data<Shared>) -> PageResult {
    Ok(link_export::export(shared, signed.caller, query.filled().read()?)?)
}

fn state_word(state: store::link_state::LinkState) -> &'static str {
    LINK_STATES.iter().find(|(_, known)| *known == state).map_or("", |(word, _)| word)
}

fn add_clicks(rows: &mut [LinkRow], ids: &[LinkId], days: &HashMap<LinkId, Vec<u64>>) {
    for (row, id) in rows.iter_mut().zip(ids) {
        let counts = days.get(id).map(Vec::as_slice).unwrap_or_default();
        let sum: u64 = counts.iter().sum();
        row.clicks = grouped(sum);
        row.line = (sum > 0).then(|| Sparkline::new(format!("{sum} clicks in {LINE_DAYS} days"), counts));
    }
}

/// The query with this filter, and one thing more.
fn query_of(filter: &LinkFilter, (name, value): (&str, &str)) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair(name, value);
    let host = filter.host.as_ref().map(ToString::to_string);
    let texts = [
        ("q", filter.text.as_deref()),
        ("campaign_id", filter.campaign_id.as_deref()),
        ("tag", filter.tag.as_deref()),
        ("external_id", filter.external_id.as_deref()),
        ("domain", host.as_deref()),
        ("state", filter.state.map(|(state, _)| state_word(state))),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            query.append_pair(name, text);
        }
    }
    query.finish()
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
async fn archive(
    signed: Signed,
    _form: Form,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, PageError> {
    signed.caller.require(Scope::LinksWrite)?;
    links::archive(&shared, &signed.caller, path_id(&id, "link")?, None).await?;
    Ok(done(&shared, "/links", "The link is archived. Its slug is never given out again."))
}

pub(super) fn done(shared: &Shared, location: &str, text: &str) -> HttpResponse {
    session::leave(shared, see_other(location), &Flash::Done(text.to_owned()))
}
