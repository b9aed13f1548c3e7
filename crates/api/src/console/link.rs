//! One link: what to send, its code, how often it was followed and by whom.

use actix_web::http::header;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpResponse, get};
use askama::Template;
use chrono::{DateTime, Utc};
use tokio::try_join;

use model::link::{DecidedBy, LinkKind, Recording};
use store::click_log::ClickFilter;
use store::links::Link;
use store::rollups::{Dimension, Summary};

use super::findings::{self, FindingText};
use super::link_state::{Explained, Remedy, explained, tracked_because};
use super::link_template::TemplateText;
use super::links::{LinkRow, link_row};
use super::plot::{BarList, TimePlot, grouped};
use super::report::{self, natural};
use super::span::{Choice, Span};
use super::view::{ClickRow, Layout, click_row, html, label_facts, when};
use super::zone::Zone;
use super::{PageResult, Signed, link_form, session};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Query, path_id};
use crate::desk::{analytics, clicks, domains, links, qr, settings, tracking};
use crate::error::ApiError;
use crate::page::PageRequest;
use crate::v1::templates::snippet;

/// Clicks that are shown.
const CLICKS_SHOWN: i64 = 10;

/// Values of each list.
const VALUES_SHOWN: i64 = 7;

/// How far back the plot may look.
const SPANS: [Span; 5] = [Span::Day, Span::Week, Span::Month, Span::Quarter, Span::All];

/// What the lists are called, in their order on the page.
const LISTS: [(Dimension, &str); 7] = [
    (Dimension::Country, "Countries"),
    (Dimension::City, "Cities"),
    (Dimension::ReferrerHost, "Where they came from"),
    (Dimension::Device, "Devices"),
    (Dimension::Browser, "Browsers"),
    (Dimension::Os, "Systems"),
    (Dimension::Language, "Languages"),
];

/// Adds the pages.
pub fn configure(config: &mut ServiceConfig) {
    config.service(show).service(code);
}

