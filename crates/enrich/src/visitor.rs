//! Who a visitor is, as far as "first click" needs it: the contact that a message's link was sent to, else a keyed hash.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use model::Click;
use model::link::LinkKind;
use sha2::Sha256;

/// Bytes of the hash that are kept: enough that two visitors of one link never meet.
const HASH_BYTES: usize = 16;

/// Longest contact that stands for itself, in bytes; a longer one would not fit into an index.
const CONTACT_BYTES_MAX: usize = 512;

/// The contact by which a click's visitor is known for the life of its link: one whose message the link was in. A link that may be
/// passed on has many visitors, whoever it was made for, and an anonymous click is not known by its contact.
pub fn contact(click: &Click) -> Option<&str> {
    let is_known = click.link.kind == LinkKind::Message && !click.is_anonymous;
    click.link.labels.contact_id.as_deref().filter(|contact| is_known && is_plain(contact))
}

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

    /// The visitor of a click on its link for a UTC day, whose salt this is: address, browser and language.
    pub fn of(&self, click: &Click, salt: &[u8]) -> String {
        let request = &click.request;
        let ip = request.ip.map(|ip| ip.to_canonical().to_string()).unwrap_or_default();
        self.hash(&[
            salt,
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

    fn of_contact(contact: &str) -> Click {
        let mut click = sample::click();
        click.link.kind = LinkKind::Message;
        click.link.labels.contact_id = Some(contact.to_owned());
        click
    }

    #[test]
    fn a_contact_is_its_own_key_on_the_link_of_a_message() {
        assert_eq!(contact(&of_contact("cont_9")), Some("cont_9"));
    }

    #[test]
    fn a_link_that_may_be_passed_on_does_not_know_its_visitors_by_the_contact() {
        let mut click = of_contact("cont_9");
        click.link.kind = LinkKind::Shareable;

        assert_eq!(contact(&click), None);
    }

    #[test]
    fn an_anonymous_click_is_not_known_by_its_contact() {
        let mut click = of_contact("cont_9");
        click.is_anonymous = true;

        assert_eq!(contact(&click), None);
    }

    #[test]
    fn without_a_contact_salt_address_browser_and_language_count() {
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
        assert!(!differs(|click| click.clicked_at += chrono::TimeDelta::seconds(1)));
        assert_ne!(keys().of(&click, b"tomorrow's"), key);
        assert_ne!(VisitorKeys::new(b"another").of(&click, b"today's"), key);
    }

    #[test]
    fn a_contact_that_postgresql_cannot_keep_is_none() {
        for unkept in ["a\0b".to_owned(), String::new(), "x".repeat(4000)] {
            assert_eq!(contact(&of_contact(&unkept)), None);
        }
    }
}
