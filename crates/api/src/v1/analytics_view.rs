//! Reports as the API shows them.

use serde::Serialize;
use utoipa::ToSchema;

use store::rollups::{Counts, Dimension, Point, TopList};

use super::time;
use crate::desk::analytics::{LinkReport, Report, TopReport, link_of};
use crate::desk::report_query::{Reported, Steps, interval_word};

/// How often links were followed.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct CountsView {
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
pub struct SummaryView {
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
    pub fn of(reported: &Reported, report: Report) -> Self {
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
pub struct SeriesView {
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
    pub fn of(reported: &Reported, steps: Steps, points: Vec<Point>) -> Self {
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
pub struct TopView {
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

impl TopView {
    pub fn of(reported: &Reported, by: Dimension, top: TopReport) -> Self {
        Self { about: reported.into(), by: by.as_str(), only_newest: top.only_newest, list: top.into() }
    }
}

/// All there is to tell of one link.
#[derive(Serialize, ToSchema)]
pub struct LinkStatsView {
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

impl LinkStatsView {
    pub fn of(reported: &Reported, steps: Steps, found: LinkReport) -> Self {
        let LinkReport { report, points, makeup } = found;
        Self {
            summary: SummaryView::of(reported, report),
            interval: interval_word(steps.interval),
            tz: steps.zone,
            points: points.into_iter().map(PointView::from).collect(),
            top: LinkTopsView::of(makeup.tops),
            only_newest: makeup.only_newest,
        }
    }
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
