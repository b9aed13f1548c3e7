//! Processes, endpoints and deliveries of one workspace, what is known of them, and what must be true.

mod people;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bus::Message as _;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use model::automation::Verdict;
use model::delivery::DeliveryStatus;
use model::{DeliveryId, EndpointId, EnrichedClick, WorkspaceId};
use proptest::sample::Index;
use store::clicks::NewClick;
use store::deliveries::{self, NewDelivery, Owed};
use store::delivery_log::{self, DeliveryFilter, LoggedDelivery};
use store::endpoints::State;
use store::leases;
use store::{PooledConnection, clicks};
use testkit::given;
use tokio::sync::oneshot;

use super::process::{ATTEMPTS_MAX, Batch, Ground, InHand, LEASE, Process};
use super::{Answer, ENDPOINTS, Fate, PROCESSES, Step};
use crate::attempter::{Place, Settlement};
use crate::batch::{Dispatch, State as Dispatched};
use crate::later::Later;
use crate::matching::Debt;
use crate::runs;

/// More than there are of anything in a case.
const MANY: i64 = 1000;

/// Longer than any pause or lease.
const LONG: TimeDelta = TimeDelta::days(1);

/// More rounds than it takes until nothing waits.
const ROUNDS_MAX: usize = 30;

/// An endpoint as people know it.
struct Known {
    id: EndpointId,
    state: State,
    is_deleted: bool,
    owed_from: DateTime<Utc>,
}

pub(super) struct World<'a> {
    ground: &'a Ground,
    workspace_id: WorkspaceId,
    /// How far our clock is ahead.
    ahead: TimeDelta,
    began_at: DateTime<Utc>,
    endpoints: Vec<Known>,
    processes: Vec<Process>,
    clicks: Vec<EnrichedClick>,
    /// Which of them the stream brings again.
    unacknowledged: Vec<usize>,
    /// What must have a row.
    promised: HashSet<Owed>,
    /// The rows as they were after the last step.
    rows: BTreeMap<DeliveryId, LoggedDelivery>,
    /// The bytes that were sent.
    bodies: HashMap<Owed, Bytes>,
    /// What was accepted, and is to be sent again by nobody.
    accepted: HashSet<DeliveryId>,
    /// What was ever accepted.
    ever_accepted: HashSet<DeliveryId>,
    /// Until when what somebody has in hand is leased.
    leased_until: HashMap<DeliveryId, DateTime<Utc>>,
    /// Attempts beyond the schedule: those that a person asked for, and answers that do not count.
    more_attempts: HashMap<DeliveryId, u32>,
    /// What a person has asked for in this step.
    asked_for: Option<DeliveryId>,
    /// What was ended without an attempt that says why.
    ended: HashSet<DeliveryId>,
}

impl<'a> World<'a> {
    pub(super) async fn new(ground: &'a Ground) -> Self {
        let began_at = Utc::now();
        let mut conn = ground.pool.get().await.expect("a connection");
        let workspace_id = given::workspace(&mut conn).await;
        drop(conn);
        let mut endpoints = Vec::new();
        for _ in 0..ENDPOINTS {
            let id = ground.endpoint(workspace_id, began_at).await;
            endpoints.push(Known { id, state: State::Active, is_deleted: false, owed_from: began_at });
        }
        let mut processes = Vec::new();
        for _ in 0..PROCESSES {
            processes.push(Process::start(ground).await);
        }
        Self {
            ground,
            workspace_id,
            ahead: TimeDelta::zero(),
            began_at,
            endpoints,
            processes,
            clicks: Vec::new(),
            unacknowledged: Vec::new(),
            promised: HashSet::new(),
            rows: BTreeMap::new(),
            bodies: HashMap::new(),
            accepted: HashSet::new(),
            ever_accepted: HashSet::new(),
            leased_until: HashMap::new(),
            more_attempts: HashMap::new(),
            asked_for: None,
            ended: HashSet::new(),
        }
    }

    /// Lets it happen.
    pub(super) async fn take(&mut self, step: &Step) {
        self.asked_for = None;
        match step {
            Step::Click => self.click().await,
            Step::Dispatch { at, click, fates } => self.dispatch(*at, *click, fates).await,
            Step::Keep { at } => self.keep(*at).await,
            Step::Refresh { at } => self.refresh(*at).await,
            Step::Lease { at, quota } => self.lease(*at, *quota).await,
            Step::Send { at, which, answer } => self.send(*at, *which, *answer).await,
            Step::GiveBack { at, which } => self.give_back(*at, *which),
            Step::Renew { at } => self.renew(*at).await,
            Step::Store { at } => self.store(*at).await,
            Step::Die { at } => self.processes[*at] = Process::start(self.ground).await,
            Step::Pass(seconds) => self.ahead += TimeDelta::seconds((*seconds).into()),
            Step::Set { endpoint, state } => self.set(*endpoint, *state).await,
            Step::Delete { endpoint } => self.delete(*endpoint).await,
            Step::Retry(which) => self.retry(*which).await,
            Step::GiveUp(which) => self.give_up(*which).await,
            Step::Replay { endpoint, what } => self.replay(*endpoint, *what).await,
            Step::Advance => _ = self.advance().await,
            Step::Tidy => self.tidy().await,
        }
    }

