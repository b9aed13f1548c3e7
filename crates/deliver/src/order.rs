//! The rule of order: of each line only the head is sent, and only when it is due and in nobody's hands. Pure.
//!
//! A head that failed stays where it is until it is due again, and so do all behind it; other lines go on. Since who waits
//! longest goes first, a line that can go on is not forgotten for others.

use chrono::{DateTime, Utc};
use model::DeliveryId;
use store::lines::{Head, Heads, LineKey};

/// What replays get at most of what an endpoint can take on, so that what is live finds room.
const REPLAYED_PART: usize = 4;

/// Which of these heads are sent now, at most `quota`: what is live first, by its numbers, then what is replayed.
pub fn next(heads: &Heads, quota: usize, now: DateTime<Utc>) -> Vec<DeliveryId> {
    let mut next = ready(&heads.live, now);
    next.truncate(quota);
    let mut replayed = ready(&heads.replayed, now);
    replayed.truncate(quota.div_ceil(REPLAYED_PART).min(quota - next.len()));
    next.append(&mut replayed);
    next
}

/// After which line the next look begins, when one look shows at most `lines_max`; the default is from the first.
pub fn after(heads: &Heads, lines_max: usize) -> LineKey {
    match heads.live.last() {
        Some(last) if heads.live.len() >= lines_max => last.line,
        _ => LineKey::default(),
    }
}

