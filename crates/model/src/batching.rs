//! Batching: what an endpoint asks of requests that carry several events.

use serde::{Deserialize, Serialize};

/// When the events that wait for an endpoint become one request: at the first of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub struct Batching {
    /// So many of them wait.
    pub max_events: u32,
    /// The oldest has waited for so long.
    pub max_wait_ms: u32,
    /// One more would make the body longer than this. An event that is longer by itself goes alone.
    pub max_bytes: u32,
}

impl Batching {
    /// Fewest events that are worth a batch.
    pub const EVENTS_MIN: u32 = 2;
    /// Most events in one request.
    pub const EVENTS_MAX: u32 = 1000;
    /// Longest wait for more events.
    pub const WAIT_MS_MAX: u32 = 60_000;
    /// Least that a body may be limited to: a few events.
    pub const BYTES_MIN: u32 = 4096;
    /// Most that a body may be limited to: 1 MiB.
    pub const BYTES_MAX: u32 = 1 << 20;
}

impl Default for Batching {
    /// A hundred events, a second, 256 KiB.
    fn default() -> Self {
        Self { max_events: 100, max_wait_ms: 1000, max_bytes: 256 << 10 }
    }
}
