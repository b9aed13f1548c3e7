//! Counts by source, in memory of a fixed size: how often a network may ask for what is not there, try a password, or
//! have its visits told of, and how often an account may be tried.
//!
//! A source is hashed to one slot of a table, with a key that is drawn when the process starts. Two sources may share
//! a slot, and then share what they may do: a limit is sometimes stricter than it says, and never looser. Who has tens of
//! thousands of networks can use up the table for everybody; what that costs others is said where a tally is used.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Slots of a tally of many sources: 256 KiB.
pub const SLOTS: usize = 32 * 1024;

/// What a tally counts within.
const WINDOW: Duration = Duration::from_secs(60);

/// The lower bits of a slot hold the count, the upper ones the millisecond in which its window began, counted from 1.
const COUNT_BITS: u32 = 24;

/// More is not counted.
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// A source had as much as it may have; more after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over(pub Duration);

/// One that a source took, to be given back if it turns out not to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "drop it to have it counted"]
pub struct Taken {
    slot: usize,
    began: u64,
}

/// Counts what each source does within a minute, which begins with the first thing it does.
#[derive(Debug)]
pub struct Tally {
    slots: Box<[AtomicU64]>,
    key: RandomState,
    started_at: Instant,
    most: u64,
}

impl Tally {
    /// Lets each source have `most` within a minute.
    pub fn new(slots: usize, most: u32) -> Self {
        let slots = (0..slots.max(1)).map(|_| AtomicU64::new(0)).collect();
        Self {
            slots,
            key: RandomState::new(),
            started_at: Instant::now(),
            most: u64::from(most).min(COUNT_MAX),
        }
    }

    /// Takes one, if `source` has one left.
    ///
    /// # Errors
    /// [`Over`]
    pub fn take(&self, source: impl Hash, now: Instant) -> Result<Taken, Over> {
        let (now, number) = (self.millis(now), self.slot(source));
        let taken = self.slots[number].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |slot| {
            let (began, count) = self.window(slot, now);
            (count < self.most).then_some(began << COUNT_BITS | (count + 1))
        });
        match taken {
            Ok(before) => Ok(Taken { slot: number, began: self.window(before, now).0 }),
            Err(slot) => Err(self.over(slot, now)),
        }
    }

    /// Gives one back, unless its minute is over.
    pub fn give_back(&self, taken: Taken) {
        let _ = self.slots[taken.slot].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |slot| {
            let is_same = slot >> COUNT_BITS == taken.began && slot & COUNT_MAX > 0;
            is_same.then(|| slot - 1)
        });
    }

    /// When the slot's window began and what was counted in it; a new one if that is over.
    fn window(&self, slot: u64, now: u64) -> (u64, u64) {
        let (began, count) = (slot >> COUNT_BITS, slot & COUNT_MAX);
        let is_over = began == 0 || now.saturating_sub(began) >= millis(WINDOW);
        if is_over { (now, 0) } else { (began, count) }
    }

    fn over(&self, slot: u64, now: u64) -> Over {
        let (began, _) = self.window(slot, now);
        Over(Duration::from_millis((began + millis(WINDOW)).saturating_sub(now)))
    }

    fn slot(&self, source: impl Hash) -> usize {
        let slots = self.slots.len() as u64;
        usize::try_from(self.key.hash_one(source) % slots).expect("less than a usize")
    }

    fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.started_at)) + 1
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> COUNT_BITS)
}

/// The network of a client, for limits: what one customer of a provider usually has of IPv6 (/64), and a /24 of IPv4.
pub fn network(client: IpAddr) -> IpAddr {
    truncated(client, 64)
}

/// The network of a client, for what may be told of many: /48 and /24.
pub fn wide_network(client: IpAddr) -> IpAddr {
    truncated(client, 48)
}

