//! What is wrong with a request that a receiver could not verify: its owner pastes what came, and reads what to mend.
//!
//! Beside what was pasted we know the endpoint's secrets and keys, also those that have ended, and the bytes that were sent
//! under that `webhook-id`. So it can be told which of secret, bytes, clock and headers it is, and of each signature what it is
//! worth.

mod signatures;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use model::secret::SigningSecret;
use serde_json::Value;

use self::signatures::{SIGNATURES_MAX, Verifiers, values};
use crate::asymmetric::PublicKey;
use crate::signature::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, TOLERANCE, digest_with};

pub use self::signatures::{Judged, Ruling, Version, each_signature};

/// Hexadecimal digits of a signature of `v1`, for who writes them so.
const HEX_DIGITS: usize = 64;

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
    /// The secret or the public key that the receiver uses, if it was typed.
    pub secret: Option<&'a str>,
}

/// What is known of the endpoint.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Its secrets that sign, newest first.
    pub live: Vec<SigningSecret>,
    /// Its secrets that have ended.
    pub ended: Vec<SigningSecret>,
    /// What verifies the asymmetric signatures that go with those that sign, newest first.
    pub keys: Vec<PublicKey>,
    /// What verified those of secrets that have ended.
    pub keys_ended: Vec<PublicKey>,
    /// Whether its webhooks carry asymmetric signatures now.
    pub signs_v1a: bool,
    /// What was sent under that id.
    pub sent: Option<Vec<u8>>,
}

/// One thing that was found. What names no cause of a failure is a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A signature matches: with the secret that was typed, else with one of the endpoint.
    Matches,
    /// There are several signatures of a version, one for each live secret: one that matches is enough.
    Several(usize),
    /// White space around the body was left away: it is not part of it.
    BodyTrimmed,
    /// A header was left out.
    HeaderMissing(&'static str),
    /// `webhook-timestamp` is not a number of seconds; `true`: it looks like milliseconds.
    TimestampMalformed(bool),
    /// `webhook-signature` is not as it is sent.
    SignatureMalformed(SignatureFault),
    /// The header has one version of the two.
    OneVersion(OneVersion),
    /// Of two versions one was made by the endpoint's secret or key, and this one was not.
    VersionWrong(Version),
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
    /// The public key that was typed is none of the endpoint's.
    KeyForeign,
    /// The public key that was typed has ended, or verifies what one made that has.
    KeyEnded,
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

/// A header has one version of signatures alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OneVersion {
    /// There is `v1a` alone: whoever verifies with the secret finds nothing. We never send it so.
    Asymmetric,
    /// There is `v1` alone, though the endpoint's webhooks carry `v1a`. Whoever verifies with the secret needs no more.
    Symmetric,
    /// The public key was typed, and there is no `v1a`, though the endpoint's webhooks carry it.
    AsymmetricMissing,
    /// The public key was typed, and the endpoint's webhooks carry no `v1a`.
    AsymmetricNotChosen,
}

/// How a signature is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureFault {
    /// Nothing in it begins with `v1,` or `v1a,`.
    Version,
    /// Hexadecimal instead of base64.
    Hex,
    /// Not the base64 of 32 bytes.
    Base64,
    /// There is only `v1a`, and not with the base64 of 64 bytes.
    Asymmetric,
    /// Separated by something else than one space.
    Separator,
}

/// How a secret is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretFault {
    /// Without `whsec_` or `whpk_`.
    Prefix,
    /// What follows `whsec_` is not base64 of 24 to 64 bytes.
    Base64,
    /// What follows `whpk_` is not base64 of 32 bytes.
    PublicKey,
}

impl Found {
    /// Whether it is a cause of a failure.
    pub fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::Matches | Self::Several(_) | Self::BodyTrimmed | Self::OneVersion(OneVersion::Symmetric)
        )
    }
}

/// What the receiver verifies with.
#[derive(Default)]
enum Typed {
    /// It was not said.
    #[default]
    Nothing,
    Secret(SigningSecret),
    Key(PublicKey),
}

impl Typed {
    fn of(pasted: &Pasted<'_>) -> Result<Self, SecretFault> {
        let typed = pasted.secret.unwrap_or_default().trim();
        if typed.is_empty() {
            Ok(Self::Nothing)
        } else if typed.starts_with("whsec_") {
            typed.parse().map(Self::Secret).map_err(|_| SecretFault::Base64)
        } else if typed.starts_with("whpk_") {
            typed.parse().map(Self::Key).map_err(|_| SecretFault::PublicKey)
        } else {
            Err(SecretFault::Prefix)
        }
    }

    fn secret(&self) -> Option<&SigningSecret> {
        if let Self::Secret(secret) = self { Some(secret) } else { None }
    }

    fn key(&self) -> Option<&PublicKey> {
        if let Self::Key(key) = self { Some(key) } else { None }
    }
}

