//! The rule of order: a line goes on from its head, and only when that is due and in nobody's hands. Pure.
//!
//! What is taken in hand is a *run*: the head and what is right behind it, up to the first that is not due or is in somebody's
//! hands. Its deliveries are sent one after the other, each when the one before it was accepted ([`runs`](crate::runs)).
//!
//! A head that failed stays where it is until it is due again, and so do all behind it; other lines go on. Since who waits
//! longest goes first, a line that can go on is not forgotten for others.

use chrono::{DateTime, Utc};
use model::DeliveryId;
use store::lines::{Head, Heads, LineKey, Place};

/// What replays get at most of what an endpoint can take on, so that what is live finds room.
const REPLAYED_PART: usize = 4;

/// Deliveries of one line, to be sent one after the other.
pub type Run = Vec<DeliveryId>;

/// The runs that are taken in hand now, at most `quota`: what is live first, by the numbers of the heads, then what is replayed.
pub fn next(heads: &Heads, quota: usize, now: DateTime<Utc>) -> Vec<Run> {
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

fn ready(heads: &[Head], now: DateTime<Utc>) -> Vec<Run> {
    let can_go = |place: &Place| place.due_at <= now && place.leased_until.is_none_or(|until| until <= now);
    let mut ready: Vec<&Head> = heads.iter().filter(|head| can_go(&head.first)).collect();
    ready.sort_by_key(|head| (head.first.sequence, head.first.id));
    let run = |head: &Head| {
        let behind = head.behind.iter().take_while(|place| can_go(place));
        std::iter::once(&head.first).chain(behind).map(|place| place.id).collect()
    };
    ready.into_iter().map(run).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, VecDeque};

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

    fn place(sequence: u64, due_at: i64) -> Place {
        let id = DeliveryId::from_uuid(Uuid::from_u128(sequence.into()));
        Place { id, sequence, due_at: at(due_at), leased_until: None }
    }

    fn head(number: u8, sequence: u64, due_at: i64) -> Head {
        Head { line: line(number), first: place(sequence, due_at), behind: Vec::new() }
    }

    fn sequences(run: &[DeliveryId]) -> Vec<u64> {
        run.iter().map(|id| u64::try_from(id.uuid().as_u128()).expect("small")).collect()
    }

    /// The first of each run.
    fn firsts(next: &[Run]) -> Vec<u64> {
        next.iter().map(|run| sequences(run)[0]).collect()
    }

    #[test]
    fn who_waits_longest_goes_first_and_replays_get_a_quarter_of_what_there_is_room_for() {
        let live = vec![head(0, 9, 0), head(1, 3, 0), head(2, 4, 5)];
        let replayed: Vec<Head> = (0..8).map(|number| head(number, 100 + u64::from(number), 0)).collect();
        let heads = Heads { live, replayed };

        assert_eq!(firsts(&next(&heads, 8, at(0))), [3, 9, 100, 101]);
        assert_eq!(firsts(&next(&heads, 8, at(5))), [3, 4, 9, 100, 101]);
        assert_eq!(firsts(&next(&heads, 2, at(5))), [3, 4]);
        assert!(next(&heads, 0, at(5)).is_empty());
    }

    #[test]
    fn what_somebody_has_in_hand_is_left_to_him_until_his_lease_ends() {
        let first = Place { leased_until: Some(at(7)), ..place(1, 0) };
        let leased = Head { first, ..head(0, 1, 0) };
        let heads = Heads { live: vec![leased], replayed: Vec::new() };

        assert!(next(&heads, 8, at(6)).is_empty());
        assert_eq!(firsts(&next(&heads, 8, at(7))), [1]);
    }

    #[test]
    fn a_run_ends_before_the_first_that_is_not_due_or_is_in_somebodys_hands() {
        let leased = Place { leased_until: Some(at(7)), ..place(4, 0) };
        for (behind, run) in [
            (vec![place(2, 0), place(3, 1)], vec![1, 2, 3]),
            (vec![place(2, 0), place(3, 2), place(4, 0)], vec![1, 2]),
            (vec![place(2, 0), leased, place(5, 0)], vec![1, 2]),
        ] {
            let heads = Heads { live: vec![Head { behind, ..head(0, 1, 0) }], replayed: Vec::new() };
            assert_eq!(next(&heads, 8, at(1)).iter().map(|run| sequences(run)).collect::<Vec<_>>(), [run]);
        }
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

    /// The heads as the database finds them: of each line the lowest numbers that wait.
    fn heads(waiting: &BTreeMap<u64, Modelled>) -> Heads {
        let mut lines: BTreeMap<u8, Head> = BTreeMap::new();
        for (sequence, delivery) in waiting {
            let leased_until = delivery.leased_until.map(at);
            let place = Place { leased_until, ..place(*sequence, delivery.due_at) };
            match lines.get_mut(&delivery.line) {
                Some(head) if head.behind.len() < BEHIND_MAX => head.behind.push(place),
                Some(_) => {}
                None => {
                    let head = Head { first: place, ..head(delivery.line, *sequence, delivery.due_at) };
                    lines.insert(delivery.line, head);
                }
            }
        }
        Heads { live: lines.into_values().collect(), replayed: Vec::new() }
    }

    #[derive(Debug, Clone, Copy)]
    enum Event {
        /// A delivery is stored.
        Stored { line: u8 },
        /// A courier looks.
        Looked { quota: usize },
        /// The first of a run in hand is accepted, and the next one is sent.
        Ended { which: usize },
        /// The first of a run in hand failed, and is tried again later; the others are given back.
        Failed { which: usize, pause: i64 },
        /// The first of a run in hand is accepted, and the others are given back all the same.
        Broken { which: usize },
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
            1 => any::<usize>().prop_map(|which| Event::Broken { which }),
            1 => Just(Event::Died),
            1 => (1i64..9).prop_map(|seconds| Event::Passed { seconds }),
        ]
    }

    const LEASE: i64 = 5;

    const BEHIND_MAX: usize = 3;

    proptest! {
        #[test]
        fn nothing_is_sent_before_all_before_it_have_ended_and_everything_is_sent(
            events in prop::collection::vec(event(), 1..120),
            is_strict: bool,
        ) {
            let mut waiting: BTreeMap<u64, Modelled> = BTreeMap::new();
            let mut in_hand: Vec<VecDeque<u64>> = Vec::new();
            let mut sent: HashMap<u8, Vec<u64>> = HashMap::new();
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
                        for run in next.iter().map(|run| VecDeque::from(sequences(run))) {
                            let line = waiting[&run[0]].line;
                            for sequence in &run {
                                let is_held = in_hand.iter().flatten().any(|held| held == sequence);
                                prop_assert!(!is_held, "{} is in hand already", sequence);
                                let delivery = waiting.get_mut(sequence).expect("it waits");
                                prop_assert_eq!(delivery.line, line);
                                delivery.leased_until = Some(now + LEASE);
                            }
                            prop_assert!(is_first(&waiting, run[0]), "{} overtook", run[0]);
                            sent.entry(line).or_default().push(run[0]);
                            in_hand.push(run);
                        }
                    }
                    Event::Ended { which } => {
                        if let Some(run) = chosen(&mut in_hand, which) {
                            waiting.remove(&run.pop_front().expect("it has one"));
                            if let Some(next) = run.front() {
                                prop_assert!(is_first(&waiting, *next), "{} overtook", next);
                                sent.entry(waiting[next].line).or_default().push(*next);
                            }
                        }
                    }
                    Event::Failed { which, pause } => {
                        if let Some(run) = chosen(&mut in_hand, which) {
                            let failed = waiting.get_mut(&run[0]).expect("it waits");
                            failed.due_at = now + pause;
                            give_back(&mut waiting, run);
                        }
                    }
                    Event::Broken { which } => {
                        if let Some(run) = chosen(&mut in_hand, which) {
                            waiting.remove(&run.pop_front().expect("it has one"));
                            give_back(&mut waiting, run);
                        }
                    }
                    Event::Died => {
                        in_hand.clear();
                        now += LEASE;
                    }
                    Event::Passed { seconds } => {
                        now += seconds;
                        // whoever lives renews
                        for sequence in in_hand.iter().flatten() {
                            waiting.get_mut(sequence).expect("it waits").leased_until = Some(now + LEASE);
                        }
                    }
                }
                in_hand.retain(|run| !run.is_empty());
            }
            prop_assert!(waiting.is_empty(), "{} were never sent", waiting.len());
            // what is sent again was sent before, and never goes back behind what came after it was accepted
            for sent in sent.values() {
                prop_assert!(sent.is_sorted(), "{:?}", sent);
            }
        }
    }

    fn is_first(waiting: &BTreeMap<u64, Modelled>, sequence: u64) -> bool {
        let line = waiting[&sequence].line;
        waiting.range(..sequence).all(|(_, other)| other.line != line)
    }

    fn chosen(in_hand: &mut [VecDeque<u64>], which: usize) -> Option<&mut VecDeque<u64>> {
        let which = which.checked_rem(in_hand.len())?;
        in_hand.get_mut(which)
    }

    fn give_back(waiting: &mut BTreeMap<u64, Modelled>, run: &mut VecDeque<u64>) {
        for sequence in run.drain(..) {
            waiting.get_mut(&sequence).expect("it waits").leased_until = None;
        }
    }
}
