//! What one endpoint may use of us: its slots, its measured pace, its circuit, its pause.
//!
//! A lane belongs to this process; what all replicas must know (pauses, states) is in PostgreSQL.
//! [`Circuit`] decides and takes `now`; [`Lane`] puts a lock around it and hands out slots.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::outcome::Signal;

/// Failures in a row after which an endpoint is left alone.
const CIRCUIT_FAILURES: u32 = 5;

/// First pause of an open circuit; doubles with every probe that fails.
const CIRCUIT_PAUSE_MIN: Duration = Duration::from_secs(5);

/// Longest pause of an open circuit.
const CIRCUIT_PAUSE_MAX: Duration = Duration::from_secs(300);

/// Most clicks that wait in memory for a slot of one endpoint.
const WAITING_MAX: usize = 1024;

/// Most deliveries that the slow lane takes on at a time for one endpoint.
const TAKEN_ON_MAX: usize = 256;

/// Weight of the newest answer in the usual answer time.
const PACE_WEIGHT: f64 = 0.1;

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
            Self::Open { probe_at, pause } if *probe_at <= now => {
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
            Self::Open { probe_at, .. } if *probe_at > now => Some(*probe_at),
            _ => None,
        }
    }

    /// Learns how a request went.
    pub fn report(&mut self, pass: Pass, signal: Signal, now: DateTime<Utc>) {
        let open_for = |pause| Self::Open { probe_at: now + pause, pause };
        *self = match (*self, signal, pass) {
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

/// Why a delivery goes through the database instead of at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Later {
    /// All of the endpoint's slots are taken, and the wait would be long.
    Busy,
    /// All slots of this process are taken.
    Full,
    /// The endpoint does not answer.
    CircuitOpen,
    /// The subscriber asked for a pause.
    Paused,
    /// Its owner paused the endpoint, or it cannot be signed for.
    Held,
}

impl Later {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Full => "full",
            Self::CircuitOpen => "circuit_open",
            Self::Paused => "paused",
            Self::Held => "held",
        }
    }
}

/// All lanes draw on one number of requests in flight.
#[derive(Debug, Clone)]
pub struct Lanes {
    in_flight: Arc<Semaphore>,
    slots_default: usize,
}

/// One endpoint's lane.
#[derive(Debug)]
pub struct Lane {
    in_flight_of_all: Arc<Semaphore>,
    slots: Arc<Semaphore>,
    slots_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    circuit: Circuit,
    paused_until: Option<DateTime<Utc>>,
    waiting: usize,
    /// How long an answer usually takes, in seconds.
    usual_answer: Option<f64>,
}

/// The right to have one request in flight.
#[derive(Debug)]
pub struct Slot {
    pass: Pass,
    _of_all: OwnedSemaphorePermit,
    _of_endpoint: OwnedSemaphorePermit,
}

impl Lanes {
    /// At most `in_flight_max` requests at a time, and `slots_default` for an endpoint that does not say.
    pub fn new(in_flight_max: usize, slots_default: usize) -> Self {
        Self { in_flight: Arc::new(Semaphore::new(in_flight_max)), slots_default }
    }

    /// A lane with its own number of slots, or the default.
    pub fn lane(&self, slots: Option<usize>) -> Arc<Lane> {
        let slots_max = slots.unwrap_or(self.slots_default).max(1);
        Arc::new(Lane {
            in_flight_of_all: Arc::clone(&self.in_flight),
            slots: Arc::new(Semaphore::new(slots_max)),
            slots_max,
            state: Mutex::default(),
        })
    }

    /// How many more requests could be in flight.
    pub fn free(&self) -> usize {
        self.in_flight.available_permits()
    }

    /// Whether a lane has as many slots as [`Lanes::lane`] would give it.
    pub fn fits(&self, lane: &Lane, slots: Option<usize>) -> bool {
        lane.slots_max == slots.unwrap_or(self.slots_default).max(1)
    }
}

