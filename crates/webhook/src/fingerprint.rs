//! Fingerprints that only who has the sealing key can make: HMAC-SHA256 with a key of its own that is derived from it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// What tells bytes from others.
pub type Fingerprint = [u8; 32];

/// What fingerprints are made with. It shows itself nowhere.
#[derive(Clone)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// That of a sealing key.
    pub(crate) fn of(sealing_key: &[u8; 32]) -> Self {
        let hash = Sha256::new().chain_update(b"clickwire fingerprint key").chain_update(sealing_key);
        Self(hash.finalize().into())
    }

    /// Tells these bytes from others, for one purpose.
    pub(crate) fn of_bytes(&self, purpose: &[u8], bytes: &[u8]) -> Fingerprint {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        // so that no purpose runs into the bytes
        mac.update(&(purpose.len() as u64).to_be_bytes());
        mac.update(purpose);
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }
}
