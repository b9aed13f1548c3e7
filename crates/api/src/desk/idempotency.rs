//! `Idempotency-Key`: who does not know whether a request arrived sends it again, and it is done once.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use store::Connection;
use store::idempotency::{self, Claim, Claimed};

use crate::auth::Caller;
use crate::body::Body;
use crate::error::ApiError;

/// Longest key, in characters.
pub const KEY_CHARS_MAX: usize = 255;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// Says of an answer that its request was done before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A request with a key of its sender's.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    key: String,
    fingerprint: [u8; 32],
}

/// What a request led to.
#[derive(Debug, Clone)]
pub enum Done<T> {
    /// It was done.
    Now(T),
    /// It had been done before, to this.
    Before(T),
}

impl IdempotencyKey {
    /// The key of a request, if it has one.
    ///
    /// # Errors
    /// When it is empty, too long, or not of visible ASCII characters.
    pub fn of(request: &HttpRequest, body: &Body) -> Result<Option<Self>, ApiError> {
        let Some(value) = request.headers().get(HEADER) else { return Ok(None) };
        let key = value.to_str().unwrap_or_default();
        if key.is_empty() || key.len() > KEY_CHARS_MAX {
            let detail = format!("must be 1 to {KEY_CHARS_MAX} visible ASCII characters");
            return Err(ApiError::field("Idempotency-Key", "invalid", detail));
        }
        Ok(Some(Self { key: key.to_owned(), fingerprint: body.fingerprint() }))
    }

    /// Claims the key for what is about to be made, in the transaction that makes it; tells what was made with it before.
    ///
    /// # Errors
    /// When the key came with another body.
    pub async fn claim(
        &self,
        conn: &mut Connection,
        caller: &Caller,
        operation: &str,
        subject: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Option<Uuid>, ApiError> {
        let claim = Claim {
            workspace_id: caller.workspace_id,
            operation,
            key: &self.key,
            fingerprint: &self.fingerprint,
            subject,
        };
        match idempotency::claim(conn, claim, now).await? {
            Claimed::New => Ok(None),
            Claimed::Before(subject) => Ok(Some(subject)),
            Claimed::OfAnother => Err(ApiError::Conflict {
                code: "idempotency_key_reused",
                pointer: None,
                detail:
                    "this `Idempotency-Key` came with another body within the last 24 hours: use a new key"
                        .to_owned(),
            }),
        }
    }
}