impl Lane {
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
        Ok(Slot { pass, _of_all: of_all, _of_endpoint: of_endpoint })
    }

    fn enter_queue(&self, patience: Duration) -> Option<Waiting<'_>> {
        let mut state = self.state();
        let usual = state.usual_answer.unwrap_or(patience.as_secs_f64());
        let ahead = u32::try_from(state.waiting + 1).map_or(f64::INFINITY, f64::from);
        let slots = u32::try_from(self.slots_max).map_or(f64::INFINITY, f64::from);
        let is_soon = ahead * usual / slots <= patience.as_secs_f64();
        if !is_soon || state.waiting >= WAITING_MAX {
            return None;
        }
        state.waiting += 1;
        Some(Waiting(self))
    }

    /// How many deliveries the slow lane may take on now: those that get a slot within `patience`.
    pub fn room(&self, now: DateTime<Utc>, patience: Duration) -> usize {
        let state = self.state();
        if state.paused_until.is_some_and(|until| until > now) || state.circuit.closed_until(now).is_some() {
            return 0;
        }
        let free = self.slots.available_permits();
        if matches!(state.circuit, Circuit::Open { .. }) {
            return free.min(1);
        }
        let usual = state.usual_answer.unwrap_or(patience.as_secs_f64()).max(0.001);
        let rounds = (patience.as_secs_f64() / usual).min(8.0) as usize;
        (self.slots_max * rounds).saturating_sub(state.waiting).min(TAKEN_ON_MAX).max(free)
    }

    /// Whether an answer usually comes within `limit`; who answers late is not waited for.
    pub fn usually_answers_within(&self, limit: Duration) -> bool {
        self.state().usual_answer.is_none_or(|usual| usual <= limit.as_secs_f64())
    }

    /// Learns how a request went, and gives its slot back.
    pub fn report(&self, slot: Slot, signal: Signal, duration: Duration, now: DateTime<Utc>) {
        let mut state = self.state();
        state.circuit.report(slot.pass, signal, now);
        let usual = state.usual_answer.unwrap_or(duration.as_secs_f64());
        state.usual_answer = Some(usual + PACE_WEIGHT * (duration.as_secs_f64() - usual));
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
    use chrono::TimeZone;

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

    #[tokio::test]
    async fn an_endpoint_takes_no_more_than_its_slots() {
        let lanes = Lanes::new(100, 2);
        let (lane, other) = (lanes.lane(None), lanes.lane(Some(1)));
        let slots = [lane.admit(Utc::now()).expect("free"), lane.admit(Utc::now()).expect("free")];

        assert_eq!(lane.admit(Utc::now()).expect_err("taken"), Later::Busy);
        assert!(other.admit(Utc::now()).is_ok());
        drop(slots);
        assert_eq!(lane.room(Utc::now(), Duration::ZERO), 2);
    }

    #[tokio::test]
    async fn a_click_waits_for_a_slot_only_while_the_pace_promises_one() {
        let lanes = Lanes::new(100, 1);
        let (quick, slow) = (lanes.lane(None), lanes.lane(None));
        let patience = Duration::from_millis(250);
        for (lane, millis) in [(&quick, 1), (&slow, 1000)] {
            let slot = lane.admit(Utc::now()).expect("free");
            lane.report(slot, Signal::Up, Duration::from_millis(millis), Utc::now());
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
        let lane = Lanes::new(100, 4).lane(None);
        let now = Utc::now();
        lane.pause(now + Duration::from_secs(60));
        lane.pause(now + Duration::from_secs(30));

        assert_eq!(lane.admit(now).expect_err("paused"), Later::Paused);
        let room_at = |at| lane.room(at, Duration::ZERO);
        assert_eq!((room_at(now), room_at(now + Duration::from_secs(60))), (0, 4));
    }

    #[tokio::test]
    async fn all_endpoints_together_have_a_limit() {
        let lanes = Lanes::new(1, 4);
        let slot = lanes.lane(None).admit(Utc::now()).expect("free");

        assert_eq!(lanes.lane(None).admit(Utc::now()).expect_err("all taken"), Later::Full);
        drop(slot);
        assert_eq!(lanes.free(), 1);
    }
}
