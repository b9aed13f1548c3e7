//! Replays: offer an endpoint again what it did not get, or what it missed. `deliver` works them off.

use serde_json::json;
use utoipa::IntoParams;
use uuid::Uuid;

use model::{EndpointId, ReplayId};
use store::endpoints::{Endpoint, State};
use store::replays::{self, Replay, Selection, What};
use store::{AsyncConnection as _, Connection, endpoints};

use super::idempotency::{Done, IdempotencyKey, Once, gone};
use super::replay_body::NewReplay;
use super::replay_count::{Count, count};
use super::{Change, announce, endpoints::not_found, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, parsed};
use crate::page::PageRequest;

/// Which replays are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub struct ReplayQuery {
    /// To this endpoint.
    endpoint_id: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Entries of a page, 1 to 250. Default: 50.
    limit: Option<u32>,
}

/// What a query for replays says.
pub struct Asked {
    /// To which endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// Which page.
    pub page: PageRequest<ReplayId>,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let endpoint_id = fields.optional("endpoint_id", parsed);
        Some(Self { endpoint_id, page: PageRequest::from_fields(fields)? })
    }
}

/// What came of a wish for a replay.
pub enum Asking {
    /// It was only to be counted.
    Counted(Count),
    /// It has begun.
    Begun(Box<Replay>),
}

/// Begins a replay, or only counts what it would be about; with a key that came before, tells of the one that it began.
///
/// # Errors
/// When the key came with another request, the endpoint is not there or disabled, or a replay of it is running.
pub async fn create(
    shared: &Shared,
    caller: &Caller,
    wanted: NewReplay,
    key: Option<&IdempotencyKey>,
) -> Result<Done<Asking>, ApiError> {
    let now = now();
    let (is_dry_run, rate) = (wanted.dry_run.unwrap_or(false), wanted.rate());
    // a count begins nothing, and is made anew
    let once = Once::new(caller, key.filter(|_| !is_dry_run), "replay.create", now);
    let mut conn = shared.pool.get().await?;
    if let Some(before) = once.before(&mut conn).await? {
        return begun_before(&mut conn, caller, before).await;
    }
    let selection = wanted.selection(caller, now)?;
    let endpoint = enabled(endpoints::find(&mut conn, caller.workspace_id, selection.endpoint_id).await?)?;
    let counted = count(&mut conn, &selection, &endpoint, now).await?;
    if is_dry_run {
        return Ok(Done::Now(Asking::Counted(counted)));
    }
    conn.transaction::<_, ApiError, _>(async |conn| {
        if let Some(before) = once.claim(conn).await? {
            return begun_before(conn, caller, before).await;
        }
        // locked, so that it is not disabled behind our back
        if !endpoints::lock(conn, caller.workspace_id, selection.endpoint_id).await? {
            return Err(not_found());
        }
        enabled(endpoints::find(conn, caller.workspace_id, selection.endpoint_id).await?)?;
        let total = counted.is_complete.then_some(counted.matching);
        let id = replays::insert(conn, &selection, rate, total, &caller.actor(), now).await?;
        let id = id.ok_or_else(running_already)?;
        announce(conn, change(caller, "replay.started", id, &selection, now)).await?;
        once.made(conn, id.uuid()).await?;
        let replay = replays::find(conn, caller.workspace_id, id).await?.ok_or_else(no_such)?;
        Ok(Done::Now(Asking::Begun(Box::new(replay))))
    })
    .await
}

/// The replay that a request which is repeated began.
async fn begun_before(conn: &mut Connection, caller: &Caller, id: Uuid) -> Result<Done<Asking>, ApiError> {
    let replay = replays::find(conn, caller.workspace_id, ReplayId::from_uuid(id)).await?.ok_or_else(gone)?;
    Ok(Done::Before(Asking::Begun(Box::new(replay))))
}

/// The workspace's replay with this id.
///
/// # Errors
/// When there is none.
pub async fn find(shared: &Shared, caller: &Caller, id: ReplayId) -> Result<Replay, ApiError> {
    let mut conn = shared.pool.get().await?;
    replays::find(&mut conn, caller.workspace_id, id).await?.ok_or_else(no_such)
}

/// One page of replays and one row more.
///
/// # Errors
/// When the database is away.
pub async fn list(shared: &Shared, caller: &Caller, asked: &Asked) -> Result<Vec<Replay>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let Asked { endpoint_id, page } = asked;
    Ok(replays::list(&mut conn, caller.workspace_id, *endpoint_id, page.before, page.rows()).await?)
}

/// Ends a replay; one that has ended stays as it is. What is in line already is sent.
///
/// # Errors
/// When there is none.
pub async fn cancel(shared: &Shared, caller: &Caller, id: ReplayId) -> Result<Replay, ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        let is_ended = replays::cancel(conn, caller.workspace_id, id, now).await?;
        let replay = replays::find(conn, caller.workspace_id, id).await?.ok_or_else(no_such)?;
        if is_ended {
            announce(conn, change(caller, "replay.cancelled", id, &replay.selection, now)).await?;
        }
        Ok(replay)
    })
    .await
}

fn enabled(endpoint: Option<Endpoint>) -> Result<Endpoint, ApiError> {
    let endpoint = endpoint.ok_or_else(not_found)?;
    if endpoint.state == State::Disabled {
        return Err(ApiError::Conflict {
            code: "endpoint_disabled",
            pointer: None,
            detail: "nothing is sent to a disabled endpoint: resume it, then replay what it missed"
                .to_owned(),
        });
    }
    Ok(endpoint)
}

fn running_already() -> ApiError {
    ApiError::Conflict {
        code: "replay_running",
        pointer: None,
        detail: "a replay to this endpoint is running: let it end, or cancel it".to_owned(),
    }
}

fn change<'a>(
    caller: &'a Caller,
    action: &'a str,
    id: ReplayId,
    selection: &Selection,
    now: chrono::DateTime<chrono::Utc>,
) -> Change<'a> {
    let details = json!({
        "endpoint_id": selection.endpoint_id,
        "since": crate::v1::time(selection.since),
        "until": crate::v1::time(selection.until),
        "missing_only": selection.what == What::Missing,
    });
    Change { caller, now, action, subject: id.to_string(), details }
}

fn no_such() -> ApiError {
    ApiError::NotFound("replay")
}
