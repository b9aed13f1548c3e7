//! Asymmetric signatures as Standard Webhooks 1.0.0 has them ("Signature scheme", asymmetric).
//!
//! `v1a,` and the base64 of ed25519 over `id.timestamp.body`. We keep the private key; a receiver needs the public one alone,
//! with which nobody can sign. In `webhook-signature` they stand after those of `v1`: most verifiers know no other.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use model::{EndpointId, WorkspaceId};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::sealing::{Keyring, OpenError, Purpose};
use crate::signature::{Signed, VerifyError, check_clock};

/// The version of an asymmetric signature.
const VERSION: &str = "v1a";

/// Bytes of a private key (RFC 8032 section 5.1.5) and of a public one.
const KEY_BYTES: usize = 32;

/// What a public key begins with as text.
const PREFIX: &str = "whpk_";

/// What signs. It is never shown, not even to its endpoint's owner: `Debug` shows the public key.
#[derive(Debug)]
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

/// What verifies: `whpk_` and base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

/// Why a text is not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `{PREFIX}` followed by the base64 of {KEY_BYTES} bytes")]
pub struct PublicKeyError;

impl SigningKey {
    /// A new key, as it is stored with its endpoint: nobody needs it open before it signs.
    pub fn generate_sealed(keyring: &Keyring, workspace_id: WorkspaceId, endpoint_id: EndpointId) -> Vec<u8> {
        let seed = rand::random::<[u8; KEY_BYTES]>();
        keyring.seal(&Purpose::SigningKey.of(workspace_id, endpoint_id), &seed)
    }

    /// Reads what [`SigningKey::generate_sealed`] wrote for this endpoint.
    ///
    /// # Errors
    /// [`OpenError`] when the sealing key is gone or the bytes are another endpoint's.
    pub fn open(
        keyring: &Keyring,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        sealed: &[u8],
    ) -> Result<Self, OpenError> {
        let seed = keyring.open(&Purpose::SigningKey.of(workspace_id, endpoint_id), sealed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| OpenError::Content)?;
        Ok(Self { pair })
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        let bytes = self.pair.public_key().as_ref();
        PublicKey(bytes.try_into().expect("a public key of ed25519 has 32 bytes"))
    }
}

/// Adds the signature of each of these keys, in their order, to the value of `webhook-signature`.
pub fn append(keys: &[SigningKey], id: &str, timestamp: i64, body: &[u8], value: &mut String) {
    if keys.is_empty() {
        return;
    }
    let content = content(id, &timestamp.to_string(), body);
    for key in keys {
        if !value.is_empty() {
            value.push(' ');
        }
        value.push_str(VERSION);
        value.push(',');
        STANDARD.encode_string(key.pair.sign(&content), value);
    }
}

/// Checks a received request as a subscriber should that knows the public key.
///
/// # Errors
/// [`VerifyError`] says which of clock, key and bytes is wrong, as far as can be told.
pub fn verify(
    key: &PublicKey,
    signed: &Signed<'_>,
    now: DateTime<Utc>,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    check_clock(signed.timestamp, now, tolerance)?;
    let content = content(signed.id, signed.timestamp, signed.body);
    let key = UnparsedPublicKey::new(&ED25519, key.0);
    let matches = signed
        .signature
        .split(' ')
        .filter_map(|entry| entry.split_once(','))
        .filter(|(version, _)| *version == VERSION)
        .filter_map(|(_, value)| STANDARD.decode(value).ok())
        .any(|value| key.verify(&content, &value).is_ok());
    if matches { Ok(()) } else { Err(VerifyError::NoMatch) }
}

fn content(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}

