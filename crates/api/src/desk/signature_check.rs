//! Whether requests verify: one that its receiver cannot verify, and what an attempt sent.

use chrono::{DateTime, Utc};
use serde_json::Value;

use model::secret::SigningSecret;
use model::{EndpointId, EventId};
use store::delivery_log::{self, LoggedAttempt, LoggedDelivery};
use store::secrets;
use webhook::asymmetric::{self, PublicKey, SigningKey};
use webhook::checkup::{self, Found, Judged, Known, Pasted};
use webhook::signature::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};

use super::{endpoints, now, sent, signing_keys};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// Secrets that have ended and are still recognised.
const ENDED_MAX: i64 = 10;

/// What a receiver pasted that it cannot verify.
pub struct Received {
    /// `webhook-id`, or nothing.
    pub id: String,
    /// `webhook-timestamp`, or nothing.
    pub timestamp: String,
    /// `webhook-signature`, or nothing.
    pub signature: String,
    /// The body.
    pub body: Vec<u8>,
    /// The secret or public key it uses; never kept, logged or answered.
    pub secret: Option<SigningText>,
}

/// A secret as it was typed. It has no `Debug`.
pub struct SigningText(pub String);

/// What was found out about a request.
pub struct CheckedRequest {
    /// What is wrong with it.
    pub found: Vec<Found>,
    /// What each of its signatures is worth.
    pub signatures: Vec<Judged>,
}

/// Says what is wrong with a request that its receiver cannot verify.
///
/// # Errors
/// When there is no such endpoint, or the database is away.
pub async fn check(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    received: &Received,
) -> Result<CheckedRequest, ApiError> {
    let endpoint = endpoints::find(shared, caller, id).await?;
    let now = now();
    let mut known = known(shared, caller, id, now).await?;
    known.signs_v1a = endpoint.options.signs_v1a;
    if let Ok(event_id) = received.id.parse::<EventId>() {
        let mut conn = shared.pool.get().await?;
        let delivery = delivery_log::of_event(&mut conn, caller.workspace_id, id, event_id).await?;
        drop(conn);
        if let Some(delivery) = delivery {
            known.sent = sent::body(shared, caller, &delivery).await?;
        }
    }
    let pasted = Pasted {
        id: &received.id,
        timestamp: &received.timestamp,
        signature: &received.signature,
        body: &received.body,
        secret: received.secret.as_ref().map(|secret| secret.0.as_str()),
    };
    let found = checkup::check(&pasted, &known, now);
    Ok(CheckedRequest { found, signatures: checkup::each_signature(&pasted, &known) })
}

/// The secrets of an endpoint and their keys, to compare with: nobody is shown a secret.
pub(super) async fn known(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    now: DateTime<Utc>,
) -> Result<Known, ApiError> {
    let mut conn = shared.pool.get().await?;
    let live = secrets::list_live(&mut conn, caller.workspace_id, id, now).await?;
    let ended = secrets::list_ended(&mut conn, caller.workspace_id, id, now, ENDED_MAX).await?;
    // one that was sealed with a key that is gone is passed over
    let open = |kept: &[secrets::Secret]| -> Vec<SigningSecret> {
        kept.iter()
            .filter_map(|kept| shared.keyring.open_secret(caller.workspace_id, id, &kept.sealed).ok())
            .collect()
    };
    // also of an endpoint that signs with none any more: what it was sent before is still judged
    let public = |kept: &[secrets::Secret]| -> Vec<PublicKey> {
        let sealed = kept.iter().filter_map(|kept| kept.key_sealed.as_deref());
        sealed
            .filter_map(|sealed| SigningKey::open(&shared.keyring, caller.workspace_id, id, sealed).ok())
            .map(|key| key.public())
            .collect()
    };
    Ok(Known {
        live: open(&live),
        ended: open(&ended),
        keys: public(&live),
        keys_ended: public(&ended),
        ..Known::default()
    })
}

/// The three headers of an attempt, and whether they verify with a stored secret.
pub struct CheckedSignature {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: String,
    /// `webhook-signature`.
    pub signature: String,
    /// Whether they verify.
    pub verifies: bool,
    /// Whether these are the headers that were kept. Of a success at first try none are: they are made again, from the
    /// moment of its attempt.
    pub is_kept: bool,
}

/// Checks what an attempt sent against the stored secrets; `None` before there was one, or when its body is gone.
///
/// # Errors
/// When the database is away.
pub async fn check_attempt(
    shared: &Shared,
    caller: &Caller,
    delivery: &LoggedDelivery,
    attempt: &LoggedAttempt,
) -> Result<Option<CheckedSignature>, ApiError> {
    let Some(body) = sent::body(shared, caller, delivery).await? else { return Ok(None) };
    let at = attempt.started_at;
    let known = known(shared, caller, delivery.endpoint_id, at).await?;
    let kept = |name: &str| header(&attempt.request_headers, name);
    let (id, timestamp, signature, is_kept) = match (kept(TIMESTAMP_HEADER), kept(SIGNATURE_HEADER)) {
        (Some(timestamp), Some(signature)) => {
            (kept(ID_HEADER).unwrap_or_default(), timestamp, signature, true)
        }
        _ => {
            let id = delivery.event_id.to_string();
            let signature =
                signature(shared, caller, delivery.endpoint_id, &known.live, &id, at, &body).await?;
            (id, at.timestamp().to_string(), signature, false)
        }
    };
    let pasted = Pasted { id: &id, timestamp: &timestamp, signature: &signature, body: &body, secret: None };
    let verifies = checkup::check(&pasted, &known, at).contains(&Found::Matches);
    Ok(Some(CheckedSignature { id, timestamp, signature, verifies, is_kept }))
}

/// The value of `webhook-signature`, as `deliver` makes it at that moment.
pub(super) async fn signature(
    shared: &Shared,
    caller: &Caller,
    endpoint_id: EndpointId,
    live: &[SigningSecret],
    id: &str,
    at: DateTime<Utc>,
    body: &[u8],
) -> Result<String, ApiError> {
    let mut value = sign(live, id, at.timestamp(), body);
    let keys = signing_keys::open_live(shared, caller, endpoint_id, at).await?;
    asymmetric::append(&keys, id, at.timestamp(), body, &mut value);
    Ok(value)
}

/// The value of a header that is kept as a pair.
fn header(headers: &Value, name: &str) -> Option<String> {
    sent::pairs(headers)
        .into_iter()
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}