    /// What is true after every step.
    pub(super) async fn check(&mut self) {
        let rows = self.read().await;
        let before = std::mem::replace(&mut self.rows, rows);
        let mut first_of = HashMap::new();
        for row in self.rows.values().filter(|row| row.replay_number == 0) {
            let earlier = first_of.insert(owed_by(row), row.id);
            assert!(earlier.is_none(), "{:?} and {} are of one event", earlier, row.id);
        }
        for owed in &self.promised {
            assert!(first_of.contains_key(owed), "{owed:?} has no row, and its click was acknowledged");
        }
        for (id, before) in &before {
            let row = self.rows.get(id).expect("no row goes");
            let has_begun_again = before.status != DeliveryStatus::Pending && row.status != before.status;
            assert!(!has_begun_again || self.asked_for == Some(*id), "{before:?} became {row:?}");
        }
        for row in self.rows.values() {
            self.check_row(row);
        }
    }

    fn check_row(&self, row: &LoggedDelivery) {
        let is_pending = row.status == DeliveryStatus::Pending;
        assert!(is_pending == row.next_attempt_at.is_some(), "{row:?}");
        assert!(is_pending == row.finished_at.is_none(), "{row:?}");
        let attempts_max = ATTEMPTS_MAX + self.more_attempts.get(&row.id).copied().unwrap_or(0);
        assert!(row.attempt_count <= attempts_max, "more than {attempts_max} attempts: {row:?}");
        let is_delivered = row.status == DeliveryStatus::Delivered;
        assert!(!is_delivered || self.ever_accepted.contains(&row.id), "nobody accepted it: {row:?}");
        if row.status == DeliveryStatus::Dead {
            let is_exhausted = row.attempt_count >= ATTEMPTS_MAX || row.last_status == Some(400);
            assert!(is_exhausted || self.ended.contains(&row.id), "it has not earned that: {row:?}");
        }
    }

    /// Everybody accepts, and time goes on: nothing waits for good.
    pub(super) async fn come_to_rest(&mut self) {
        self.asked_for = None;
        for process in &mut self.processes {
            *process = Process::start(self.ground).await;
        }
        for endpoint in 0..ENDPOINTS {
            self.set(endpoint, State::Active).await;
        }
        while !self.unacknowledged.is_empty() {
            self.dispatch_number(0, self.unacknowledged[0], &[Fate::Answered(Answer::Accepted)]).await;
            self.keep(0).await;
            self.check().await;
        }
        for _ in 0..ROUNDS_MAX {
            self.asked_for = None;
            self.ahead += LONG;
            let replayed = self.advance().await;
            self.tidy().await;
            // replays have put something in line since
            self.check().await;
            self.refresh(0).await;
            self.lease(0, 100).await;
            while let Some(held) = self.processes[0].in_hand.pop() {
                self.send_one(0, held, Answer::Accepted).await;
            }
            self.store(0).await;
            self.check().await;
            let waits = |row: &LoggedDelivery| row.status == DeliveryStatus::Pending;
            if replayed == 0 && !self.rows.values().any(waits) {
                break;
            }
        }
        let waiting: Vec<_> =
            self.rows.values().filter(|row| row.status == DeliveryStatus::Pending).collect();
        assert!(waiting.is_empty(), "these wait for good: {waiting:?}");
        for endpoint in 0..ENDPOINTS {
            self.delete(endpoint).await;
        }
    }

    fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.ahead
    }

    async fn conn(&self) -> PooledConnection {
        self.ground.pool.get().await.expect("a connection")
    }

    async fn read(&self) -> BTreeMap<DeliveryId, LoggedDelivery> {
        let mut conn = self.conn().await;
        let all = DeliveryFilter::default();
        let found = delivery_log::list(&mut conn, self.workspace_id, &all, None, MANY).await;
        found.expect("deliveries").into_iter().map(|row| (row.id, row)).collect()
    }

    async fn click(&mut self) {
        let now = self.now();
        let mut click = webhook::payload::sample(self.workspace_id, now);
        click.test = false;
        click.automation.verdict = Verdict::Human;
        let event = click.outgoing().payload;
        let new = NewClick { click: &click, event: &event };
        clicks::record(&mut *self.conn().await, &[new], now).await.expect("the click is stored");
        self.unacknowledged.push(self.clicks.len());
        self.clicks.push(click);
    }

    async fn dispatch(&mut self, at: usize, click: Index, fates: &[Fate]) {
        // a process works on a click once at a time
        if self.processes[at].batch.is_none() && !self.unacknowledged.is_empty() {
            let number = self.unacknowledged[click.index(self.unacknowledged.len())];
            self.dispatch_number(at, number, fates).await;
        }
    }

    async fn dispatch_number(&mut self, at: usize, number: usize, fates: &[Fate]) {
        let click = self.clicks[number].clone();
        let owed = self.owed(&click);
        let found = self.processes[at].matching.debts(&[&click]).await.expect("the database is there");
        let mut dispatches = Vec::new();
        for (debt, fate) in found.debts.into_iter().zip(fates.iter().cycle()) {
            let is_first = self.rows.values().all(|row| row.replay_number > 0 || owed_by(row) != debt.owed);
            assert!(is_first, "{:?} has a row and is sent again", debt.owed);
            assert!(owed.contains(&debt.owed), "{:?} is not owed", debt.owed);
            dispatches.push(self.begin(debt, &click, *fate));
        }
        self.processes[at].batch = Some(Batch { click: number, owed, dispatches });
    }

    /// Who is owed a click as people see it.
    fn owed(&self, click: &EnrichedClick) -> Vec<Owed> {
        let is_owed = |known: &&Known| {
            !known.is_deleted && known.state != State::Disabled && known.owed_from <= click.click.clicked_at
        };
        let owed = |known: &Known| Owed { endpoint_id: known.id, event_id: click.event_id };
        self.endpoints.iter().filter(is_owed).map(owed).collect()
    }

    fn begin(&mut self, debt: Debt, click: &EnrichedClick, fate: Fate) -> Dispatch {
        let id = DeliveryId::generate_at(click.event_id.timestamp());
        let body = Bytes::from(debt.endpoint.body(debt.event_type, click));
        let state = match fate {
            _ if !debt.endpoint.is_sendable() => Dispatched::Later(Later::Held),
            Fate::Later => Dispatched::Later(Later::Busy),
            Fate::Answered(answer) => {
                self.note_sent(debt.owed, &body);
                self.note_answered(id, answer);
                let place = Place { number: 1, throttled: 0 };
                Dispatched::Settled(Box::new(answer.settlement(&debt.endpoint, place, self.now())))
            }
            Fate::UnderWay => {
                self.note_sent(debt.owed, &body);
                let (_, answer) = oneshot::channel();
                Dispatched::Sent { answer, is_waited_for: false }
            }
        };
        Dispatch { id, debt, body, state }
    }

    /// The same event has the same bytes, whoever sends it and whenever.
    fn note_sent(&mut self, owed: Owed, body: &Bytes) {
        let first = &*self.bodies.entry(owed).or_insert_with(|| body.clone());
        assert_eq!(first, body, "another body of {owed:?}");
    }

    fn note_answered(&mut self, id: DeliveryId, answer: Answer) {
        match answer {
            Answer::Accepted => {
                self.accepted.insert(id);
                self.ever_accepted.insert(id);
            }
            Answer::TooOften => *self.more_attempts.entry(id).or_default() += 1,
            Answer::Failed | Answer::Unwanted | Answer::Missing => {}
        }
    }

    async fn keep(&mut self, at: usize) {
        let Some(batch) = self.processes[at].batch.take() else { return };
        let (now, click) = (self.now(), &self.clicks[batch.click]);
        let rows: Vec<NewDelivery> =
            batch.dispatches.iter().map(|dispatch| dispatch.row(click, now + LEASE)).collect();
        let mut attempts = Vec::new();
        for dispatch in &batch.dispatches {
            if let Dispatched::Settled(settlement) = &dispatch.state {
                let settlement = Settlement::clone(settlement);
                attempts.extend(settlement.into_attempt_row(dispatch.id, &dispatch.debt.endpoint));
            }
        }
        let by = self.processes[at].recorder.leased_by();
        let mut stored = HashSet::new();
        if !rows.is_empty() {
            let made = deliveries::insert(&mut *self.conn().await, &rows, &attempts, by, now).await;
            stored = made.expect("the rows are stored");
        }
        for Dispatch { id, debt, state, .. } in batch.dispatches {
            if stored.contains(&id) && matches!(state, Dispatched::Sent { .. }) {
                let held =
                    InHand { id, owed: debt.owed, endpoint: debt.endpoint, leased: None, is_lost: false };
                self.leased_until.insert(id, now + LEASE);
                self.processes[at].recorder.take(id);
                self.processes[at].in_hand.push(held);
            }
        }
        self.promised.extend(batch.owed);
        self.unacknowledged.retain(|number| *number != batch.click);
    }

    async fn refresh(&self, at: usize) {
        self.processes[at].endpoints.refresh().await.expect("the endpoints");
    }

    async fn lease(&mut self, at: usize, quota: usize) {
        let table = self.processes[at].endpoints.current();
        let is_sendable = |id: &EndpointId| table.get(*id).is_some_and(|endpoint| endpoint.is_sendable());
        let ids = self.endpoints.iter().map(|known| known.id).filter(is_sendable);
        let wanted: Vec<(EndpointId, usize)> = ids.map(|id| (id, quota)).collect();
        if wanted.is_empty() {
            return;
        }
        let (now, by) = (self.now(), self.processes[at].recorder.leased_by());
        let leased = leases::lease_due(&mut *self.conn().await, &wanted, by, now, now + LEASE).await;
        for leased in leased.expect("leases") {
            let row = &self.rows[&leased.id];
            let is_due = row.status == DeliveryStatus::Pending && row.next_attempt_at <= Some(now);
            assert!(is_due, "leased, and not due: {row:?}");
            assert_eq!(owed_by(row), leased.owed);
            let until = self.leased_until.insert(leased.id, now + LEASE);
            if leased.is_taken_over {
                assert!(
                    until.is_none_or(|until| until <= now),
                    "somebody else has it until {until:?}: {row:?}"
                );
                // whoever had it may have sent it, and may do so yet
                self.accepted.remove(&leased.id);
                self.note_lost(leased.id);
            }
            let Some(endpoint) = table.get(leased.owed.endpoint_id) else { continue };
            // what is in hand already is under way
            if self.processes[at].recorder.take(leased.id) {
                let (id, owed, endpoint) = (leased.id, leased.owed, Arc::clone(endpoint));
                let leased = Some(leased);
                self.processes[at].in_hand.push(InHand { id, owed, endpoint, leased, is_lost: false });
            }
        }
    }

    /// Whoever has it in hand has lost its lease.
    fn note_lost(&mut self, id: DeliveryId) {
        let in_hand = self.processes.iter_mut().flat_map(|process| &mut process.in_hand);
        in_hand.filter(|held| held.id == id).for_each(|held| held.is_lost = true);
    }

    async fn send(&mut self, at: usize, which: Index, answer: Answer) {
        let in_hand = &mut self.processes[at].in_hand;
        if !in_hand.is_empty() {
            let held = in_hand.remove(which.index(in_hand.len()));
            self.send_one(at, held, answer).await;
        }
    }

    async fn send_one(&mut self, at: usize, held: InHand, answer: Answer) {
        let mut kept = None;
        if let Some(leased) = &held.leased {
            let was_accepted = self.accepted.contains(&held.id) && !held.is_lost;
            assert!(!was_accepted, "{} was accepted and is sent again", held.id);
            let body = runs::body(&self.ground.pool, &held.endpoint, leased).await;
            let body = body.expect("the database is there").expect("each click is recorded");
            self.note_sent(held.owed, &body);
            kept = leased.body.is_none().then(|| body.to_vec());
        }
        self.note_answered(held.id, answer);
        let settlement = answer.settlement(&held.endpoint, held.place(), self.now());
        let recorder = &self.processes[at].recorder;
        recorder.settle(held.id, held.owed, &held.endpoint, settlement, kept, false);
    }

    fn give_back(&mut self, at: usize, which: Index) {
        let process = &mut self.processes[at];
        if !process.in_hand.is_empty() {
            let place = which.index(process.in_hand.len());
            if process.in_hand[place].leased.is_some() {
                let held = process.in_hand.remove(place);
                process.recorder.give_back(held.id);
            }
        }
    }

    async fn renew(&mut self, at: usize) {
        let process = &self.processes[at];
        let ids: Vec<DeliveryId> = process.in_hand.iter().map(|held| held.id).collect();
        let (by, until) = (process.recorder.leased_by(), self.now() + LEASE);
        let still_held = process.in_hand.iter().filter(|held| !held.is_lost).map(|held| (held.id, until));
        self.leased_until.extend(still_held);
        if !ids.is_empty() {
            leases::renew(&mut *self.conn().await, &ids, by, until).await.expect("leases");
        }
    }

    async fn store(&mut self, at: usize) {
        self.processes[at].recording.store_what_came().await.expect("the results are stored");
    }
}

fn owed_by(row: &LoggedDelivery) -> Owed {
    Owed { endpoint_id: row.endpoint_id, event_id: row.event_id }
}
