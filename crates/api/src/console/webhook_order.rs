//! The order of a webhook in words, and what holds it up.

use chrono::{DateTime, Utc};

use model::Ordering;
use model::ordering::OnFailure;
use store::endpoints::{Endpoint, EndpointOptions};
use store::lines::HoldUp;

use super::view::{When, when};

/// The order, and how often checkpoints are made, in sentences.
pub fn order_text(options: &EndpointOptions) -> String {
    let order = ordering_text(options.ordering);
    match options.checkpoint_minutes {
        None => order,
        Some(1) => format!("{order}. A checkpoint every minute"),
        Some(minutes) => format!("{order}. A checkpoint every {minutes} minutes"),
    }
}

fn ordering_text(ordering: Ordering) -> String {
    match ordering {
        Ordering::None => "As they can go, in no order".to_owned(),
        Ordering::PerLink => "The clicks of a link one after the other".to_owned(),
        Ordering::Strict(OnFailure::Stop) => "One after the other; what fails holds up the rest".to_owned(),
        Ordering::Strict(OnFailure::SkipAfter(1)) => "One after the other, each tried once".to_owned(),
        Ordering::Strict(OnFailure::SkipAfter(attempts)) => {
            format!("One after the other; what fails {attempts} times is passed over")
        }
    }
}

/// A delivery that holds up others, as the page shows it.
pub struct HoldUpText {
    /// Which delivery.
    pub delivery_id: String,
    /// Empty where everything waits.
    pub link_id: String,
    /// Its number.
    pub sequence: u64,
    /// Attempts so far.
    pub attempts: u32,
    /// Its first attempt.
    pub since: When,
}

impl HoldUpText {
    /// Of this endpoint.
    pub fn of(hold_up: &HoldUp, endpoint: &Endpoint, now: DateTime<Utc>) -> Self {
        let link_id = hold_up.link_id.filter(|_| !endpoint.options.ordering.is_strict());
        Self {
            delivery_id: hold_up.delivery_id.to_string(),
            link_id: link_id.map(|id| id.to_string()).unwrap_or_default(),
            sequence: hold_up.sequence,
            attempts: hold_up.attempt_count,
            since: when(hold_up.since, now),
        }
    }
}
