//! Secrets at rest: XChaCha20-Poly1305 with the id of the key in front.
//!
//! Sealed bytes are `key id (8) | nonce (24) | ciphertext and tag`. The key id says which key opens
//! them, so that keys can be exchanged while old bytes are still about. What the bytes are for is
//! authenticated with them: the secret of one endpoint does not open as that of another.

mod settings;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use model::minting::MintingKey;
use model::secret::SigningSecret;
use model::{EndpointId, MintingKeyId, WorkspaceId};
use sha2::{Digest as _, Sha256};

use crate::fingerprint::{self, Fingerprint};

pub use settings::{KeyText, KeyringError, Settings};

/// The section `[sealing]`, each key explained.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

/// The section `[minting]`, of the same keys.
pub const MINTING_DEFAULTS: &str = include_str!("../minting.toml");

/// Bytes of a sealing key.
const KEY_BYTES: usize = 32;

/// Bytes of a key's id.
const KEY_ID_BYTES: usize = 8;

/// Bytes of a nonce: long enough to be random.
const NONCE_BYTES: usize = 24;

/// Keys, ready to use: one that seals, and all that open. `Debug` shows their ids only.
#[derive(Clone)]
pub struct Keyring {
    /// The first seals.
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: [u8; KEY_ID_BYTES],
    cipher: XChaCha20Poly1305,
    fingerprints: fingerprint::Key,
}

/// Why sealed bytes do not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Sealed with a key that is not in the settings.
    #[error("sealed with key {key_id}, which is neither `{section}.key` nor among `{section}.previous_keys`")]
    UnknownKey {
        /// The id of that key.
        key_id: String,
        /// Where it is missing: `sealing` or `minting`.
        section: &'static str,
    },
    /// Changed, cut, or sealed for something else.
    #[error("the sealed bytes were changed, or were sealed for something else")]
    Forged,
    /// Opened, but not what should be in there.
    #[error("the sealed bytes hold something else than expected")]
    Content,
}

impl OpenError {
    /// The same of a keyring that `[minting]` describes.
    fn of_minting(self) -> Self {
        match self {
            Self::UnknownKey { key_id, .. } => Self::UnknownKey { key_id, section: "minting" },
            other => other,
        }
    }
}

/// What sealed bytes are for: those of an endpoint, or what stands in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A signing secret.
    SigningSecret,
    /// Custom headers.
    Headers,
    /// A key with which senders make recipients' links; its own id stands in the endpoint's place.
    MintingKey,
    /// A key of asymmetric signatures.
    SigningKey,
    /// How an endpoint lets us in.
    Auth,
}

impl Purpose {
    /// The text that is authenticated with the bytes.
    pub fn of(self, workspace_id: WorkspaceId, endpoint_id: EndpointId) -> Vec<u8> {
        let kind = match self {
            Self::SigningSecret => "signing-secret",
            Self::Headers => "headers",
            Self::MintingKey => "minting-key",
            Self::SigningKey => "signing-key",
            Self::Auth => "auth",
        };
        format!("{kind}/{workspace_id}/{endpoint_id}").into_bytes()
    }
}

/// A new key, as it goes into settings.
pub fn generate_key() -> String {
    STANDARD.encode(rand::random::<[u8; KEY_BYTES]>())
}

impl Keyring {
    /// Seals with `current`, opens with every key.
    ///
    /// # Errors
    /// When a text is not a key.
    pub fn new(current: &str, previous: &[String]) -> Result<Self, KeyringError> {
        let mut keys = vec![Key::parse(current).ok_or(KeyringError::Malformed { which: "current" })?];
        for text in previous {
            keys.push(Key::parse(text).ok_or(KeyringError::Malformed { which: "previous" })?);
        }
        Ok(Self { keys })
    }

