//! What was put aside: look at it, publish it again, remove it. It is the operator's, whatever workspace their key is of.

use actix_web::web::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use utoipa::IntoParams;

use bus::Outgoing;
use model::QuarantineId;
use store::AsyncConnection as _;
use store::quarantine::{self, Entry};

use super::idempotency::{Done, IdempotencyKey, Once, gone};
use super::{Change, audit, now};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, text};
use crate::page::PageRequest;

/// Bytes of a message that are shown.
const SHOWN_BYTES_MAX: i32 = 4096;

/// Bytes of a message that are handed out: more than any stream takes.
const WHOLE_BYTES_MAX: i32 = 16 * 1024 * 1024;

/// Longest name of a consumer.
const CONSUMER_CHARS_MAX: usize = 100;

/// Which messages are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub struct QuarantineQuery {
    /// Put aside by this consumer: `enrich`, `record`, `deliver`, `deliver-events`.
    consumer: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Entries of a page, 1 to 250. Default: 50.
    limit: Option<u32>,
}

/// What a query for messages says.
pub struct Asked {
    /// Put aside by whom.
    pub consumer: Option<String>,
    /// Which page.
    pub page: PageRequest<QuarantineId>,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let consumer = fields.optional("consumer", text::<CONSUMER_CHARS_MAX>);
        Some(Self { consumer, page: PageRequest::from_fields(fields)? })
    }
}

/// One page of messages and one row more.
///
/// # Errors
/// When the caller is no operator.
pub async fn list(shared: &Shared, caller: &Caller, asked: &Asked) -> Result<Vec<Entry>, ApiError> {
    caller.require(Scope::Admin)?;
    let mut conn = shared.pool.get().await?;
    let Asked { consumer, page } = asked;
    Ok(quarantine::list(&mut conn, consumer.as_deref(), page.before, page.rows()).await?)
}

/// A message and the beginning of its bytes.
///
/// # Errors
/// When there is none, or the caller is no operator.
pub async fn find(shared: &Shared, caller: &Caller, id: QuarantineId) -> Result<(Entry, Vec<u8>), ApiError> {
    found(shared, caller, id, SHOWN_BYTES_MAX).await
}

/// A message with all its bytes.
///
/// # Errors
/// When there is none, or the caller is no operator.
pub async fn whole(shared: &Shared, caller: &Caller, id: QuarantineId) -> Result<(Entry, Bytes), ApiError> {
    let (entry, payload) = found(shared, caller, id, WHOLE_BYTES_MAX).await?;
    Ok((entry, payload.into()))
}

async fn found(
    shared: &Shared,
    caller: &Caller,
    id: QuarantineId,
    limit: i32,
) -> Result<(Entry, Vec<u8>), ApiError> {
    caller.require(Scope::Admin)?;
    let mut conn = shared.pool.get().await?;
    let entry = quarantine::find(&mut conn, id).await?.ok_or_else(not_found)?;
    let payload = quarantine::payload(&mut conn, id, limit).await?.ok_or_else(not_found)?;
    Ok((entry, payload))
}

/// Publishes a message again, byte for byte, to the stream that it came from, under its id. Whoever has handled it before
/// knows it by that. When it is put aside again, that is a message of its own, and this one says so. With a key that came
/// before, only tells of it; of two requests with one key at once both may publish, and the broker keeps one of that.
///
/// # Errors
/// When the key came with another request, there is none, or the broker is away or still remembers the id: it would drop the
/// message as one that it has.
pub async fn replay(
    shared: &Shared,
    caller: &Caller,
    id: QuarantineId,
    key: Option<&IdempotencyKey>,
) -> Result<Done<Entry>, ApiError> {
    let (entry, payload) = whole(shared, caller, id).await?;
    let now = now();
    let once = Once::new(caller, key, "quarantine.replay", now);
    if key.is_some() && once.before(&mut *shared.pool.get().await?).await?.is_some() {
        return Ok(Done::Before(entry));
    }
    check_window(shared, &entry, now)?;
    let message_id = entry.message_id.clone().unwrap_or_else(|| entry.id.to_string());
    let message =
        Outgoing::again(&entry.stream, entry.subject.clone(), message_id, payload).ok_or_else(|| {
            ApiError::Conflict {
                code: "unknown_stream",
                pointer: None,
                detail: format!("nothing is published to the stream {}", entry.stream),
            }
        })?;
    let published = shared.bus.publisher().publish(message).await;
    published.map_err(|error| ApiError::Away(format!("it could not be published: {error}")))?;
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        if once.claim(conn).await?.is_some() {
            return quarantine::find(conn, id).await?.map(Done::Before).ok_or_else(gone);
        }
        quarantine::replayed(conn, id, now).await?;
        audit(conn, change(caller, now, "quarantine.replayed", &entry)).await?;
        once.made(conn, id.uuid()).await?;
        quarantine::find(conn, id).await?.map(Done::Now).ok_or_else(not_found)
    })
    .await
}

/// The broker stores one message of an id within its window; the message was published before it was put aside.
fn check_window(shared: &Shared, entry: &Entry, now: DateTime<Utc>) -> Result<(), ApiError> {
    let last = entry.replayed_at.map_or(entry.quarantined_at, |at| at.max(entry.quarantined_at));
    let window = TimeDelta::from_std(shared.duplicate_window).unwrap_or(TimeDelta::MAX);
    let left = window - (now - last);
    if left <= TimeDelta::zero() {
        return Ok(());
    }
    Err(ApiError::Conflict {
        code: "too_soon",
        pointer: None,
        detail: format!(
            "the broker still remembers it and would drop it as one that it has: try again in {} s",
            left.num_seconds() + 1
        ),
    })
}

/// Removes a message for good: its bytes are gone, and it cannot be published again.
///
/// # Errors
/// When there is none, or the caller is no operator.
pub async fn delete(shared: &Shared, caller: &Caller, id: QuarantineId) -> Result<(), ApiError> {
    caller.require(Scope::Admin)?;
    let mut conn = shared.pool.get().await?;
    let now = now();
    let entry = quarantine::find(&mut conn, id).await?.ok_or_else(not_found)?;
    if !quarantine::remove(&mut conn, id, now).await? {
        return Err(not_found());
    }
    audit(&mut conn, change(caller, now, "quarantine.removed", &entry)).await
}

fn change<'a>(caller: &'a Caller, now: DateTime<Utc>, action: &'a str, entry: &Entry) -> Change<'a> {
    let details = json!({
        "stream": entry.stream,
        "consumer": entry.consumer,
        "message_id": entry.message_id,
        "size_bytes": entry.size_bytes,
    });
    Change { caller, now, action, subject: entry.id.to_string(), details }
}

fn not_found() -> ApiError {
    ApiError::NotFound("message in quarantine")
}
