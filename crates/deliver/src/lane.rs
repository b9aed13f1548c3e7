//! What one endpoint may use of us: its slots, its measured pace, its circuit, its pause.
//!
//! A lane belongs to this process; what all replicas must know (pauses, states) is in PostgreSQL.
//! [`Circuit`] and [`Limit`] decide and take `now`; [`Lane`] puts a lock around them and hands out slots.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::circuit::{Circuit, Pass};
use crate::later::Later;
use crate::limit::{Limit, Load};
use crate::outcome::Signal;
use crate::rate::{Bucket, Rate};

/// Most clicks that wait in memory for a slot of one endpoint.
const WAITING_MAX: usize = 1024;

/// Most deliveries that the slow lane takes on at a time for one endpoint.
const TAKEN_ON_MAX: usize = 256;

/// An endpoint that has answered nothing for so many times its usual answer time has stopped to answer.
const STALLED_AFTER_USUAL: u32 = 10;

/// But not before this.
const STALLED_AFTER_MIN: Duration = Duration::from_millis(50);

/// Weight of the newest answer in the usual answer time.
const PACE_WEIGHT: f64 = 0.1;

/// One endpoint's lane.
#[derive(Debug)]
pub struct Lane {
    in_flight_of_all: Arc<Semaphore>,
    slots: Arc<Semaphore>,
    slots_max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    circuit: Circuit,
    limit: Limit,
    bucket: Option<Bucket>,
    /// Slots that nobody gets, because the limit is below what the endpoint may have.
    withheld: usize,
    /// Since when requests have been in flight and none has ended.
    quiet_since: Option<Instant>,
    paused_until: Option<DateTime<Utc>>,
    waiting: usize,
    /// How long an answer usually takes, in seconds.
    usual_answer: Option<f64>,
}

/// The right to have one request in flight.
#[derive(Debug)]
pub struct Slot {
    pass: Pass,
    begun_at: DateTime<Utc>,
    _of_all: OwnedSemaphorePermit,
    of_endpoint: OwnedSemaphorePermit,
}

/// What an attempt says about its endpoint as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Whether it is there.
    pub signal: Signal,
    /// Whether it bears what it gets.
    pub load: Load,
    /// How long the request took.
    pub duration: Duration,
}

impl State {
    fn new(slots_max: usize, rate: Option<Rate>) -> Self {
        Self {
            circuit: Circuit::default(),
            limit: Limit::new(slots_max),
            bucket: rate.map(Bucket::new),
            withheld: 0,
            quiet_since: None,
            paused_until: None,
            waiting: 0,
            usual_answer: None,
        }
    }

    /// Whether requests are in flight and none has ended for far longer than usual, or for `limit`: whoever waits for them
    /// or sends more waits in vain.
    fn is_stalled(&self, limit: Duration) -> bool {
        let usual = Duration::from_secs_f64(self.usual_answer.unwrap_or_default());
        let limit = (usual * STALLED_AFTER_USUAL).max(STALLED_AFTER_MIN).min(limit);
        self.quiet_since.is_some_and(|since| since.elapsed() > limit)
    }

    fn has_slot_soon(&self, patience: Duration) -> bool {
        let usual = self.usual_answer.unwrap_or(patience.as_secs_f64());
        let ahead = u32::try_from(self.waiting + 1).map_or(f64::INFINITY, f64::from);
        let slots = u32::try_from(self.limit.get()).map_or(f64::INFINITY, f64::from);
        let is_soon = ahead * usual / slots <= patience.as_secs_f64();
        is_soon && self.waiting < WAITING_MAX && !self.is_stalled(patience)
    }
}

impl Lane {
    /// A lane of so many slots, and with this rate, that draws on the slots of all.
    pub fn new(in_flight_of_all: Arc<Semaphore>, slots_max: usize, rate: Option<Rate>) -> Self {
        Self {
            in_flight_of_all,
            slots: Arc::new(Semaphore::new(slots_max)),
            slots_max,
            state: Mutex::new(State::new(slots_max, rate)),
        }
    }

    /// Whether it has so many slots, and this rate.
    pub fn is_of(&self, slots_max: usize, rate: Option<Rate>) -> bool {
        let has_rate = match (self.state().bucket, rate) {
            (Some(bucket), Some(rate)) => bucket.is_for(rate),
            (bucket, rate) => bucket.is_none() && rate.is_none(),
        };
        has_rate && self.slots_max == slots_max
    }