/// Says what is wrong with a request, as far as can be told; the most telling first.
pub fn check(pasted: &Pasted<'_>, known: &Known, now: DateTime<Utc>) -> Vec<Found> {
    let mut found = headers(pasted);
    let typed = Typed::of(pasted).unwrap_or_else(|fault| {
        found.push(Found::SecretMalformed(fault));
        Typed::Nothing
    });
    // what is missing or malformed cannot match
    if found.iter().any(|found| {
        matches!(found, Found::HeaderMissing(_) | Found::TimestampMalformed(_) | Found::SignatureMalformed(_))
    }) {
        return found;
    }
    found.extend(clock(pasted, now));
    found.extend(of_versions(pasted, known, &typed));
    let count = |version| values(pasted.signature, version).count();
    let several = count(Version::V1).max(count(Version::V1a));
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
    let is_hex = |text: &str| text.len() == HEX_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
    let has_whole = |version: Version| values(signature, version).any(|value| version.is_whole(value));
    if has_whole(Version::V1) || has_whole(Version::V1a) {
        return None;
    }
    let symmetric = values(signature, Version::V1).next();
    let Some(first) = symmetric.or_else(|| values(signature, Version::V1a).next()) else {
        let is_bare_hex = is_hex(signature.trim_start_matches("sha256="));
        return Some(if is_bare_hex { SignatureFault::Hex } else { SignatureFault::Version });
    };
    Some(match first {
        value if is_hex(value) => SignatureFault::Hex,
        value if value.contains([',', ';', '\n']) => SignatureFault::Separator,
        _ if symmetric.is_none() => SignatureFault::Asymmetric,
        _ => SignatureFault::Base64,
    })
}

fn clock(pasted: &Pasted<'_>, now: DateTime<Utc>) -> Option<Found> {
    let seconds: i64 = pasted.timestamp.parse().ok()?;
    let age = now.timestamp().saturating_sub(seconds);
    let is_far = age.unsigned_abs() > TOLERANCE.as_secs();
    is_far
        .then(|| if age > 0 { Found::TooOld(age.unsigned_abs()) } else { Found::TooNew(age.unsigned_abs()) })
}

/// What the versions say that the receiver may verify, which is that of what was typed, or either.
fn of_versions(pasted: &Pasted<'_>, known: &Known, typed: &Typed) -> Vec<Found> {
    let has = |version| values(pasted.signature, version).next().is_some();
    let (has_v1, has_v1a) = (has(Version::V1), has(Version::V1a));
    let v1 = (has_v1 && typed.key().is_none()).then(|| of_secrets(pasted, known, typed.secret()));
    let v1a = (has_v1a && typed.secret().is_none()).then(|| of_keys(pasted, known, typed.key()));
    let mut found = match (v1, v1a) {
        (Some(v1), Some(v1a)) => of_both(v1, v1a),
        (one, other) => one.or(other).unwrap_or_default(),
    };
    let one_version = match typed {
        Typed::Nothing | Typed::Secret(_) if !has_v1 => Some(OneVersion::Asymmetric),
        Typed::Nothing if !has_v1a && known.signs_v1a => Some(OneVersion::Symmetric),
        Typed::Key(_) if !has_v1a && known.signs_v1a => Some(OneVersion::AsymmetricMissing),
        Typed::Key(_) if !has_v1a => Some(OneVersion::AsymmetricNotChosen),
        _ => None,
    };
    found.extend(one_version.map(Found::OneVersion));
    found
}

/// What is to be said where either version may be what the receiver verifies.
fn of_both(mut v1: Vec<Found>, mut v1a: Vec<Found>) -> Vec<Found> {
    match (v1.contains(&Found::NoMatch), v1a.contains(&Found::NoMatch)) {
        (true, false) => {
            v1a.push(Found::VersionWrong(Version::V1));
            v1a
        }
        (false, true) => {
            v1.push(Found::VersionWrong(Version::V1a));
            v1
        }
        _ => v1,
    }
}

/// Which secret and which bytes the signatures of `v1` were made with.
fn of_secrets(pasted: &Pasted<'_>, known: &Known, typed: Option<&SigningSecret>) -> Vec<Found> {
    let found = Verifiers::secrets(known).find(pasted, known.sent.as_deref(), typed);
    found.unwrap_or_else(|| match is_by_text(pasted, known, typed) {
        true => vec![Found::SecretNotDecoded],
        false => unmatched(pasted, known),
    })
}

/// The same of `v1a`.
fn of_keys(pasted: &Pasted<'_>, known: &Known, typed: Option<&PublicKey>) -> Vec<Found> {
    let entries = pasted.signature.split(' ').filter(|entry| entry.starts_with("v1a,"));
    let first: Vec<&str> = entries.take(SIGNATURES_MAX).collect();
    let first = first.join(" ");
    let found =
        Verifiers::keys(known).find(&Pasted { signature: &first, ..*pasted }, known.sent.as_deref(), typed);
    found.unwrap_or_else(|| unmatched(pasted, known))
}

/// Whether a signature was made with the text of a secret, instead of the bytes that it means.
fn is_by_text(pasted: &Pasted<'_>, known: &Known, typed: Option<&SigningSecret>) -> bool {
    let bodies = [Some(pasted.body), Some(pasted.body.trim_ascii()), known.sent.as_deref()];
    let mut secrets = typed.into_iter().chain(&known.live).chain(&known.ended);
    secrets.any(|secret| {
        let text = secret.reveal();
        let keys = [text.as_bytes(), text.trim_start_matches("whsec_").as_bytes()];
        bodies.iter().flatten().any(|body| {
            keys.iter().any(|key| {
                let digest = STANDARD.encode(digest_with(key, pasted.id, pasted.timestamp, body));
                values(pasted.signature, Version::V1).any(|value| value == digest)
            })
        })
    })
}

/// Nothing that is known made a signature.
fn unmatched(pasted: &Pasted<'_>, known: &Known) -> Vec<Found> {
    let body_found = known.sent.as_deref().map(|sent| how_body_differs(pasted.body.trim_ascii(), sent));
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

#[cfg(test)]
mod tests;
