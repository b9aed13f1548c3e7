//! In which order an endpoint gets what it is owed.

use serde::{Deserialize, Serialize};

/// Most attempts after which a delivery can be passed over.
pub const SKIP_AFTER_MAX: u32 = 100;

/// The order that an endpoint asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub enum Ordering {
    /// None: everything as soon as it can go.
    #[default]
    None,
    /// The clicks of a link one after the other; those of different links at the same time. What is given up is passed over.
    PerLink,
    /// Everything one after the other.
    Strict(OnFailure),
}

/// What becomes of a strict order when a delivery fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnFailure {
    /// Nothing more is sent until it is accepted, or a person gives it up.
    #[default]
    Stop,
    /// After so many attempts it is given up, and the next one goes.
    SkipAfter(u32),
}

impl Ordering {
    /// The word in the API and in PostgreSQL.
    pub const fn mode(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::PerLink => "per_link",
            Self::Strict(_) => "strict",
        }
    }

    /// After how many attempts a delivery is given up so that the next one goes, if the endpoint says.
    pub const fn skip_after(self) -> Option<u32> {
        match self {
            Self::Strict(OnFailure::SkipAfter(attempts)) => Some(attempts),
            _ => None,
        }
    }

    /// Whether there is one.
    pub const fn is_kept(self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether everything goes one after the other.
    pub const fn is_strict(self) -> bool {
        matches!(self, Self::Strict(_))
    }
}

/// How it stands in PostgreSQL.
#[derive(Deserialize, Serialize)]
struct Stored {
    mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skip_after: Option<u32>,
}

impl From<Ordering> for Stored {
    fn from(ordering: Ordering) -> Self {
        Self { mode: ordering.mode().to_owned(), skip_after: ordering.skip_after() }
    }
}

impl TryFrom<Stored> for Ordering {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        match (stored.mode.as_str(), stored.skip_after) {
            ("none", None) => Ok(Self::None),
            ("per_link", None) => Ok(Self::PerLink),
            ("strict", None) => Ok(Self::Strict(OnFailure::Stop)),
            ("strict", Some(attempts @ 1..=SKIP_AFTER_MAX)) => {
                Ok(Self::Strict(OnFailure::SkipAfter(attempts)))
            }
            (mode, skip_after) => Err(format!("there is no order `{mode}` with skip_after {skip_after:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_order_is_read_as_it_was_written() {
        for (ordering, written) in [
            (Ordering::None, json!({"mode": "none"})),
            (Ordering::PerLink, json!({"mode": "per_link"})),
            (Ordering::Strict(OnFailure::Stop), json!({"mode": "strict"})),
            (Ordering::Strict(OnFailure::SkipAfter(5)), json!({"mode": "strict", "skip_after": 5})),
        ] {
            assert_eq!(serde_json::to_value(ordering).expect("JSON"), written);
            assert_eq!(serde_json::from_value::<Ordering>(written).expect("an order"), ordering);
        }
    }

    #[test]
    fn what_is_no_order_is_not_read() {
        for wrong in [
            json!({"mode": "fifo"}),
            json!({"mode": "per_link", "skip_after": 1}),
            json!({"mode": "strict", "skip_after": 0}),
            json!({"mode": "strict", "skip_after": SKIP_AFTER_MAX + 1}),
            json!({}),
        ] {
            assert!(serde_json::from_value::<Ordering>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
