//! How many requests an endpoint gets at the same time: all that it may have while it bears them, half as many when it
//! says that they are too many, and one more for each round that goes well (additive increase, multiplicative decrease).
//! Pure: takes the moments.

use chrono::{DateTime, Utc};

use crate::circuit::OUT_OF_ORDER_MAX;

/// What an attempt says about the load that it was part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// The endpoint bore it.
    Borne,
    /// It was too much: no answer in time, or one that says so.
    TooMuch,
    /// Nothing: the answer has other reasons.
    Unclear,
}

/// The number of requests at a time, between 1 and a maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    now: usize,
    max: usize,
    /// Since it was last changed.
    borne: usize,
    lowered_at: Option<DateTime<Utc>>,
}

impl Limit {
    /// As high as it may be, which is at least 1.
    pub fn new(max: usize) -> Self {
        let max = max.max(1);
        Self { now: max, max, borne: 0, lowered_at: None }
    }

    /// The number as it is.
    pub fn get(self) -> usize {
        self.now
    }

    /// Learns how a request went that began at `begun_at`.
    pub fn report(&mut self, load: Load, begun_at: DateTime<Utc>, now: DateTime<Utc>) {
        match load {
            Load::Borne => {
                self.borne += 1;
                if self.borne >= self.now {
                    (self.now, self.borne) = ((self.now + 1).min(self.max), 0);
                }
            }
            // what was under way when it was lowered tells of the load before, unless that was by a clock that was ahead
            Load::TooMuch
                if self.lowered_at.is_none_or(|at| at < begun_at || at > now + OUT_OF_ORDER_MAX) =>
            {
                (self.now, self.borne, self.lowered_at) = ((self.now / 2).max(1), 0, Some(now));
            }
            Load::TooMuch | Load::Unclear => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_clock_that_was_ahead_and_is_set_right_does_not_keep_the_limit_up() {
        let mut limit = Limit::new(32);
        limit.report(Load::TooMuch, at(90), at(100));

        limit.report(Load::TooMuch, at(11), at(12));

        assert_eq!(limit.get(), 8);
    }

    #[test]
    fn trouble_halves_the_limit_once_for_all_that_was_under_way() {
        let mut limit = Limit::new(32);
        for _ in 0..32 {
            limit.report(Load::TooMuch, at(0), at(15));
        }
        assert_eq!(limit.get(), 16);

        for _ in 0..16 {
            limit.report(Load::TooMuch, at(16), at(31));
        }
        assert_eq!(limit.get(), 8);
    }

    #[test]
    fn rounds_that_go_well_raise_it_by_one_each_up_to_the_maximum() {
        let mut limit = Limit::new(8);
        limit.report(Load::TooMuch, at(0), at(1));
        let mut needed = Vec::new();
        for _ in 0..4 {
            let before = limit.get();
            let mut borne = 0;
            while limit.get() == before {
                limit.report(Load::Borne, at(2), at(2));
                borne += 1;
            }
            needed.push((before, borne));
        }
        assert_eq!(needed, [(4, 4), (5, 5), (6, 6), (7, 7)]);

        for _ in 0..100 {
            limit.report(Load::Borne, at(3), at(3));
        }
        assert_eq!(limit.get(), 8);
    }

    proptest! {
        #[test]
        fn it_stays_between_one_and_its_maximum(
            max in 0_usize..100,
            reports in prop::collection::vec((0_u8..3, 0_i64..50, 0_i64..50), 0..300),
        ) {
            let mut limit = Limit::new(max);
            for (load, begun, took) in reports {
                let before = limit.get();
                let load = [Load::Borne, Load::TooMuch, Load::Unclear][usize::from(load)];
                limit.report(load, at(begun), at(begun + took));
                prop_assert!((1..=max.max(1)).contains(&limit.get()));
                match load {
                    Load::Borne => prop_assert!(limit.get() == before || limit.get() == before + 1),
                    Load::TooMuch => prop_assert!(limit.get() == before || limit.get() == (before / 2).max(1)),
                    Load::Unclear => prop_assert_eq!(limit.get(), before),
                }
            }
        }
    }
}
