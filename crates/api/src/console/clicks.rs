//! Clicks: the list, with what may be asked for. One of them is in `click`.

use actix_web::get;
use actix_web::web::Data;
use askama::Template;
use chrono::{DateTime, NaiveDate, Utc};

use model::automation::Verdict;
use store::click_log::ClickFilter;

use super::view::{ClickRow, Layout, click_row, html};
use super::words::country;
use super::zone::Zone;
use super::{PageResult, Signed, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::body::Query;
use crate::desk::clicks::{self, Asked};
use crate::desk::links;
use crate::page::Page;

#[derive(Template)]
#[template(path = "clicks.html")]
struct ClicksPage {
    layout: Layout,
    zone: &'static str,
    clicks: Vec<ClickRow>,
    /// Filters in words, where they are not fields of the form.
    only: Vec<String>,
    link_id: String,
    verdict: &'static str,
    country: String,
    campaign: String,
    contact: String,
    since: String,
    until: String,
    is_filtered: bool,
    next: Option<String>,
}

#[get("/clicks")]
pub async fn list(signed: Signed, zone: Zone, query: Query, shared: Data<Shared>) -> PageResult {
    let caller = &signed.caller;
    caller.require(Scope::ClicksRead)?;
    // a form knows days: they begin where the viewer is, and the last one counts
    let first = |text: &str| day(text).map(|day| moment(zone, day));
    let last = |text: &str| day(text).and_then(|day| day.succ_opt()).map(|day| moment(zone, day));
    let country_code = |text: &str| Some(text.trim().to_uppercase());
    let query = query.filled().translated("since", first).translated("until", last);
    let asked: Asked = query.translated("country", country_code).read()?;
    let (found, next) = clicks::page(&shared, caller, &asked).await?;
    let now = Utc::now();
    let filter = &asked.filter;
    let mut only = Vec::new();
    if let Some(id) = filter.link_id
        && caller.may(Scope::LinksRead)
    {
        let link = links::find(&shared, caller, id).await?;
        only.push(format!("On the link {}", link.slug));
    }
    only.extend(filter.country.as_deref().map(|code| format!("From {}", country(code))));
    only.extend(filter.conversation_id.as_deref().map(|id| format!("Of the conversation {id}")));
    only.extend(filter.message_id.as_deref().map(|id| format!("Of the message {id}")));
    let page = ClicksPage {
        layout: signed.layout("clicks"),
        zone: zone.0.name(),
        clicks: found.iter().map(|shown| click_row(shown, now)).collect(),
        only,
        link_id: filter.link_id.map(|id| id.to_string()).unwrap_or_default(),
        verdict: filter.verdict.map_or("", Verdict::as_str),
        country: filter.country.clone().unwrap_or_default(),
        campaign: filter.campaign_id.clone().unwrap_or_default(),
        contact: filter.contact_id.clone().unwrap_or_default(),
        since: filter.since.map(|at| date(zone, at)).unwrap_or_default(),
        until: filter.until.map(|at| date(zone, at - chrono::TimeDelta::seconds(1))).unwrap_or_default(),
        is_filtered: *filter != ClickFilter::default(),
        next: next_page(filter, next.and_then(|id| Page::<()>::until(Vec::new(), Some(id)).next_cursor)),
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

fn day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

/// When a day begins, as the API writes moments.
fn moment(zone: Zone, day: NaiveDate) -> String {
    zone.midnight_of(day).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn date(Zone(zone): Zone, at: DateTime<Utc>) -> String {
    at.with_timezone(&zone).format("%Y-%m-%d").to_string()
}

/// The address of the next page, with moments as the API writes them.
fn next_page(filter: &ClickFilter, cursor: Option<String>) -> Option<String> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("cursor", &cursor?);
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let texts = [
        ("link_id", filter.link_id.map(|id| id.to_string())),
        ("campaign_id", filter.campaign_id.clone()),
        ("conversation_id", filter.conversation_id.clone()),
        ("contact_id", filter.contact_id.clone()),
        ("message_id", filter.message_id.clone()),
        ("verdict", filter.verdict.map(|verdict| verdict.as_str().to_owned())),
        ("country", filter.country.clone()),
        ("device", filter.device.map(|device| device.as_str().to_owned())),
        ("since", filter.since.map(time)),
        ("until", filter.until.map(time)),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            query.append_pair(name, &text);
        }
    }
    Some(query.finish())
}
