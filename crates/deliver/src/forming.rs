//! When deliveries that wait become a batch, and how many of them. Pure.
//!
//! At the first of three: `max_events` wait, one more would make the body longer than `max_bytes`, or the oldest has waited for
//! `max_wait_ms`. A body that is longer by its first event alone has that event alone.

use chrono::{DateTime, TimeDelta, Utc};
use model::Batching;
use store::batches::Line;

/// A delivery that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Since when.
    pub due_at: DateTime<Utc>,
    /// How long its body is.
    pub bytes: usize,
}

/// How many of these, in their order, are a batch at `now`; `None`: none yet, more may come. A body is `envelope_bytes` long
/// beside its events and the commas between them.
pub fn next(waiting: &[Waiting], rule: Batching, envelope_bytes: usize, now: DateTime<Utc>) -> Option<usize> {
    let (mut events, mut bytes) = (0, envelope_bytes);
    for one in waiting.iter().take(whole(rule.max_events)) {
        let longer = bytes + one.bytes + usize::from(events > 0);
        if events > 0 && longer > whole(rule.max_bytes) {
            return Some(events);
        }
        (events, bytes) = (events + 1, longer);
    }
    let oldest = waiting.iter().map(|one| one.due_at).min()?;
    let is_full = events >= whole(rule.max_events) || bytes >= whole(rule.max_bytes);
    (is_full || has_waited(oldest, rule, now)).then_some(events)
}

/// Whether it is worth looking at the deliveries of a line one by one: [`next`] may make a batch of them.
pub fn is_ripe(line: &Line, rule: Batching, envelope_bytes: usize, now: DateTime<Utc>) -> bool {
    let Some(oldest) = line.first_due_at else { return false };
    let bytes = envelope_bytes + line.bytes + line.fresh.saturating_sub(1);
    line.fresh >= whole(rule.max_events) || bytes >= whole(rule.max_bytes) || has_waited(oldest, rule, now)
}

fn has_waited(oldest: DateTime<Utc>, rule: Batching, now: DateTime<Utc>) -> bool {
    now - oldest >= TimeDelta::milliseconds(rule.max_wait_ms.into())
}

fn whole(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use model::EndpointId;
    use proptest::prelude::*;

    use super::*;

    const ENVELOPE: usize = 100;

    const RULE: Batching = Batching { max_events: 3, max_wait_ms: 1000, max_bytes: 1000 };

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 23, 14, 0, 0).unwrap()
    }

    /// Each has waited for so many milliseconds and has so many bytes.
    fn formed(waiting: &[(i64, usize)]) -> Option<usize> {
        next(&line(waiting), RULE, ENVELOPE, now())
    }

    fn line(waiting: &[(i64, usize)]) -> Vec<Waiting> {
        let one =
            |&(ms, bytes): &(i64, usize)| Waiting { due_at: now() - TimeDelta::milliseconds(ms), bytes };
        waiting.iter().map(one).collect()
    }

    #[test]
    fn a_batch_goes_when_it_is_full_or_its_oldest_event_has_waited() {
        assert_eq!(formed(&[]), None);
        assert_eq!(formed(&[(999, 10), (0, 10)]), None);
        assert_eq!(formed(&[(1000, 10), (0, 10)]), Some(2));
        assert_eq!(formed(&[(0, 10), (1000, 10)]), Some(2), "whichever is the oldest");
        assert_eq!(formed(&[(0, 10), (0, 10), (0, 10)]), Some(3));
        assert_eq!(formed(&[(0, 10), (0, 10), (0, 10), (0, 10)]), Some(3));
    }

    #[test]
    fn a_body_is_as_long_as_it_may_be_and_a_longer_event_goes_alone() {
        assert_eq!(formed(&[(0, 450), (0, 448)]), None, "one byte is left");
        assert_eq!(formed(&[(0, 450), (0, 449)]), Some(2), "with its comma that is all");
        assert_eq!(formed(&[(0, 450), (0, 450)]), Some(1));
        assert_eq!(formed(&[(0, 5000)]), Some(1));
        assert_eq!(formed(&[(0, 5000), (0, 10)]), Some(1));
        assert_eq!(formed(&[(0, 10), (0, 5000)]), Some(1));
    }

    proptest! {
        #[test]
        fn no_batch_is_longer_than_it_may_be_unless_by_one_event_and_all_go_in_the_end(
            waiting in prop::collection::vec((0i64..2000, 0usize..1200), 0..20),
        ) {
            let mut rest = line(&waiting);
            let later = now() + TimeDelta::seconds(1);
            while !rest.is_empty() {
                let Some(events) = next(&rest, RULE, ENVELOPE, later) else {
                    return Err(TestCaseError::fail("all have waited"));
                };
                let batch: Vec<Waiting> = rest.drain(..events).collect();
                let bytes = ENVELOPE + batch.iter().map(|one| one.bytes).sum::<usize>() + events - 1;
                prop_assert!((1..=3).contains(&events));
                prop_assert!(events == 1 || bytes <= 1000);
            }
        }

        #[test]
        fn whatever_makes_a_batch_makes_its_line_ripe(
            waiting in prop::collection::vec((0i64..2000, 0usize..1200), 1..6),
        ) {
            let waiting = line(&waiting);
            let of_line = Line {
                endpoint_id: EndpointId::generate(),
                is_replay: false,
                fresh: waiting.len(),
                bytes: waiting.iter().map(|one| one.bytes).sum(),
                first_due_at: waiting.iter().map(|one| one.due_at).min(),
                tried: 0,
            };

            let is_ripe = is_ripe(&of_line, RULE, ENVELOPE, now());

            prop_assert!(is_ripe || next(&waiting, RULE, ENVELOPE, now()).is_none());
        }
    }
}
