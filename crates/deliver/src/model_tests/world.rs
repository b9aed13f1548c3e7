//! Processes, endpoints and deliveries of one workspace, what is known of them, and what must be true.

mod clicks;
mod fast;
mod people;
mod slow;

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use model::delivery::DeliveryStatus;
use model::event_type::LINK_CLICKED;
use model::{DeliveryId, EndpointId, EnrichedClick, WorkspaceId};
use serde_json::Value;
use store::PooledConnection;
use store::deliveries::Owed;
use store::delivery_log::{self, DeliveryFilter, LoggedDelivery};
use store::endpoints::State;
use testkit::given;

use super::process::{ATTEMPTS_MAX, Ground, InHand, LEASE, Process};
use super::{Answer, ENDPOINTS, Fate, PROCESSES, SETTLES, Step};

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
    /// It was disabled or deleted, and may have missed something.
    was_away: bool,
    owed_from: DateTime<Utc>,
}

impl Known {
    /// Whether it is told anything, if perhaps later.
    fn is_there(&self) -> bool {
        !self.is_deleted && self.state != State::Disabled
    }
}

pub(super) struct World<'a> {
    ground: &'a Ground,
    workspace_id: WorkspaceId,
    /// How far our clock is ahead.
    ahead: TimeDelta,
    began_at: DateTime<Utc>,
    endpoints: Vec<Known>,
    processes: Vec<Process>,
    /// Clicks and their amendments.
    tellings: Vec<EnrichedClick>,
    /// Which of them the stream brings again.
    unacknowledged: Vec<usize>,
    /// Which of them are not recorded yet.
    unrecorded: Vec<usize>,
    /// What must have a row.
    promised: HashSet<Owed>,
    /// The rows as they were after the last step.
    rows: BTreeMap<DeliveryId, LoggedDelivery>,
    /// The bytes that were sent, by the revision of the click that they tell.
    bodies: HashMap<(Owed, u32), Bytes>,
    /// What was sent of each delivery, since it began or was asked for again.
    first_bodies: HashMap<DeliveryId, Bytes>,
    /// What somebody may have heard.
    sent: HashSet<DeliveryId>,
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
        for number in 0..ENDPOINTS {
            let id = ground.endpoint(workspace_id, number == SETTLES, began_at).await;
            let (state, owed_from) = (State::Active, began_at);
            endpoints.push(Known { id, state, is_deleted: false, was_away: false, owed_from });
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
            tellings: Vec::new(),
            unacknowledged: Vec::new(),
            unrecorded: Vec::new(),
            promised: HashSet::new(),
            rows: BTreeMap::new(),
            bodies: HashMap::new(),
            first_bodies: HashMap::new(),
            sent: HashSet::new(),
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
            Step::Amend(click) => self.amend(*click),
            Step::Record => self.record().await,
            Step::Dispatch { at, telling, with_next, fates } => {
                self.dispatch(*at, *telling, *with_next, fates).await;
            }
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
            let Some(row) = self.rows.get(id) else {
                let is_first = before.event_type == LINK_CLICKED && before.replay_number == 0;
                let has_waited = before.status == DeliveryStatus::Pending && !self.sent.contains(id);
                let is_taken_back = self.settles(before.endpoint_id) && is_first && has_waited;
                assert!(is_taken_back, "{before:?} is gone");
                continue;
            };
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
        self.record().await;
        for _ in 0..ROUNDS_MAX {
            self.asked_for = None;
            for number in self.unacknowledged.clone() {
                self.dispatch_numbers(0, vec![number], &[Fate::Answered(Answer::Accepted)]).await;
                self.keep(0).await;
                self.check().await;
            }
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
            if replayed == 0 && self.unacknowledged.is_empty() && !self.rows.values().any(waits) {
                break;
            }
        }
        assert!(self.unacknowledged.is_empty(), "these come again for good: {:?}", self.unacknowledged);
        let waiting: Vec<_> =
            self.rows.values().filter(|row| row.status == DeliveryStatus::Pending).collect();
        assert!(waiting.is_empty(), "these wait for good: {waiting:?}");
        self.check_newest().await;
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

    /// Whether this endpoint waits for evidence.
    fn settles(&self, id: EndpointId) -> bool {
        self.endpoints[SETTLES].id == id
    }

    /// Every attempt of a delivery has the same bytes, whoever makes it and whenever; but a replay may tell what is known by then,
    /// and so may what a person asks for again. The same revision is told in the same bytes.
    fn note_sent(&mut self, id: DeliveryId, owed: Owed, body: &Bytes) {
        let told: Value = serde_json::from_slice(body).expect("JSON");
        let revision = told["data"]["revision"].as_u64().expect("a revision");
        let revision = u32::try_from(revision).expect("few revisions");
        let first = &*self.bodies.entry((owed, revision)).or_insert_with(|| body.clone());
        assert_eq!(first, body, "another body of {owed:?}");
        if self.rows.get(&id).is_none_or(|row| row.replay_number == 0) {
            let first = &*self.first_bodies.entry(id).or_insert_with(|| body.clone());
            assert_eq!(first, body, "another body of {id}");
        }
        self.sent.insert(id);
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

    async fn refresh(&self, at: usize) {
        self.processes[at].endpoints.refresh().await.expect("the endpoints");
    }
}

fn owed_by(row: &LoggedDelivery) -> Owed {
    Owed { endpoint_id: row.endpoint_id, event_id: row.event_id }
}
