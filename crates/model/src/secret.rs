//! Secrets that people carry: signing secrets (`whsec_…`) and API keys (`cw_…`).
//!
//! Neither can be printed by accident: `Debug` shows the kind and nothing else.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Bytes of a new signing secret.
pub const SIGNING_SECRET_BYTES: usize = 32;

/// Random bytes of an API key.
const API_KEY_BYTES: usize = 32;

/// Characters of an API key that may be shown, so that people can tell their keys apart.
const API_KEY_SHOWN_CHARS: usize = 10;

/// The key of a `v1` signature (Standard Webhooks 1.0.0, "Signature scheme"): 24 to 64 random bytes,
/// written as `whsec_` and padded standard base64.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

/// Why a text is not a signing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `whsec_` followed by the base64 of 24 to 64 bytes")]
pub struct SigningSecretError;

impl SigningSecret {
    /// A random secret of [`SIGNING_SECRET_BYTES`].
    pub fn generate() -> Self {
        Self(rand::random::<[u8; SIGNING_SECRET_BYTES]>().to_vec())
    }

    /// The secret with these bytes.
    ///
    /// # Errors
    /// When there are fewer than 24 or more than 64.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SigningSecretError> {
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(SigningSecretError) }
    }

    /// The key of the HMAC: the decoded bytes, not the text.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text to hand to the subscriber.
    pub fn reveal(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }
}

impl FromStr for SigningSecret {
    type Err = SigningSecretError;

    fn from_str(text: &str) -> Result<Self, SigningSecretError> {
        let base64 = text.strip_prefix("whsec_").ok_or(SigningSecretError)?;
        Self::from_bytes(STANDARD.decode(base64).map_err(|_| SigningSecretError)?)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// A bearer token of the API: `cw_` and 43 characters. We keep only its hash.
#[derive(Clone)]
pub struct ApiKey(String);

/// SHA-256 of an API key. The key is random, so a plain hash gives nothing away.
#[derive(Clone, Copy)]
pub struct ApiKeyHash([u8; 32]);

/// Why a text is not an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an API key: `cw_` followed by 32 to 128 letters, digits, `-` and `_`")]
pub struct ApiKeyError;

impl ApiKey {
    /// A random key.
    pub fn generate() -> Self {
        Self(format!("cw_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; API_KEY_BYTES]>())))
    }

    /// The text to hand to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The beginning, by which people recognise their key.
    pub fn shown(&self) -> &str {
        &self.0[..API_KEY_SHOWN_CHARS]
    }

    /// What is stored and looked up.
    pub fn hash(&self) -> ApiKeyHash {
        ApiKeyHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl FromStr for ApiKey {
    type Err = ApiKeyError;

    fn from_str(text: &str) -> Result<Self, ApiKeyError> {
        let random = text.strip_prefix("cw_").ok_or(ApiKeyError)?;
        let well_formed = (32..=128).contains(&random.len())
            && random.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if well_formed { Ok(Self(text.to_owned())) } else { Err(ApiKeyError) }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

impl ApiKeyHash {
    /// The hash with these bytes, as PostgreSQL holds them; `None` when they are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes, as PostgreSQL holds them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for ApiKeyHash {
    /// Takes the same time wherever the two differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ApiKeyHash {}

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signing_secret_reads_back_as_it_was_revealed() {
        let secret = SigningSecret::generate();

        assert_eq!(secret.reveal().parse(), Ok(secret.clone()));
        assert_eq!(secret.bytes().len(), 32);
    }

    #[test]
    fn a_weak_or_unpadded_signing_secret_is_refused() {
        for text in [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_!!",
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(text.parse::<SigningSecret>(), Err(SigningSecretError), "{text}");
        }
    }

    #[test]
    fn an_api_key_is_found_by_its_hash() {
        let key = ApiKey::generate();
        let again: ApiKey = key.reveal().parse().expect("a key");

        assert_eq!(key.hash(), again.hash());
        assert_eq!(ApiKeyHash::from_bytes(key.hash().bytes()), Some(key.hash()));
        assert_ne!(key.hash(), ApiKey::generate().hash());
        assert!(key.reveal().starts_with(key.shown()));
    }

    #[test]
    fn secrets_do_not_show_in_logs() {
        assert_eq!(
            format!("{:?} {:?}", SigningSecret::generate(), ApiKey::generate()),
            "SigningSecret(…) ApiKey(…)"
        );
    }
}
