//! When an endpoint that only fails is warned of, and when it is disabled. Pure.
//!
//! It is disabled when all three hold: it has not succeeded for `after` since its first failure, at least
//! `failed_min` messages have failed since, and its failures span at least `span_min`. So neither one message that
//! nobody could accept nor one bad hour ends an endpoint. Warnings look at the time only: whoever is disabled later,
//! when the last message has failed, was warned before.

use std::time::Duration;

use chrono::{DateTime, Utc};
use store::endpoint_life::Failing;

/// How much of the time is over when people are warned, in percent.
const WARNINGS: [u8; 3] = [50, 75, 90];

/// When an endpoint is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How long it has not succeeded; not zero.
    pub after: Duration,
    /// Messages that have failed meanwhile.
    pub failed_min: u32,
    /// From the first failure to the last.
    pub span_min: Duration,
}

/// What the rule says of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing new.
    Wait,
    /// This much of its time is over, and nobody was told yet.
    Warn(u8),
    /// It has had its time.
    Disable,
}

impl Rule {
    /// What is to be done at `now`.
    pub fn decide(&self, failing: &Failing, now: DateTime<Utc>) -> Decision {
        let failed_for = (now - failing.first_failure_at).to_std().unwrap_or_default();
        let span = (failing.last_failure_at - failing.first_failure_at).to_std().unwrap_or_default();
        let is_over = failed_for >= self.after;
        let is_enough = failing.failed_messages >= i64::from(self.failed_min) && span >= self.span_min;
        if is_over && is_enough {
            return Decision::Disable;
        }
        let due = WARNINGS.into_iter().rfind(|percent| failed_for >= self.part(*percent));
        match due {
            Some(percent) if percent > failing.warned_percent => Decision::Warn(percent),
            _ => Decision::Wait,
        }
    }

    /// How long an endpoint must have failed before anything is to be decided.
    pub fn first_warning(&self) -> Duration {
        self.part(WARNINGS[0])
    }

    /// When an endpoint that goes on failing is disabled, as far as time decides.
    pub fn disable_at(&self, failing: &Failing) -> DateTime<Utc> {
        let after = |duration| chrono::Duration::from_std(duration).unwrap_or(chrono::Duration::MAX);
        let first = failing.first_failure_at;
        first.checked_add_signed(after(self.after.max(self.span_min))).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn part(&self, percent: u8) -> Duration {
        self.after.mul_f64(f64::from(percent) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use model::EndpointId;
    use proptest::prelude::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    fn rule() -> Rule {
        Rule {
            after: Duration::from_secs(5 * 24 * 3600),
            failed_min: 20,
            span_min: Duration::from_secs(12 * 3600),
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_800_000_000 + seconds, 0).unwrap()
    }

    fn failing(span: i64, failed_messages: i64, warned_percent: u8) -> Failing {
        Failing {
            endpoint_id: EndpointId::generate(),
            first_failure_at: at(0),
            last_failure_at: at(span),
            failed_messages,
            warned_percent,
        }
    }

    #[test]
    fn the_rule_as_a_table() {
        use Decision::{Disable, Wait, Warn};
        for (hours, span_hours, messages, warned, decision) in [
            (59, 59, 1000, 0, Wait),
            (60, 60, 1000, 0, Warn(50)),
            (60, 60, 1000, 50, Wait),
            (90, 90, 1000, 50, Warn(75)),
            (108, 108, 1000, 75, Warn(90)),
            (108, 108, 1000, 0, Warn(90)),
            (119, 119, 1000, 90, Wait),
            (120, 119, 20, 90, Disable),
            (120, 12, 20, 90, Disable),
            // one bad hour, then nothing was sent
            (500, 11, 1000, 90, Wait),
            // few messages, however often they were tried
            (500, 500, 19, 90, Wait),
            // nobody looked for days, and it goes on
            (500, 500, 1000, 0, Disable),
            (500, 500, 19, 0, Warn(90)),
        ] {
            let failing = failing(span_hours * HOUR, messages, warned);
            assert_eq!(rule().decide(&failing, at(hours * HOUR)), decision, "{hours} h, {failing:?}");
        }
    }

    proptest! {
        #[test]
        fn whoever_is_disabled_has_failed_long_enough_often_enough_and_not_in_one_go(
            now in -DAY..30 * DAY, span in 0..30 * DAY, messages in 0_i64..50, warned in 0_u8..=100,
        ) {
            let failing = failing(span, messages, warned);
            let is_due = now >= 5 * DAY && span >= 12 * HOUR && messages >= 20;
            prop_assert_eq!(rule().decide(&failing, at(now)) == Decision::Disable, is_due);
        }

        #[test]
        fn each_warning_is_given_once_and_they_rise(looks in proptest::collection::vec(0..5 * DAY, 0..50)) {
            let mut looks = looks;
            looks.sort_unstable();
            let mut given = vec![0];
            for now in looks {
                let failing = failing(now, 10, given[given.len() - 1]);
                match rule().decide(&failing, at(now)) {
                    Decision::Warn(percent) => given.push(percent),
                    decision => prop_assert_eq!(decision, Decision::Wait),
                }
            }
            prop_assert!(given.len() <= 4 && given.is_sorted_by(|a, b| a < b), "{:?}", given);
        }
    }
}
