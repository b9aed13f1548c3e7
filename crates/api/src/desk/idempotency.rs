//! `Idempotency-Key`: who does not know whether a request arrived sends it again, and it is done once.
//!
//! What makes or starts something takes [`Once`] through these steps: it is asked whether the request was done [before](Once::before)
//! where finding out otherwise would cost time or refuse what was allowed the first time; the key is [claimed](Once::claim) in the
//! transaction that does it; and that ends with what was [made](Once::made). No answer is kept: a repeat is answered with
//! the thing as it is now, so nothing secret lies in the table. Of a request only a keyed fingerprint is kept.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use store::Connection;
use store::idempotency::{self, Claim, Claimed};
use webhook::Fingerprint;

use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// Longest key, in characters.
const KEY_CHARS_MAX: usize = 255;

/// The header, as errors name it.
const NAME: &str = "Idempotency-Key";

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// Says of an answer that its request was done before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What fingerprints of requests are for.
const PURPOSE: &[u8] = b"idempotency-key";

/// A request with a key of its sender's.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    key: String,
    /// Of method, path and body: with the sealing key of now, and with those before it.
    fingerprint: Fingerprint,
    earlier_fingerprints: Vec<Fingerprint>,
}

/// What a request led to.
#[derive(Debug, Clone)]
pub enum Done<T> {
    /// It was done.
    Now(T),
    /// It had been done before, to this.
    Before(T),
}

impl<T> Done<T> {
    /// What it led to, whenever.
    pub fn into_inner(self) -> T {
        match self {
            Self::Now(value) | Self::Before(value) => value,
        }
    }
}

impl IdempotencyKey {
    /// The key of a request with this body, if it has one.
    ///
    /// # Errors
    /// When it is empty, too long, or not of visible ASCII characters, or there are several.
    pub fn of(shared: &Shared, request: &HttpRequest, body: &[u8]) -> Result<Option<Self>, ApiError> {
        let mut values = request.headers().get_all(HEADER);
        let Some(value) = values.next() else { return Ok(None) };
        let key = value.to_str().unwrap_or_default();
        if key.is_empty() || key.len() > KEY_CHARS_MAX || values.next().is_some() {
            let detail = format!("must be 1 to {KEY_CHARS_MAX} visible ASCII characters, once");
            return Err(ApiError::field(NAME, "invalid", detail));
        }
        let mut asked = format!("{} {}\n", request.method(), request.uri()).into_bytes();
        asked.extend_from_slice(body);
        let mut fingerprints = shared.keyring.fingerprints(PURPOSE, &asked).into_iter();
        let fingerprint = fingerprints.next().expect("a keyring has a key that seals");
        let earlier_fingerprints = fingerprints.chain(unkeyed(body)).collect();
        Ok(Some(Self { key: key.to_owned(), fingerprint, earlier_fingerprints }))
    }
}

/// What releases before migration 16 kept of a body: whoever sent a request to one of them may send it again to this one.
fn unkeyed(body: &[u8]) -> Option<Fingerprint> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    if let Some(password) = value.get_mut("password") {
        *password = (!password.is_null()).into();
    }
    Some(Sha256::digest(value.to_string().as_bytes()).into())
}

/// Refuses a key where it would promise what is not kept: of what is done anew each time it is asked for.
///
/// # Errors
/// When the request has one; `detail` says what to do instead.
pub fn refuse(request: &HttpRequest, detail: &str) -> Result<(), ApiError> {
    match request.headers().contains_key(HEADER) {
        true => Err(ApiError::field(NAME, "not_supported", detail)),
        false => Ok(()),
    }
}

/// Something that is to be done once, if its request has a key.
#[derive(Clone, Copy)]
pub struct Once<'a> {
    claim: Option<Claim<'a>>,
    now: DateTime<Utc>,
}

impl<'a> Once<'a> {
    /// What `caller` asks for with `key`. A key may be used for each operation.
    pub fn new(
        caller: &Caller,
        key: Option<&'a IdempotencyKey>,
        operation: &'static str,
        now: DateTime<Utc>,
    ) -> Self {
        let claim = key.map(|key| Claim {
            workspace_id: caller.workspace_id,
            operation,
            key: &key.key,
            fingerprint: &key.fingerprint,
            earlier_fingerprints: &key.earlier_fingerprints,
        });
        Self { claim, now }
    }

    /// What the same request made before, if it did; one that is in hand is not seen.
    ///
    /// # Errors
    /// When the key came with another request.
    pub async fn before(&self, conn: &mut Connection) -> Result<Option<Uuid>, ApiError> {
        match self.claim {
            Some(claim) => told(idempotency::find(conn, claim, self.now).await?),
            None => Ok(None),
        }
    }

    /// Claims the key, first in the transaction that does what is asked for; tells what was made with it before. While
    /// another request with the key is in hand, it waits for how that ends.
    ///
    /// # Errors
    /// When the key came with another request.
    pub async fn claim(&self, conn: &mut Connection) -> Result<Option<Uuid>, ApiError> {
        match self.claim {
            Some(claim) => told(idempotency::claim(conn, claim, self.now).await?),
            None => Ok(None),
        }
    }

    /// Notes what was made, last in that transaction.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn made(&self, conn: &mut Connection, subject: Uuid) -> Result<(), ApiError> {
        if let Some(claim) = self.claim {
            idempotency::made(conn, claim, subject).await?;
        }
        Ok(())
    }
}

fn told(claimed: Claimed) -> Result<Option<Uuid>, ApiError> {
    match claimed {
        Claimed::New => Ok(None),
        Claimed::Before(subject) => Ok(Some(subject)),
        Claimed::OfAnother => Err(ApiError::Conflict {
            code: "idempotency_key_reused",
            pointer: None,
            detail:
                "this `Idempotency-Key` came with another request within the last 24 hours: use a new key"
                    .to_owned(),
        }),
    }
}

/// What the same request made before is not there any more.
pub fn gone() -> ApiError {
    ApiError::Conflict {
        code: "gone_since",
        pointer: None,
        detail: "what this `Idempotency-Key` made within the last 24 hours was removed since: use a new key to make another"
            .to_owned(),
    }
}