impl PublicKey {
    /// The key's only coordinate, as a JSON Web Key writes it (RFC 8037 section 2).
    pub fn coordinate(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let base64 = text.strip_prefix(PREFIX).ok_or(PublicKeyError)?;
        let bytes = STANDARD.decode(base64).map_err(|_| PublicKeyError)?;
        bytes.try_into().map(Self).map_err(|_| PublicKeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{TOLERANCE, sign};
    use chrono::TimeZone;
    use model::secret::SigningSecret;

    fn at(seconds: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(seconds, 0).unwrap()
    }

    fn keyring() -> Keyring {
        Keyring::new(&crate::sealing::generate_key(), &[]).expect("a keyring")
    }

    fn key() -> SigningKey {
        let (keyring, workspace, endpoint) = (keyring(), WorkspaceId::generate(), EndpointId::generate());
        let sealed = SigningKey::generate_sealed(&keyring, workspace, endpoint);
        SigningKey::open(&keyring, workspace, endpoint, &sealed).expect("it opens")
    }

    #[test]
    fn the_example_of_the_specification_comes_out() {
        let private = STANDARD
            .decode(
                "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
            )
            .expect("base64");
        let (seed, public) = private.split_at(KEY_BYTES);
        let key = SigningKey { pair: Ed25519KeyPair::from_seed_unchecked(seed).expect("a key") };
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);

        let mut value = String::new();
        append(std::slice::from_ref(&key), id, 1_614_265_330, body, &mut value);

        assert_eq!(
            value,
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
        );
        assert_eq!(key.public().0, public);
    }

    #[test]
    fn asymmetric_signatures_stand_behind_the_others_and_both_verify() {
        let (secret, keys) = (SigningSecret::generate(), [key(), key()]);
        let mut value = sign(std::slice::from_ref(&secret), "evt_1", 1000, b"{}");
        append(&keys, "evt_1", 1000, b"{}", &mut value);

        let versions: Vec<_> = value.split(' ').filter_map(|entry| entry.split_once(',')).collect();
        assert_eq!(versions.iter().map(|(version, _)| *version).collect::<Vec<_>>(), ["v1", "v1a", "v1a"]);
        let signed = Signed { id: "evt_1", timestamp: "1000", signature: &value, body: b"{}" };
        assert_eq!(crate::signature::verify(&secret, &signed, at(1000), TOLERANCE), Ok(()));
        for key in &keys {
            assert_eq!(verify(&key.public(), &signed, at(1000), TOLERANCE), Ok(()));
        }
    }

    #[test]
    fn a_wrong_request_is_refused_with_what_to_look_at() {
        let (key, other) = (key(), key());
        let mut value = String::new();
        append(std::slice::from_ref(&key), "evt_1", 1000, b"{}", &mut value);
        let signed = Signed { id: "evt_1", timestamp: "1000", signature: &value, body: b"{}" };
        let check = |signed: &Signed<'_>, now| verify(&key.public(), signed, at(now), TOLERANCE);

        assert_eq!(check(&signed, 1300), Ok(()));
        assert_eq!(check(&signed, 1301), Err(VerifyError::TooOld));
        assert_eq!(check(&signed, 699), Err(VerifyError::TooNew));
        assert_eq!(check(&Signed { body: b"{ }", ..signed }, 1000), Err(VerifyError::NoMatch));
        assert_eq!(check(&Signed { id: "evt_2", ..signed }, 1000), Err(VerifyError::NoMatch));
        assert_eq!(check(&Signed { timestamp: "soon", ..signed }, 1000), Err(VerifyError::Timestamp));
        let renamed = value.replace("v1a,", "v1,");
        assert_eq!(check(&Signed { signature: &renamed, ..signed }, 1000), Err(VerifyError::NoMatch));
        assert_eq!(verify(&other.public(), &signed, at(1000), TOLERANCE), Err(VerifyError::NoMatch));
    }

    #[test]
    fn a_key_opens_for_its_endpoint_only_and_not_as_a_secret() {
        let (keyring, workspace, endpoint) = (keyring(), WorkspaceId::generate(), EndpointId::generate());
        let sealed = SigningKey::generate_sealed(&keyring, workspace, endpoint);

        assert!(SigningKey::open(&keyring, workspace, endpoint, &sealed).is_ok());
        let other = SigningKey::open(&keyring, workspace, EndpointId::generate(), &sealed);
        assert_eq!(other.err(), Some(OpenError::Forged));
        assert_eq!(keyring.open_secret(workspace, endpoint, &sealed), Err(OpenError::Forged));
    }

    #[test]
    fn a_public_key_reads_back_as_it_is_shown() {
        let public = key().public();

        assert_eq!(public.to_string().parse(), Ok(public));
        for text in ["", "whpk_", "whpk_c2hvcnQ=", "whsk_AAAA", &public.to_string()[5..]] {
            assert_eq!(text.parse::<PublicKey>(), Err(PublicKeyError), "{text}");
        }
    }
}
