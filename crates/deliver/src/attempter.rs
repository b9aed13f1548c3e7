//! One attempt from slot to settlement: send, judge, tell the lane and the health what it said. Both lanes use it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use model::DeliveryId;
use model::delivery::{Attempt, DeliveryStatus};
use store::attempts::{NewAttempt, Trigger};
use store::deliveries::Progress;

use crate::endpoint::Endpoint;
use crate::health::Health;
use crate::lane::{Report, Slot};
use crate::metrics::Metrics;
use crate::outcome::{self, Outcome};
use crate::schedule::Schedule;
use crate::sender::{Sender, Shipment};

/// Answers of 429, and failures of ours, that do not use up a delivery's schedule; later ones do, so that every delivery ends.
const THROTTLED_MAX: u32 = 10;

/// Shortest wait after an answer of 429, whatever it asked for.
const THROTTLED_PAUSE_MIN: Duration = Duration::from_secs(1);

/// Wait after an answer of 429 that asked for nothing, where the schedule has no pause.
const THROTTLED_PAUSE: Duration = Duration::from_secs(60);

/// Makes attempts.
pub struct Attempter {
    sender: Sender,
    health: Arc<Health>,
    metrics: Metrics,
    retry_after_max: Duration,
}

/// What an attempt came to, and what it means for its delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// Where the delivery stands now; without the bytes that were sent.
    pub progress: Progress,
    /// The attempt.
    pub attempt: Attempt,
    /// 1 for the first.
    pub number: u32,
    trigger: Trigger,
}

impl Settlement {
    /// Whether all that is to be known stands in the delivery's own row.
    pub fn is_first_try_success(&self) -> bool {
        self.number == 1 && self.attempt.is_success()
    }

    /// The same, of a delivery that somebody asked for.
    #[must_use]
    pub fn asked_for(self) -> Self {
        Self { trigger: Trigger::Manual, ..self }
    }

    /// The row of the attempt, unless the delivery's own row says it all.
    pub fn into_attempt_row(self, id: DeliveryId, endpoint: &Endpoint) -> Option<NewAttempt> {
        let is_told = self.is_first_try_success();
        (!is_told).then(|| self.into_row_of_batch(id, endpoint))
    }

    /// The row of the attempt of a batch: it is kept whatever it came to, for all deliveries in it.
    pub fn into_row_of_batch(self, id: DeliveryId, endpoint: &Endpoint) -> NewAttempt {
        NewAttempt {
            delivery_id: id,
            workspace_id: endpoint.workspace_id,
            number: self.number,
            trigger: self.trigger,
            url: Some(endpoint.url.as_str().to_owned()),
            attempt: self.attempt,
        }
    }
}

impl Attempter {
    /// Sends with `sender`; no pause is longer than `retry_after_max`.
    pub fn new(sender: Sender, health: Arc<Health>, metrics: Metrics, retry_after_max: Duration) -> Self {
        Self { sender, health, metrics, retry_after_max }
    }

    /// Uses a slot for one attempt.
    pub async fn attempt(&self, endpoint: &Endpoint, shipment: &Shipment, slot: Slot) -> Settlement {
        let in_flight = InFlight::begin(&self.metrics);
        let attempt = self.sender.send(endpoint, shipment).await;
        drop(in_flight);
        let now = Utc::now();
        let outcome = outcome::judge(&attempt, &endpoint.permanent_statuses, now, self.retry_after_max);
        let duration = Duration::from_millis(attempt.duration_ms.into());
        let report = Report { signal: outcome::signal(&attempt), load: outcome::load(&attempt), duration };
        endpoint.lane.report(slot, report, now);
        if !outcome::is_ours(&attempt) {
            self.health.learn(endpoint, &attempt, shipment.number, shipment.deliveries(), outcome, now);
        }
        self.metrics.attempted(&attempt);
        let place = Place { number: shipment.number, throttled: shipment.throttled };
        let settlement = settle(&endpoint.schedule, attempt, outcome, place, now, rand::random());
        if settlement.progress.status == DeliveryStatus::Dead {
            self.metrics.dead(outcome, shipment.deliveries());
        }
        settlement
    }
}

