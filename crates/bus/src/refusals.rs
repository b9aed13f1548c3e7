//! What the broker does not let us do. It says so in a text of its own, apart from what was asked: a publish that is refused is
//! a confirmation that never comes. Here such texts are remembered, so that whoever waits in vain can say why.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::error;

use crate::permissions::Role;

/// Refusals that are remembered; more of them say nothing new.
const REFUSED_MAX: usize = 100;

/// How often the log tells of the same missing permission.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// What the broker does not let us do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nats-server does not let us {}: give this user the permissions of deploy/nats/permissions.conf", refused.join(", "))]
pub struct Forbidden {
    /// `publish to …` and `subscribe to …`, each with the permission that is missing.
    pub refused: Vec<String>,
}

impl Forbidden {
    /// All of it in words: `publish to clickwire.clicks.raw.*.*, subscribe to …`.
    pub fn what(&self) -> String {
        self.refused.join(", ")
    }
}

/// The refusals of one connection. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Refusals {
    /// The service's, without `clickwire-`.
    name: &'static str,
    seen: watch::Sender<HashMap<String, Seen>>,
}

/// When the same was refused.
#[derive(Debug, Clone, Copy)]
struct Seen {
    last_at: Instant,
    logged_at: Instant,
}

impl Refusals {
    /// None yet. `name` is the service's, without `clickwire-`.
    pub(crate) fn of(name: &'static str) -> Self {
        Self { name, seen: watch::Sender::new(HashMap::new()) }
    }

    /// Remembers and logs a refusal; `false` when what the broker says is something else.
    pub(crate) fn note(&self, said: &str) -> bool {
        let Some((verb, subject)) = refusal(said) else { return false };
        let permission = missing(self.name, verb, subject);
        let what = format!("{} {permission}", verb.as_str());
        let now = Instant::now();
        let mut is_to_be_logged = false;
        self.seen.send_if_modified(|seen| {
            let is_known = seen.contains_key(&what);
            if !is_known && seen.len() >= REFUSED_MAX {
                return false;
            }
            let entry = seen.entry(what.clone()).or_insert(Seen { last_at: now, logged_at: now });
            is_to_be_logged = !is_known || now - entry.logged_at >= LOGGED_EVERY;
            entry.last_at = now;
            if is_to_be_logged {
                entry.logged_at = now;
            }
            !is_known
        });
        if is_to_be_logged {
            let forbidden = Forbidden { refused: vec![what] };
            error!(nats.permission = permission, nats.said = said, "{forbidden}");
        }
        true
    }

    /// Forgets them: the broker may have been told otherwise.
    pub(crate) fn forget(&self) {
        self.seen.send_replace(HashMap::new());
    }

    /// What was refused at that moment or later.
    pub(crate) fn since(&self, moment: Instant) -> Option<Forbidden> {
        let seen = self.seen.borrow();
        let late = seen.iter().filter(|(_, seen)| seen.last_at >= moment);
        let mut refused: Vec<String> = late.map(|(what, _)| what.clone()).collect();
        refused.sort_unstable();
        (!refused.is_empty()).then_some(Forbidden { refused })
    }

    /// What is refused; waits so long for the first refusal.
    pub(crate) async fn within(&self, limit: Duration) -> Vec<String> {
        let mut seen = self.seen.subscribe();
        let _ = tokio::time::timeout(limit, seen.wait_for(|seen| !seen.is_empty())).await;
        // the others follow on its heels
        let mut known = 0;
        while known < seen.borrow().len() {
            known = seen.borrow().len();
            let _ = tokio::time::timeout(limit / 4, seen.wait_for(|seen| seen.len() > known)).await;
        }
        let mut refused: Vec<String> = seen.borrow().keys().cloned().collect();
        refused.sort_unstable();
        refused
    }
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Publish,
    Subscribe,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish to",
            Self::Subscribe => "subscribe to",
        }
    }
}

/// What the broker does not permit, if that is what it says: the only place where it does is this text.
fn refusal(said: &str) -> Option<(Verb, &str)> {
    let (_, refused) = said.split_once("Permissions Violation for ")?;
    let (what, subject) = refused.split_once(" to \"")?;
    let verb = if what.starts_with("Subscription") { Verb::Subscribe } else { Verb::Publish };
    Some((verb, subject.split('"').next()?))
}

/// The permission of a service that covers a subject: that is what an operator has to give. The subject itself where the
/// service needs none for it.
fn missing(name: &str, verb: Verb, subject: &str) -> String {
    let needed = Role::of(name).map(Role::permissions).map(|permissions| match verb {
        Verb::Publish => permissions.publish,
        Verb::Subscribe => permissions.subscribe,
    });
    let needed = needed.unwrap_or_default().into_iter().find(|pattern| covers(pattern, subject));
    needed.unwrap_or_else(|| subject.to_owned())
}

/// Whether a pattern of the broker's covers a subject.
pub(crate) fn covers(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(wanted), Some(token)) if wanted == "*" || wanted == token => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        format!("nats: Permissions Violation for {text}")
    }

    #[test]
    fn a_refusal_names_the_subject() {
        assert_eq!(refusal(&said(r#"Publish to "a.b""#)), Some((Verb::Publish, "a.b")));
        let queued = said(r#"Subscription to "a.*" using queue "q""#);
        assert_eq!(refusal(&queued), Some((Verb::Subscribe, "a.*")));
        assert_eq!(refusal("nats: maximum connections exceeded"), None);
    }

    #[test]
    fn what_is_missing_is_named_as_the_permissions_name_it() {
        let named = |name: &'static str, text: &str| {
            let refusals = Refusals::of(name);
            let before = Instant::now();
            assert!(refusals.note(&said(text)));
            refusals.since(before).expect("a refusal").what()
        };

        assert_eq!(
            named("redirect", r#"Publish to "clickwire.clicks.raw.wrk_1.3""#),
            "publish to clickwire.clicks.raw.*.*"
        );
        assert_eq!(
            named("record", r#"Publish to "$JS.ACK.ENRICHED.record.1.7.9.11.0""#),
            "publish to $JS.ACK.ENRICHED.record.>"
        );
        assert_eq!(
            named("deliver", r#"Subscription to "_INBOX_deliver.abc.*""#),
            "subscribe to _INBOX_deliver.>"
        );
        assert_eq!(named("why", r#"Publish to "$JS.API.INFO""#), "publish to $JS.API.INFO");
    }

    #[test]
    fn what_was_refused_before_or_was_forgotten_explains_nothing() {
        let refusals = Refusals::of("redirect");
        assert!(!refusals.note("nats: maximum connections exceeded"));
        assert!(refusals.note(&said(r#"Publish to "a""#)));
        assert_eq!(refusals.since(Instant::now() + Duration::from_millis(1)), None);

        let before = Instant::now();
        assert!(refusals.note(&said(r#"Publish to "b""#)));
        assert!(refusals.note(&said(r#"Publish to "b""#)));
        assert_eq!(refusals.since(before).map(|forbidden| forbidden.what()).as_deref(), Some("publish to b"));

        refusals.forget();
        assert_eq!(refusals.since(before), None);
    }
}