fn truncated(client: IpAddr, v6_bits: u32) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !0xff).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> v6_bits)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(tally: &Tally, millis: u64) -> Instant {
        tally.started_at + Duration::from_millis(millis)
    }

    fn take(tally: &Tally, source: impl Hash, now: Instant) -> Result<(), Over> {
        tally.take(source, now).map(|_| ())
    }

    /// Whether there is one left.
    fn look(tally: &Tally, source: impl Hash, now: Instant) -> Result<(), Over> {
        let now = tally.millis(now);
        let slot = tally.slots[tally.slot(source)].load(Ordering::Relaxed);
        if tally.window(slot, now).1 < tally.most { Ok(()) } else { Err(tally.over(slot, now)) }
    }

    #[test]
    fn a_source_has_so_much_within_a_minute_of_its_first() {
        let tally = Tally::new(SLOTS, 2);

        assert_eq!(take(&tally, "a", after(&tally, 1_000)), Ok(()));
        assert_eq!(take(&tally, "a", after(&tally, 30_000)), Ok(()));
        assert_eq!(take(&tally, "a", after(&tally, 31_000)), Err(Over(Duration::from_secs(30))));
        assert_eq!(take(&tally, "a", after(&tally, 60_999)), Err(Over(Duration::from_millis(1))));
        assert_eq!(take(&tally, "a", after(&tally, 61_000)), Ok(()));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_within_its_minute() {
        let tally = Tally::new(SLOTS, 1);
        let now = after(&tally, 0);

        let taken = tally.take("a", now).expect("one");
        assert_eq!(take(&tally, "a", now), Err(Over(WINDOW)));
        tally.give_back(taken);
        assert_eq!(take(&tally, "a", now), Ok(()));
        // of a minute that is over: it is not another's
        assert_eq!(take(&tally, "a", now + WINDOW), Ok(()));
        tally.give_back(taken);
        assert!(take(&tally, "a", now + WINDOW).is_err());
    }

    #[test]
    fn sources_that_share_a_slot_share_what_they_may_have() {
        let tally = Tally::new(1, 2);
        let now = after(&tally, 0);

        assert_eq!(take(&tally, "a", now), Ok(()));
        assert_eq!(take(&tally, "b", now), Ok(()));
        assert!(take(&tally, "a", now).is_err() && take(&tally, "b", now).is_err());
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_through() {
        let tally = Tally::new(SLOTS, 0);

        assert!(take(&tally, "a", Instant::now()).is_err());
    }

    #[test]
    fn clients_are_taken_together_by_their_network() {
        let cases = [
            ("198.51.100.7", "198.51.100.0", "198.51.100.0"),
            ("::ffff:198.51.100.7", "198.51.100.0", "198.51.100.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1::"),
        ];
        for (client, narrow, wide) in cases {
            let client: IpAddr = client.parse().expect("an address");
            assert_eq!(network(client).to_string(), narrow);
            assert_eq!(wide_network(client).to_string(), wide);
        }
    }

    proptest! {
        #[test]
        fn nobody_has_more_than_the_limit_for_each_minute(
            slots in 1_usize..4,
            most in 0_u32..5,
            steps in prop::collection::vec((0_u8..6, 0_u64..40_000), 0..80),
        ) {
            let tally = Tally::new(slots, most);
            let (mut now, mut first) = (0, None);
            let mut taken = [0_u64; 6];
            for (source, pause) in steps {
                now += pause;
                let looked = look(&tally, source, after(&tally, now));
                let took = take(&tally, source, after(&tally, now));
                prop_assert_eq!(looked, took);
                match took {
                    Ok(()) => {
                        taken[usize::from(source)] += 1;
                        let minutes = (now - *first.get_or_insert(now)) / 60_000 + 1;
                        prop_assert!(taken[usize::from(source)] <= minutes * u64::from(most));
                        prop_assert!(slots > 1 || taken.iter().sum::<u64>() <= minutes * u64::from(most));
                    }
                    Err(Over(wait)) => {
                        prop_assert!(wait > Duration::ZERO && wait <= WINDOW);
                        prop_assert!(most == 0 || look(&tally, source, after(&tally, now) + wait).is_ok());
                    }
                }
            }
        }
    }
}