fn ready(heads: &[Head], now: DateTime<Utc>) -> Vec<DeliveryId> {
    let is_free = |head: &&Head| head.leased_until.is_none_or(|until| until <= now);
    let mut ready: Vec<&Head> = heads.iter().filter(|head| head.due_at <= now).filter(is_free).collect();
    ready.sort_by_key(|head| (head.sequence, head.id));
    ready.into_iter().map(|head| head.id).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use chrono::TimeDelta;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn line(number: u8) -> LineKey {
        LineKey(Uuid::from_u128(u128::from(number) + 1))
    }

    fn head(number: u8, sequence: u64, due_at: i64) -> Head {
        let id = DeliveryId::from_uuid(Uuid::from_u128(sequence.into()));
        Head { id, line: line(number), sequence, due_at: at(due_at), leased_until: None }
    }

    fn sequences(next: &[DeliveryId]) -> Vec<u128> {
        next.iter().map(|id| id.uuid().as_u128()).collect()
    }

    #[test]
    fn who_waits_longest_goes_first_and_replays_get_a_quarter_of_what_there_is_room_for() {
        let live = vec![head(0, 9, 0), head(1, 3, 0), head(2, 4, 5)];
        let replayed: Vec<Head> = (0..8).map(|number| head(number, 100 + u64::from(number), 0)).collect();
        let heads = Heads { live, replayed };

        assert_eq!(sequences(&next(&heads, 8, at(0))), [3, 9, 100, 101]);
        assert_eq!(sequences(&next(&heads, 8, at(5))), [3, 4, 9, 100, 101]);
        assert_eq!(sequences(&next(&heads, 2, at(5))), [3, 4]);
        assert!(next(&heads, 0, at(5)).is_empty());
    }

    #[test]
    fn what_somebody_has_in_hand_is_left_to_him_until_his_lease_ends() {
        let leased = Head { leased_until: Some(at(7)), ..head(0, 1, 0) };
        let heads = Heads { live: vec![leased], replayed: Vec::new() };

        assert!(next(&heads, 8, at(6)).is_empty());
        assert_eq!(sequences(&next(&heads, 8, at(7))), [1]);
    }

    #[test]
    fn of_more_lines_than_one_look_shows_the_next_look_shows_the_next() {
        let heads = Heads { live: vec![head(0, 1, 0), head(1, 2, 0)], replayed: Vec::new() };

        assert_eq!((after(&heads, 2), after(&heads, 3)), (line(1), LineKey::default()));
    }

    /// A delivery of the model.
    #[derive(Debug, Clone)]
    struct Modelled {
        line: u8,
        due_at: i64,
        leased_until: Option<i64>,
    }

    /// The heads as the database finds them: of each line the lowest number that waits.
    fn heads(waiting: &BTreeMap<u64, Modelled>) -> Heads {
        let mut first: BTreeMap<u8, Head> = BTreeMap::new();
        for (sequence, delivery) in waiting {
            let leased_until = delivery.leased_until.map(at);
            let head = Head { leased_until, ..head(delivery.line, *sequence, delivery.due_at) };
            first.entry(delivery.line).or_insert(head);
        }
        Heads { live: first.into_values().collect(), replayed: Vec::new() }
    }

    #[derive(Debug, Clone, Copy)]
    enum Event {
        /// A delivery is stored.
        Stored { line: u8 },
        /// A courier looks.
        Looked { quota: usize },
        /// Something in hand is accepted, or given up.
        Ended { which: usize },
        /// Something in hand failed, and is tried again later.
        Failed { which: usize, pause: i64 },
        /// Whoever has things in hand dies; time goes on until his leases have ended.
        Died,
        /// Time goes on.
        Passed { seconds: i64 },
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => (0u8..3).prop_map(|line| Event::Stored { line }),
            4 => (0usize..4).prop_map(|quota| Event::Looked { quota }),
            2 => any::<usize>().prop_map(|which| Event::Ended { which }),
            2 => (any::<usize>(), 0i64..9).prop_map(|(which, pause)| Event::Failed { which, pause }),
            1 => Just(Event::Died),
            1 => (1i64..9).prop_map(|seconds| Event::Passed { seconds }),
        ]
    }

    const LEASE: i64 = 5;

    proptest! {
        #[test]
        fn nothing_is_sent_before_all_before_it_have_ended_and_everything_is_sent(
            events in prop::collection::vec(event(), 1..120),
            is_strict: bool,
        ) {
            let mut waiting: BTreeMap<u64, Modelled> = BTreeMap::new();
            let mut in_hand: Vec<u64> = Vec::new();
            let mut first_sent: HashMap<u8, Vec<u64>> = HashMap::new();
            let (mut now, mut last) = (0, 0);
            // in the end everything is accepted at once
            let round = [Event::Looked { quota: 1 }, Event::Ended { which: 0 }, Event::Passed { seconds: 9 }];
            let rest = std::iter::repeat_n(round, 400).flatten();
            for event in events.into_iter().chain(rest) {
                match event {
                    Event::Stored { line } => {
                        last += 1;
                        let line = if is_strict { 0 } else { line };
                        waiting.insert(last, Modelled { line, due_at: now, leased_until: None });
                    }
                    Event::Looked { quota } => {
                        let next = next(&heads(&waiting), quota, at(now));
                        prop_assert!(next.len() <= quota);
                        for sequence in sequences(&next) {
                            let sequence = u64::try_from(sequence).expect("small");
                            let line = waiting[&sequence].line;
                            let mut before = waiting.range(..sequence);
                            prop_assert!(before.all(|(_, other)| other.line != line), "{} overtook", sequence);
                            prop_assert!(!in_hand.contains(&sequence), "{} is in hand already", sequence);
                            in_hand.push(sequence);
                            first_sent.entry(line).or_default().push(sequence);
                            waiting.get_mut(&sequence).expect("it waits").leased_until = Some(now + LEASE);
                        }
                    }
                    Event::Ended { which } => {
                        if !in_hand.is_empty() {
                            let sequence = in_hand.remove(which % in_hand.len());
                            waiting.remove(&sequence);
                        }
                    }
                    Event::Failed { which, pause } => {
                        if !in_hand.is_empty() {
                            let sequence = in_hand.remove(which % in_hand.len());
                            let delivery = waiting.get_mut(&sequence).expect("it waits");
                            (delivery.due_at, delivery.leased_until) = (now + pause, None);
                        }
                    }
                    Event::Died => {
                        in_hand.clear();
                        now += LEASE;
                    }
                    Event::Passed { seconds } => {
                        now += seconds;
                        // whoever lives renews
                        for sequence in &in_hand {
                            waiting.get_mut(sequence).expect("it waits").leased_until = Some(now + LEASE);
                        }
                    }
                }
            }
            prop_assert!(waiting.is_empty(), "{} were never sent", waiting.len());
            // what is sent again was sent before, and never goes back behind what came after it
            for sent in first_sent.values() {
                prop_assert!(sent.is_sorted(), "{:?}", sent);
            }
        }
    }
}
