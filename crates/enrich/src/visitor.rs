//! Who a visitor is, as far as "first click" needs it: the contact the link was sent to, else a keyed hash.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use model::Click;
use sha2::Sha256;

/// Bytes of the hash that are kept: enough that two visitors of one link never meet.
const HASH_BYTES: usize = 16;

/// Longest contact that stands for itself, in bytes; a longer one would not fit into an index.
const CONTACT_BYTES_MAX: usize = 512;

/// Makes visitors' keys. Without the secret a hash of an IPv4 address is found by trying all of them.
pub struct VisitorKeys {
    keyed: Hmac<Sha256>,
}

impl VisitorKeys {
    /// Keys under this secret; replicas need the same one.
    pub fn new(secret: &[u8]) -> Self {
        Self { keyed: Hmac::new_from_slice(secret).expect("HMAC takes keys of any length") }
    }

    /// The visitor of a click on its link: the contact for the life of the link, else (and when clicks are anonymous)
    /// address, browser and language for a UTC day.
    pub fn of(&self, click: &Click) -> String {
        let contact = click.link.labels.contact_id.as_ref();
        match contact.filter(|_| !click.is_anonymous) {
            Some(contact) if is_plain(contact) => contact.clone(),
            Some(contact) => self.hash(&["contact", contact]),
            None => {
                let request = &click.request;
                self.hash(&[
                    &click.clicked_at.date_naive().to_string(),
                    &request.ip.map(|ip| ip.to_canonical().to_string()).unwrap_or_default(),
                    request.user_agent.as_deref().unwrap_or_default(),
                    request.language().unwrap_or_default(),
                ])
            }
        }
    }

    fn hash(&self, parts: &[&str]) -> String {
        let mut keyed = self.keyed.clone();
        for part in parts {
            keyed.update(&(part.len() as u64).to_be_bytes());
            keyed.update(part.as_bytes());
        }
        let digest = keyed.finalize().into_bytes();
        digest.iter().take(HASH_BYTES).fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string never fails");
            text
        })
    }
}

/// PostgreSQL keeps no zero bytes in texts.
fn is_plain(contact: &str) -> bool {
    !contact.is_empty() && contact.len() <= CONTACT_BYTES_MAX && !contact.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn keys() -> VisitorKeys {
        VisitorKeys::new(b"a secret of the test")
    }

    #[test]
    fn a_contact_is_its_own_key() {
        let mut click = sample::click();
        click.link.labels.contact_id = Some("cont_9".into());

        assert_eq!(keys().of(&click), "cont_9");
    }

    #[test]
    fn an_anonymous_click_is_not_known_by_its_contact() {
        let mut click = sample::click();
        click.link.labels.contact_id = Some("cont_9".into());
        click.is_anonymous = true;

        assert_eq!(keys().of(&click).len(), 2 * HASH_BYTES);
    }

    #[test]
    fn without_a_contact_day_address_browser_and_language_count() {
        let mut click = sample::click();
        click.link.labels.contact_id = None;
        let key = keys().of(&click);
        let differs = |change: fn(&mut Click)| {
            let mut other = click.clone();
            change(&mut other);
            keys().of(&other) != key
        };

        assert_eq!(key.len(), 2 * HASH_BYTES);
        assert!(differs(|click| click.clicked_at += chrono::TimeDelta::days(1)));
        assert!(differs(|click| click.request.ip = "9.9.9.9".parse().ok()));
        assert!(differs(|click| click.request.user_agent = None));
        assert!(differs(|click| click.request.headers.clear()));
        assert!(!differs(|click| click.clicked_at += chrono::TimeDelta::seconds(1)));
        assert_ne!(VisitorKeys::new(b"another").of(&click), key);
    }

    #[test]
    fn a_contact_that_postgresql_cannot_keep_is_hashed() {
        let mut click = sample::click();
        for contact in ["a\0b".to_owned(), String::new(), "x".repeat(4000)] {
            click.link.labels.contact_id = Some(contact);

            assert_eq!(keys().of(&click).len(), 2 * HASH_BYTES);
        }
    }
}
