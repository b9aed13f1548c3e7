//! Deliveries: look at them, and ask for one to be tried again. `deliver` finds the wish as a row.

use serde_json::{Value, json};
use utoipa::IntoParams;

use chrono::{DateTime, Utc};
use model::delivery::DeliveryStatus;
use model::{BatchId, ClickId, DeliveryId, EndpointId, ReplayId};
use store::delivery_log::{self, DeliveryFilter, LoggedAttempt, LoggedDelivery};
use store::{AsyncConnection as _, Connection, endpoints, given_up, tombstones};

use super::idempotency::{Done, IdempotencyKey, Once, gone};
use super::{Change, audit, endpoints::not_found, now};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, moment, parsed, word};
use crate::page::PageRequest;

const STATUSES: &[(&str, DeliveryStatus)] = &[
    ("pending", DeliveryStatus::Pending),
    ("delivered", DeliveryStatus::Delivered),
    ("dead", DeliveryStatus::Dead),
    ("offered", DeliveryStatus::Offered),
];

/// Which deliveries are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub struct DeliveryQuery {
    /// Owed to this endpoint.
    endpoint_id: Option<String>,
    /// `pending`, `delivered`, `dead` or `offered`.
    status: Option<String>,
    /// Telling of this click.
    click_id: Option<String>,
    /// Put in line by this replay.
    replay_id: Option<String>,
    /// Last in this batch.
    batch_id: Option<String>,
    /// Of an event at this moment or later.
    since: Option<DateTime<Utc>>,
    /// Of an event before this moment.
    until: Option<DateTime<Utc>>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Entries of a page, 1 to 250. Default: 50.
    limit: Option<u32>,
}

/// What a query for deliveries says.
pub struct Asked {
    /// Which.
    pub filter: DeliveryFilter,
    /// Which page.
    pub page: PageRequest<DeliveryId>,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { filter: filter(fields), page: PageRequest::from_fields(fields)? })
    }
}

/// Which deliveries are exported: all of them, not a page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub struct ExportQuery {
    /// Owed to this endpoint.
    endpoint_id: Option<String>,
    /// `pending`, `delivered`, `dead` or `offered`.
    status: Option<String>,
    /// Telling of this click.
    click_id: Option<String>,
    /// Put in line by this replay.
    replay_id: Option<String>,
    /// Last in this batch.
    batch_id: Option<String>,
    /// Of an event at this moment or later.
    since: Option<DateTime<Utc>>,
    /// Of an event before this moment.
    until: Option<DateTime<Utc>>,
}

/// What a query for an export says.
pub struct AskedAll(pub DeliveryFilter);

impl FromFields for AskedAll {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self(filter(fields)))
    }
}

fn filter(fields: &mut Fields<'_>) -> DeliveryFilter {
    DeliveryFilter {
        endpoint_id: fields.optional("endpoint_id", parsed::<EndpointId>),
        status: fields.optional("status", word(STATUSES)),
        click_id: fields.optional("click_id", parsed::<ClickId>),
        replay_id: fields.optional("replay_id", parsed::<ReplayId>),
        batch_id: fields.optional("batch_id", parsed::<BatchId>),
        since: fields.optional("since", moment),
        until: fields.optional("until", moment),
    }
}

/// One page of deliveries and one row more.
///
/// # Errors
/// When the database is away.
pub async fn list(shared: &Shared, caller: &Caller, asked: &Asked) -> Result<Vec<LoggedDelivery>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let Asked { filter, page } = asked;
    Ok(delivery_log::list(&mut conn, caller.workspace_id, filter, page.before, page.rows()).await?)
}

/// A delivery and its attempts.
///
/// # Errors
/// When the workspace has no such delivery.
pub async fn find(
    shared: &Shared,
    caller: &Caller,
    id: DeliveryId,
) -> Result<(LoggedDelivery, Vec<LoggedAttempt>), ApiError> {
    let mut conn = shared.pool.get().await?;
    let delivery = delivery_log::find(&mut conn, caller.workspace_id, id).await?;
    let delivery = delivery.ok_or_else(no_such)?;
    let mut attempts = delivery_log::attempts(&mut conn, caller.workspace_id, id).await?;
    // those of a batch are its own
    if attempts.is_empty() && delivery.attempt_count > 0 && delivery.batch_id.is_none() {
        attempts.extend(only_attempt(&delivery));
    }
    Ok((delivery, veiled(caller, attempts)))
}