/// A request in flight; it is counted out also when it is broken off.
struct InFlight<'a>(&'a Metrics);

impl<'a> InFlight<'a> {
    fn begin(metrics: &'a Metrics) -> Self {
        metrics.in_flight.inc();
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// 1 for the first.
    pub number: u32,
    /// Attempts before it that were answered 429 and do not count.
    pub throttled: u32,
}

/// What an attempt means for its delivery. Pure; `jitter` is 0 to 1.
pub(crate) fn settle(
    schedule: &Schedule,
    attempt: Attempt,
    outcome: Outcome,
    Place { number, throttled }: Place,
    now: DateTime<Utc>,
    jitter: f64,
) -> Settlement {
    let counted = number.saturating_sub(throttled);
    let again_at = schedule.next_attempt_at(counted, now, jitter);
    let is_free =
        (outcome::is_throttled(&attempt) || outcome::is_ours(&attempt)) && throttled < THROTTLED_MAX;
    let next_attempt_at = match outcome {
        Outcome::Delivered | Outcome::Permanent | Outcome::Gone => None,
        Outcome::Retry if is_free => again_at.or(Some(now + THROTTLED_PAUSE)),
        Outcome::Pause(until) if is_free => Some(until.max(now + THROTTLED_PAUSE_MIN)),
        Outcome::Retry => again_at,
        Outcome::Pause(until) => again_at.map(|at| at.max(until)),
    };
    let throttled_now = throttled + u32::from(is_free && next_attempt_at.is_some());
    let status = match (outcome, next_attempt_at) {
        (Outcome::Delivered, _) => DeliveryStatus::Delivered,
        (_, Some(_)) => DeliveryStatus::Pending,
        (_, None) => DeliveryStatus::Dead,
    };
    let progress = Progress {
        status,
        attempt_count: number,
        next_attempt_at,
        attempted_at: Some(attempt.started_at),
        finished_at: next_attempt_at.is_none().then_some(now),
        duration_ms: Some(attempt.duration_ms),
        last_status: attempt.status,
        last_error: attempt.error.map(|error| error.as_str()),
        response_body: attempt.response_body.clone(),
        body: None,
        throttled: throttled_now,
        timings: attempt.timings,
    };
    // whoever is tried beyond the schedule was asked for by somebody
    let trigger = if counted > schedule.attempts_max() { Trigger::Manual } else { Trigger::Schedule };
    Settlement { progress, attempt, number, trigger }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use model::delivery::ErrorClass;
    use proptest::prelude::*;

    fn settled(outcome: Outcome, number: u32) -> Settlement {
        answered(500, outcome, Place { number, throttled: 0 })
    }

    fn answered(status: u16, outcome: Outcome, place: Place) -> Settlement {
        let now = Utc.with_ymd_and_hms(2026, 11, 23, 14, 0, 0).unwrap();
        let error = (outcome != Outcome::Delivered).then_some(ErrorClass::Status);
        let attempt = Attempt { duration_ms: 7, status: Some(status), error, ..Attempt::begun(now) };
        settle(&Schedule::from_seconds(&[5, 60]), attempt, outcome, place, now, 0.0)
    }

    #[test]
    fn a_delivery_waits_until_its_schedule_is_exhausted() {
        for (number, status) in
            [(1, DeliveryStatus::Pending), (2, DeliveryStatus::Pending), (3, DeliveryStatus::Dead)]
        {
            let progress = settled(Outcome::Retry, number).progress;
            assert_eq!((progress.status, progress.attempt_count), (status, number));
            assert_eq!(progress.finished_at.is_some(), progress.next_attempt_at.is_none());
        }
    }

    #[test]
    fn a_delivery_ends_with_an_acceptance_and_with_a_refusal_for_good() {
        for (outcome, status) in [
            (Outcome::Delivered, DeliveryStatus::Delivered),
            (Outcome::Gone, DeliveryStatus::Dead),
            (Outcome::Permanent, DeliveryStatus::Dead),
        ] {
            let progress = settled(outcome, 1).progress;
            assert_eq!((progress.status, progress.next_attempt_at), (status, None));
        }
    }

    #[test]
    fn nothing_is_tried_before_the_pause_is_over_nor_before_its_time() {
        let now = settled(Outcome::Retry, 1).attempt.started_at;
        let seconds = |asked: i64| {
            let until = now + chrono::Duration::seconds(asked);
            let next = settled(Outcome::Pause(until), 1).progress.next_attempt_at.expect("goes on");
            (next - now).num_seconds()
        };

        assert_eq!((seconds(600), seconds(1)), (600, 5));
    }

    #[test]
    fn ten_answers_of_429_keep_a_delivery_where_it_is_in_its_schedule() {
        let now = settled(Outcome::Retry, 1).attempt.started_at;
        let until = now + chrono::Duration::seconds(7);
        let mut place = Place { number: 1, throttled: 0 };
        for throttled in 1..=THROTTLED_MAX {
            let progress = answered(429, Outcome::Pause(until), place).progress;
            assert_eq!((progress.next_attempt_at, progress.throttled), (Some(until), throttled));
            place = Place { number: place.number + 1, throttled };
        }

        let first_counted = answered(500, Outcome::Retry, place).progress;
        assert_eq!(first_counted.next_attempt_at, Some(now + chrono::Duration::seconds(5)));
        let eleventh = answered(429, Outcome::Pause(until), place).progress;
        assert_eq!((eleventh.next_attempt_at, eleventh.throttled), (Some(until), THROTTLED_MAX));
        let place = Place { number: 13, ..place };
        assert_eq!(answered(429, Outcome::Pause(until), place).progress.status, DeliveryStatus::Dead);
    }

    #[test]
    fn failures_of_ours_use_up_nothing_of_the_schedule_at_first() {
        let now = settled(Outcome::Retry, 1).attempt.started_at;
        let failed = |number, throttled| {
            let attempt = Attempt { error: Some(ErrorClass::Proxy), ..Attempt::begun(now) };
            let place = Place { number, throttled };
            settle(&Schedule::from_seconds(&[5, 60]), attempt, Outcome::Retry, place, now, 0.0).progress
        };

        let (first, tenth, last) = (failed(1, 0), failed(10, 9), failed(13, 10));
        for (progress, throttled) in [(&first, 1), (&tenth, 10)] {
            let wait = progress.next_attempt_at.expect("goes on") - now;
            assert_eq!((wait.num_seconds(), progress.throttled), (5, throttled));
        }
        assert_eq!(last.status, DeliveryStatus::Dead);
    }

    #[test]
    fn an_answer_of_429_that_asks_for_nothing_waits_as_the_schedule_says() {
        let now = settled(Outcome::Retry, 1).attempt.started_at;
        let wait = |number| {
            let progress = answered(429, Outcome::Retry, Place { number, throttled: 0 }).progress;
            (progress.next_attempt_at.expect("goes on") - now).num_seconds()
        };

        assert_eq!((wait(1), wait(2), wait(3)), (5, 60, 60));
    }

    proptest! {
        #[test]
        fn every_delivery_ends_and_none_is_tried_earlier_than_asked(
            answers in prop::collection::vec((any::<bool>(), prop::option::of(0i64..3600)), 20),
        ) {
            let mut place = Place { number: 1, throttled: 0 };
            for (is_throttled, asked) in answers {
                let now = settled(Outcome::Retry, 1).attempt.started_at;
                let until = asked.map(|asked| now + chrono::Duration::seconds(asked));
                let outcome = until.map_or(Outcome::Retry, Outcome::Pause);
                let progress = answered(if is_throttled { 429 } else { 503 }, outcome, place).progress;

                let Some(next) = progress.next_attempt_at else { return Ok(()) };
                prop_assert!(next > now && until.is_none_or(|until| next >= until));
                prop_assert!(next <= now + chrono::Duration::seconds(3600));
                prop_assert!(progress.throttled <= THROTTLED_MAX);
                place = Place { number: place.number + 1, throttled: progress.throttled };
            }
            prop_assert!(false, "it went on beyond the schedule and the free answers");
        }
    }

    #[test]
    fn an_attempt_beyond_the_schedule_was_asked_for() {
        assert_eq!(settled(Outcome::Retry, 3).trigger, Trigger::Schedule);
        assert_eq!(settled(Outcome::Retry, 4).trigger, Trigger::Manual);
    }
}