    /// A slot, if there is one and the endpoint may be sent to.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, now: DateTime<Utc>) -> Result<Slot, Later> {
        let of_endpoint = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| Later::Busy)?;
        self.with_endpoint_slot(of_endpoint, now)
    }

    /// A slot, now or within `patience`; waits only while the measured pace promises one in that time.
    ///
    /// # Errors
    /// Why not.
    pub async fn admit_soon(&self, patience: Duration) -> Result<Slot, Later> {
        match self.admit(Utc::now()) {
            Err(Later::Busy) => {}
            admitted => return admitted,
        }
        let _waiting = self.enter_queue(patience).ok_or(Later::Busy)?;
        let slot = tokio::time::timeout(patience, Arc::clone(&self.slots).acquire_owned()).await;
        let of_endpoint = slot.map_err(|_| Later::Busy)?.expect("the semaphore is never closed");
        self.with_endpoint_slot(of_endpoint, Utc::now())
    }

    fn with_endpoint_slot(
        &self,
        of_endpoint: OwnedSemaphorePermit,
        now: DateTime<Utc>,
    ) -> Result<Slot, Later> {
        let mut state = self.state();
        if state.paused_until.is_some_and(|until| until > now) {
            return Err(Later::Paused);
        }
        if state.circuit.closed_until(now).is_some() {
            return Err(Later::CircuitOpen);
        }
        let of_all = Arc::clone(&self.in_flight_of_all).try_acquire_owned().map_err(|_| Later::Full)?;
        let pass = state.circuit.admit(now).ok_or(Later::CircuitOpen)?;
        state.quiet_since.get_or_insert_with(Instant::now);
        Ok(Slot { pass, begun_at: now, _of_all: of_all, of_endpoint })
    }

    /// Whether the measured pace promises a slot within `patience` to one more who waits.
    pub fn has_slot_soon(&self, patience: Duration) -> bool {
        self.state().has_slot_soon(patience)
    }

    fn enter_queue(&self, patience: Duration) -> Option<Waiting<'_>> {
        let mut state = self.state();
        if !state.has_slot_soon(patience) {
            return None;
        }
        state.waiting += 1;
        Some(Waiting(self))
    }

    /// How many deliveries the slow lane may take on now: those that get a slot within `patience`.
    pub fn room(&self, now: DateTime<Utc>, patience: Duration) -> usize {
        let mut state = self.state();
        let allowed = state.bucket.as_mut().map_or(usize::MAX, |bucket| bucket.available(now));
        self.room_of(&state, now, patience).min(allowed)
    }

    /// Whether what the endpoint is owed waits for the endpoint: it asked for a pause, or does not answer and is tried now and then.
    pub fn is_waited_for(&self, now: DateTime<Utc>) -> bool {
        let state = self.state();
        state.paused_until.is_some_and(|until| until > now) || matches!(state.circuit, Circuit::Open { .. })
    }

    /// Whether the endpoint has a rate.
    pub fn is_rated(&self) -> bool {
        self.state().bucket.is_some()
    }

    /// So many of what [`Lane::room`] allowed are taken on.
    pub fn take(&self, deliveries: usize) {
        if let Some(bucket) = self.state().bucket.as_mut() {
            bucket.take(deliveries);
        }
    }

    /// Another process has sent to the endpoint until then: what may go at once after a quiet time is counted from there.
    pub fn was_used_until(&self, at: DateTime<Utc>) {
        if let Some(bucket) = self.state().bucket.as_mut() {
            bucket.empty_at(at);
        }
    }

    fn room_of(&self, state: &State, now: DateTime<Utc>, patience: Duration) -> usize {
        if state.paused_until.is_some_and(|until| until > now) || state.circuit.closed_until(now).is_some() {
            return 0;
        }
        let free = self.slots.available_permits();
        if matches!(state.circuit, Circuit::Open { .. }) {
            return free.min(1);
        }
        if state.is_stalled(patience) {
            // what is taken on beyond would be given back at once, again and again
            return free;
        }
        let usual = state.usual_answer.unwrap_or(patience.as_secs_f64()).max(0.001);
        let rounds = (patience.as_secs_f64() / usual).min(8.0) as usize;
        (state.limit.get() * rounds).saturating_sub(state.waiting).min(TAKEN_ON_MAX).max(free)
    }

    /// Whether an answer usually comes within `limit`; who answers late, or not at all just now, is not waited for.
    pub fn usually_answers_within(&self, limit: Duration) -> bool {
        let state = self.state();
        state.usual_answer.is_none_or(|usual| usual <= limit.as_secs_f64()) && !state.is_stalled(limit)
    }

    /// Learns how a request went, and gives its slot back.
    pub fn report(&self, slot: Slot, report: Report, now: DateTime<Utc>) {
        let mut state = self.state();
        state.circuit.report(slot.pass, report.signal, now);
        state.limit.report(report.load, slot.begun_at, now);
        let seconds = report.duration.as_secs_f64();
        let usual = state.usual_answer.unwrap_or(seconds);
        state.usual_answer = Some(usual + PACE_WEIGHT * (seconds - usual));
        let in_flight = self.slots_max - state.withheld - self.slots.available_permits();
        state.quiet_since = (in_flight > 1).then(Instant::now);
        self.fit(&mut state, slot.of_endpoint);
    }

    /// Withholds as many slots as the limit says: the one that comes back, and those that are free.
    fn fit(&self, state: &mut State, returned: OwnedSemaphorePermit) {
        let wanted = self.slots_max - state.limit.get();
        if state.withheld < wanted {
            returned.forget();
            state.withheld += 1;
            state.withheld += self.slots.forget_permits(wanted - state.withheld);
        } else if state.withheld > wanted {
            self.slots.add_permits(state.withheld - wanted);
            state.withheld = wanted;
        }
    }

    /// Sends nothing before this moment; a pause is never shortened.
    pub fn pause(&self, until: DateTime<Utc>) {
        let mut state = self.state();
        state.paused_until = state.paused_until.max(Some(until));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with a lane in hand")
    }
}

