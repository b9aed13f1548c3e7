//! When a delivery is tried again, and when it is given up. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::Ordering;
use model::ordering::OnFailure;
use model::retry::RetryPreset;

/// Largest part of a pause that is added to it, so that what failed together does not come back together.
const JITTER_MAX: f64 = 0.2;

/// Longest pause of a delivery that holds up all others of its endpoint until it is accepted.
const HOLD_UP_PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// Pause before attempts beyond a schedule that has none.
const PAUSE_BEYOND: Duration = Duration::from_secs(60);

/// The pauses between a delivery's attempts, and how many those are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pauses: Vec<Duration>,
    attempts: Attempts,
}

/// How often a delivery is tried by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempts {
    /// One more than there are pauses.
    AsScheduled,
    /// So often. What is beyond the pauses waits as long as the last of them.
    Exactly(u32),
    /// Until it is accepted.
    Unlimited,
}

impl Default for Schedule {
    fn default() -> Self {
        let seconds = RetryPreset::Default.seconds().iter();
        Self::of(seconds.map(|&seconds| Duration::from_secs(seconds.into())).collect())
    }
}

impl Schedule {
    /// An endpoint's own pauses, in seconds; negative ones count as none.
    pub fn from_seconds(seconds: &[i32]) -> Self {
        Self::of(seconds.iter().map(|&s| Duration::from_secs(u64::try_from(s).unwrap_or(0))).collect())
    }

    fn of(pauses: Vec<Duration>) -> Self {
        Self { pauses, attempts: Attempts::AsScheduled }
    }

    /// The same for an endpoint that is sent to in this order.
    #[must_use]
    pub fn in_order(self, ordering: Ordering) -> Self {
        let attempts = match ordering {
            Ordering::None | Ordering::PerLink => self.attempts,
            Ordering::Strict(OnFailure::Stop) => Attempts::Unlimited,
            Ordering::Strict(OnFailure::SkipAfter(attempts)) => Attempts::Exactly(attempts),
        };
        Self { attempts, ..self }
    }

    /// How often a delivery is tried by itself.
    pub fn attempts_max(&self) -> u32 {
        match self.attempts {
            Attempts::AsScheduled => {
                u32::try_from(self.pauses.len()).map_or(u32::MAX, |pauses| pauses.saturating_add(1))
            }
            Attempts::Exactly(attempts) => attempts,
            Attempts::Unlimited => u32::MAX,
        }
    }

    /// When to try again after `attempts_made` attempts, the last of which failed at `now`.
    ///
    /// Never earlier than the schedule says: `jitter` (0 to 1) only adds. `None` when the schedule is exhausted.
    pub fn next_attempt_at(
        &self,
        attempts_made: u32,
        now: DateTime<Utc>,
        jitter: f64,
    ) -> Option<DateTime<Utc>> {
        let index = usize::try_from(attempts_made.checked_sub(1)?).ok()?;
        if attempts_made >= self.attempts_max() {
            return None;
        }
        let pause = self.pauses.get(index).or(self.pauses.last()).copied().unwrap_or(PAUSE_BEYOND);
        let pause = match self.attempts {
            Attempts::Unlimited => pause.min(HOLD_UP_PAUSE_MAX),
            Attempts::AsScheduled | Attempts::Exactly(_) => pause,
        };
        Some(now + pause.mul_f64(1.0 + JITTER_MAX * jitter.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 23, 14, 0, 0).unwrap()
    }

    #[test]
    fn the_default_makes_ten_attempts_over_three_days() {
        let schedule = Schedule::default();
        let (mut at, mut made) = (now(), 1);
        while let Some(next) = schedule.next_attempt_at(made, at, 0.0) {
            (at, made) = (next, made + 1);
        }

        assert_eq!((made, schedule.attempts_max()), (10, 10));
        assert_eq!((at - now()).to_string(), "PT272105S", "75 h 35 min 5 s");
    }

    #[test]
    fn an_endpoint_can_have_its_own_schedule_or_none() {
        let own = Schedule::from_seconds(&[1, 60]);
        assert_eq!(own.next_attempt_at(2, now(), 0.0), Some(now() + Duration::from_secs(60)));
        assert_eq!(own.next_attempt_at(3, now(), 0.0), None);

        assert_eq!(Schedule::from_seconds(&[]).next_attempt_at(1, now(), 0.0), None);
    }

    #[test]
    fn who_stops_at_a_failure_tries_until_it_is_accepted_and_never_waits_long() {
        let schedule = Schedule::from_seconds(&[5, 86_400]).in_order(Ordering::Strict(OnFailure::Stop));
        let pause = |made| schedule.next_attempt_at(made, now(), 0.0).expect("goes on") - now();

        assert_eq!([pause(1), pause(2), pause(1000)].map(|pause| pause.num_seconds()), [5, 900, 900]);
        let without = Schedule::from_seconds(&[]).in_order(Ordering::Strict(OnFailure::Stop));
        assert_eq!(without.next_attempt_at(7, now(), 0.0), Some(now() + PAUSE_BEYOND));
    }

    #[test]
    fn who_skips_gives_up_after_so_many_attempts_whatever_the_schedule_says() {
        let skipping = |attempts| {
            Schedule::from_seconds(&[1, 60]).in_order(Ordering::Strict(OnFailure::SkipAfter(attempts)))
        };

        assert_eq!(skipping(1).next_attempt_at(1, now(), 0.0), None);
        assert_eq!(skipping(5).next_attempt_at(4, now(), 0.0), Some(now() + Duration::from_secs(60)));
        assert_eq!(skipping(5).next_attempt_at(5, now(), 0.0), None);
        assert_eq!(Schedule::from_seconds(&[1]).in_order(Ordering::PerLink), Schedule::from_seconds(&[1]));
    }

    proptest! {
        #[test]
        fn jitter_only_adds_and_at_most_a_fifth(made in 1u32..10, jitter in 0.0f64..=1.0) {
            let exact = Schedule::default().pauses[made as usize - 1];

            let pause = Schedule::default().next_attempt_at(made, now(), jitter).expect("not exhausted") - now();

            let pause = pause.to_std().expect("in the future");
            prop_assert!(pause >= exact);
            prop_assert!(pause <= exact.mul_f64(1.2) + Duration::from_millis(1));
        }

        #[test]
        fn every_schedule_ends(pauses in prop::collection::vec(-5i32..1_000_000, 0..20), jitter: f64) {
            let schedule = Schedule::from_seconds(&pauses);
            let attempts = schedule.attempts_max();

            for made in 1..attempts {
                prop_assert!(schedule.next_attempt_at(made, now(), jitter).expect("goes on") >= now());
            }
            prop_assert_eq!(schedule.next_attempt_at(attempts, now(), jitter), None);
        }
    }
}
