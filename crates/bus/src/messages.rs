//! What travels on the bus, and how each kind of message names its subject, its id and its schema.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use model::{Click, EnrichedClick, EventId, Orphan, WorkspaceId};

use crate::topology::StreamName;
use crate::{codec, shard, topology};

/// Header of W3C Trace Context.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// Length of a trace's id, in hexadecimal digits.
const TRACE_ID_DIGITS: usize = 32;

/// The trace that a `traceparent` is of, for log lines.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    let id = traceparent.split('-').nth(1)?;
    let is_one = id.len() == TRACE_ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then_some(id)
}

/// A message that is ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where it goes.
    pub subject: String,
    /// `Nats-Msg-Id`: within the duplicate window the broker stores one message of an id.
    pub id: String,
    /// `Clickwire-Schema`: the Protobuf message of the payload.
    pub schema: &'static str,
    /// The encoded message.
    pub payload: Bytes,
    /// W3C trace context to carry on.
    pub traceparent: Option<String>,
}

impl Outgoing {
    /// A message that stood on this stream, to be published again byte for byte; `None` when the stream is none whose
    /// messages come from us.
    pub fn again(stream: &str, subject: String, id: String, payload: Bytes) -> Option<Self> {
        let stream = StreamName::ALL.into_iter().find(|known| known.as_str() == stream)?;
        let schema = match stream {
            StreamName::Clicks if subject.starts_with(topology::ORPHANS) => Orphan::SCHEMA,
            StreamName::Clicks => Click::SCHEMA,
            StreamName::Enriched => EnrichedClick::SCHEMA,
            StreamName::Events => Event::SCHEMA,
            StreamName::Quarantine => return None,
        };
        Some(Self { subject, id, schema, payload, traceparent: None })
    }
}

/// A kind of message: it encodes and decodes itself.
pub trait Message: Sized + Send + Sync + 'static {
    /// Full name of its Protobuf message.
    const SCHEMA: &'static str;

    /// The message, encoded and addressed.
    fn outgoing(&self) -> Outgoing;

    /// Reads an encoded message.
    ///
    /// # Errors
    /// [`DecodeError`] names the field that is wrong.
    fn decode(payload: &[u8]) -> Result<Self, DecodeError>;
}

/// Why a payload is not the message that was expected.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not Protobuf, or of another message.
    #[error("the payload is not the expected Protobuf message")]
    Protobuf(#[from] prost::DecodeError),
    /// A part that must be there is not.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// An id is not one.
    #[error("field `{field}` is not an id")]
    Id {
        /// Path of the field.
        field: &'static str,
        /// What it should look like.
        source: model::id::IdError,
    },
    /// A time is out of range.
    #[error("field `{0}` is not a time")]
    Time(&'static str),
    /// An address has neither 4 nor 16 bytes.
    #[error("field `{0}` is not an IP address")]
    Address(&'static str),
}

/// Something that happened to a link, an endpoint or a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Whose it is.
    pub workspace_id: WorkspaceId,
    /// `noun.verb`: `endpoint.disabled`.
    pub event_type: String,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// A JSON object, as text.
    pub data: String,
}

/// A message that could not be handled and was put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Stream that it stood on.
    pub stream: String,
    /// Where it stood.
    pub stream_sequence: u64,
    /// Its `Nats-Msg-Id`.
    pub message_id: Option<String>,
    /// Who could not handle it.
    pub consumer: String,
    /// Its subject.
    pub subject: String,
    /// Why it could not be handled.
    pub reason: String,
    /// The message, byte for byte.
    pub payload: Bytes,
    /// When it was put aside.
    pub quarantined_at: DateTime<Utc>,
}

impl Message for Click {
    const SCHEMA: &'static str = "clickwire.events.v1.Click";

    fn outgoing(&self) -> Outgoing {
        Outgoing {
            subject: topology::click_subject(self),
            id: self.id.to_string(),
            schema: Self::SCHEMA,
            payload: codec::encode_click(self).into(),
            traceparent: self.traceparent.clone(),
        }
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_click(payload)
    }
}

impl Message for Orphan {
    const SCHEMA: &'static str = "clickwire.events.v1.Orphan";

    fn outgoing(&self) -> Outgoing {
        Outgoing {
            subject: topology::orphan_subject(self.workspace_id),
            id: self.id.to_string(),
            schema: Self::SCHEMA,
            payload: codec::encode_orphan(self).into(),
            traceparent: None,
        }
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_orphan(payload)
    }
}

impl Message for EnrichedClick {
    const SCHEMA: &'static str = "clickwire.events.v1.EnrichedClick";

    fn outgoing(&self) -> Outgoing {
        Outgoing {
            subject: topology::enriched_subject(self),
            id: self.event_id.to_string(),
            schema: Self::SCHEMA,
            payload: codec::encode_enriched(self).into(),
            traceparent: self.click.traceparent.clone(),
        }
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_enriched(payload)
    }
}

impl Message for Event {
    const SCHEMA: &'static str = "clickwire.events.v1.Event";

    fn outgoing(&self) -> Outgoing {
        Outgoing {
            subject: topology::event_subject(self.workspace_id, &self.event_type),
            id: self.id.to_string(),
            schema: Self::SCHEMA,
            payload: codec::encode_event(self).into(),
            traceparent: None,
        }
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_event(payload)
    }
}

impl Message for Quarantined {
    const SCHEMA: &'static str = "clickwire.events.v1.Quarantined";

    fn outgoing(&self) -> Outgoing {
        // a stream that was made anew counts from 1 again: the payload tells its messages from the old ones
        let payload_hash = shard::fnv1a(&self.payload);
        Outgoing {
            subject: topology::quarantine_subject(&self.consumer),
            id: format!("{}.{}.{}.{payload_hash:016x}", self.stream, self.stream_sequence, self.consumer),
            schema: Self::SCHEMA,
            payload: codec::encode_quarantined(self).into(),
            traceparent: None,
        }
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_quarantined(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_tells_its_trace_and_nothing_else_does() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

        assert_eq!(trace_id(traceparent), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for other in ["", "00", "00-4bf9-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e473\n-0-01"] {
            assert_eq!(trace_id(other), None, "{other:?}");
        }
    }
}
