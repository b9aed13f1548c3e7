//! Every stream, subject (those of messages in `subjects`), consumer and limit on the bus. Nothing of this stands anywhere else.
//!
//! | stream | subjects | kept | full |
//! |---|---|---|---|
//! | CLICKS | `clickwire.clicks.raw.<workspace>.<shard>`, `clickwire.clicks.orphan.<workspace or none>` | 72 h | refuses new |
//! | ENRICHED | `clickwire.clicks.enriched.<workspace>.<verdict>`, `clickwire.clicks.amended.<workspace>` | 7 days | drops old |
//! | EVENTS | `clickwire.events.<workspace>.<noun>.<verb>` | 7 days | drops old |
//! | QUARANTINE | `clickwire.quarantine.<consumer>` | 30 days | drops old |
//!
//! Subjects carry the workspace and the verdict, never slugs or link ids: every subject costs the broker memory.
//! ENRICHED drops its oldest when full because it keeps what was long since handled; a click that is lost there
//! unhandled is published again by `redirect`, which asks for it in PostgreSQL. CLICKS refuses, because the spool holds
//! what does not fit.

mod subjects;

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PriorityPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use model::Click;

use crate::settings::Settings;
use crate::shard;

pub(crate) use subjects::{
    ORPHANS, changed_subject, changes_subject, clicks_prefix, enriched_subjects, shard_token,
};
pub use subjects::{click_subject, enriched_subject, event_subject, orphan_subject, quarantine_subject};

/// How long the broker waits for an acknowledgement or a sign of progress before it gives a message to someone else:
/// what a dead process held comes back within seconds.
pub const ACK_WAIT: Duration = Duration::from_secs(5);

/// Messages of one consumer that may be in hand, over all replicas, before the broker holds back.
pub const ACK_PENDING_MAX: i64 = 16_384;

/// Pull requests that may wait at one consumer, over all replicas.
const PULLS_WAITING_MAX: i64 = 512;

/// Most messages that one pull may ask for.
pub const PULL_MESSAGES_MAX: usize = 1000;

/// How many subjects one workspace's clicks are spread over, so that a burst stays visible in one place. `enrich` reads each with
/// a durable consumer of its own: so many replicas of `enrich` can share the work. One that filters by several subjects would
/// have the broker look at all subjects of all workspaces for each message: with clicks of 200 workspaces that wait it brings
/// 1,400 a second, sixteen of one subject each bring 34,000.
pub const SHARDS: u64 = 16;

/// The name under which replicas ask for a partition; the broker gives it to one of them (ADR-42, pinned client).
pub(crate) const PIN_GROUP: &str = "replicas";

/// The replica that has not asked for so long has lost its partition to another.
pub(crate) const PIN_TIMEOUT: Duration = Duration::from_secs(3);

/// The subjects of ENRICHED.
const ENRICHED_ALL: [&str; 2] = ["clickwire.clicks.enriched.*.*", "clickwire.clicks.amended.*"];

/// Core NATS: `api` asks `deliver` to send a test.
pub(crate) const TEST_SUBJECT: &str = "clickwire.deliver.test";

/// Core NATS: nobody listens here, which the broker says at once; a way to hear from it.
pub(crate) const NOBODY_SUBJECT: &str = "clickwire.nobody";

/// Those who answer [`TEST_SUBJECT`] share the requests under this name.
pub(crate) const TEST_QUEUE: &str = "deliver";

/// A stream of the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamName {
    /// Clicks as the redirect saw them.
    Clicks,
    /// Clicks with location, device and verdict.
    Enriched,
    /// What happens to links, endpoints and deliveries.
    Events,
    /// What could not be handled.
    Quarantine,
}

impl StreamName {
    /// Every stream.
    pub const ALL: [Self; 4] = [Self::Clicks, Self::Enriched, Self::Events, Self::Quarantine];

