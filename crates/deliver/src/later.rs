//! Why a delivery of the fast lane goes through the database.

/// Why a delivery goes through the database instead of at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Later {
    /// All of the endpoint's slots are taken, and the wait would be long.
    Busy,
    /// All slots of this process are taken.
    Full,
    /// The endpoint does not answer.
    CircuitOpen,
    /// The subscriber asked for a pause.
    Paused,
    /// The endpoint has a rate: one courier alone sends to it.
    RateLimited,
    /// Its owner paused the endpoint or changes it just now, or it cannot be signed for.
    Held,
    /// The endpoint waits for the settled verdict.
    Settling,
    /// The endpoint gets several events in one request.
    Batching,
    /// The endpoint fetches it.
    Fetched,
    /// What the endpoint is owed is counted before it is sent, and mostly sent in order.
    InLine,
    /// The results of what is sent cannot be stored.
    Unstored,
}

impl Later {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Full => "full",
            Self::CircuitOpen => "circuit_open",
            Self::Paused => "paused",
            Self::RateLimited => "rate_limited",
            Self::Held => "held",
            Self::Settling => "settling",
            Self::Batching => "batching",
            Self::Fetched => "fetched",
            Self::InLine => "in_line",
            Self::Unstored => "unstored",
        }
    }
}
