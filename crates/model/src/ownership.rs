//! Whether an endpoint has to show that it wants what is sent to it. Without that, whoever may add endpoints can have
//! requests sent to anybody.

use serde::Deserialize;

/// What it takes until an endpoint gets as much as it bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnershipCheck {
    /// It gives a challenge back; until then it gets one request a second.
    Required,
    /// Nothing.
    Off,
}
