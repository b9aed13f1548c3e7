//! The order of a webhook in words, what holds it up, and its checkpoints.

use chrono::{DateTime, Utc};

use model::ordering::OnFailure;
use model::{EndpointId, Ordering};
use store::checkpoints::Closed;
use store::endpoints::{Endpoint, EndpointOptions};
use store::lines::HoldUp;

use super::view::{When, when};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::desk::checkpoints;
use crate::error::ApiError;

/// Checkpoints that are shown.
const CHECKPOINTS_SHOWN: i64 = 20;

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
    /// Its first attempt that failed.
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

/// A checkpoint, as the page shows it.
pub struct CheckpointText {
    /// The first and the last of its numbers.
    pub numbers: String,
    /// How many deliveries it covers.
    pub count: u64,
    /// The earliest moment that they tell of.
    pub first_event: When,
    /// The latest.
    pub last_event: When,
    /// The digest of their webhook ids, in hexadecimal.
    pub sha256: String,
    /// When it was made.
    pub closed: When,
}

impl CheckpointText {
    fn of(Closed { checkpoint, closed_at }: &Closed, now: DateTime<Utc>) -> Self {
        let (first, last) = (checkpoint.first_sequence, checkpoint.last_sequence);
        Self {
            numbers: if first == last { first.to_string() } else { format!("{first} to {last}") },
            count: checkpoint.count,
            first_event: when(checkpoint.first_event_at, now),
            last_event: when(checkpoint.last_event_at, now),
            sha256: checkpoint.sha256(),
            closed: when(*closed_at, now),
        }
    }
}

/// The last checkpoints of an endpoint, newest first, for who may see deliveries.
pub async fn checkpoint_texts(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    now: DateTime<Utc>,
) -> Result<Vec<CheckpointText>, ApiError> {
    if !caller.may(Scope::DeliveriesRead) {
        return Ok(Vec::new());
    }
    let newest = checkpoints::newest(shared, caller, id, CHECKPOINTS_SHOWN).await?;
    Ok(newest.iter().map(|closed| CheckpointText::of(closed, now)).collect())
}
