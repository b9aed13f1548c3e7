//! Whether requests to an endpoint make sense at the moment. Pure: takes `now`.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::outcome::Signal;

/// Failures in a row after which an endpoint is left alone.
const CIRCUIT_FAILURES: u32 = 5;

/// First pause of an open circuit; doubles with every probe that fails.
const CIRCUIT_PAUSE_MIN: Duration = Duration::from_secs(5);

/// Longest pause of an open circuit.
const CIRCUIT_PAUSE_MAX: Duration = Duration::from_secs(300);

/// By how much moments that several tasks took may come out of order. A clock that goes back further was set.
pub(crate) const OUT_OF_ORDER_MAX: Duration = Duration::from_secs(1);

/// Whether requests to an endpoint make sense at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// They do; so many failed in a row.
    Closed {
        /// Failures since the last answer.
        failures: u32,
    },
    /// They do not; one probe may go at `probe_at`.
    Open {
        /// When to try once.
        probe_at: DateTime<Utc>,
        /// How long the present pause is.
        pause: Duration,
    },
}

/// How a request was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// As usual.
    Ordinary,
    /// To see whether the endpoint is back.
    Probe,
}

impl Default for Circuit {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Circuit {
    /// Whether a request may go, and as what.
    pub fn admit(&mut self, now: DateTime<Utc>) -> Option<Pass> {
        match self {
            Self::Closed { .. } => Some(Pass::Ordinary),
            Self::Open { probe_at, pause } if is_over(*probe_at, *pause, now) => {
                // the next one, should this one never report
                *probe_at = now + *pause;
                Some(Pass::Probe)
            }
            Self::Open { .. } => None,
        }
    }

    /// When a request may go: now (`None`), or at the next probe.
    pub fn closed_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Open { probe_at, pause } if !is_over(*probe_at, *pause, now) => Some(*probe_at),
            _ => None,
        }
    }

    /// Learns how a request went.
    pub fn report(&mut self, pass: Pass, signal: Signal, now: DateTime<Utc>) {
        let open_for = |pause| Self::Open { probe_at: now + pause, pause };
        *self = match (*self, signal, pass) {
            (unchanged, Signal::Nothing, _) => unchanged,
            // whoever refuses one event is there for the others
            (_, Signal::Up | Signal::Unclear, _) => Self::default(),
            (Self::Closed { failures }, Signal::Down, _) if failures + 1 < CIRCUIT_FAILURES => {
                Self::Closed { failures: failures + 1 }
            }
            (Self::Closed { .. }, Signal::Down, _) => open_for(CIRCUIT_PAUSE_MIN),
            (Self::Open { pause, .. }, Signal::Down, Pass::Probe) => {
                open_for((pause * 2).min(CIRCUIT_PAUSE_MAX))
            }
            // was in flight when the circuit opened
            (open @ Self::Open { .. }, Signal::Down, Pass::Ordinary) => open,
        };
    }
}

/// Whether a pause is. What is further away than it was ever set to be was noted by a clock that was ahead.
fn is_over(probe_at: DateTime<Utc>, pause: Duration, now: DateTime<Utc>) -> bool {
    probe_at <= now || probe_at > now + pause + OUT_OF_ORDER_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_800_000_000 + seconds, 0).unwrap()
    }

    fn opened_at(seconds: i64) -> Circuit {
        let mut circuit = Circuit::default();
        for _ in 0..CIRCUIT_FAILURES {
            circuit.report(Pass::Ordinary, Signal::Down, at(seconds));
        }
        circuit
    }

    #[test]
    fn who_was_not_asked_is_as_well_as_before() {
        for mut circuit in [Circuit::Closed { failures: 4 }, opened_at(0)] {
            let before = circuit;
            for pass in [Pass::Ordinary, Pass::Probe] {
                circuit.report(pass, Signal::Nothing, at(3));
            }
            assert_eq!(circuit, before);
        }
    }

    #[test]
    fn five_failures_in_a_row_open_the_circuit_and_an_answer_closes_it() {
        let mut circuit = Circuit::default();
        for _ in 1..CIRCUIT_FAILURES {
            circuit.report(Pass::Ordinary, Signal::Down, at(0));
            assert_eq!(circuit.admit(at(0)), Some(Pass::Ordinary));
        }
        circuit.report(Pass::Ordinary, Signal::Down, at(0));

        assert_eq!(circuit.admit(at(4)), None);
        assert_eq!(circuit.admit(at(5)), Some(Pass::Probe));
        assert_eq!(circuit.admit(at(5)), None, "one probe at a time");
        circuit.report(Pass::Probe, Signal::Up, at(6));
        assert_eq!(circuit, Circuit::default());
    }

    #[test]
    fn an_answer_between_failures_starts_the_count_again() {
        let mut circuit = Circuit::default();
        for _ in 0..20 {
            for _ in 1..CIRCUIT_FAILURES {
                circuit.report(Pass::Ordinary, Signal::Down, at(0));
            }
            circuit.report(Pass::Ordinary, Signal::Unclear, at(0));
        }

        assert_eq!(circuit.closed_until(at(0)), None);
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_a_limit() {
        let mut circuit = opened_at(0);
        let mut pauses = Vec::new();
        let mut now = at(0);
        for _ in 0..8 {
            now = circuit.closed_until(now).expect("open");
            assert_eq!(circuit.admit(now), Some(Pass::Probe));
            circuit.report(Pass::Probe, Signal::Down, now);
            pauses.push((circuit.closed_until(now).expect("open") - now).num_seconds());
        }

        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn what_was_in_flight_when_the_circuit_opened_does_not_prolong_the_pause() {
        let mut circuit = opened_at(0);

        circuit.report(Pass::Ordinary, Signal::Down, at(3));

        assert_eq!(circuit.closed_until(at(3)), Some(at(5)));
    }

    #[test]
    fn a_clock_that_was_ahead_and_is_set_right_does_not_keep_the_circuit_open() {
        let mut circuit = opened_at(3600);

        assert_eq!(circuit.closed_until(at(0)), None);
        assert_eq!(circuit.admit(at(0)), Some(Pass::Probe));
        assert_eq!(circuit.closed_until(at(0)), Some(at(5)));
    }

    proptest! {
        #[test]
        fn whatever_comes_an_open_circuit_lets_one_through_at_a_time_and_never_closes_for_longer_than_its_limit(
            answers in prop::collection::vec((0_i64..400, 0_u8..3), 0..200),
        ) {
            let (mut circuit, mut now, mut in_a_row) = (Circuit::default(), at(0), 0);
            for (passed, said) in answers {
                now += chrono::Duration::seconds(passed);
                let signal = [Signal::Up, Signal::Unclear, Signal::Down][usize::from(said)];
                let Some(pass) = circuit.admit(now) else {
                    let until = circuit.closed_until(now).expect("it refused");
                    prop_assert!(in_a_row >= CIRCUIT_FAILURES && until > now && until <= now + CIRCUIT_PAUSE_MAX);
                    continue;
                };
                let is_open = matches!(circuit, Circuit::Open { .. });
                prop_assert_eq!(pass == Pass::Probe, is_open);
                prop_assert!(!is_open || circuit.admit(now).is_none(), "one probe at a time");
                circuit.report(pass, signal, now);
                in_a_row = if signal == Signal::Down { in_a_row + 1 } else { 0 };
                prop_assert_eq!(circuit.closed_until(now).is_some(), in_a_row >= CIRCUIT_FAILURES);
            }
        }
    }
}
