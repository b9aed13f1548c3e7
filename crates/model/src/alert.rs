//! Alerts: what a workspace's alert URL is told, and in which shape.

use std::fmt;
use std::str::FromStr;

use crate::event_type::{DELIVERY_DEAD, DELIVERY_FAILING, ENDPOINT_DISABLED, ENDPOINT_WARNING};

/// The states that need a person, and that they need one no more.
pub const ALERT_TYPES: [&str; 5] =
    [ENDPOINT_WARNING, ENDPOINT_DISABLED, "endpoint.recovered", DELIVERY_FAILING, DELIVERY_DEAD];

/// The shape of an alert's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AlertFormat {
    /// The body that webhooks get.
    #[default]
    Webhook,
    /// `{"text": "…"}`, as Slack's incoming webhooks read it.
    Slack,
}

impl AlertFormat {
    /// The word in the API and in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
        }
    }
}

impl fmt::Display for AlertFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be `webhook` or `slack`")]
pub struct AlertFormatError;

impl FromStr for AlertFormat {
    type Err = AlertFormatError;

    fn from_str(word: &str) -> Result<Self, AlertFormatError> {
        [Self::Webhook, Self::Slack]
            .into_iter()
            .find(|format| format.as_str() == word)
            .ok_or(AlertFormatError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_type;

    #[test]
    fn every_alert_is_of_a_type_that_there_is() {
        for name in ALERT_TYPES {
            assert_eq!(event_type::known(name), Some(name));
        }
    }
}
