//! What a request says of an endpoint's batches.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use model::Batching;

use crate::fields::{self, Fields, FromFields, Wrong, number};

/// Several events in one request: a batch goes at the first of the three.
#[derive(Serialize, ToSchema)]
pub struct BatchOption {
    /// So many events wait, 2 to 1000. Default: 100.
    #[schema(example = 100)]
    max_events: u32,
    /// The oldest has waited for so long, in milliseconds, 0 to 60000. Default: 1000.
    #[schema(example = 1000)]
    max_wait_ms: u32,
    /// One more event would make the body longer than this, 4096 to 1048576 bytes. An event that is longer by itself goes
    /// alone. Default: 262144.
    #[schema(example = 262_144)]
    max_bytes: u32,
}

impl From<Batching> for BatchOption {
    fn from(batching: Batching) -> Self {
        let Batching { max_events, max_wait_ms, max_bytes } = batching;
        Self { max_events, max_wait_ms, max_bytes }
    }
}

impl FromFields for Batching {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let usual = Self::default();
        let max_events =
            fields.optional("max_events", number::<{ Batching::EVENTS_MIN }, { Batching::EVENTS_MAX }>);
        let max_wait_ms = fields.optional("max_wait_ms", number::<0, { Batching::WAIT_MS_MAX }>);
        let max_bytes =
            fields.optional("max_bytes", number::<{ Batching::BYTES_MIN }, { Batching::BYTES_MAX }>);
        Some(Self {
            max_events: max_events.unwrap_or(usual.max_events),
            max_wait_ms: max_wait_ms.unwrap_or(usual.max_wait_ms),
            max_bytes: max_bytes.unwrap_or(usual.max_bytes),
        })
    }
}

/// The batches that an endpoint asks for; what is left out has its default.
pub fn batch(value: &Value) -> Result<Batching, Wrong> {
    fields::any_object(value)?;
    fields::nested(value)
}
