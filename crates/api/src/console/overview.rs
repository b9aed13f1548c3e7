//! Overview: what happened today, how it went lately, what needs attention, whether webhooks arrive, and clicks as they come.

use actix_web::get;
use actix_web::web::Data;
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};

use store::click_log::ClickFilter;
use store::endpoints::Endpoint;
use store::links::LinkFilter;
use store::rollups::{Dimension, Range, Summary};

use super::attention::{self, Item};
use super::plot::{Bar, BarList, TimePlot, grouped};
use super::report::{self, natural};
use super::span::{Choice, Span};
use super::view::{Chip, ClickRow, Layout, click_row, endpoint_chip, html};
use super::zone::Zone;
use super::{PageError, PageResult, Signed, see_other, session};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::Query;
use crate::desk::report_query::Reported;
use crate::desk::{analytics, clicks, endpoints, links};
use crate::page::PageRequest;

/// Clicks that are shown; live ones push the last ones out.
const CLICKS_SHOWN: i64 = 12;

/// Endpoints that are shown, and how many are looked at for what needs attention.
const ENDPOINTS_SHOWN: usize = 5;
const ENDPOINTS_READ: i64 = 100;

/// Links with most clicks that are shown.
const LINKS_SHOWN: i64 = 6;

/// How far back the plot may look.
const SPANS: [Span; 3] = [Span::Day, Span::Week, Span::Month];

pub struct EndpointLine {
    pub id: String,
    pub url: String,
    pub chip: Chip,
    pub sentence: String,
}

/// A number of today, beside yesterday's.
struct Figure {
    kind: &'static str,
    label: &'static str,
    number: String,
    compared: String,
}

/// What is told of clicks.
struct Clicks {
    figures: Vec<Figure>,
    plot: TimePlot,
    choices: Vec<Choice>,
    words: &'static str,
    links: BarList,
    rows: Vec<ClickRow>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    layout: Layout,
    zone: &'static str,
    clicks: Option<Clicks>,
    attention: Vec<Item>,
    may_see_endpoints: bool,
    may_add_endpoints: bool,
    endpoints: Vec<EndpointLine>,
    more_endpoints: usize,
    has_links: bool,
    may_make_links: bool,
}

