//! What stands around the `data` of every event: Standard Webhooks 1.0.0, "Payload structure".
//!
//! The order of the fields is the order of the struct below.

use chrono::{DateTime, SecondsFormat, Utc};
use model::EventId;
use serde::{Serialize, Serializer};

/// The body of one event.
#[derive(Serialize)]
pub(crate) struct Envelope<'a, D> {
    id: EventId,
    #[serde(rename = "type")]
    event_type: &'a str,
    /// `null`: the number is given when the delivery is stored ([`crate::numbering`]).
    sequence: (),
    timestamp: Timestamp,
    data: D,
}

impl<'a, D: Serialize> Envelope<'a, D> {
    /// Around `data` of an event that happened at `occurred_at`.
    pub fn new(id: EventId, event_type: &'a str, occurred_at: DateTime<Utc>, data: D) -> Self {
        Self { id, event_type, sequence: (), timestamp: Timestamp(occurred_at), data }
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) struct Timestamp(pub(crate) DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}
