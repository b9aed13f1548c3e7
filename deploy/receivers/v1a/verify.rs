//! Verifies the `v1a` signature of a webhook: ed25519, with the crates `ring` 0.17, `base64` 0.22 and `http` 1.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use ring::signature::{ED25519, UnparsedPublicKey};

const TOLERANCE: Duration = Duration::from_secs(300);

/// Whether a request is what its sender signed, and was sent just now. `public_keys`: `whpk_…`, several while they are
/// exchanged; `body`: as it came.
pub fn verify(public_keys: &[&str], headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let (Some(id), Some(timestamp), Some(signatures)) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
    else {
        return false;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if timestamp.parse::<u64>().ok().is_none_or(|at| at.abs_diff(now) > TOLERANCE.as_secs()) {
        return false;
    }
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let keys = public_keys.iter().filter_map(|text| STANDARD.decode(text.strip_prefix("whpk_")?).ok());
    let keys: Vec<_> = keys.map(|key| UnparsedPublicKey::new(&ED25519, key)).collect();
    let signatures = signatures.split(' ').filter_map(|entry| entry.strip_prefix("v1a,"));
    let mut signatures = signatures.filter_map(|text| STANDARD.decode(text).ok());
    signatures.any(|signature| keys.iter().any(|key| key.verify(&signed, &signature).is_ok()))
}
