//! What is wrong with a request that a receiver could not verify: its owner pastes what came, and reads what to mend.
//!
//! Beside what was pasted we know the endpoint's secrets, also those that have ended, and the bytes that were sent under
//! that `webhook-id`. So it can be told which of secret, bytes, clock and headers it is.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use model::secret::SigningSecret;
use serde_json::Value;

use crate::signature::{
    ID_HEADER, SIGNATURE_HEADER, Signed, TIMESTAMP_HEADER, TOLERANCE, digest_with, verify,
};

/// Bytes of a signature: SHA-256.
const SIGNATURE_BYTES: usize = 32;

/// What was pasted; a header that was left out is empty.
#[derive(Debug, Clone, Copy)]
pub struct Pasted<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signature: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// The secret that the receiver uses, if it was typed.
    pub secret: Option<&'a str>,
}

/// What is known of the endpoint.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Its secrets that sign, newest first.
    pub live: Vec<SigningSecret>,
    /// Its secrets that have ended.
    pub ended: Vec<SigningSecret>,
    /// What was sent under that id.
    pub sent: Option<Vec<u8>>,
}

/// One thing that was found. What names no cause of a failure is a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A signature matches: with the secret that was typed, else with one of the endpoint.
    Matches,
    /// There are several signatures, one for each live secret: one that matches is enough.
    Several(usize),
    /// White space around the body was left away: it is not part of it.
    BodyTrimmed,
    /// A header was left out.
    HeaderMissing(&'static str),
    /// `webhook-timestamp` is not a number of seconds; `true`: it looks like milliseconds.
    TimestampMalformed(bool),
    /// `webhook-signature` is not as it is sent.
    SignatureMalformed(SignatureFault),
    /// Older than a receiver should accept, by so many seconds.
    TooOld(u64),
    /// Newer than the clock here, by so many seconds.
    TooNew(u64),
    /// The secret that was typed is not one.
    SecretMalformed(SecretFault),
    /// The secret that was typed is none of the endpoint's.
    SecretForeign,
    /// The secret that was typed has ended.
    SecretEnded,
    /// The signature was made with the text of the secret as its key, instead of the bytes that its base64 means.
    SecretNotDecoded,
    /// The same JSON as was sent, in other bytes: it was parsed and written again before it was verified.
    BodyReserialised,
    /// Another body than was sent under this id.
    BodyOther,
    /// Nothing was sent to this endpoint under this id.
    IdUnknown,
    /// No signature matches, and no more can be told.
    NoMatch,
}

/// How a signature is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureFault {
    /// Nothing in it begins with `v1,`.
    Version,
    /// Hexadecimal instead of base64.
    Hex,
    /// Not the base64 of 32 bytes.
    Base64,
    /// Separated by something else than one space.
    Separator,
}

/// How a secret is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretFault {
    /// Without `whsec_`.
    Prefix,
    /// What follows is not base64 of 24 to 64 bytes.
    Base64,
}

impl Found {
    /// Whether it is a cause of a failure.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::Matches | Self::Several(_) | Self::BodyTrimmed)
    }
}

/// Says what is wrong with a request, as far as can be told; the most telling first.
pub fn check(pasted: &Pasted<'_>, known: &Known, now: DateTime<Utc>) -> Vec<Found> {
    let mut found = headers(pasted);
    let typed = pasted.secret.map(str::trim).filter(|typed| !typed.is_empty());
    let typed = match typed.map(read_secret) {
        None => None,
        Some(Ok(secret)) => Some(secret),
        Some(Err(fault)) => {
            found.push(Found::SecretMalformed(fault));
            None
        }
    };
    // what is missing or malformed cannot match
    if found.iter().any(|found| {
        matches!(found, Found::HeaderMissing(_) | Found::TimestampMalformed(_) | Found::SignatureMalformed(_))
    }) {
        return found;
    }
    found.extend(clock(pasted, now));
    found.extend(bytes_and_secret(pasted, known, typed.as_ref()));
    let several = pasted.signature.split(' ').filter(|entry| entry.starts_with("v1,")).count();
    found.extend((several > 1).then_some(Found::Several(several)));
    found
}

fn headers(pasted: &Pasted<'_>) -> Vec<Found> {
    let named =
        [(ID_HEADER, pasted.id), (TIMESTAMP_HEADER, pasted.timestamp), (SIGNATURE_HEADER, pasted.signature)];
    let mut found: Vec<Found> = named
        .iter()
        .filter(|(_, value)| value.is_empty())
        .map(|(name, _)| Found::HeaderMissing(name))
        .collect();
    if !pasted.timestamp.is_empty() {
        match pasted.timestamp.parse::<i64>() {
            Err(_) => found.push(Found::TimestampMalformed(false)),
            // seconds have ten digits until the year 2286
            Ok(_) if pasted.timestamp.len() >= 13 => found.push(Found::TimestampMalformed(true)),
            Ok(_) => {}
        }
    }
    if !pasted.signature.is_empty() {
        found.extend(signature_fault(pasted.signature).map(Found::SignatureMalformed));
    }
    found
}

