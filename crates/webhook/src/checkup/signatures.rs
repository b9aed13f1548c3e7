//! Each signature of a header by itself: its version, what made it, and over which bytes.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use model::secret::SigningSecret;

use super::{Found, Known, Pasted, Typed, headers, how_body_differs};
use crate::asymmetric::{self, PublicKey};
use crate::signature::{Signed, VerifyError, verify};

/// Most signatures that are looked at one by one: a header of ours has one of each version for each secret that signs.
pub(super) const SIGNATURES_MAX: usize = 10;

/// Versions of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HMAC with the secret.
    V1,
    /// Ed25519, for who has the public key.
    V1a,
}

impl Version {
    /// The word in the header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }

    /// Bytes of a signature: SHA-256, or ed25519.
    const fn bytes(self) -> usize {
        match self {
            Self::V1 => 32,
            Self::V1a => 64,
        }
    }

    /// Whether a value is as long as one of this version.
    pub(super) fn is_whole(self, value: &str) -> bool {
        STANDARD.decode(value).is_ok_and(|bytes| bytes.len() == self.bytes())
    }

    /// The version of an entry of the header, and what follows it.
    fn of(entry: &str) -> Option<(Self, &str)> {
        let (word, value) = entry.split_once(',')?;
        let version = [Self::V1, Self::V1a].into_iter().find(|version| version.as_str() == word)?;
        Some((version, value))
    }
}

/// The values of one version in a header.
pub(super) fn values(signature: &str, version: Version) -> impl Iterator<Item = &str> {
    let entries = signature.split(' ').filter_map(Version::of);
    entries.filter(move |(found, _)| *found == version).map(|(_, value)| value)
}

/// A signature that stands in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// Its version, if it has one that is known.
    pub version: Option<Version>,
    /// What it is worth.
    pub ruling: Ruling,
}

/// What a signature is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// A secret or key that signs now made it, or the one that was typed, over this body.
    Right,
    /// A secret or key made it that has ended.
    Ended,
    /// It was made over what was sent, and not over this body.
    OtherBody,
    /// No secret or key of the endpoint made it.
    Wrong,
    /// It is shorter or longer than signatures of its version are.
    Malformed,
    /// Its version is not known: it is to be passed over.
    Unknown,
}

/// What each signature of the header is worth; of more than a header of ours has, the first ones. Of headers that cannot be read,
/// nothing.
pub fn each_signature(pasted: &Pasted<'_>, known: &Known) -> Vec<Judged> {
    let is_unreadable =
        |found: &Found| matches!(found, Found::HeaderMissing(_) | Found::TimestampMalformed(_));
    if headers(pasted).iter().any(is_unreadable) {
        return Vec::new();
    }
    let typed = Typed::of(pasted).unwrap_or_default();
    let sent = known.sent.as_deref();
    let judged = |entry| {
        let alone = Pasted { signature: entry, ..*pasted };
        let Some((version, value)) = Version::of(entry) else {
            return Judged { version: None, ruling: Ruling::Unknown };
        };
        let ruling = match version {
            _ if !version.is_whole(value) => Ruling::Malformed,
            Version::V1 => Verifiers::secrets(known).ruling(&alone, sent, typed.secret()),
            Version::V1a => Verifiers::keys(known).ruling(&alone, sent, typed.key()),
        };
        Judged { version: Some(version), ruling }
    };
    pasted.signature.split(' ').filter(|entry| !entry.is_empty()).take(SIGNATURES_MAX).map(judged).collect()
}

/// What an endpoint's signatures of one version are verified with.
pub(super) struct Verifiers<'a, T> {
    /// Of those that sign now.
    live: &'a [T],
    /// Of those that have ended.
    ended: &'a [T],
    /// Whether one made a signature of the header over this body.
    is_by: fn(&Pasted<'_>, &T, &[u8]) -> bool,
    /// What is said when what was typed is none of these.
    foreign: Found,
    /// What is said when it has ended.
    gone: Found,
}