/// A place in the queue for a slot.
struct Waiting<'a>(&'a Lane);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Lanes;

    fn answered(duration: Duration) -> Report {
        Report { signal: Signal::Up, load: Load::Borne, duration }
    }

    #[tokio::test]
    async fn an_endpoint_takes_no_more_than_its_slots() {
        let lanes = Lanes::new(100, 2);
        let (lane, other) = (lanes.lane(None, None), lanes.lane(Some(1), None));
        let slots = [lane.admit(Utc::now()).expect("free"), lane.admit(Utc::now()).expect("free")];

        assert_eq!(lane.admit(Utc::now()).expect_err("taken"), Later::Busy);
        assert!(other.admit(Utc::now()).is_ok());
        drop(slots);
        assert_eq!(lane.room(Utc::now(), Duration::ZERO), 2);
    }

    #[tokio::test]
    async fn a_click_waits_for_a_slot_only_while_the_pace_promises_one() {
        let lanes = Lanes::new(100, 1);
        let (quick, slow) = (lanes.lane(None, None), lanes.lane(None, None));
        let patience = Duration::from_millis(250);
        for (lane, millis) in [(&quick, 1), (&slow, 1000)] {
            let slot = lane.admit(Utc::now()).expect("free");
            lane.report(slot, answered(Duration::from_millis(millis)), Utc::now());
        }
        let (in_quick, in_slow) =
            (quick.admit(Utc::now()).expect("free"), slow.admit(Utc::now()).expect("free"));

        let refused = slow.admit_soon(patience).await.expect_err("too slow");
        let (admitted, ()) = tokio::join!(quick.admit_soon(patience), async { drop(in_quick) });

        assert_eq!(refused, Later::Busy);
        assert!(admitted.is_ok());
        drop(in_slow);
    }

    #[tokio::test]
    async fn a_pause_holds_both_lanes() {
        let lane = Lanes::new(100, 4).lane(None, None);
        let now = Utc::now();
        lane.pause(now + Duration::from_secs(60));
        lane.pause(now + Duration::from_secs(30));

        assert_eq!(lane.admit(now).expect_err("paused"), Later::Paused);
        let room_at = |at| lane.room(at, Duration::ZERO);
        assert_eq!((room_at(now), room_at(now + Duration::from_secs(60))), (0, 4));
    }

    #[tokio::test]
    async fn whoever_says_that_it_is_too_much_gets_half_and_then_one_more_a_round() {
        let lane = Lanes::new(100, 8).lane(None, None);
        let admit_all = || std::iter::from_fn(|| lane.admit(Utc::now()).ok()).collect::<Vec<_>>();
        let too_much = Report { load: Load::TooMuch, ..answered(Duration::from_millis(1)) };

        let slots = admit_all();
        assert_eq!(slots.len(), 8);
        slots.into_iter().for_each(|slot| lane.report(slot, too_much, Utc::now()));
        let slots = admit_all();
        assert_eq!(slots.len(), 4);
        slots.into_iter().for_each(|slot| lane.report(slot, answered(Duration::from_millis(1)), Utc::now()));
        assert_eq!(admit_all().len(), 5);
    }

    #[tokio::test]
    async fn nobody_waits_for_an_endpoint_that_has_stopped_to_answer() {
        let lane = Lanes::new(100, 1).lane(None, None);
        let slot = lane.admit(Utc::now()).expect("free");
        lane.report(slot, answered(Duration::from_millis(1)), Utc::now());
        let patience = Duration::from_millis(20);
        assert!(lane.usually_answers_within(patience));

        let _unanswered = lane.admit(Utc::now()).expect("free");
        while lane.usually_answers_within(patience) {
            tokio::task::yield_now().await;
        }

        assert_eq!(lane.admit_soon(patience).await.expect_err("no slot will come"), Later::Busy);
        assert!(!lane.has_slot_soon(patience));
        assert_eq!(lane.room(Utc::now(), patience), 0);
    }
}
