//! What each service, and the same one of the release before, does on the broker: the least that its user must be allowed.
//! `deploy/nats/permissions.conf` is written from it, and a service that starts tries all of it out.
//!
//! A missing permission shows nowhere else: what the broker refuses to take is a confirmation that never comes, and an
//! acknowledgement that is refused is a message that comes again for ever.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::connect::Bus;
use crate::refusals::Forbidden;
use crate::topology::{ConsumerName, Durable, NOBODY_SUBJECT, StreamName, TEST_SUBJECT};

/// The refusal of a message follows it on the same connection, and is then handed from one task to another.
const REFUSALS_LIMIT: Duration = Duration::from_millis(200);

/// A stream takes no message that expects it to be called so: what is published to try it out is never stored.
const NO_STREAM: &str = "CLICKWIRE-SELF-TEST";

/// A service, as the broker knows it by its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `redirect`
    Redirect,
    /// `enrich`
    Enrich,
    /// `deliver`
    Deliver,
    /// `record`
    Record,
    /// `api`
    Api,
}

/// What a role may publish to, and what it may subscribe to. Wildcards are the broker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects to publish to.
    pub publish: Vec<String>,
    /// Subjects among them that it may not publish to all the same.
    pub never_publish: Vec<String>,
    /// Subjects to subscribe to.
    pub subscribe: Vec<String>,
}

impl Role {
    /// Every service.
    pub const ALL: [Self; 5] = [Self::Redirect, Self::Enrich, Self::Deliver, Self::Record, Self::Api];

    /// Its name, which is its user's too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Enrich => "enrich",
            Self::Deliver => "deliver",
            Self::Record => "record",
            Self::Api => "api",
        }
    }

    /// The role of a connection of this name; commands for people have none.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// What it needs, and nothing else.
    pub fn permissions(self) -> Permissions {
        let mut needs = Needs::default();
        needs.look_at_everything();
        needs.subscribe.push(format!("_INBOX_{}.>", self.as_str()));
        match self {
            Self::Redirect => {
                needs.publish(["clickwire.clicks.raw.*.*", "clickwire.clicks.orphan.*"]);
                needs
                    .subscribe
                    .extend(["links", "settings"].map(|table| format!("clickwire.changed.{table}.*")));
            }
            Self::Enrich => {
                needs.publish(["clickwire.clicks.enriched.*.*", "clickwire.clicks.amended.*"]);
                needs.consume(ConsumerName::Enrich);
                needs.read_again(StreamName::Clicks, &[ConsumerName::Enrich]);
                needs.read_again(StreamName::Enriched, &[]);
            }
            Self::Deliver => {
                needs.consume(ConsumerName::Deliver);
                needs.consume(ConsumerName::DeliverEvents);
                // the answers to who asks for a test
                needs.publish(["clickwire.changed.endpoints.*", "_INBOX_api.>"]);
                needs.publish(["clickwire.changed.deliveries.*"]);
                needs.subscribe.extend(["clickwire.changed.endpoints.*".to_owned(), TEST_SUBJECT.to_owned()]);
            }
            Self::Record => {
                needs.consume(ConsumerName::Record);
                needs.consume(ConsumerName::Quarantine);
                needs.publish([
                    "clickwire.events.*.*.*",
                    "clickwire.changed.links.*",
                    "$JS.API.STREAM.PURGE.CLICKS",
                ]);
            }
            Self::Api => {
                // a person's verdict, and what is published again out of the quarantine
                needs.publish(["clickwire.clicks.raw.*.*", "clickwire.clicks.orphan.*"]);
                needs.publish([
                    "clickwire.clicks.enriched.*.*",
                    "clickwire.clicks.amended.*",
                    "clickwire.events.*.*.*",
                ]);
                needs.publish(["clickwire.changed.*.*", TEST_SUBJECT]);
                needs.subscribe.push("clickwire.changed.deliveries.*".to_owned());
                needs.read_again(StreamName::Enriched, &[]);
            }
        }
        needs.into()
    }
}

#[derive(Default)]
struct Needs {
    publish: Vec<String>,
    never_publish: Vec<String>,
    subscribe: Vec<String>,
}

impl Needs {
    fn publish<const N: usize>(&mut self, subjects: [&str; N]) {
        self.publish.extend(subjects.map(str::to_owned));
    }

    /// That streams and consumers are there, and how far consumers are.
    fn look_at_everything(&mut self) {
        self.publish.push(NOBODY_SUBJECT.to_owned());
        self.publish.extend(StreamName::ALL.map(|stream| format!("$JS.API.STREAM.INFO.{stream}")));
        self.publish.extend(StreamName::ALL.map(|stream| format!("$JS.API.CONSUMER.INFO.{stream}.*")));
    }