impl<'a> Verifiers<'a, SigningSecret> {
    /// Of `v1`.
    pub(super) fn secrets(known: &'a Known) -> Self {
        let (live, ended) = (known.live.as_slice(), known.ended.as_slice());
        Self { live, ended, is_by: is_by_secret, foreign: Found::SecretForeign, gone: Found::SecretEnded }
    }
}

impl<'a> Verifiers<'a, PublicKey> {
    /// Of `v1a`.
    pub(super) fn keys(known: &'a Known) -> Self {
        let (live, ended) = (known.keys.as_slice(), known.keys_ended.as_slice());
        Self { live, ended, is_by: is_by_key, foreign: Found::KeyForeign, gone: Found::KeyEnded }
    }
}

impl<T: PartialEq> Verifiers<'_, T> {
    /// What is to be said of a header that one of them made, or what was typed; `None`: none did.
    pub(super) fn find(
        &self,
        pasted: &Pasted<'_>,
        sent: Option<&[u8]>,
        typed: Option<&T>,
    ) -> Option<Vec<Found>> {
        let trimmed = pasted.body.trim_ascii();
        let of_body = |body: &[u8]| {
            let mut candidates = typed.into_iter().chain(self.live).chain(self.ended);
            candidates.find(|one| (self.is_by)(pasted, one, body))
        };
        let (one, body_found) = if let Some(one) = of_body(pasted.body) {
            (one, None)
        } else if let Some(one) = of_body(trimmed) {
            (one, Some(Found::BodyTrimmed))
        } else {
            let sent = sent?;
            (of_body(sent)?, Some(how_body_differs(trimmed, sent)))
        };
        let mut found: Vec<Found> = body_found.into_iter().collect();
        if let Some(typed) = typed.filter(|typed| *typed != one) {
            found.push(if self.ended.contains(typed) { self.gone.clone() } else { self.foreign.clone() });
        } else if !self.live.contains(one) && self.ended.contains(one) {
            found.push(self.gone.clone());
        }
        if !found.iter().any(Found::is_fault) {
            found.insert(0, Found::Matches);
        }
        Some(found)
    }

    /// What the only signature of a header is worth.
    fn ruling(&self, pasted: &Pasted<'_>, sent: Option<&[u8]>, typed: Option<&T>) -> Ruling {
        let live = typed.filter(|typed| !self.ended.contains(typed));
        let is_by_typed = live.is_some_and(|typed| {
            let bodies = [pasted.body, pasted.body.trim_ascii()];
            bodies.iter().any(|body| (self.is_by)(pasted, typed, body))
        });
        if is_by_typed {
            return Ruling::Right;
        }
        match self.find(pasted, sent, None) {
            None => Ruling::Wrong,
            Some(found) if found.contains(&self.gone) => Ruling::Ended,
            Some(found) if found.iter().any(Found::is_fault) => Ruling::OtherBody,
            Some(_) => Ruling::Right,
        }
    }
}

/// Whether a signature of the header was made with this secret over this body, whatever the clock says.
fn is_by_secret(pasted: &Pasted<'_>, secret: &SigningSecret, body: &[u8]) -> bool {
    is_by(pasted, body, |signed, at| verify(secret, signed, at, Duration::ZERO))
}

/// The same with the private half of this key.
fn is_by_key(pasted: &Pasted<'_>, key: &PublicKey, body: &[u8]) -> bool {
    is_by(pasted, body, |signed, at| asymmetric::verify(key, signed, at, Duration::ZERO))
}

fn is_by(
    pasted: &Pasted<'_>,
    body: &[u8],
    verify: impl FnOnce(&Signed<'_>, DateTime<Utc>) -> Result<(), VerifyError>,
) -> bool {
    let signed = Signed { id: pasted.id, timestamp: pasted.timestamp, signature: pasted.signature, body };
    let at = pasted.timestamp.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    at.is_some_and(|at| verify(&signed, at).is_ok())
}
