//! `/v1/analytics` and `/v1/links/{id}/stats`: clicks as they were counted.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use store::rollups::{Counts, Dimension, Point, TopList};

use super::time;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Query, path_id};
use crate::desk::analytics::{self, LinkReport, Report, TopReport, link_of};
use crate::desk::report_query::{
    AskedSeries, AskedStats, AskedSummary, AskedTop, Reported, Steps, interval_word,
};
use crate::error::{ApiError, Problem};

/// Which clicks are summed up.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
struct SummaryQuery {
    /// Of this link; without it, of all.
    link_id: Option<String>,
    /// From then on, to the quarter of an hour. Default: 30 days before `until`; at most 400 days.
    #[param(example = "2026-11-01T00:00:00Z")]
    since: Option<DateTime<Utc>>,
    /// Before then. Default: now.
    until: Option<DateTime<Utc>>,
    /// `human` (the default), `all`, `automated` or `unknown`.
    verdict: Option<String>,
}

/// Which clicks are counted step by step.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
struct SeriesQuery {
    /// Of this link; without it, of all.
    link_id: Option<String>,
    /// From then on, to the quarter of an hour. Default: 30 days before `until`; at most 400 days.
    since: Option<DateTime<Utc>>,
    /// Before then. Default: now.
    until: Option<DateTime<Utc>>,
    /// `human` (the default), `all`, `automated` or `unknown`.
    verdict: Option<String>,
    /// `quarter` (of an hour; also `15m`), `hour`, `day`, `week` (from Monday) or `month`, at most 9000 of them. Default: `hour` for
    /// up to 3 days, else `day`.
    interval: Option<String>,
    /// Whose clock tells days from each other: a time zone by its IANA name. Default: `UTC`.
    #[param(example = "Europe/Stockholm")]
    tz: Option<String>,
}

/// The values of what, with most of which clicks.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
struct TopQuery {
    /// `link`, `campaign`, `conversation`, `country`, `city`, `device`, `os`, `browser`, `referrer_host` or `language`.
    by: String,
    /// Of this link; without it, of all.
    link_id: Option<String>,
    /// From then on, to the quarter of an hour. Default: 30 days before `until`; at most 400 days.
    since: Option<DateTime<Utc>>,
    /// Before then. Default: now.
    until: Option<DateTime<Utc>>,
    /// `human` (the default), `all`, `automated` or `unknown`.
    verdict: Option<String>,
    /// Values that are listed, 1 to 100. Default: 10.
    limit: Option<u32>,
}

/// Which clicks of the link, step by step how.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
struct StatsQuery {
    /// From then on, to the quarter of an hour. Default: 30 days before `until`; at most 400 days.
    since: Option<DateTime<Utc>>,
    /// Before then. Default: now.
    until: Option<DateTime<Utc>>,
    /// `human` (the default), `all`, `automated` or `unknown`.
    verdict: Option<String>,
    /// `quarter` (of an hour; also `15m`), `hour`, `day`, `week` (from Monday) or `month`, at most 9000 of them. Default: `hour` for
    /// up to 3 days, else `day`.
    interval: Option<String>,
    /// Whose clock tells days from each other: a time zone by its IANA name. Default: `UTC`.
    #[param(example = "Europe/Stockholm")]
    tz: Option<String>,
    /// Values that are listed of each kind, 1 to 100. Default: 10.
    limit: Option<u32>,
}

/// How often links were followed.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct CountsView {
    /// Requests that were answered with a redirect, those of machines among them.
    #[schema(example = 1280)]
    hits: i64,
    /// Hits that no machine made, as far as can be told: previews, scanners, prefetches and HEAD are none.
    #[schema(example = 1280)]
    clicks: i64,
    /// Clicks that were the first of their visitor on their link. The same visitor on two links is two.
    #[schema(example = 940)]
    unique_clicks: i64,
}

impl From<Counts> for CountsView {
    fn from(Counts { hits, clicks, unique_clicks }: Counts) -> Self {
        Self { hits, clicks, unique_clicks }
    }
}

/// Hits by who made them, whatever verdict was asked for.
#[derive(Serialize, ToSchema)]
struct HitsView {
    /// By people.
    #[schema(example = 1280)]
    human: i64,
    /// By machines.
    #[schema(example = 310)]
    automated: i64,
    /// By one or the other.
    #[schema(example = 45)]
    unknown: i64,
}