    /// Pulls, acknowledges, puts aside, and lets another replica have a partition.
    fn consume(&mut self, consumer: ConsumerName) {
        let stream = consumer.stream();
        for durable in consumer.durables() {
            for name in names(durable) {
                self.publish.push(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"));
                self.publish.push(format!("$JS.ACK.{stream}.{name}.>"));
                if durable.partition.is_some() {
                    self.publish.push(format!("$JS.API.CONSUMER.UNPIN.{stream}.{name}"));
                }
            }
        }
        self.publish.push("clickwire.quarantine.*".to_owned());
    }

    /// Reads with consumers that the broker names and forgets; whose durable is not among `own`, it stays away from.
    fn read_again(&mut self, stream: StreamName, own: &[ConsumerName]) {
        self.publish.push(format!("$JS.API.CONSUMER.CREATE.{stream}"));
        self.publish.push(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.*"));
        self.publish.push(format!("$JS.API.CONSUMER.DELETE.{stream}.*"));
        for consumer in ConsumerName::ALL.into_iter().filter(|consumer| consumer.stream() == stream) {
            for durable in consumer.durables() {
                for name in names(durable) {
                    if !own.contains(&consumer) {
                        self.never_publish.push(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"));
                    }
                    self.never_publish.push(format!("$JS.API.CONSUMER.DELETE.{stream}.{name}"));
                }
            }
        }
    }
}

/// A durable consumer's name, and that of the one whose place it takes.
fn names(durable: Durable) -> impl Iterator<Item = String> {
    [Some(durable.to_string()), durable.before()].into_iter().flatten()
}

impl From<Needs> for Permissions {
    fn from(needs: Needs) -> Self {
        let sorted = |mut subjects: Vec<String>| {
            subjects.sort();
            subjects.dedup();
            subjects
        };
        Self {
            publish: sorted(needs.publish),
            never_publish: sorted(needs.never_publish),
            subscribe: sorted(needs.subscribe),
        }
    }
}

impl Permissions {
    /// In the words of nats-server's configuration, as the value of a variable.
    pub fn configuration(&self) -> String {
        let list = |subjects: &[String]| {
            subjects.iter().map(|subject| format!("      \"{subject}\"\n")).collect::<String>()
        };
        let mut publish = format!("    allow: [\n{}    ]\n", list(&self.publish));
        if !self.never_publish.is_empty() {
            publish.push_str(&format!("    deny: [\n{}    ]\n", list(&self.never_publish)));
        }
        let subscribe = list(&self.subscribe);
        format!(
            "{{\n  publish: {{\n{publish}  }}\n  subscribe: {{\n    allow: [\n{subscribe}    ]\n  }}\n}}\n"
        )
    }
}

impl Bus {
    /// Tries out everything that this service will need, without an effect: messages that no stream takes, requests that
    /// cannot be read, acknowledgements of nothing. A connection that is no service's has nothing to try.
    ///
    /// # Errors
    /// [`Forbidden`], which names every permission that is missing.
    pub(crate) async fn check_permissions(&self) -> Result<(), Forbidden> {
        let Some(role) = Role::of(self.name()) else { return Ok(()) };
        let needs = role.permissions();
        self.refusals().forget();
        for subject in &needs.subscribe {
            // ended at once: who listens where tests are asked for is taken for somebody who answers
            if let Ok(mut subscription) = self.client().subscribe(subject.clone()).await {
                let _ = subscription.unsubscribe().await;
            }
        }
        for subject in needs.publish.iter().filter(|subject| is_harmless(subject)) {
            let mut headers = HeaderMap::new();
            headers.insert(async_nats::header::NATS_EXPECTED_STREAM, NO_STREAM);
            let body = Bytes::from_static(b"self-test");
            // what cannot be sent now shows when it is needed
            let _ = self.client().publish_with_headers(concrete(subject), headers, body).await;
        }
        // the broker takes what one connection sends in order: it has refused by then what it refuses
        let nobody = self.client().request(NOBODY_SUBJECT, Bytes::new());
        let _ = tokio::time::timeout(self.settings().request_timeout, nobody).await;
        let refused = self.refusals().within(REFUSALS_LIMIT).await;
        if refused.is_empty() { Ok(()) } else { Err(Forbidden { refused }) }
    }
}

/// Whether a message that makes no sense does nothing there. An empty purge would be one of everything, and caches would
/// call a notice unreadable.
fn is_harmless(subject: &str) -> bool {
    !subject.contains(".PURGE.")
        && !subject.starts_with("clickwire.changed.")
        && !subject.starts_with("_INBOX")
}

/// A subject that the pattern covers, and that belongs to nobody.
fn concrete(pattern: &str) -> String {
    if let Some(acknowledged) = pattern.strip_prefix("$JS.ACK.").and_then(|rest| rest.strip_suffix(".>")) {
        // delivered, sequences, time and pending, as the broker writes them
        return format!("$JS.ACK.{acknowledged}.1.0.0.0.0");
    }
    pattern.replace(['*', '>'], "none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusals::covers;

    #[test]
    fn nobody_but_its_owner_pulls_from_a_consumer_or_removes_it() {
        for role in Role::ALL {
            let permissions = role.permissions();
            for durable in ConsumerName::ALL.into_iter().flat_map(ConsumerName::durables) {
                let stream = durable.consumer.stream();
                for name in names(durable) {
                    let pull = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
                    let is_owner = name.starts_with(role.as_str());
                    assert_eq!(may_publish(&permissions, &pull), is_owner, "{} {pull}", role.as_str());
                    let remove = format!("$JS.API.CONSUMER.DELETE.{stream}.{name}");
                    assert!(!may_publish(&permissions, &remove), "{} {remove}", role.as_str());
                }
            }
        }
    }

    #[test]
    fn nobody_makes_or_removes_a_stream_or_reads_the_replies_of_others() {
        for role in Role::ALL {
            let permissions = role.permissions();
            for subject in [
                "$JS.API.STREAM.DELETE.CLICKS",
                "$JS.API.STREAM.CREATE.CLICKS",
                "$JS.API.STREAM.UPDATE.CLICKS",
            ] {
                assert!(!may_publish(&permissions, subject), "{} {subject}", role.as_str());
            }
            let inboxes: Vec<_> = permissions.subscribe.iter().filter(|s| s.starts_with("_INBOX")).collect();
            assert_eq!(inboxes, [&format!("_INBOX_{}.>", role.as_str())]);
        }
    }

    fn may_publish(permissions: &Permissions, subject: &str) -> bool {
        let covered = |patterns: &[String]| patterns.iter().any(|pattern| covers(pattern, subject));
        covered(&permissions.publish) && !covered(&permissions.never_publish)
    }
}