#[get("/")]
pub async fn page(signed: Signed, zone: Zone, query: Query, shared: Data<Shared>) -> PageResult {
    let caller = &signed.caller;
    let doors = signed.doors();
    if !doors.overview() {
        return Ok(see_other(doors.first()));
    }
    let span = Span::asked(query)?;
    let now = Utc::now();
    let may_see_endpoints = caller.may(Scope::EndpointsRead);
    let endpoints = match may_see_endpoints {
        true => endpoints::list(&shared, caller, &PageRequest::first(ENDPOINTS_READ - 1)).await?,
        false => Vec::new(),
    };
    let clicks = match caller.may(Scope::ClicksRead) {
        true => {
            let span = span.filter(|span| SPANS.contains(span));
            Some(clicks_of(&shared, caller, span.unwrap_or(Span::Day), zone, now).await?)
        }
        false => None,
    };
    let has_links = match caller.may(Scope::LinksRead) {
        true => {
            let any = LinkFilter::default();
            !links::list(&shared, caller, &any, &PageRequest::first(0)).await?.is_empty()
        }
        false => true,
    };
    let page = OverviewPage {
        layout: signed.layout("overview"),
        zone: zone.0.name(),
        clicks,
        attention: attention::items(&shared, caller, &endpoints, now).await?,
        may_see_endpoints,
        may_add_endpoints: caller.may(Scope::EndpointsWrite),
        more_endpoints: endpoints.len().saturating_sub(ENDPOINTS_SHOWN),
        endpoints: lines(endpoints, now),
        has_links,
        may_make_links: caller.may(Scope::LinksWrite),
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}

/// The endpoints to show: those that do not do well first.
fn lines(mut endpoints: Vec<Endpoint>, now: DateTime<Utc>) -> Vec<EndpointLine> {
    endpoints.sort_by_key(|endpoint| match endpoint_chip(endpoint, now).0.kind {
        "bad" => 0,
        "wait" => 1,
        "good" => 2,
        _ => 3,
    });
    let line = |endpoint: &Endpoint| {
        let (chip, sentence) = endpoint_chip(endpoint, now);
        EndpointLine { id: endpoint.id.to_string(), url: endpoint.options.url.to_string(), chip, sentence }
    };
    endpoints.iter().take(ENDPOINTS_SHOWN).map(line).collect()
}

async fn clicks_of(
    shared: &Shared,
    caller: &Caller,
    span: Span,
    zone: Zone,
    now: DateTime<Utc>,
) -> Result<Clicks, PageError> {
    let midnight = zone.midnight(now, 0);
    let yesterday = zone.midnight(now, 1);
    let today = analytics::counted(shared, caller, None, Range::new(midnight, now)).await?;
    // until the same time of the day, or a morning would always be a bad one
    let same_time = Range::new(yesterday, yesterday + (now - midnight));
    let before = analytics::counted(shared, caller, None, same_time).await?;

    let (range, interval) = span.range(zone, now, now - TimeDelta::days(1));
    let title = format!("Clicks {}", span.words());
    let plot = report::plot(shared, caller, None, (range, interval), zone, title).await?;
    let reported = Reported { link_id: None, range, verdict: None };
    let top = analytics::top(shared, caller, &reported, Dimension::Link, LINKS_SHOWN).await?;
    let may_see_links = caller.may(Scope::LinksRead);
    let bar = |value: &store::rollups::Top| {
        let id = analytics::link_of(value)?;
        let name = top.names.get(&id)?;
        let count = natural(value.counts.clicks);
        let href = may_see_links.then(|| format!("/links/{id}"));
        (count > 0).then(|| Bar { label: name.slug.clone(), href, count })
    };
    let bars = top.list.values.iter().filter_map(bar).collect();

    let asked = clicks::Asked { filter: ClickFilter::default(), page: PageRequest::first(CLICKS_SHOWN - 1) };
    let rows = clicks::list(shared, caller, &asked).await?;
    Ok(Clicks {
        figures: figures(today, before),
        plot,
        choices: span.choices(&SPANS),
        words: span.words(),
        links: BarList::new("Links", "Clicks", bars, natural(top.list.others.clicks)),
        rows: rows.iter().map(|shown| click_row(shown, now)).collect(),
    })
}

fn figures(today: Summary, before: Summary) -> Vec<Figure> {
    let figure = |kind, label, now: i64, then: i64| Figure {
        kind,
        label,
        number: grouped(natural(now)),
        compared: compared(natural(now), natural(then)),
    };
    vec![
        figure("people", "Clicks by people", today.hits.human, before.hits.human),
        figure("visitors", "Different visitors", today.counts.unique_clicks, before.counts.unique_clicks),
        figure("unclear", "Unclear", today.hits.unknown, before.hits.unknown),
        figure("machines", "Automated", today.hits.automated, before.hits.automated),
    ]
}

/// A number beside that of yesterday at this time.
fn compared(now: u64, then: u64) -> String {
    match (now, then) {
        (0, 0) => "None yesterday either".to_owned(),
        (_, 0) => "None yesterday by now".to_owned(),
        _ if now == then => format!("As many as yesterday by now: {}", grouped(then)),
        _ => {
            let percent = u128::from(now.abs_diff(then)) * 100 / u128::from(then);
            let sign = if now > then { "▲" } else { "▼" };
            let change = match percent {
                0 => "less than 1%".to_owned(),
                1..=999 => format!("{percent}%"),
                _ => "more than tenfold".to_owned(),
            };
            format!("{sign} {change} · {} yesterday by now", grouped(then))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_told_beside_yesterdays() {
        assert_eq!(compared(0, 0), "None yesterday either");
        assert_eq!(compared(4, 0), "None yesterday by now");
        assert_eq!(compared(4, 4), "As many as yesterday by now: 4");
        assert_eq!(compared(3, 2), "▲ 50% · 2 yesterday by now");
        assert_eq!(compared(0, 2), "▼ 100% · 2 yesterday by now");
        assert_eq!(compared(1001, 1000), "▲ less than 1% · 1,000 yesterday by now");
        assert_eq!(compared(500, 2), "▲ more than tenfold · 2 yesterday by now");
    }
}