/// What a report is about, as it was understood.
#[derive(Serialize, ToSchema)]
struct AboutView {
    /// The first moment: the beginning of a quarter of an hour.
    #[schema(example = "2026-11-01T00:00:00.000Z")]
    since: String,
    /// The first moment after it.
    #[schema(example = "2026-11-08T00:00:00.000Z")]
    until: String,
    /// `human`, `all`, `automated` or `unknown`.
    #[schema(example = "human")]
    verdict: &'static str,
    /// The link, when it is about one.
    #[schema(example = "lnk_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    link_id: Option<String>,
}

impl From<&Reported> for AboutView {
    fn from(reported: &Reported) -> Self {
        Self {
            since: time(reported.range.since()),
            until: time(reported.range.until()),
            verdict: reported.verdict_word(),
            link_id: reported.link_id.map(|id| id.to_string()),
        }
    }
}

/// Clicks summed up.
#[derive(Serialize, ToSchema)]
struct SummaryView {
    #[serde(flatten)]
    about: AboutView,
    #[serde(flatten)]
    counts: CountsView,
    /// Different contacts among the clicks, as links name them. `null` when the time has 10,000 hits or more: counting them is not
    /// done by adding up. Erased contacts are not among them.
    #[schema(example = 612)]
    contacts_clicked: Option<i64>,
    by_verdict: HitsView,
}

impl SummaryView {
    fn of(reported: &Reported, report: Report) -> Self {
        let hits = report.summary.hits;
        Self {
            about: reported.into(),
            counts: report.counts.into(),
            contacts_clicked: report.contacts_clicked,
            by_verdict: HitsView { human: hits.human, automated: hits.automated, unknown: hits.unknown },
        }
    }
}

/// The clicks of one step.
#[derive(Serialize, ToSchema)]
struct PointView {
    /// When the step begins by the clock of the zone; the first may begin before `since`.
    #[schema(example = "2026-11-01T23:00:00.000Z")]
    at: String,
    #[serde(flatten)]
    counts: CountsView,
}

impl From<Point> for PointView {
    fn from(point: Point) -> Self {
        Self { at: time(point.at), counts: point.counts.into() }
    }
}

/// Clicks step by step.
#[derive(Serialize, ToSchema)]
struct SeriesView {
    #[serde(flatten)]
    about: AboutView,
    /// `quarter`, `hour`, `day`, `week` or `month`.
    #[schema(example = "day")]
    interval: &'static str,
    /// The zone whose clock tells days from each other.
    #[schema(example = "Europe/Stockholm")]
    tz: String,
    /// Every step of the time, those without clicks among them. The day on which clocks are put forward has 23 hours.
    points: Vec<PointView>,
}

impl SeriesView {
    fn of(reported: &Reported, steps: Steps, points: Vec<Point>) -> Self {
        Self {
            about: reported.into(),
            interval: interval_word(steps.interval),
            tz: steps.zone,
            points: points.into_iter().map(PointView::from).collect(),
        }
    }
}

/// A value with its clicks.
#[derive(Serialize, ToSchema)]
struct ValueView {
    /// The value; `null`: not known, or none. A link by its id, a country by its ISO code, a city with its region and country.
    #[schema(example = "SE")]
    value: Option<String>,
    #[serde(flatten)]
    counts: CountsView,
    /// What a link is called; only with `by=link`.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkNameView>,
}

/// What a link is called.
#[derive(Serialize, ToSchema)]
struct LinkNameView {
    #[schema(example = "k7m2xq9ra")]
    slug: String,
    #[schema(example = "https://go.example.com/k7m2xq9ra")]
    tracked_url: String,
}

/// Values with most clicks, and the rest.
#[derive(Serialize, ToSchema)]
struct ListView {
    /// Those with most clicks first.
    values: Vec<ValueView>,
    /// Everything that is not listed. Of each quarter of an hour 200 values are counted by themselves, of each day 1,000: what is
    /// beyond is in here too.
    others: CountsView,
}

impl From<TopReport> for ListView {
    fn from(TopReport { list, names, .. }: TopReport) -> Self {
        let values = list.values.into_iter().map(|top| {
            let link_id = link_of(&top).filter(|id| names.contains_key(id));
            let link = link_id.and_then(|id| names.get(&id)).cloned();
            ValueView {
                value: link_id.map(|id| id.to_string()).or(top.value),
                counts: top.counts.into(),
                link: link.map(|name| LinkNameView { slug: name.slug, tracked_url: name.tracked_url }),
            }
        });
        Self { values: values.collect(), others: list.others.into() }
    }
}

impl From<TopList> for ListView {
    fn from(list: TopList) -> Self {
        TopReport { list, ..TopReport::default() }.into()
    }
}

