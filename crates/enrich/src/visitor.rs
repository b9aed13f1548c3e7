//! Who a visitor without a contact is, as far as "first click" needs it: a keyed hash.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use model::Click;
use sha2::Sha256;

/// Bytes of the hash that are kept: enough that two visitors of one link never meet.
const HASH_BYTES: usize = 16;

/// Makes the keys of visitors without a contact. Without salt and secret a hash of an IPv4 address is found by trying all
/// of them.
pub struct VisitorKeys {
    keyed: Hmac<Sha256>,
}

impl VisitorKeys {
    /// Keys under what an operator has set, if anything; replicas need the same.
    pub fn new(secret: &[u8]) -> Self {
        Self { keyed: Hmac::new_from_slice(secret).expect("HMAC takes keys of any length") }
    }

    /// The visitor of a click on its link for a UTC day, whose salt this is: address, browser and language. On another link the
    /// same visitor has another key, so that keys tell nobody's way from link to link.
    pub fn of(&self, click: &Click, salt: &[u8]) -> String {
        let request = &click.request;
        let ip = request.ip.map(|ip| ip.to_canonical().to_string()).unwrap_or_default();
        self.hash(&[
            salt,
            click.workspace_id.uuid().as_bytes(),
            click.link.id.uuid().as_bytes(),
            ip.as_bytes(),
            request.user_agent.as_deref().unwrap_or_default().as_bytes(),
            request.language().unwrap_or_default().as_bytes(),
        ])
    }

    fn hash(&self, parts: &[&[u8]]) -> String {
        let mut keyed = self.keyed.clone();
        for part in parts {
            keyed.update(&(part.len() as u64).to_be_bytes());
            keyed.update(part);
        }
        let digest = keyed.finalize().into_bytes();
        digest.iter().take(HASH_BYTES).fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string never fails");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn keys() -> VisitorKeys {
        VisitorKeys::new(b"a secret of the test")
    }

    #[test]
    fn without_a_contact_link_salt_address_browser_and_language_count() {
        let click = sample::click();
        let key = keys().of(&click, b"today's");
        let differs = |change: fn(&mut Click)| {
            let mut other = click.clone();
            change(&mut other);
            keys().of(&other, b"today's") != key
        };

        assert_eq!(key.len(), 2 * HASH_BYTES);
        assert!(differs(|click| click.request.ip = "9.9.9.9".parse().ok()));
        assert!(differs(|click| click.request.user_agent = None));
        assert!(differs(|click| click.request.headers.clear()));
        assert!(differs(|click| click.link.id = model::LinkId::generate()));
        assert!(differs(|click| click.workspace_id = model::WorkspaceId::generate()));
        assert!(!differs(|click| click.clicked_at += chrono::TimeDelta::seconds(1)));
        assert_ne!(keys().of(&click, b"tomorrow's"), key);
        assert_ne!(VisitorKeys::new(b"another").of(&click, b"today's"), key);
    }
}
