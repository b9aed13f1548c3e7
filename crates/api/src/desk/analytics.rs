//! Reports on clicks, from what `record` counted by quarters of an hour ([`store::rollups`]).
//!
//! What was not counted is read from the clicks themselves, the newest [`READ_MAX`] of them: what the clicks of one link are made
//! of, and how many contacts clicked. Whoever shows it is told whether that were all.

use std::collections::{HashMap, HashSet};

use tokio::sync::OnceCell;

use model::LinkId;
use model::automation::Verdict;
use store::rollups::{self, Counts, Dimension, Point, READ_MAX, Range, Scope, Summary, Top, TopList};
use store::{Connection, links};
use uuid::Uuid;

use super::links::tracked_url_of;
use super::report_query::{Reported, Steps};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// What the clicks of one link are told by.
const OF_LINK: [Dimension; 7] = [
    Dimension::Country,
    Dimension::City,
    Dimension::Device,
    Dimension::Os,
    Dimension::Browser,
    Dimension::ReferrerHost,
    Dimension::Language,
];

/// The time zones that there are, asked for once.
#[derive(Default)]
pub struct Zones(OnceCell<HashSet<String>>);

impl Zones {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    async fn check(&self, conn: &mut Connection, zone: &str) -> Result<(), ApiError> {
        let known = self
            .0
            .get_or_try_init(async || {
                let names = rollups::time_zones(conn).await?;
                Ok::<_, ApiError>(names.into_iter().collect())
            })
            .await?;
        if known.contains(zone) {
            return Ok(());
        }
        Err(ApiError::field(
            "?tz",
            "invalid",
            "must be a time zone by its IANA name, like `Europe/Stockholm`",
        ))
    }
}

/// How often links were followed in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Everybody's.
    pub summary: Summary,
    /// Those with the verdict that was asked for.
    pub counts: Counts,
    /// Different contacts among the clicks; `None`: more than [`READ_MAX`] hits, which are not read for it.
    pub contacts_clicked: Option<i64>,
}

/// The values of a dimension with most clicks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopReport {
    /// The values and what there is beside them.
    pub list: TopList,
    /// What links among the values are called: slug and tracked URL.
    pub names: HashMap<LinkId, LinkName>,
    /// How many of the newest hits were read for it, when it does not stand for all of the time.
    pub only_newest: Option<i64>,
}

/// What a link is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkName {
    /// Its name under its host.
    pub slug: String,
    /// What is sent to people.
    pub tracked_url: String,
}

/// All there is to tell of one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkReport {
    /// How often it was followed.
    pub report: Report,
    /// The same step by step.
    pub points: Vec<Point>,
    /// What its clicks are made of.
    pub makeup: Makeup,
}

/// What the clicks of a link are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Makeup {
    /// Of each of [`OF_LINK`] the values with most clicks.
    pub tops: Vec<(Dimension, TopList)>,
    /// How many of the newest hits were read for that, when there are more.
    pub only_newest: Option<i64>,
}

fn scope(caller: &Caller, link_id: Option<LinkId>) -> Scope {
    match link_id {
        Some(link_id) => Scope::Link(caller.workspace_id, link_id),
        None => Scope::Workspace(caller.workspace_id),
    }
}

/// Sums up.
///
/// # Errors
/// When the database is away.
pub async fn summary(shared: &Shared, caller: &Caller, reported: &Reported) -> Result<Report, ApiError> {
    let mut conn = shared.pool.get().await?;
    report(&mut conn, caller, reported).await
}

/// Counts hits and clicks alone, of a link or of all.
///
/// # Errors
/// When the database is away.
pub async fn counted(
    shared: &Shared,
    caller: &Caller,
    link_id: Option<LinkId>,
    range: Range,
) -> Result<Summary, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(rollups::summary(&mut conn, scope(caller, link_id), range).await?)
}

/// What the clicks of a link of the caller's are made of, whatever their verdict.
///
/// # Errors
/// When the database is away.
pub async fn makeup(
    shared: &Shared,
    caller: &Caller,
    id: LinkId,
    range: Range,
    limit: i64,
) -> Result<Makeup, ApiError> {
    let mut conn = shared.pool.get().await?;
    made_of(&mut conn, caller, id, (range, None), limit).await
}

