//! Checkpoints: what an endpoint was owed, by number, told so that a receiver can prove that nothing is missing.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::id::EventId;

/// A closed range of an endpoint's deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The lowest number.
    pub first_sequence: u64,
    /// The highest number.
    pub last_sequence: u64,
    /// How many there are; one for each number.
    pub count: u64,
    /// The earliest moment that they tell of.
    pub first_event_at: DateTime<Utc>,
    /// The latest.
    pub last_event_at: DateTime<Utc>,
    /// SHA-256 of their webhook ids in the order of their numbers, each followed by a line feed.
    pub digest: [u8; 32],
}

impl Checkpoint {
    /// Of these deliveries, in the order of their numbers; `None`: there are none.
    pub fn of(numbered: &[(u64, EventId)]) -> Option<Self> {
        let ((first_sequence, _), (last_sequence, _)) = (*numbered.first()?, *numbered.last()?);
        let moments = || numbered.iter().map(|(_, id)| id.timestamp());
        let mut hash = Sha256::new();
        for (_, id) in numbered {
            hash.update(format!("{id}\n").as_bytes());
        }
        Some(Self {
            first_sequence,
            last_sequence,
            count: numbered.len() as u64,
            first_event_at: moments().min()?,
            last_event_at: moments().max()?,
            digest: hash.finalize().into(),
        })
    }

    /// The digest as it is told: 64 hexadecimal digits.
    pub fn sha256(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EventId {
        text.parse().expect("an id")
    }

    #[test]
    fn the_example_of_the_guide_is_right() {
        let numbered = [
            (41, id("evt_01kbr5zj7v0000000000000002")),
            (42, id("evt_01kbr5zj7v0000000000000002_1")),
            (43, id("evt_01kbr5zj7t0000000000000001")),
        ];

        let checkpoint = Checkpoint::of(&numbered).expect("some");

        assert_eq!((checkpoint.first_sequence, checkpoint.last_sequence, checkpoint.count), (41, 43, 3));
        assert_eq!(checkpoint.sha256(), "1d6c255e25277c014125fbef7330148802a257a9d2c23b4317adb30e92d59b8d");
        assert_eq!((checkpoint.last_event_at - checkpoint.first_event_at).num_milliseconds(), 1);
        assert_eq!(Checkpoint::of(&[]), None);
    }

    #[test]
    fn what_is_missing_or_in_another_order_has_another_digest() {
        let ids: Vec<(u64, EventId)> = (1..=3).map(|number| (number, EventId::generate())).collect();
        let digest = |numbered: &[(u64, EventId)]| Checkpoint::of(numbered).expect("some").digest;

        assert_ne!(digest(&ids), digest(&[ids[0], ids[2]]));
        assert_ne!(digest(&ids), digest(&[ids[1], ids[0], ids[2]]));
    }
}