/// The values of a property with most clicks.
#[derive(Serialize, ToSchema)]
struct TopView {
    #[serde(flatten)]
    about: AboutView,
    /// What the values are of.
    #[schema(example = "country")]
    by: &'static str,
    #[serde(flatten)]
    list: ListView,
    /// `null`: all clicks of the time are in it. With `link_id` the clicks themselves are read, the newest 10,000: then how many
    /// hits were.
    only_newest: Option<i64>,
}

/// All there is to tell of one link.
#[derive(Serialize, ToSchema)]
struct LinkStatsView {
    #[serde(flatten)]
    summary: SummaryView,
    #[schema(example = "day")]
    interval: &'static str,
    #[schema(example = "UTC")]
    tz: String,
    /// The same step by step.
    points: Vec<PointView>,
    top: LinkTopsView,
    /// `null`: all clicks of the time are in `top`; else the newest so many hits are.
    only_newest: Option<i64>,
}

/// What the clicks of a link are made of.
#[derive(Serialize, ToSchema)]
struct LinkTopsView {
    country: ListView,
    city: ListView,
    device: ListView,
    os: ListView,
    browser: ListView,
    referrer_host: ListView,
    language: ListView,
}

impl LinkTopsView {
    fn of(mut tops: Vec<(Dimension, TopList)>) -> Self {
        let mut of = |by: Dimension| {
            let found = tops.iter_mut().find(|(known, _)| *known == by);
            ListView::from(found.map(|(_, list)| std::mem::take(list)).unwrap_or_default())
        };
        Self {
            country: of(Dimension::Country),
            city: of(Dimension::City),
            device: of(Dimension::Device),
            os: of(Dimension::Os),
            browser: of(Dimension::Browser),
            referrer_host: of(Dimension::ReferrerHost),
            language: of(Dimension::Language),
        }
    }
}

/// Sum up clicks
///
/// How often links were followed in a time. What was clicked is counted within some seconds, in whole quarters of an hour. Counts
/// stay when the clicks themselves are dropped for their age.
#[utoipa::path(tag = "analytics", params(SummaryQuery), security(("api_key" = ["clicks:read"])),
    responses((status = 200, body = SummaryView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/analytics/summary")]
pub async fn show_summary(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::ClicksRead)?;
    let AskedSummary(reported) = query.read()?;
    let report = analytics::summary(&shared, &caller, &reported).await?;
    Ok(HttpResponse::Ok().json(SummaryView::of(&reported, report)))
}

/// Count clicks step by step
///
/// A point for each quarter, hour, day, week or month, by the clock of the zone that you name.
#[utoipa::path(tag = "analytics", params(SeriesQuery), security(("api_key" = ["clicks:read"])),
    responses((status = 200, body = SeriesView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/analytics/timeseries")]
pub async fn show_timeseries(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::ClicksRead)?;
    let AskedSeries { reported, steps } = query.read()?;
    let points = analytics::time_series(&shared, &caller, &reported, &steps).await?;
    Ok(HttpResponse::Ok().json(SeriesView::of(&reported, steps, points)))
}

/// List what has most clicks
///
/// The values of one property with most clicks, and the sum of all others: together they are every click of the time.
#[utoipa::path(tag = "analytics", params(TopQuery), security(("api_key" = ["clicks:read"])),
    responses((status = 200, body = TopView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/analytics/top")]
pub async fn show_top(caller: Caller, query: Query, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::ClicksRead)?;
    let AskedTop { reported, by, limit } = query.read()?;
    let top = analytics::top(&shared, &caller, &reported, by, limit).await?;
    Ok(HttpResponse::Ok().json(TopView {
        about: (&reported).into(),
        by: by.as_str(),
        only_newest: top.only_newest,
        list: top.into(),
    }))
}

/// Show the statistics of a link
///
/// Its clicks summed up, step by step, and by where and on what they were made.
#[utoipa::path(tag = "analytics", params(("id" = String, Path), StatsQuery), security(("api_key" = ["clicks:read"])),
    responses((status = 200, body = LinkStatsView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/links/{id}/stats")]
pub async fn show_link_stats(
    caller: Caller,
    id: Path<String>,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::ClicksRead)?;
    let id = path_id(&id, "link")?;
    let AskedStats { reported, steps, limit } = query.read()?;
    let LinkReport { report, points, makeup } =
        analytics::link_report(&shared, &caller, id, &reported, &steps, limit).await?;
    let reported = Reported { link_id: Some(id), ..reported };
    Ok(HttpResponse::Ok().json(LinkStatsView {
        summary: SummaryView::of(&reported, report),
        interval: interval_word(steps.interval),
        tz: steps.zone,
        points: points.into_iter().map(PointView::from).collect(),
        top: LinkTopsView::of(makeup.tops),
        only_newest: makeup.only_newest,
    }))
}