fn signature_fault(signature: &str) -> Option<SignatureFault> {
    let is_digest = |text: &str| STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == SIGNATURE_BYTES);
    let is_hex =
        |text: &str| text.len() == 2 * SIGNATURE_BYTES && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut entries = signature.split(' ').filter_map(|entry| entry.strip_prefix("v1,"));
    let values: Vec<&str> = entries.by_ref().collect();
    if values.iter().any(|value| is_digest(value)) {
        return None;
    }
    let Some(first) = values.first() else {
        let is_bare_hex = is_hex(signature.trim_start_matches("sha256="));
        return Some(if is_bare_hex { SignatureFault::Hex } else { SignatureFault::Version });
    };
    Some(match first {
        value if is_hex(value) => SignatureFault::Hex,
        value if value.contains("v1") || value.contains([',', ';', '\n']) => SignatureFault::Separator,
        _ => SignatureFault::Base64,
    })
}

fn read_secret(typed: &str) -> Result<SigningSecret, SecretFault> {
    if !typed.starts_with("whsec_") {
        return Err(SecretFault::Prefix);
    }
    typed.parse().map_err(|_| SecretFault::Base64)
}

fn clock(pasted: &Pasted<'_>, now: DateTime<Utc>) -> Option<Found> {
    let seconds: i64 = pasted.timestamp.parse().ok()?;
    let age = now.timestamp().saturating_sub(seconds);
    let is_far = age.unsigned_abs() > TOLERANCE.as_secs();
    is_far
        .then(|| if age > 0 { Found::TooOld(age.unsigned_abs()) } else { Found::TooNew(age.unsigned_abs()) })
}

/// Which secret and which bytes the signature was made with.
fn bytes_and_secret(pasted: &Pasted<'_>, known: &Known, typed: Option<&SigningSecret>) -> Vec<Found> {
    let trimmed = pasted.body.trim_ascii();
    let matches = |secret: &SigningSecret, body: &[u8]| signed_by(pasted, secret, body);
    let candidates: Vec<&SigningSecret> = typed.into_iter().chain(&known.live).chain(&known.ended).collect();
    let of_body = |body: &[u8]| candidates.iter().copied().find(|secret| matches(secret, body));
    let (secret, body_found) = match (of_body(pasted.body), of_body(trimmed), known.sent.as_deref()) {
        (Some(secret), ..) => (Some(secret), None),
        (None, Some(secret), _) => (Some(secret), Some(Found::BodyTrimmed)),
        (None, None, Some(sent)) => (of_body(sent), Some(how_body_differs(trimmed, sent))),
        (None, None, None) => (None, None),
    };
    let Some(secret) = secret else { return unmatched(pasted, known, &candidates, body_found) };
    let mut found: Vec<Found> = body_found.into_iter().collect();
    if typed.is_some_and(|typed| typed != secret) {
        let typed_ended = typed.is_some_and(|typed| known.ended.contains(typed));
        found.push(if typed_ended { Found::SecretEnded } else { Found::SecretForeign });
    } else if !known.live.contains(secret) && known.ended.contains(secret) {
        found.push(Found::SecretEnded);
    }
    if !found.iter().any(Found::is_fault) {
        found.insert(0, Found::Matches);
    }
    found
}

/// No secret that is known made the signature.
fn unmatched(
    pasted: &Pasted<'_>,
    known: &Known,
    candidates: &[&SigningSecret],
    body_found: Option<Found>,
) -> Vec<Found> {
    let bodies = [Some(pasted.body), Some(pasted.body.trim_ascii()), known.sent.as_deref()];
    let with_text = |secret: &SigningSecret| {
        let text = secret.reveal();
        let keys = [text.as_bytes(), text.trim_start_matches("whsec_").as_bytes()];
        bodies.iter().flatten().any(|body| {
            keys.iter().any(|key| {
                let digest = STANDARD.encode(digest_with(key, pasted.id, pasted.timestamp, body));
                pasted.signature.split(' ').any(|entry| entry.strip_prefix("v1,") == Some(&digest))
            })
        })
    };
    if candidates.iter().any(|secret| with_text(secret)) {
        return vec![Found::SecretNotDecoded];
    }
    let mut found: Vec<Found> = body_found.into_iter().filter(Found::is_fault).collect();
    found.extend(known.sent.is_none().then_some(Found::IdUnknown));
    found.push(Found::NoMatch);
    found
}

fn how_body_differs(pasted: &[u8], sent: &[u8]) -> Found {
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    match (json(pasted), json(sent)) {
        _ if pasted == sent => Found::BodyTrimmed,
        (Some(pasted), Some(sent)) if pasted == sent => Found::BodyReserialised,
        _ => Found::BodyOther,
    }
}

/// Whether the signature was made with this secret over this body, whatever the clock says.
fn signed_by(pasted: &Pasted<'_>, secret: &SigningSecret, body: &[u8]) -> bool {
    let signed = Signed { id: pasted.id, timestamp: pasted.timestamp, signature: pasted.signature, body };
    let Ok(at) = pasted.timestamp.parse() else { return false };
    let Some(at) = DateTime::from_timestamp(at, 0) else { return false };
    verify(secret, &signed, at, Duration::ZERO).is_ok()
}

#[cfg(test)]
#[path = "checkup_tests.rs"]
mod tests;
