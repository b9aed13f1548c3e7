//! Which events a batch works on: one that was published twice is not sent twice at the same time.

use std::collections::HashSet;
use std::sync::Mutex;

use model::{EnrichedClick, EventId};

/// The events of a batch that no other batch has in hand.
pub struct Claim<'a> {
    in_hand: &'a Mutex<HashSet<EventId>>,
    event_ids: Vec<EventId>,
    /// Of each click of the batch, whether it is this batch's.
    pub is_ours: Vec<bool>,
}

impl<'a> Claim<'a> {
    /// Takes those that are not in hand, until it is dropped.
    pub fn of(in_hand: &'a Mutex<HashSet<EventId>>, batch: &[EnrichedClick]) -> Self {
        let mut all = in_hand.lock().expect("nobody panics with this in hand");
        let is_ours: Vec<bool> = batch.iter().map(|click| all.insert(click.event_id)).collect();
        let event_ids =
            batch.iter().zip(&is_ours).filter(|(_, ours)| **ours).map(|(c, _)| c.event_id).collect();
        Self { in_hand, event_ids, is_ours }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut all = self.in_hand.lock().expect("nobody panics with this in hand");
        for event_id in &self.event_ids {
            all.remove(event_id);
        }
    }
}
