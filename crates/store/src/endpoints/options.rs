//! What people set of an endpoint, and the defaults of it.

use model::event_type::EventTypePattern;
use model::{AlertFormat, Batching, EndpointUrl, Ordering};
use serde_json::Value;

use crate::QueryResult;
use crate::parse::parsed;

/// What people set of an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointOptions {
    /// What it is for. It never changes from one to the other.
    pub kind: Kind,
    /// Where events are posted.
    pub url: EndpointUrl,
    /// What it is for.
    pub description: Option<String>,
    /// Which event types it wants.
    pub event_types: Vec<EventTypePattern>,
    /// Which events of those types, as `webhook::filter` reads it.
    pub filter: Option<Value>,
    /// Custom headers, sealed.
    pub headers_sealed: Option<Vec<u8>>,
    /// Most requests at the same time.
    pub max_in_flight: Option<u32>,
    /// Most requests a second.
    pub rate_per_second: Option<u32>,
    /// How many of them may go at once after a quiet time.
    pub rate_burst: Option<u32>,
    /// How long after a click evidence is waited for before it is told of; 0: it is told at once.
    pub settle_ms: u32,
    /// Longest wait for a whole answer.
    pub timeout_ms: Option<u32>,
    /// Seconds before the second, third … attempt.
    pub retry_schedule: Option<Vec<u32>>,
    /// Statuses that end a delivery at once.
    pub permanent_statuses: Vec<u16>,
    /// Whether it is disabled when it has only failed for days.
    pub auto_disable: bool,
    /// The shape of its bodies, as `webhook::shape` reads it.
    pub payload: Option<Value>,
    /// Several events go in one request; `None`: each goes alone.
    pub batch: Option<Batching>,
    /// How it gets its events.
    pub delivery: DeliveryMode,
    /// In which order it gets what it is owed.
    pub ordering: Ordering,
    /// How often a checkpoint of what it was owed is made, if it asks for them.
    pub checkpoint_minutes: Option<u32>,
    /// Whether its webhooks carry an asymmetric signature too.
    pub signs_v1a: bool,
    /// How it lets us in, sealed.
    pub auth_sealed: Option<Vec<u8>>,
}

impl EndpointOptions {
    /// An endpoint at this URL that wants these types of events, with the defaults for everything else.
    pub fn to(kind: Kind, url: EndpointUrl, event_types: Vec<EventTypePattern>) -> Self {
        Self {
            kind,
            url,
            description: None,
            event_types,
            filter: None,
            headers_sealed: None,
            max_in_flight: None,
            rate_per_second: None,
            rate_burst: None,
            settle_ms: 0,
            timeout_ms: None,
            retry_schedule: None,
            permanent_statuses: Vec::new(),
            auto_disable: true,
            payload: None,
            batch: None,
            delivery: DeliveryMode::Push,
            ordering: Ordering::None,
            checkpoint_minutes: None,
            signs_v1a: false,
            auth_sealed: None,
        }
    }

    /// Whether it fetches its events: nothing is sent to it.
    pub fn is_pulled(&self) -> bool {
        self.delivery == DeliveryMode::Pull
    }
}

/// How an endpoint gets its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryMode {
    /// They are posted to it.
    Push,
    /// It fetches them; nothing is sent.
    Pull,
}

impl DeliveryMode {
    /// The word in the API and in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
        }
    }

    pub(crate) fn from_word(word: &str) -> Self {
        if word == Self::Pull.as_str() { Self::Pull } else { Self::Push }
    }
}

/// What an endpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It gets the events that it chose.
    Webhook,
    /// It is where its workspace hears of webhooks that need a person; there is at most one.
    Alert(AlertFormat),
}

impl Kind {
    /// The word in the API and in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Alert(_) => "alert",
        }
    }

    /// The shape of its bodies, if it is the alert URL.
    pub const fn alert_format(self) -> Option<AlertFormat> {
        match self {
            Self::Webhook => None,
            Self::Alert(format) => Some(format),
        }
    }

    pub(crate) fn read(alert_format: Option<&str>) -> QueryResult<Self> {
        alert_format.map_or(Ok(Self::Webhook), |word| Ok(Self::Alert(parsed(word)?)))
    }
}
