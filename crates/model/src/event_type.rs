//! Types of events: `link.clicked`, `endpoint.disabled`, … and the patterns that endpoints choose them by.

use std::str::FromStr;

use crate::alert::ALERT_TYPES;
use crate::text::as_text;

/// A click on a tracked link.
pub const LINK_CLICKED: &str = "link.clicked";

/// What was told of a click has changed: mostly its verdict, by what was learned after it.
pub const LINK_CLICK_AMENDED: &str = "link.click.amended";

/// An endpoint is switched off, for a reason.
pub const ENDPOINT_DISABLED: &str = "endpoint.disabled";

/// An endpoint only fails, and will be disabled.
pub const ENDPOINT_WARNING: &str = "endpoint.warning";

/// What an endpoint was owed by number, told to the endpoint itself.
pub const ENDPOINT_CHECKPOINT: &str = "endpoint.checkpoint";

/// A delivery has failed for the third time.
pub const DELIVERY_FAILING: &str = "delivery.failing";

/// A delivery was given up.
pub const DELIVERY_DEAD: &str = "delivery.dead";

/// Every type that an endpoint can subscribe to today: clicks first, then what happens to endpoints and deliveries.
pub const EVENT_TYPES: [&str; 15] = [
    LINK_CLICKED,
    LINK_CLICK_AMENDED,
    "endpoint.created",
    "endpoint.updated",
    "endpoint.paused",
    "endpoint.resumed",
    ENDPOINT_WARNING,
    ENDPOINT_DISABLED,
    "endpoint.recovered",
    "endpoint.removed",
    ENDPOINT_CHECKPOINT,
    DELIVERY_FAILING,
    DELIVERY_DEAD,
    "secret.rotated",
    "secret.revoked",
];

/// The type with this name, if an endpoint can subscribe to it.
pub fn known(name: &str) -> Option<&'static str> {
    EVENT_TYPES.into_iter().find(|known| *known == name)
}

/// Whether an event of this type tells of a click, and not of our own doings.
pub fn is_of_click(name: &str) -> bool {
    matches!(name, LINK_CLICKED | LINK_CLICK_AMENDED)
}

/// Which event types an endpoint wants: a type, or a beginning with `*` (`link.*`, `*`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventTypePattern(String);

/// Why a text is not a pattern that can ever match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` matches no event type; there are: {types}", types = EVENT_TYPES.join(", "))]
pub struct EventTypePatternError(pub String);

impl EventTypePattern {
    /// The pattern that wants exactly clicks.
    pub fn link_clicked() -> Self {
        Self(LINK_CLICKED.to_owned())
    }

    /// The patterns of an alert URL: exactly what it is told.
    pub fn alerts() -> Vec<Self> {
        ALERT_TYPES.into_iter().map(|name| Self(name.to_owned())).collect()
    }

    /// Whether an event of this type is wanted.
    pub fn matches(&self, event_type: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => event_type.starts_with(beginning),
            None => self.0 == event_type,
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventTypePattern {
    type Err = EventTypePatternError;

    fn from_str(text: &str) -> Result<Self, EventTypePatternError> {
        let pattern = Self(text.to_owned());
        let whole_words = match text.strip_suffix('*') {
            Some(beginning) => beginning.is_empty() || beginning.ends_with('.'),
            None => true,
        };
        if whole_words && EVENT_TYPES.iter().any(|t| pattern.matches(t)) {
            Ok(pattern)
        } else {
            Err(EventTypePatternError(text.to_owned()))
        }
    }
}

as_text! { EventTypePattern }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_type_or_its_beginning() {
        for pattern in ["link.clicked", "link.*", "*"] {
            let pattern: EventTypePattern = pattern.parse().expect(pattern);
            assert!(pattern.matches(LINK_CLICKED));
        }
        assert!(!EventTypePattern::link_clicked().matches("link.created"));
        for pattern in ["endpoint.*", "delivery.dead", "secret.*"] {
            let pattern: EventTypePattern = pattern.parse().expect(pattern);
            assert!(!pattern.matches(LINK_CLICKED));
        }
    }

    #[test]
    fn a_pattern_that_can_never_match_is_refused() {
        for pattern in ["", "link", "links.*", "link.cl*", "**", "LINK.CLICKED"] {
            assert!(pattern.parse::<EventTypePattern>().is_err(), "{pattern}");
        }
    }
}
