//! `/v1/analytics` and `/v1/links/{id}/stats`: clicks as they were counted.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use chrono::{DateTime, Utc};
use utoipa::IntoParams;

use super::analytics_view::{LinkStatsView, SeriesView, SummaryView, TopView};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Query, path_id};
use crate::desk::analytics;
use crate::desk::report_query::{AskedSeries, AskedStats, AskedSummary, AskedTop, Reported};
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
    Ok(HttpResponse::Ok().json(TopView::of(&reported, by, top)))
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
    let found = analytics::link_report(&shared, &caller, id, &reported, &steps, limit).await?;
    let reported = Reported { link_id: Some(id), ..reported };
    Ok(HttpResponse::Ok().json(LinkStatsView::of(&reported, steps, found)))
}
