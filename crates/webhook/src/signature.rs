//! Signatures as Standard Webhooks 1.0.0 has them ("Signature scheme", symmetric).
//!
//! `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, one for each live secret, newest
//! first, with exactly one space between: some verifiers fail on anything else in the list.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use model::secret::SigningSecret;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// How far a timestamp may be from the receiver's clock: what the reference verifiers allow.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// Header with the event's id, the same on every attempt.
pub const ID_HEADER: &str = "webhook-id";

/// Header with the moment of this attempt, in whole Unix seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";

/// Header with the signatures.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// The version of a symmetric signature.
const VERSION: &str = "v1";

/// Why a request is not what its sender signed. The texts tell the owner of a receiver what to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not a number of seconds.
    #[error("`webhook-timestamp` is not a number of seconds")]
    Timestamp,
    /// Sent, or said to be sent, long ago.
    #[error(
        "the request is too old: `webhook-timestamp` is more than the tolerance before this machine's clock"
    )]
    TooOld,
    /// Sent in the future: one of the two clocks is wrong.
    #[error(
        "the request is from the future: `webhook-timestamp` is more than the tolerance after this machine's clock"
    )]
    TooNew,
    /// Another secret, or other bytes.
    #[error("no signature matches: another secret, or the body is not byte for byte what was received")]
    NoMatch,
}

/// The three headers of a received request, and its body.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signature: &'a str,
    /// The bytes as they came.
    pub body: &'a [u8],
}

/// The value of `webhook-signature`: one signature a secret, in the order of `secrets` (newest first).
pub fn sign(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let mut value = String::with_capacity(secrets.len() * 48);
    for secret in secrets {
        if !value.is_empty() {
            value.push(' ');
        }
        value.push_str(VERSION);
        value.push(',');
        STANDARD.encode_string(digest(secret, id, &timestamp, body), &mut value);
    }
    value
}

/// Checks a received request as a subscriber should.
///
/// # Errors
/// [`VerifyError`] says which of clock, secret and bytes is wrong, as far as can be told.
pub fn verify(
    secret: &SigningSecret,
    signed: &Signed<'_>,
    now: DateTime<Utc>,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    check_clock(signed.timestamp, now, tolerance)?;
    let expected = STANDARD.encode(digest(secret, signed.id, signed.timestamp, signed.body));
    let matches = signed
        .signature
        .split(' ')
        .filter_map(|entry| entry.split_once(','))
        .any(|(version, value)| version == VERSION && value.as_bytes().ct_eq(expected.as_bytes()).into());
    if matches { Ok(()) } else { Err(VerifyError::NoMatch) }
}

/// Whether a request was sent about now.
pub(crate) fn check_clock(
    timestamp: &str,
    now: DateTime<Utc>,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    let seconds: i64 = timestamp.parse().map_err(|_| VerifyError::Timestamp)?;
    let tolerance = i64::try_from(tolerance.as_secs()).unwrap_or(i64::MAX);
    if seconds < now.timestamp().saturating_sub(tolerance) {
        return Err(VerifyError::TooOld);
    }
    if seconds > now.timestamp().saturating_add(tolerance) {
        return Err(VerifyError::TooNew);
    }
    Ok(())
}

fn digest(secret: &SigningSecret, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
    digest_with(secret.bytes(), id, timestamp, body)
}