    /// Seals bytes for one purpose; they open for no other.
    pub fn seal(&self, purpose: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let key = &self.keys[0];
        let nonce = rand::random::<[u8; NONCE_BYTES]>();
        let ciphertext = key
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: plaintext, aad: purpose })
            .expect("secrets are far shorter than the cipher's 256 GiB");
        [&key.id[..], &nonce, &ciphertext].concat()
    }

    /// Opens what was sealed for this purpose.
    ///
    /// # Errors
    /// [`OpenError::UnknownKey`] names the key that is missing.
    pub fn open(&self, purpose: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (id, rest) = sealed.split_first_chunk::<KEY_ID_BYTES>().ok_or(OpenError::Forged)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::Forged)?;
        let key = self
            .keys
            .iter()
            .find(|key| key.id == *id)
            .ok_or_else(|| OpenError::UnknownKey { key_id: hex(id), section: "sealing" })?;
        key.cipher
            .decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: purpose })
            .map_err(|_| OpenError::Forged)
    }

    /// Tells bytes from others, for one purpose, and to who has the key alone: kept, it helps nobody to guess a password that is
    /// among them. One for each key, that of the key that seals first: what was kept before a change of keys is told by another.
    pub fn fingerprints(&self, purpose: &[u8], bytes: &[u8]) -> Vec<Fingerprint> {
        self.keys.iter().map(|key| key.fingerprints.of_bytes(purpose, bytes)).collect()
    }

    /// Whether bytes were sealed with the key that seals now, and need not be sealed again.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.keys[0].id)
    }

    /// Seals the signing secret of an endpoint.
    pub fn seal_secret(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        secret: &SigningSecret,
    ) -> Vec<u8> {
        self.seal(&Purpose::SigningSecret.of(workspace_id, endpoint_id), secret.bytes())
    }

    /// Opens what [`Keyring::seal_secret`] sealed for this endpoint.
    ///
    /// # Errors
    /// [`OpenError`] when the key is gone or the bytes are another endpoint's.
    pub fn open_secret(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        sealed: &[u8],
    ) -> Result<SigningSecret, OpenError> {
        let bytes = self.open(&Purpose::SigningSecret.of(workspace_id, endpoint_id), sealed)?;
        SigningSecret::from_bytes(bytes).map_err(|_| OpenError::Content)
    }

    /// Seals a key with which senders make recipients' links.
    pub fn seal_minting_key(&self, workspace_id: WorkspaceId, id: MintingKeyId, key: &MintingKey) -> Vec<u8> {
        self.seal(&minting_purpose(workspace_id, id), key.bytes())
    }

    /// Opens what [`Keyring::seal_minting_key`] sealed under this id, as the key with this number.
    ///
    /// # Errors
    /// [`OpenError`] when the key is gone or the bytes are another's.
    pub fn open_minting_key(
        &self,
        workspace_id: WorkspaceId,
        id: MintingKeyId,
        number: u8,
        sealed: &[u8],
    ) -> Result<MintingKey, OpenError> {
        let opened = self.open(&minting_purpose(workspace_id, id), sealed);
        let bytes = opened.map_err(OpenError::of_minting)?;
        MintingKey::from_parts(number, &bytes).map_err(|_| OpenError::Content)
    }
}

