//! `/v1/replays`: offer an endpoint again what it did not get.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::Serialize;
use utoipa::ToSchema;

use store::replays::{Replay, What};

use super::conditional::digested;
use super::{done, time};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Body, Query, path_id};
use crate::desk::idempotency::IdempotencyKey;
use crate::desk::replay_body::NewReplay;
use crate::desk::replay_count::Count;
use crate::desk::replays::{self, Asked, Asking, ReplayQuery};
use crate::error::{ApiError, Problem};
use crate::page::Page;

/// A replay.
#[derive(Serialize, ToSchema)]
pub struct ReplayView {
    #[schema(example = "rpl_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    endpoint_id: String,
    /// `running`, `done`, `cancelled` or `failed`. `done`: all is in line; `GET /v1/deliveries?replay_id=` tells what
    /// became of it.
    state: &'static str,
    /// Why it failed: `endpoint_disabled` or `endpoint_deleted`.
    error: Option<String>,
    since: String,
    until: String,
    /// `dead`, `delivered` or `any`; `null` with `missing_only`.
    status: Option<&'static str>,
    missing_only: bool,
    event_type: Option<String>,
    /// Of which campaign's clicks it is; `null`: of all.
    campaign_id: Option<String>,
    delivery_ids: Vec<String>,
    rate_per_second: u32,
    /// How many matched when it was asked for; `null`: more than are counted.
    total: Option<u64>,
    /// Deliveries that it has put in line.
    done: u64,
    /// Who asked for it.
    created_by: String,
    created_at: String,
    updated_at: String,
    finished_at: Option<String>,
}

impl From<Replay> for ReplayView {
    fn from(replay: Replay) -> Self {
        let selection = replay.selection;
        let missing_only = selection.what == What::Missing;
        Self {
            id: replay.id.to_string(),
            endpoint_id: selection.endpoint_id.to_string(),
            state: replay.state.as_str(),
            error: replay.error,
            since: time(selection.since),
            until: time(selection.until),
            status: (!missing_only).then_some(selection.what.as_str()),
            missing_only,
            event_type: selection.event_type.map(|pattern| pattern.to_string()),
            campaign_id: selection.campaign_id,
            delivery_ids: selection.delivery_ids.iter().map(ToString::to_string).collect(),
            rate_per_second: replay.rate_per_second,
            total: replay.total,
            done: replay.done,
            created_by: replay.created_by,
            created_at: time(replay.created_at),
            updated_at: time(replay.updated_at),
            finished_at: replay.finished_at.map(time),
        }
    }
}

/// What a replay would be about.
#[derive(Serialize, ToSchema)]
struct ReplayCount {
    dry_run: bool,
    /// Events that match.
    matching: u64,
    /// `false`: there are more than are counted.
    is_complete: bool,
}

impl From<Count> for ReplayCount {
    fn from(count: Count) -> Self {
        Self { dry_run: true, matching: count.matching, is_complete: count.is_complete }
    }
}

/// Replay to an endpoint
///
/// Each event becomes a new delivery with the same `webhook-id`, all of the endpoint's schedule before it and the header
/// `clickwire-replayed: true`; it goes after what is live. Only the newest delivery of an event counts: what another
/// replay has put in line is not offered again. After a time in which an endpoint was disabled, `missing_only` offers it
/// what was clicked meanwhile. With `dry_run` nothing is begun, and the answer is the count.
#[utoipa::path(tag = "deliveries", params(("Idempotency-Key" = Option<String>, Header)), request_body = NewReplay, security(("api_key" = ["deliveries:write"])),
    responses((status = 201, body = ReplayView), (status = 200, body = ReplayCount, description = "With `dry_run`"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/replays")]
pub async fn create_replay(
    caller: Caller,
    body: Body,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesWrite)?;
    let key = IdempotencyKey::of(&shared, &request, body.bytes())?;
    let wanted: NewReplay = body.read()?;
    let asked = replays::create(&shared, &caller, wanted, key.as_ref()).await?;
    done(asked, |asking| {
        Ok(match asking {
            Asking::Counted(count) => HttpResponse::Ok().json(ReplayCount::from(count)),
            Asking::Begun(replay) => HttpResponse::Created().json(ReplayView::from(*replay)),
        })
    })
}

/// List replays, newest first
#[utoipa::path(tag = "deliveries", params(ReplayQuery), security(("api_key" = ["deliveries:read"])),
    responses((status = 200, body = Page<ReplayView>),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/replays")]
pub async fn list_replays(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesRead)?;
    let asked: Asked = query.read()?;
    let rows = replays::list(&shared, &caller, &asked).await?;
    Ok(HttpResponse::Ok().json(asked.page.page(rows, |replay| replay.id, ReplayView::from)))
}

/// Show a replay and how far it is
#[utoipa::path(tag = "deliveries", params(("id" = String, Path), ("If-None-Match" = Option<String>, Header)),
    security(("api_key" = ["deliveries:read"])), responses((status = 200, body = ReplayView),
        (status = 304, description = "Nothing is new"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/replays/{id}")]
pub async fn show_replay(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesRead)?;
    let replay = replays::find(&shared, &caller, path_id(&id, "replay")?).await?;
    Ok(digested(&request, &ReplayView::from(replay)))
}

/// Cancel a replay
///
/// What it has put in line is sent; one that has ended stays as it is.
#[utoipa::path(tag = "deliveries", params(("id" = String, Path)), security(("api_key" = ["deliveries:write"])),
    responses((status = 200, body = ReplayView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/replays/{id}/cancel")]
pub async fn cancel_replay(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesWrite)?;
    let replay = replays::cancel(&shared, &caller, path_id(&id, "replay")?).await?;
    Ok(HttpResponse::Ok().json(ReplayView::from(replay)))
}