/// The digest with any key: also with one that is wrong, so that it can be recognised.
pub(crate) fn digest_with(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    /// Constants in the tests of the reference libraries.
    const VECTORS: [(&str, &str, i64, &str, &str); 2] = [
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
    ];

    fn at(seconds: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(seconds, 0).unwrap()
    }

    #[test]
    fn the_vectors_of_the_reference_libraries_come_out() {
        for (secret, id, timestamp, body, expected) in VECTORS {
            let secret: SigningSecret = secret.parse().expect("a secret");

            assert_eq!(sign(&[secret], id, timestamp, body.as_bytes()), expected);
        }
    }

    #[test]
    fn an_independent_verifier_accepts_either_secret_during_a_rotation_and_no_other() {
        let (new, old) = (SigningSecret::generate(), SigningSecret::generate());
        let body = r#"{"city":"Linköping"}"#.as_bytes();
        let now = Utc::now().timestamp();
        let signature = sign(&[new.clone(), old.clone()], "evt_1", now, body);
        let headers = http::HeaderMap::from_iter(
            [
                (ID_HEADER, "evt_1".to_owned()),
                (TIMESTAMP_HEADER, now.to_string()),
                (SIGNATURE_HEADER, signature),
            ]
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().expect("a value"))),
        );
        let verifier =
            |secret: &SigningSecret| standardwebhooks::Webhook::new(&secret.reveal()).expect("a secret");

        assert!(verifier(&new).verify(body, &headers).is_ok());
        assert!(verifier(&old).verify(body, &headers).is_ok());
        assert!(verifier(&SigningSecret::generate()).verify(body, &headers).is_err());
        assert!(verifier(&new).verify(b"{}", &headers).is_err());
    }

    #[test]
    fn the_newest_secret_signs_first_and_one_space_stands_between() {
        let secrets = [SigningSecret::generate(), SigningSecret::generate()];

        let both = sign(&secrets, "evt_1", 1, b"{}");

        let [first, second] = [0, 1].map(|i| sign(&secrets[i..=i], "evt_1", 1, b"{}"));
        assert_eq!(both, format!("{first} {second}"));
    }

    #[test]
    fn a_wrong_request_is_refused_with_what_to_look_at() {
        let secret = SigningSecret::generate();
        let signature = sign(std::slice::from_ref(&secret), "evt_1", 1000, b"{}");
        let signed = Signed { id: "evt_1", timestamp: "1000", signature: &signature, body: b"{}" };
        let check = |signed: &Signed<'_>, now| verify(&secret, signed, at(now), TOLERANCE);

        assert_eq!(check(&signed, 1000), Ok(()));
        assert_eq!(check(&signed, 1300), Ok(()));
        assert_eq!(check(&signed, 700), Ok(()));
        assert_eq!(check(&signed, 1301), Err(VerifyError::TooOld));
        assert_eq!(check(&signed, 699), Err(VerifyError::TooNew));
        assert_eq!(check(&Signed { body: b"{ }", ..signed }, 1000), Err(VerifyError::NoMatch));
        assert_eq!(check(&Signed { id: "evt_2", ..signed }, 1000), Err(VerifyError::NoMatch));
        assert_eq!(check(&Signed { timestamp: "1001", ..signed }, 1000), Err(VerifyError::NoMatch));
        assert_eq!(check(&Signed { timestamp: "soon", ..signed }, 1000), Err(VerifyError::Timestamp));
        assert_eq!(check(&Signed { signature: "", ..signed }, 1000), Err(VerifyError::NoMatch));
    }

    #[test]
    fn signatures_of_unknown_versions_are_passed_over() {
        let secret = SigningSecret::generate();
        let signature = format!("v1a,AAAA x {}", sign(std::slice::from_ref(&secret), "evt_1", 1000, b"{}"));
        let signed = Signed { id: "evt_1", timestamp: "1000", signature: &signature, body: b"{}" };

        assert_eq!(verify(&secret, &signed, at(1000), TOLERANCE), Ok(()));
    }

    proptest! {
        #[test]
        fn what_was_signed_verifies(id in "[a-z0-9_]{1,40}", seconds in 0i64..4_000_000_000, body: Vec<u8>) {
            let secret = SigningSecret::generate();
            let signature = sign(std::slice::from_ref(&secret), &id, seconds, &body);
            let timestamp = seconds.to_string();
            let signed = Signed { id: &id, timestamp: &timestamp, signature: &signature, body: &body };

            prop_assert_eq!(verify(&secret, &signed, at(seconds), TOLERANCE), Ok(()));
        }
    }
}
