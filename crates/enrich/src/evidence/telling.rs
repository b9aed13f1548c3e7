//! What somebody has told of a click, as far as evidence needs it.

use bytes::Bytes;
use model::EnrichedClick;
use model::automation::Verdict;

use super::late::{Late, LateSignals};

/// A telling of a click: its first one, or an amendment.
#[derive(Debug, Clone)]
pub struct Telling {
    pub(super) revision: u32,
    /// What the first telling of the click counts.
    pub(super) first: LateSignals,
    /// What this one counts.
    pub(super) newest: LateSignals,
    pub(super) is_automated: bool,
    /// Its message.
    pub(super) event: Bytes,
}

impl Telling {
    /// The telling that this message of ENRICHED is.
    pub fn of(told: &EnrichedClick, event: Bytes) -> Self {
        let first = told.earlier.first().unwrap_or(&told.automation);
        Self {
            revision: told.event_id.revision(),
            first: Late::counted_in(first),
            newest: Late::counted_in(&told.automation),
            is_automated: told.automation.verdict == Verdict::Automated,
            event,
        }
    }

    /// Whether it came after another one of the same click.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.revision > other.revision
    }
}