/// What is told of its clicks.
struct Clicks {
    figures: Vec<(&'static str, &'static str, String)>,
    plot: TimePlot,
    choices: Vec<Choice>,
    words: &'static str,
    lists: Vec<(&'static str, BarList)>,
    /// How many clicks were read for the lists, when there are more.
    only_newest: Option<String>,
    rows: Vec<ClickRow>,
}

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage {
    layout: Layout,
    row: LinkRow,
    /// The HTML that hides a honeypot in a message.
    hidden: Option<String>,
    explained: Option<Explained>,
    is_enabled: bool,
    is_archived: bool,
    may_change: bool,
    notes: Vec<&'static str>,
    facts: Vec<(&'static str, String)>,
    metadata: Vec<(String, String)>,
    template: Option<TemplateText>,
    clicks: Option<Clicks>,
    /// What keeps its last click from becoming webhooks, and what else there is to say of it.
    why: Vec<FindingText>,
    is_stopped: bool,
}

impl LinkPage {
    fn may_switch_on(&self) -> bool {
        self.explained.as_ref().is_some_and(|explained| explained.remedy == Remedy::SwitchOn)
    }

    fn may_mend(&self) -> bool {
        self.explained.as_ref().is_some_and(|explained| explained.remedy == Remedy::Change)
    }
}

#[get("/links/{id}")]
async fn show(
    signed: Signed,
    id: Path<String>,
    zone: Zone,
    query: Query,
    shared: Data<Shared>,
) -> PageResult {
    let caller = &signed.caller;
    caller.require(Scope::LinksRead)?;
    let link = links::find(&shared, caller, path_id(&id, "link")?).await?;
    let now = Utc::now();
    let span = Span::asked(query)?.unwrap_or(Span::Month);
    let clicks = async {
        match caller.may(Scope::ClicksRead) {
            true => clicks_of(&shared, caller, &link, span, zone, now).await.map(Some),
            false => Ok(None),
        }
    };
    // each holds one connection at a time, clicks two: a view takes four of the pool at most
    let (clicks, Standing { decided, has_fallback, template }, why) =
        try_join!(clicks, standing(&shared, caller, &link), findings::of_link(&shared, caller, &link))?;
    let row = link_row(&shared, &link, decided.0, now);
    let is_honeypot = link.options.kind == LinkKind::Honeypot;
    let page = LinkPage {
        layout: signed.layout("links"),
        hidden: is_honeypot.then(|| snippet(link.options.kind, &row.tracked_url)),
        row,
        explained: explained(&link, decided, has_fallback, now),
        is_enabled: link.options.enabled,
        is_archived: link.archived_at.is_some(),
        may_change: caller.may(Scope::LinksWrite),
        notes: notes(&link, decided.0),
        facts: facts(&link, decided, now),
        metadata: link.options.labels.metadata.clone().into_iter().collect(),
        template,
        clicks,
        is_stopped: why.iter().any(|finding| finding.stops),
        why,
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

/// What the settings say of a link, and what it is as a template.
struct Standing {
    decided: (Recording, DecidedBy),
    /// Whether visitors go somewhere else while it leads nowhere, as far as the caller may know.
    has_fallback: bool,
    template: Option<TemplateText>,
}

async fn standing(shared: &Shared, caller: &Caller, link: &Link) -> Result<Standing, ApiError> {
    let saved = settings::find(shared, caller).await?;
    let decided = tracking::of(link, &saved);
    // where else visitors go is told to who may see the settings
    let has_fallback = caller.may(Scope::SettingsRead) && {
        let domain = domains::list(shared, caller).await?.into_iter().find(|at| at.host == link.host);
        domain.and_then(|domain| domain.fallback_url).or(saved.fallback_url).is_some()
    };
    let template = TemplateText::of(shared, caller, link).await?;
    Ok(Standing { decided, has_fallback, template })
}

async fn clicks_of(
    shared: &Shared,
    caller: &Caller,
    link: &Link,
    span: Span,
    zone: Zone,
    now: DateTime<Utc>,
) -> Result<Clicks, ApiError> {
    let (range, interval) = span.range(zone, now, link.created_at);
    let title = format!("Clicks on {} {}", link.slug, span.words());
    let over_time = async {
        let plot = report::plot(shared, caller, Some(link.id), (range, interval), zone, title).await?;
        let summary = analytics::counted(shared, caller, Some(link.id), range).await?;
        Ok::<_, ApiError>((plot, summary))
    };
    let filter = ClickFilter { link_id: Some(link.id), ..ClickFilter::default() };
    let asked = clicks::Asked { filter, page: PageRequest::first(CLICKS_SHOWN - 1) };
    let one_by_one = async {
        let makeup = analytics::makeup(shared, caller, link.id, range, VALUES_SHOWN).await?;
        let rows = clicks::list(shared, caller, &asked).await?;
        Ok::<_, ApiError>((makeup, rows))
    };
    let ((plot, summary), (makeup, rows)) = try_join!(over_time, one_by_one)?;
    let list = |(dimension, title): (Dimension, &'static str)| {
        let found = makeup.tops.iter().find(|(by, _)| *by == dimension)?;
        let bars = report::bars(title, dimension, &found.1);
        (!bars.is_empty()).then_some((title, bars))
    };
    let lists = LISTS.into_iter().filter_map(list).collect();
    Ok(Clicks {
        figures: figures(summary),
        plot,
        choices: span.choices(&SPANS),
        words: span.words(),
        lists,
        only_newest: makeup.only_newest.map(|read| grouped(natural(read))),
        rows: rows.iter().map(|shown| click_row(shown, now)).collect(),
    })
}

fn figures(summary: Summary) -> Vec<(&'static str, &'static str, String)> {
    let figure = |kind, label, count| (kind, label, grouped(natural(count)));
    vec![
        figure("people", "Clicks by people", summary.hits.human),
        figure("visitors", "Different visitors", summary.counts.unique_clicks),
        figure("unclear", "Unclear", summary.hits.unknown),
        figure("machines", "Automated", summary.hits.automated),
    ]
}

#[get("/links/{id}/qr")]
async fn code(signed: Signed, id: Path<String>, query: Query, shared: Data<Shared>) -> PageResult {
    signed.caller.require(Scope::LinksRead)?;
    let asked = query.read()?;
    let image = qr::image(&shared, &signed.caller, path_id(&id, "link")?, &asked).await?;
    let disposition = format!("inline; filename=\"{}\"", image.file_name);
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, image.content_type))
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .body(image.bytes))
}

/// What is easily overlooked about a link.
fn notes(link: &Link, recording: Recording) -> Vec<&'static str> {
    let options = &link.options;
    let notes = [
        (
            options.status_code.is_cacheable(),
            "Browsers keep this redirect (301, 308): who clicks again may not be seen, and a change of the link may not be \
             noticed. Its clicks are undercounted.",
        ),
        (
            recording == Recording::Anonymous,
            "Clicks are recorded without what tells who it was: no address, no User-Agent, no contact, no conversation, no \
             message.",
        ),
        (recording == Recording::Nothing, "Clicks are not recorded: the link only redirects."),
        (
            recording == Recording::Nothing && options.max_clicks.is_some(),
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
fn facts(link: &Link, decided: (Recording, DecidedBy), now: DateTime<Utc>) -> Vec<(&'static str, String)> {
    let (options, labels) = (&link.options, &link.options.labels);
    let utm: Vec<String> = options.utm.pairs().map(|(name, value)| format!("{name}={value}")).collect();
    let recipient = ("For", audience(options.kind).map(str::to_owned));
    let facts = [
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
        ("Tracking", Some(tracked_because(link, decided))),
        ("Created", Some(when(link.created_at, now).full)),
        ("Made by", link.created_by.clone()),
        ("Revision", Some(link.revision.to_string())),
    ];
    let facts = std::iter::once(recipient).chain(label_facts(labels)).chain(facts);
    facts.filter_map(|(name, value)| Some((name, value?))).collect()
}
