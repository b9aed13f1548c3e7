//! `/v1/quarantine`: messages that nobody could handle, for whoever looks after the installation.

use std::fmt::Write as _;

use actix_web::http::header;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use serde::Serialize;
use utoipa::ToSchema;

use model::QuarantineId;
use store::quarantine::Entry;

use super::{done, time};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::{Query, path_id};
use crate::desk::idempotency::IdempotencyKey;
use crate::desk::quarantine::{self, Asked, QuarantineQuery};
use crate::error::{ApiError, Problem};
use crate::page::Page;

/// A message that was put aside.
#[derive(Serialize, ToSchema)]
pub struct QuarantinedView {
    #[schema(example = "qua_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    /// The stream that it stood on: `CLICKS`, `ENRICHED` or `EVENTS`.
    stream: String,
    stream_sequence: i64,
    /// `Nats-Msg-Id`: of a click, an event, ….
    message_id: Option<String>,
    /// Who could not handle it.
    consumer: String,
    subject: String,
    /// Why: what could not be read, or what the handler said when it panicked.
    reason: String,
    size_bytes: u64,
    quarantined_at: String,
    /// When it was last published again.
    replayed_at: Option<String>,
    /// When it was put aside again after that.
    again_at: Option<String>,
    /// Whether it came here by being published again.
    is_replay: bool,
}

impl From<Entry> for QuarantinedView {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id.to_string(),
            stream: entry.stream,
            stream_sequence: entry.stream_sequence,
            message_id: entry.message_id,
            consumer: entry.consumer,
            subject: entry.subject,
            reason: entry.reason,
            size_bytes: entry.size_bytes,
            quarantined_at: time(entry.quarantined_at),
            replayed_at: entry.replayed_at.map(time),
            again_at: entry.again_at.map(time),
            is_replay: entry.is_replay,
        }
    }
}

/// A message with the beginning of its bytes.
#[derive(Serialize, ToSchema)]
struct QuarantinedWithBytes {
    #[serde(flatten)]
    message: QuarantinedView,
    /// The first 4096 bytes.
    #[schema(example = "0a1a636c6b5f")]
    hex: String,
    /// The same as text; what is no character is `.`.
    text: String,
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Bytes as text for people; what is no printable character is `.`.
pub fn printable(bytes: &[u8]) -> String {
    let dot = |c: char| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '.' } else { c };
    String::from_utf8_lossy(bytes).chars().map(dot).collect()
}

/// List what was put aside, newest first
///
/// Across workspaces: what cannot be read does not say whose it is. A key holds `admin` only by name, not with `*`.
#[utoipa::path(tag = "quarantine", params(QuarantineQuery), security(("api_key" = ["admin"])),
    responses((status = 200, body = Page<QuarantinedView>),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/quarantine")]
pub async fn list_quarantine(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Admin)?;
    let asked: Asked = query.read()?;
    let rows = quarantine::list(&shared, &caller, &asked).await?;
    Ok(HttpResponse::Ok().json(asked.page.page(rows, |entry| entry.id, QuarantinedView::from)))
}

/// Show what was put aside with the beginning of its bytes
#[utoipa::path(tag = "quarantine", params(("id" = String, Path)), security(("api_key" = ["admin"])),
    responses((status = 200, body = QuarantinedWithBytes),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/quarantine/{id}")]
pub async fn show_quarantined(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Admin)?;
    let (entry, bytes) = quarantine::find(&shared, &caller, quarantine_id(&id)?).await?;
    let (hex, text) = (hex(&bytes), printable(&bytes));
    Ok(HttpResponse::Ok().json(QuarantinedWithBytes { message: entry.into(), hex, text }))
}

/// Download the bytes of what was put aside
#[utoipa::path(tag = "quarantine", params(("id" = String, Path)), security(("api_key" = ["admin"])),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/quarantine/{id}/payload")]
pub async fn download_quarantined(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Admin)?;
    download(&shared, &caller, quarantine_id(&id)?).await
}

/// The bytes of a message as a file.
///
/// # Errors
/// When there is none, or the caller is no operator.
pub async fn download(shared: &Shared, caller: &Caller, id: QuarantineId) -> Result<HttpResponse, ApiError> {
    let (entry, bytes) = quarantine::whole(shared, caller, id).await?;
    let file = format!("attachment; filename=\"{}.bin\"", entry.id);
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/octet-stream"))
        .insert_header((header::CONTENT_DISPOSITION, file))
        .body(bytes))
}

/// Publish what was put aside again
///
/// Byte for byte, to the stream that it came from and under its id: whoever has handled it before knows it by that. Mend what
/// could not read it first; what is put aside again shows as `again_at`. The broker drops a message whose id it remembers
/// (two minutes): until then the answer is `too_soon`.
#[utoipa::path(tag = "quarantine", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), security(("api_key" = ["admin"])),
    responses((status = 202, body = QuarantinedView),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/quarantine/{id}/replay")]
pub async fn replay_quarantined(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Admin)?;
    let key = IdempotencyKey::of(&shared, &request, &[])?;
    let replayed = quarantine::replay(&shared, &caller, quarantine_id(&id)?, key.as_ref()).await?;
    done(replayed, |entry| Ok(HttpResponse::Accepted().json(QuarantinedView::from(entry))))
}

/// Remove what was put aside, for good
#[utoipa::path(tag = "quarantine", params(("id" = String, Path)), security(("api_key" = ["admin"])),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[delete("/v1/quarantine/{id}")]
pub async fn delete_quarantined(
    caller: Caller,
    id: Path<String>,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Admin)?;
    quarantine::delete(&shared, &caller, quarantine_id(&id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The id of a message in a path.
pub fn quarantine_id(text: &str) -> Result<QuarantineId, ApiError> {
    path_id(text, "message in quarantine")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_hexadecimal_and_as_text() {
        assert_eq!(hex(b"\x00a\xff"), "0061ff");
        assert_eq!(printable("a\0é\n<b>\u{1b}".as_bytes()), "a.é.<b>.");
        assert_eq!(printable(b"\xffx"), ".x");
    }
}
