//! `/v1/webhook-endpoints/{id}/stats`: how an endpoint does.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use serde::Serialize;
use utoipa::ToSchema;

use super::endpoints::endpoint_id;
use super::time;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::desk::endpoint_stats::{self, Figures, Stats};
use crate::error::{ApiError, Problem};

/// How an endpoint did in the last 24 hours of the clock, the running one included.
#[derive(Serialize, ToSchema)]
struct EndpointStatsView {
    #[schema(example = "whe_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    endpoint_id: String,
    /// Deliveries of events from then on, …
    since: String,
    /// … until now.
    until: String,
    summary: FiguresView,
    backlog: BacklogView,
    /// Each hour, first to last.
    hours: Vec<HourView>,
}

/// What became of deliveries.
#[derive(Serialize, ToSchema)]
struct FiguresView {
    delivered: i64,
    /// Given up.
    dead: i64,
    /// Tried, not accepted, and not given up.
    retrying: i64,
    /// Not tried yet.
    waiting: i64,
    /// The share that was accepted of what was tried, 0 to 1; `null` when nothing was.
    success_rate: Option<f64>,
    /// Milliseconds from the event until it was accepted; replays and corrections do not count.
    accepted_p50_ms: Option<i64>,
    accepted_p95_ms: Option<i64>,
    /// Milliseconds that the last attempt took, until the whole answer was there.
    answer_p95_ms: Option<i32>,
    /// Whether all deliveries of that time were looked at. If not, these are the newest: 10000 of all, 1000 of an hour.
    complete: bool,
}

/// An hour.
#[derive(Serialize, ToSchema)]
struct HourView {
    /// Its beginning.
    at: String,
    #[serde(flatten)]
    figures: FiguresView,
}

/// What an endpoint is still owed.
#[derive(Serialize, ToSchema)]
struct BacklogView {
    /// Deliveries that wait, due or not.
    waiting: i64,
    /// Those among them whose time has come.
    due: i64,
    /// Since when the first of those is due.
    due_since: Option<String>,
    /// Whether all were counted: it ends at 10000.
    complete: bool,
}

impl From<Figures> for FiguresView {
    fn from(Figures { tally, is_complete }: Figures) -> Self {
        Self {
            delivered: tally.delivered,
            dead: tally.dead,
            retrying: tally.retrying,
            waiting: tally.waiting,
            success_rate: tally.success_rate(),
            accepted_p50_ms: tally.accepted_p50_ms,
            accepted_p95_ms: tally.accepted_p95_ms,
            answer_p95_ms: tally.answer_p95_ms,
            complete: is_complete,
        }
    }
}

impl From<Stats> for EndpointStatsView {
    fn from(stats: Stats) -> Self {
        let hour = |(at, figures): (chrono::DateTime<chrono::Utc>, Figures)| HourView {
            at: time(at),
            figures: figures.into(),
        };
        Self {
            endpoint_id: stats.endpoint.id.to_string(),
            since: time(stats.since),
            until: time(stats.until),
            summary: stats.figures.into(),
            backlog: BacklogView {
                waiting: stats.backlog.waiting,
                due: stats.backlog.due,
                due_since: stats.backlog.due_since.map(time),
                complete: stats.is_backlog_complete,
            },
            hours: stats.hours.into_iter().map(hour).collect(),
        }
    }
}

/// Show how an endpoint does
///
/// Success, time from the event until it was accepted, and what waits. It costs the same whatever the endpoint was sent: of
/// what is more than a limit, the newest deliveries are looked at, and `complete` is false.
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path)), security(("api_key" = ["deliveries:read"])),
    responses((status = 200, body = EndpointStatsView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/webhook-endpoints/{id}/stats")]
pub async fn show_endpoint_stats(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesRead)?;
    let stats = endpoint_stats::stats(&shared, &caller, endpoint_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(EndpointStatsView::from(stats)))
}