/// A success at first try is told by its delivery alone.
pub(super) fn only_attempt(delivery: &LoggedDelivery) -> Option<LoggedAttempt> {
    Some(LoggedAttempt {
        number: 1,
        trigger: "schedule".to_owned(),
        started_at: delivery.attempted_at?,
        duration_ms: delivery.duration_ms.unwrap_or_default(),
        status: delivery.last_status,
        error: delivery.last_error.clone(),
        error_detail: None,
        request_headers: Value::Array(Vec::new()),
        response_headers: Value::Array(Vec::new()),
        response_body: delivery.response_body.clone(),
        remote_ip: None,
        timings: delivery.timings,
        url: None,
    })
}

/// Where attempts went is shown to who may see endpoints.
pub(super) fn veiled(caller: &Caller, mut attempts: Vec<LoggedAttempt>) -> Vec<LoggedAttempt> {
    if !caller.may(Scope::EndpointsRead) {
        attempts.iter_mut().for_each(|attempt| attempt.url = None);
    }
    attempts
}

/// Makes a delivery due now, whatever became of it before; with a key that came before, only tells of it.
///
/// # Errors
/// When the key came with another request, the workspace has no such delivery, or its endpoint is gone.
pub async fn retry(
    shared: &Shared,
    caller: &Caller,
    id: DeliveryId,
    key: Option<&IdempotencyKey>,
) -> Result<Done<LoggedDelivery>, ApiError> {
    fulfil(shared, caller, id, key, Wish::Retry).await
}

/// Ends a delivery that waits; with a key that came before, only tells of it. One that was given up already stays as it is.
///
/// # Errors
/// When the key came with another request, the workspace has no such delivery, or it was accepted.
pub async fn give_up(
    shared: &Shared,
    caller: &Caller,
    id: DeliveryId,
    key: Option<&IdempotencyKey>,
) -> Result<Done<LoggedDelivery>, ApiError> {
    fulfil(shared, caller, id, key, Wish::GiveUp).await
}

/// What a person wishes of a delivery.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Retry,
    GiveUp,
}

impl Wish {
    const fn operation(self) -> &'static str {
        match self {
            Self::Retry => "delivery.retry",
            Self::GiveUp => "delivery.give_up",
        }
    }
}

async fn fulfil(
    shared: &Shared,
    caller: &Caller,
    id: DeliveryId,
    key: Option<&IdempotencyKey>,
    wish: Wish,
) -> Result<Done<LoggedDelivery>, ApiError> {
    let now = now();
    let once = Once::new(caller, key, wish.operation(), now);
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        if once.claim(conn).await?.is_some() {
            // as it stands now
            let before = delivery_log::find(conn, caller.workspace_id, id).await?;
            return before.map(Done::Before).ok_or_else(gone);
        }
        let delivery = match wish {
            Wish::Retry => make_due(conn, caller, id, now).await?,
            Wish::GiveUp => end(conn, caller, id, now).await?,
        };
        once.made(conn, id.uuid()).await?;
        Ok(Done::Now(delivery))
    })
    .await
}

async fn make_due(
    conn: &mut Connection,
    caller: &Caller,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> Result<LoggedDelivery, ApiError> {
    let delivery = delivery_log::find(conn, caller.workspace_id, id).await?.ok_or_else(no_such)?;
    endpoints::find(conn, caller.workspace_id, delivery.endpoint_id).await?.ok_or_else(not_found)?;
    if let Some(click_id) = delivery.click_id
        && tombstones::is_erased(conn, click_id).await?
    {
        return Err(erased());
    }
    delivery_log::retry(conn, caller.workspace_id, id, now).await?;
    let details = json!({"endpoint": delivery.endpoint_id, "was": delivery.status.as_str()});
    audit(conn, Change { caller, now, action: "delivery.retried", subject: id.to_string(), details }).await?;
    delivery_log::find(conn, caller.workspace_id, id).await?.ok_or_else(no_such)
}

async fn end(
    conn: &mut Connection,
    caller: &Caller,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> Result<LoggedDelivery, ApiError> {
    let is_ended = given_up::give_up(conn, caller.workspace_id, id, now).await?;
    let delivery = delivery_log::find(conn, caller.workspace_id, id).await?.ok_or_else(no_such)?;
    if delivery.status == DeliveryStatus::Delivered {
        return Err(delivered());
    }
    if is_ended {
        let details = json!({"endpoint": delivery.endpoint_id, "attempts": delivery.attempt_count});
        audit(conn, Change { caller, now, action: "delivery.given_up", subject: id.to_string(), details })
            .await?;
    }
    Ok(delivery)
}

fn no_such() -> ApiError {
    ApiError::NotFound("delivery")
}

fn delivered() -> ApiError {
    ApiError::Conflict {
        code: "delivery_delivered",
        pointer: None,
        detail: "this delivery was accepted: there is nothing to give up".to_owned(),
    }
}

fn erased() -> ApiError {
    ApiError::Conflict {
        code: "contact_erased",
        pointer: None,
        detail: "the contact of this click was erased: nothing of it is sent any more".to_owned(),
    }
}
