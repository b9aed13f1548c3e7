//! What is in hand: of each until when its lease lasts at the latest.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use chrono::{DateTime, Utc};

/// What is in hand, and until when each lease lasts at the latest.
pub(super) type Held<Id> = HashMap<Id, DateTime<Utc>>;

/// Takes one in hand; `false` when it is already. Then the lease that was got anew is its own from now on.
pub(super) fn take<Id: Hash + Eq>(in_hand: &mut Held<Id>, id: Id, until: DateTime<Utc>) -> bool {
    match in_hand.entry(id) {
        Entry::Vacant(free) => {
            free.insert(until);
            true
        }
        Entry::Occupied(mut known) => {
            let latest = until.max(*known.get());
            known.insert(latest);
            false
        }
    }
}

/// What of these is in hand still has its lease until then.
pub(super) fn prolong<Id: Hash + Eq>(in_hand: &mut Held<Id>, renewed: &HashSet<Id>, until: DateTime<Utc>) {
    for id in renewed {
        if let Some(known) = in_hand.get_mut(id) {
            *known = until.max(*known);
        }
    }
}

/// What was renewed; where no answer came that may be all that was held.
pub(super) fn renewed_at_most<Id: Copy + Hash + Eq, E>(
    renewed: &Result<HashSet<Id>, E>,
    held: &[(Id, DateTime<Utc>)],
) -> HashSet<Id> {
    match renewed {
        Ok(renewed) => renewed.clone(),
        Err(_) => held.iter().map(|(id, _)| *id).collect(),
    }
}

/// All of them.
pub(super) fn pairs<Id: Copy>(held: &Held<Id>) -> Vec<(Id, DateTime<Utc>)> {
    held.iter().map(|(id, until)| (*id, *until)).collect()
}

/// What is stored is in hand no more.
pub(super) fn remove<'a, Id: Hash + Eq + 'a>(in_hand: &mut Held<Id>, ids: impl Iterator<Item = &'a Id>) {
    for id in ids {
        in_hand.remove(id);
    }
}