fn minting_purpose(workspace_id: WorkspaceId, id: MintingKeyId) -> Vec<u8> {
    Purpose::MintingKey.of(workspace_id, EndpointId::from_uuid(id.uuid()))
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; KEY_BYTES] = STANDARD.decode(text.trim()).ok()?.try_into().ok()?;
        let hash = Sha256::new().chain_update(b"clickwire sealing key id").chain_update(bytes).finalize();
        let (id, _) = hash.split_first_chunk::<KEY_ID_BYTES>().expect("SHA-256 has 32 bytes");
        Some(Self {
            id: *id,
            cipher: XChaCha20Poly1305::new(&bytes.into()),
            fingerprints: fingerprint::Key::of(&bytes),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.iter().map(|key| hex(&key.id))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keyring() -> Keyring {
        Keyring::new(&generate_key(), &[]).expect("a keyring")
    }

    #[test]
    fn a_secret_opens_for_its_endpoint_only() {
        let keyring = keyring();
        let (workspace, endpoint) = (WorkspaceId::generate(), EndpointId::generate());
        let secret = SigningSecret::generate();

        let sealed = keyring.seal_secret(workspace, endpoint, &secret);

        assert_eq!(keyring.open_secret(workspace, endpoint, &sealed), Ok(secret));
        assert_eq!(keyring.open_secret(workspace, EndpointId::generate(), &sealed), Err(OpenError::Forged));
        assert_eq!(keyring.open_secret(WorkspaceId::generate(), endpoint, &sealed), Err(OpenError::Forged));
    }

    #[test]
    fn a_minting_key_opens_under_its_id_only() {
        let keyring = keyring();
        let (workspace, id) = (WorkspaceId::generate(), MintingKeyId::generate());
        let key = MintingKey::generate(3).expect("a number");

        let sealed = keyring.seal_minting_key(workspace, id, &key);

        assert_eq!(keyring.open_minting_key(workspace, id, 3, &sealed), Ok(key));
        let other = MintingKeyId::generate();
        assert_eq!(keyring.open_minting_key(workspace, other, 3, &sealed), Err(OpenError::Forged));
    }

    #[test]
    fn after_a_change_of_keys_the_old_bytes_open_and_new_ones_use_the_new_key() {
        let (old_key, new_key) = (generate_key(), generate_key());
        let old = Keyring::new(&old_key, &[]).expect("a keyring");
        let both = Keyring::new(&new_key, &[old_key]).expect("a keyring");
        let sealed = old.seal(b"x", b"secret");

        assert_eq!(both.open(b"x", &sealed), Ok(b"secret".to_vec()));
        assert!(!both.is_current(&sealed));
        assert!(both.is_current(&both.seal(b"x", b"secret")));
    }

    #[test]
    fn after_a_change_of_keys_fingerprints_of_before_are_known() {
        let (old_key, new_key) = (generate_key(), generate_key());
        let old = Keyring::new(&old_key, &[]).expect("a keyring");
        let both = Keyring::new(&new_key, &[old_key]).expect("a keyring");
        let kept = old.fingerprints(b"x", b"body")[0];

        assert_eq!(both.fingerprints(b"x", b"body")[1], kept);
        assert_ne!(both.fingerprints(b"x", b"body")[0], kept, "who has not the key cannot tell");
        for (purpose, bytes) in [(b"x", b"bodY"), (b"y", b"body")] {
            assert!(!both.fingerprints(purpose, bytes).contains(&kept));
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        let sealed = keyring().seal(b"x", b"secret");

        let error = keyring().open(b"x", &sealed).expect_err("another keyring");

        let key_id = hex(&sealed[..KEY_ID_BYTES]);
        assert_eq!(error, OpenError::UnknownKey { key_id, section: "sealing" });
    }

    #[test]
    fn an_unknown_key_of_recipients_links_is_looked_for_in_its_own_section() {
        let (workspace, id) = (WorkspaceId::generate(), MintingKeyId::generate());
        let key = MintingKey::generate(3).expect("a number");
        let sealed = keyring().seal_minting_key(workspace, id, &key);

        let error = keyring().open_minting_key(workspace, id, 3, &sealed).expect_err("another keyring");

        let key_id = hex(&sealed[..KEY_ID_BYTES]);
        let told = format!(
            "sealed with key {key_id}, which is neither `minting.key` nor among `minting.previous_keys`"
        );
        assert_eq!(error.to_string(), told);
    }

    #[test]
    fn keys_do_not_show_in_logs() {
        let key = generate_key();
        let settings = Settings { key: Some(KeyText(key.clone())), ..Settings::default() };

        let shown = format!("{settings:?} {:?}", Keyring::new(&key, &[]).expect("a keyring"));

        assert!(!shown.contains(&key));
    }

    proptest! {
        #[test]
        fn changed_bytes_never_open(plaintext: Vec<u8>, at: prop::sample::Index, flip in 1u8..) {
            let keyring = keyring();
            let mut sealed = keyring.seal(b"x", &plaintext);
            prop_assert_eq!(keyring.open(b"x", &sealed), Ok(plaintext));

            let at = at.index(sealed.len());
            sealed[at] ^= flip;
            prop_assert!(keyring.open(b"x", &sealed).is_err());
            prop_assert!(keyring.open(b"x", &sealed[..at]).is_err());
        }
    }
}