async fn made_of(
    conn: &mut Connection,
    caller: &Caller,
    id: LinkId,
    (range, verdict): (Range, Option<Verdict>),
    limit: i64,
) -> Result<Makeup, ApiError> {
    let of = (caller.workspace_id, id);
    let mut made = rollups::sample(conn, of, range, &OF_LINK, verdict, limit).await?;
    Ok(Makeup {
        tops: OF_LINK.map(|by| (by, made.tops.remove(&by).unwrap_or_default())).into(),
        only_newest: (!made.is_whole()).then_some(made.read),
    })
}

async fn report(conn: &mut Connection, caller: &Caller, reported: &Reported) -> Result<Report, ApiError> {
    let Reported { link_id, range, verdict } = *reported;
    let scope = scope(caller, link_id);
    let summary = rollups::summary(conn, scope, range).await?;
    let contacts_clicked = match verdict {
        Some(Verdict::Automated) => Some(0),
        _ if summary.counts.hits >= READ_MAX => None,
        _ => rollups::contacts(conn, scope, range.since(), range.until(), verdict).await?,
    };
    Ok(Report { summary, counts: summary.of(verdict), contacts_clicked })
}

/// Counts step by step, steps without clicks among them.
///
/// # Errors
/// [`ApiError::Invalid`] with `?tz` for a zone that is none.
pub async fn time_series(
    shared: &Shared,
    caller: &Caller,
    reported: &Reported,
    steps: &Steps,
) -> Result<Vec<Point>, ApiError> {
    let mut conn = shared.pool.get().await?;
    shared.zones.check(&mut conn, &steps.zone).await?;
    series(&mut conn, caller, reported, steps).await
}

async fn series(
    conn: &mut Connection,
    caller: &Caller,
    reported: &Reported,
    steps: &Steps,
) -> Result<Vec<Point>, ApiError> {
    let Reported { link_id, range, verdict } = *reported;
    let scope = scope(caller, link_id);
    Ok(rollups::time_series(conn, scope, range, steps.interval, &steps.zone, verdict).await?)
}

/// The values of a dimension with most clicks.
///
/// # Errors
/// When the database is away.
pub async fn top(
    shared: &Shared,
    caller: &Caller,
    reported: &Reported,
    by: Dimension,
    limit: i64,
) -> Result<TopReport, ApiError> {
    let mut conn = shared.pool.get().await?;
    let Reported { link_id, range, verdict } = *reported;
    let (list, only_newest) = match link_id {
        None => (rollups::top(&mut conn, caller.workspace_id, range, by, verdict, limit).await?, None),
        Some(link_id) => {
            let of = (caller.workspace_id, link_id);
            let mut made = rollups::sample(&mut conn, of, range, &[by], verdict, limit).await?;
            let only_newest = (!made.is_whole()).then_some(made.read);
            (made.tops.remove(&by).unwrap_or_default(), only_newest)
        }
    };
    let names = match by {
        Dimension::Link => names(shared, &mut conn, caller, &list.values).await?,
        _ => HashMap::new(),
    };
    Ok(TopReport { list, names, only_newest })
}

async fn names(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    values: &[Top],
) -> Result<HashMap<LinkId, LinkName>, ApiError> {
    let ids: Vec<LinkId> = values.iter().filter_map(link_of).collect();
    let links = links::names(conn, caller.workspace_id, &ids).await?;
    let named = links.into_iter().map(|(id, host, slug)| {
        let tracked_url = tracked_url_of(shared, &host, &slug);
        (id, LinkName { slug: slug.to_string(), tracked_url })
    });
    Ok(named.collect())
}

/// The link that a value of [`Dimension::Link`] stands for.
pub fn link_of(top: &Top) -> Option<LinkId> {
    top.value.as_deref()?.parse::<Uuid>().ok().map(LinkId::from_uuid)
}

/// All there is to tell of a link.
///
/// # Errors
/// When the workspace has no such link, or the zone is none.
pub async fn link_report(
    shared: &Shared,
    caller: &Caller,
    id: LinkId,
    reported: &Reported,
    steps: &Steps,
    limit: i64,
) -> Result<LinkReport, ApiError> {
    let mut conn = shared.pool.get().await?;
    links::find(&mut conn, caller.workspace_id, id).await?.ok_or(ApiError::NotFound("link"))?;
    shared.zones.check(&mut conn, &steps.zone).await?;
    let reported = Reported { link_id: Some(id), ..*reported };
    let Reported { range, verdict, .. } = reported;
    let report = report(&mut conn, caller, &reported).await?;
    let points = series(&mut conn, caller, &reported, steps).await?;
    let makeup = made_of(&mut conn, caller, id, (range, verdict), limit).await?;
    Ok(LinkReport { report, points, makeup })
}