    /// Its name on the broker.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clicks => "CLICKS",
            Self::Enriched => "ENRICHED",
            Self::Events => "EVENTS",
            Self::Quarantine => "QUARANTINE",
        }
    }

    /// Whether clicks travel on it: many at once, and the most of all messages.
    pub(crate) const fn is_of_clicks(self) -> bool {
        matches!(self, Self::Clicks | Self::Enriched)
    }

    /// The stream of clicks that takes this subject.
    pub(crate) fn of_clicks(subject: &str) -> Option<Self> {
        let (kind, _) = subject.strip_prefix("clickwire.clicks.")?.split_once('.')?;
        match kind {
            "raw" | "orphan" => Some(Self::Clicks),
            "enriched" | "amended" => Some(Self::Enriched),
            _ => None,
        }
    }

    /// The setting that says how large it may become.
    pub(crate) const fn size_setting(self) -> &'static str {
        match self {
            Self::Clicks => "nats.clicks_max_bytes",
            Self::Enriched => "nats.enriched_max_bytes",
            Self::Events => "nats.events_max_bytes",
            Self::Quarantine => "nats.quarantine_max_bytes",
        }
    }

    /// What the broker is asked to make of it.
    pub(crate) fn config(self, settings: &Settings) -> Config {
        // each stream takes larger messages than the one before, so that what came in can always go on
        let (subjects, max_age, max_bytes, max_message_size, discard, description): (&[&str], _, _, _, _, _) =
            match self {
                Self::Clicks => (
                    &["clickwire.clicks.raw.*.*", "clickwire.clicks.orphan.*"],
                    settings.clicks_max_age,
                    settings.clicks_max_bytes,
                    64 * 1024,
                    DiscardPolicy::New,
                    "clicks as the redirect saw them",
                ),
                Self::Enriched => (
                    &ENRICHED_ALL,
                    settings.enriched_max_age,
                    settings.enriched_max_bytes,
                    128 * 1024,
                    DiscardPolicy::Old,
                    "clicks with location, device and verdict",
                ),
                Self::Events => (
                    &["clickwire.events.*.*.*"],
                    settings.events_max_age,
                    settings.events_max_bytes,
                    128 * 1024,
                    DiscardPolicy::Old,
                    "what happens to links, endpoints and deliveries",
                ),
                Self::Quarantine => (
                    &["clickwire.quarantine.*"],
                    settings.quarantine_max_age,
                    settings.quarantine_max_bytes,
                    256 * 1024,
                    DiscardPolicy::Old,
                    "what could not be decoded or made a handler panic",
                ),
            };
        Config {
            name: self.as_str().to_owned(),
            description: Some(description.to_owned()),
            subjects: subjects.iter().map(|&subject| subject.to_owned()).collect(),
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            discard,
            max_age,
            max_bytes: i64::try_from(max_bytes).unwrap_or(i64::MAX),
            max_message_size,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_consumers: -1,
            duplicate_window: settings.duplicate_window,
            num_replicas: settings.replicas,
            allow_direct: true,
            ..Config::default()
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A durable consumer of ours. Replicas of a service share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConsumerName {
    /// `enrich` reads CLICKS.
    Enrich,
    /// `deliver` reads ENRICHED.
    Deliver,
    /// `deliver` reads EVENTS.
    DeliverEvents,
    /// `record` reads ENRICHED.
    Record,
    /// `record` copies QUARANTINE to a table.
    Quarantine,
}

impl ConsumerName {
    /// Every consumer of ours.
    pub const ALL: [Self; 5] =
        [Self::Enrich, Self::Deliver, Self::DeliverEvents, Self::Record, Self::Quarantine];

    /// Its durable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enrich => "enrich",
            Self::Deliver => "deliver",
            Self::DeliverEvents => "deliver-events",
            Self::Record => "record",
            Self::Quarantine => "record-quarantine",
        }
    }

    /// The stream it reads.
    pub const fn stream(self) -> StreamName {
        match self {
            Self::Enrich => StreamName::Clicks,
            Self::Deliver | Self::Record => StreamName::Enriched,
            Self::DeliverEvents => StreamName::Events,
            Self::Quarantine => StreamName::Quarantine,
        }
    }

    /// The consumers that the broker has for it: one, or one for each partition.
    pub(crate) fn durables(self) -> Vec<Durable> {
        match self {
            Self::Enrich => Partition::all()
                .map(|partition| Durable { consumer: self, partition: Some(partition) })
                .collect(),
            Self::Deliver | Self::DeliverEvents | Self::Record | Self::Quarantine => {
                vec![Durable { consumer: self, partition: None }]
            }
        }
    }

    /// Where on its stream it begins.
    const fn begins(self) -> DeliverPolicy {
        match self {
            // who has it made is not told of the week before
            Self::DeliverEvents => DeliverPolicy::New,
            Self::Enrich | Self::Deliver | Self::Record | Self::Quarantine => DeliverPolicy::All,
        }
    }
}

/// A shard of CLICKS. One replica of `enrich` sees its clicks, and no other at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Partition(u64);

impl Partition {
    /// Every partition.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }

    /// The partition of a click.
    pub fn of(click: &Click) -> Self {
        Self(shard::of_click(click))
    }

    /// The subject of its clicks.
    pub(crate) fn subject(self) -> String {
        format!("clickwire.clicks.raw.*.{self}")
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(shard_token(self.0))
    }
}

/// A consumer as the broker knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Durable {
    pub consumer: ConsumerName,
    pub partition: Option<Partition>,
}

impl Durable {
    /// The name of the one that had its messages in the release before, if that was another: of CLICKS one of four.
    pub fn before(self) -> Option<String> {
        Some(format!("{}-{}", self.consumer, self.partition?.0 % 4))
    }

    /// What the broker is asked to make of it.
    pub fn config(self, settings: &Settings) -> pull::Config {
        let pinned = match self.partition {
            Some(partition) => pull::Config {
                filter_subject: partition.subject(),
                priority_policy: PriorityPolicy::PinnedClient,
                priority_groups: vec![PIN_GROUP.to_owned()],
                priority_timeout: PIN_TIMEOUT,
                ..pull::Config::default()
            },
            None => pull::Config::default(),
        };
        pull::Config {
            durable_name: Some(self.to_string()),
            ack_policy: AckPolicy::Explicit,
            deliver_policy: self.consumer.begins(),
            ack_wait: ACK_WAIT,
            // an outage must not end a click
            max_deliver: -1,
            max_ack_pending: ACK_PENDING_MAX,
            max_waiting: PULLS_WAITING_MAX,
            num_replicas: settings.replicas,
            ..pinned
        }
    }
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            Some(partition) => write!(f, "{}-{partition}", self.consumer),
            None => self.consumer.fmt(f),
        }
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_into_one_stream_fits_into_the_next() {
        let settings = crate::settings::defaults();
        let size = |stream: StreamName| stream.config(&settings).max_message_size;

        assert!(size(StreamName::Clicks) < size(StreamName::Enriched));
        for stream in [StreamName::Clicks, StreamName::Enriched, StreamName::Events] {
            assert!(size(stream) < size(StreamName::Quarantine));
        }
    }
}
