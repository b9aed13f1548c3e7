//! How an endpoint does: success, time from the click until it was accepted, and what waits.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use model::EndpointId;
use store::endpoint_stats::{self, Backlog, Span, Tally};
use store::endpoints::Endpoint;

use super::endpoints::find;
use super::now;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// How far back one looks.
const HOURS: i64 = 24;

/// Newest deliveries of one endpoint that its figures are made of.
const SUMMED_MAX: i64 = 10_000;

/// Newest deliveries of each hour.
const SUMMED_OF_HOUR_MAX: i64 = 1_000;

/// Newest deliveries of each endpoint in a list of many.
const SUMMED_IN_LIST_MAX: i64 = 200;

/// Waiting deliveries of one endpoint that are counted.
const WAITING_MAX: i64 = 10_000;

/// Waiting deliveries of each endpoint in a list of many that are counted.
const WAITING_IN_LIST_MAX: i64 = 1_000;

/// A tally, and whether it has all deliveries of its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// What became of them.
    pub tally: Tally,
    /// If not, it is made of the newest.
    pub is_complete: bool,
}

impl Figures {
    fn of(tally: Tally, limit: i64) -> Self {
        Self { tally, is_complete: tally.seen() < limit }
    }
}

/// How one endpoint does.
pub struct Stats {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// From this moment on.
    pub since: DateTime<Utc>,
    /// Until this one.
    pub until: DateTime<Utc>,
    /// All of that time.
    pub figures: Figures,
    /// Each hour of it, first to last; the last one is not over.
    pub hours: Vec<(DateTime<Utc>, Figures)>,
    /// What waits.
    pub backlog: Backlog,
    /// Whether all that waits was counted.
    pub is_backlog_complete: bool,
}

/// How an endpoint of a list does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Glance {
    /// Of the last 24 hours.
    pub figures: Figures,
    /// What waits.
    pub backlog: Backlog,
    /// Whether all that waits was counted.
    pub is_backlog_complete: bool,
}

/// How an endpoint did in the last [`HOURS`] hours of the clock.
///
/// # Errors
/// When there is no such endpoint, or the database is away.
pub async fn stats(shared: &Shared, caller: &Caller, id: EndpointId) -> Result<Stats, ApiError> {
    let endpoint = find(shared, caller, id).await?;
    let until = now();
    let this_hour = until.duration_trunc(TimeDelta::hours(1)).unwrap_or(until);
    let since = this_hour - TimeDelta::hours(HOURS - 1);
    let beginnings: Vec<DateTime<Utc>> = (0..HOURS).map(|hour| since + TimeDelta::hours(hour)).collect();
    let span = |since, until| Span { endpoint_id: id, since, until };
    let of_hours: Vec<Span> = beginnings.iter().map(|at| span(*at, *at + TimeDelta::hours(1))).collect();
    let mut conn = shared.pool.get().await?;
    let whole = [span(since, this_hour + TimeDelta::hours(1))];
    let whole = endpoint_stats::tallies(&mut conn, caller.workspace_id, &whole, SUMMED_MAX).await?;
    let tallies =
        endpoint_stats::tallies(&mut conn, caller.workspace_id, &of_hours, SUMMED_OF_HOUR_MAX).await?;
    let backlogs =
        endpoint_stats::backlogs(&mut conn, caller.workspace_id, &[id], until, WAITING_MAX).await?;
    let backlog = backlogs.get(&id).copied().unwrap_or_default();
    let figures = |tally: Tally| Figures::of(tally, SUMMED_OF_HOUR_MAX);
    Ok(Stats {
        endpoint,
        since,
        until,
        figures: Figures::of(whole.first().copied().unwrap_or_default(), SUMMED_MAX),
        hours: beginnings.into_iter().zip(tallies.into_iter().map(figures)).collect(),
        backlog,
        is_backlog_complete: backlog.waiting < WAITING_MAX,
    })
}

/// How several endpoints did in the last [`HOURS`] hours, in their order.
///
/// # Errors
/// When the database is away.
pub async fn glances(shared: &Shared, caller: &Caller, ids: &[EndpointId]) -> Result<Vec<Glance>, ApiError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let until = now();
    let spans: Vec<Span> = ids
        .iter()
        .map(|id| Span {
            endpoint_id: *id,
            since: until - TimeDelta::hours(HOURS),
            until: until + TimeDelta::minutes(1),
        })
        .collect();
    let mut conn = shared.pool.get().await?;
    let tallies = endpoint_stats::tallies(&mut conn, caller.workspace_id, &spans, SUMMED_IN_LIST_MAX).await?;
    let backlogs =
        endpoint_stats::backlogs(&mut conn, caller.workspace_id, ids, until, WAITING_IN_LIST_MAX).await?;
    let glance = |(id, tally): (&EndpointId, Tally)| {
        let backlog = backlogs.get(id).copied().unwrap_or_default();
        Glance {
            figures: Figures::of(tally, SUMMED_IN_LIST_MAX),
            backlog,
            is_backlog_complete: backlog.waiting < WAITING_IN_LIST_MAX,
        }
    };
    Ok(ids.iter().zip(tallies).map(glance).collect())
}
