//! The fast lane: a batch of enriched clicks, each to the endpoints that want it, at once.
//!
//! ```text
//! match ─► which exist already? ─► send, or queue for a slot, or leave to the courier
//!            (one question)              │ answered within `patience`?
//!                                        ├─ yes: its result  ─┐
//!                                        └─ no: a leased row ─┴─► one statement ─► the clicks are done
//! ```
//! A click is done when PostgreSQL holds, for each endpoint that is owed it, a delivery that is delivered, waits
//! for its next attempt, or is dead (promise P3). If that cannot be stored, the clicks come again, and some are
//! sent again with the same `webhook-id` (promise P4).

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use bus::{Handler, Verdict, Verdicts};
use bytes::Bytes;
use chrono::Utc;
use model::event_type::LINK_CLICKED;
use model::{DeliveryId, EnrichedClick, EventId, WorkspaceId};
use store::Pool;
use store::deliveries::{self, NewDelivery, Owed, Progress, Standing};
use store::tombstones;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::attempter::{Attempter, Settlement};
use crate::claim::Claim;
use crate::endpoints::{Endpoint, Endpoints};
use crate::lanes::Later;
use crate::metrics::Metrics;
use crate::recorder::Recorder;
use crate::sender::Shipment;

/// When a batch that could not be stored comes again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How long results are kept in memory when they cannot be stored: a restart of PostgreSQL should cost no duplicates.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// Pause before results are stored again.
const STORE_PAUSE: Duration = Duration::from_millis(250);

/// How long results wait for those of the same batch before they are stored.
const ROUND: Duration = Duration::from_millis(25);

/// Most deliveries that are sent and waited for at a time, over all batches. More would wait for each other until their
/// patience is over, and then cost a row and its change instead of one row.
const AT_ONCE_MAX: usize = 512;

/// Most of them that one batch takes on at a time, however many endpoints want its clicks.
const OWED_MAX: usize = 256;

/// How often a batch is matched again because endpoints have changed meanwhile.
const MATCHES_MAX: usize = 5;

/// Dispatches batches.
pub struct Dispatcher {
    /// Who wants what.
    pub endpoints: Arc<Endpoints>,
    /// Sends.
    pub attempter: Arc<Attempter>,
    /// Takes the answers that come late.
    pub recorder: Arc<Recorder>,
    /// Knows what exists, and keeps results.
    pub pool: Pool,
    /// How long a slot and an answer are waited for.
    pub patience: Duration,
    /// Requests that are under way.
    pub tasks: TaskTracker,
    /// Tells the courier that there is work.
    pub work: Arc<Notify>,
    /// Counts.
    pub metrics: Metrics,
    /// Events that batches have in hand: one that was published twice is not sent twice at the same time.
    pub in_hand: Mutex<HashSet<EventId>>,
    /// Places for [`AT_ONCE_MAX`] deliveries.
    pub at_once: Semaphore,
}

/// Places for all deliveries that are sent and waited for at a time.
pub fn at_once() -> Semaphore {
    Semaphore::new(AT_ONCE_MAX)
}

type Answer = Result<Settlement, Later>;

/// A delivery of this batch.
struct Dispatch {
    id: DeliveryId,
    owed: Owed,
    click: usize,
    endpoint: Arc<Endpoint>,
    body: Bytes,
    state: State,
}

enum State {
    Later(Later),
    Settled(Box<Settlement>),
    /// Under way; waited for only where answers usually come in time.
    Sent {
        answer: oneshot::Receiver<Answer>,
        is_waited_for: bool,
    },
}

impl Handler for Dispatcher {
    type Message = EnrichedClick;

    async fn handle(&self, batch: &[EnrichedClick]) -> Verdicts {
        let claim = Claim::of(&self.in_hand, batch);
        let clicks: Vec<&EnrichedClick> =
            batch.iter().zip(&claim.is_ours).filter(|(_, ours)| **ours).map(|(click, _)| click).collect();
        let dispatched = async {
            let clicks = self.without_erased(clicks).await?;
            self.dispatch(&clicks).await
        };
        let done = match dispatched.await {
            Ok(()) => Verdict::Done,
            Err(error) => {
                warn!(error = format!("{error:#}"), clicks = batch.len(), "dispatching failed");
                Verdict::Retry(RETRY_DELAY)
            }
        };
        let verdict = |ours: &bool| if *ours { done } else { Verdict::Retry(RETRY_DELAY) };
        Verdicts::each(claim.is_ours.iter().map(verdict).collect())
    }
}

impl Dispatcher {
    /// Leaves out the clicks of contacts that were erased: nothing of them is sent any more.
    async fn without_erased<'a>(
        &self,
        clicks: Vec<&'a EnrichedClick>,
    ) -> anyhow::Result<Vec<&'a EnrichedClick>> {
        fn contact(click: &EnrichedClick) -> Option<(WorkspaceId, &str)> {
            Some((click.click.workspace_id, click.click.link.labels.contact_id.as_deref()?))
        }
        let before = clicks.len();
        let mut clicks = clicks;
        clicks.retain(|click| !click.is_erased);
        let named: Vec<_> = clicks.iter().copied().filter_map(contact).collect();
        if !named.is_empty() {
            let mut conn = self.pool.get().await?;
            let erased = tombstones::erased(&mut conn, named).await?;
            drop(conn);
            let is_told = |(workspace_id, contact): (WorkspaceId, &str)| {
                !erased.contains(&(workspace_id, contact.to_owned()))
            };
            clicks.retain(|click| erased.is_empty() || contact(click).is_none_or(is_told));
        }
        self.metrics.erased.inc_by((before - clicks.len()) as u64);
        Ok(clicks)
    }

    async fn dispatch(&self, clicks: &[&EnrichedClick]) -> anyhow::Result<()> {
        let owed = self.owed(clicks).await?;
        for owed in owed.chunks(OWED_MAX) {
            self.dispatch_some(clicks, owed).await?;
        }
        Ok(())
    }

    /// Which deliveries these clicks call for that do not exist yet, by endpoints that are new enough.
    async fn owed(&self, clicks: &[&EnrichedClick]) -> anyhow::Result<Vec<(usize, Arc<Endpoint>)>> {
        let mut table = self.endpoints.current();
        for _ in 0..MATCHES_MAX {
            let matching = clicks.iter().enumerate().flat_map(|(index, click)| {
                table.matching(click).map(move |endpoint| (index, Arc::clone(endpoint)))
            });
            let matching: Vec<(usize, Arc<Endpoint>)> = matching.collect();
            let standing = self.standing(clicks, &matching).await?;
            if standing.endpoints_version > table.version() {
                table = self.endpoints.at_least(standing.endpoints_version).await?;
                continue;
            }
            for (endpoint_id, until) in standing.paused {
                if let Some(endpoint) = table.get(endpoint_id) {
                    endpoint.lane.pause(until);
                }
            }
            let is_new = |(index, endpoint): &(usize, Arc<Endpoint>)| {
                !standing.existing.contains(&owed_to(endpoint, clicks[*index]))
            };
            return Ok(matching.into_iter().filter(is_new).collect());
        }
        anyhow::bail!("the endpoints changed {MATCHES_MAX} times while a batch was matched")
    }

    async fn standing(
        &self,
        clicks: &[&EnrichedClick],
        matching: &[(usize, Arc<Endpoint>)],
    ) -> anyhow::Result<Standing> {
        let owed: Vec<Owed> =
            matching.iter().map(|(index, endpoint)| owed_to(endpoint, clicks[*index])).collect();
        let mut conn = self.pool.get().await?;
        Ok(deliveries::standing(&mut conn, &owed, Utc::now()).await?)
    }

    async fn dispatch_some(
        &self,
        clicks: &[&EnrichedClick],
        owed: &[(usize, Arc<Endpoint>)],
    ) -> anyhow::Result<()> {
        let places = u32::try_from(owed.len()).unwrap_or(u32::MAX);
        let places = self.at_once.acquire_many(places).await.context("nobody closes the semaphore")?;
        let mut rendered: Option<(usize, Bytes)> = None;
        let mut dispatches = Vec::with_capacity(owed.len());
        for (index, endpoint) in owed {
            // endpoints of one click follow each other, and get the same bytes
            let body = match &rendered {
                Some((of, body)) if of == index => body.clone(),
                _ => Bytes::from(webhook::payload::link_clicked(clicks[*index])),
            };
            rendered = Some((*index, body.clone()));
            dispatches.push(self.begin(*index, clicks[*index], endpoint, body));
        }
        self.settle(clicks, dispatches, places).await
    }

    /// Stores what is known, again and again until all is, or until patience is over: what was accepted and is not stored
    /// yet would be sent again if we died now.
    async fn settle(
        &self,
        clicks: &[&EnrichedClick],
        mut open: Vec<Dispatch>,
        places: SemaphorePermit<'_>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.patience;
        let mut places = Some(places);
        while !open.is_empty() {
            let round = (Instant::now() + ROUND).min(deadline);
            for dispatch in &mut open {
                dispatch.wait(round).await;
            }
            let is_over = Instant::now() >= deadline;
            let (known, rest): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|dispatch| is_over || !dispatch.is_waited_for());
            open = rest;
            if open.is_empty() {
                // the next may be sent while these are stored
                places.take();
            }
            self.count(clicks, &known);
            self.store(clicks, known).await?;
        }
        Ok(())
    }

    /// Sends at once if the endpoint has a slot or will have one soon.
    fn begin(&self, index: usize, click: &EnrichedClick, endpoint: &Arc<Endpoint>, body: Bytes) -> Dispatch {
        // made at the event's moment: both live in the event's partition
        let id = DeliveryId::generate_at(click.event_id.timestamp());
        let dispatch = |state| Dispatch {
            id,
            owed: owed_to(endpoint, click),
            click: index,
            endpoint: Arc::clone(endpoint),
            body: body.clone(),
            state,
        };
        if !endpoint.is_sendable() {
            return dispatch(State::Later(Later::Held));
        }
        if endpoint.lane.is_rated() {
            return dispatch(State::Later(Later::RateLimited));
        }
        let slot = match endpoint.lane.admit(Utc::now()) {
            Ok(slot) => Some(slot),
            Err(Later::Busy) if endpoint.lane.has_slot_soon(self.patience) => None,
            Err(later) => return dispatch(State::Later(later)),
        };
        let shipment = Shipment {
            event_id: click.event_id,
            event_type: LINK_CLICKED,
            delivery_id: id,
            number: 1,
            throttled: 0,
            traceparent: click.click.traceparent.clone(),
            body: body.clone(),
            is_replay: false,
        };
        let (reply, answer) = oneshot::channel();
        let (attempter, endpoint_of_task, patience) =
            (Arc::clone(&self.attempter), Arc::clone(endpoint), self.patience);
        self.tasks.spawn(async move {
            let endpoint = endpoint_of_task;
            let slot = match slot {
                Some(slot) => Ok(slot),
                None => endpoint.lane.admit_soon(patience).await,
            };
            let answer = match slot {
                Ok(slot) => Ok(attempter.attempt(&endpoint, &shipment, slot).await),
                Err(later) => Err(later),
            };
            // nobody waits for it any more when the batch could not be stored
            let _ = reply.send(answer);
        });
        dispatch(State::Sent { answer, is_waited_for: endpoint.lane.usually_answers_within(self.patience) })
    }

    fn count(&self, clicks: &[&EnrichedClick], dispatches: &[Dispatch]) {
        let now = Utc::now();
        for dispatch in dispatches {
            match &dispatch.state {
                State::Settled(settlement) if settlement.is_first_try_success() => {
                    self.metrics.arrived(now - clicks[dispatch.click].click.clicked_at);
                }
                State::Later(later) => self.metrics.queued(*later),
                State::Settled(_) | State::Sent { .. } => {}
            }
        }
    }

    /// One statement for all; then whoever is still under way becomes the recorder's.
    async fn store(&self, clicks: &[&EnrichedClick], dispatches: Vec<Dispatch>) -> anyhow::Result<()> {
        if dispatches.is_empty() {
            return Ok(());
        }
        let leased_until = Utc::now() + self.recorder.lease();
        let mut attempts = Vec::new();
        let mut new = Vec::with_capacity(dispatches.len());
        for dispatch in &dispatches {
            new.push(dispatch.row(clicks[dispatch.click], leased_until));
            if let State::Settled(settlement) = &dispatch.state {
                attempts
                    .extend(Settlement::clone(settlement).into_attempt_row(dispatch.id, &dispatch.endpoint));
            }
        }
        let deadline = Instant::now() + STORE_PATIENCE;
        let stored = loop {
            let result = self.insert(&new, &attempts).await;
            match result {
                Ok(stored) => break stored,
                Err(error) if Instant::now() < deadline => {
                    self.metrics.store_failures.inc();
                    warn!(
                        error = format!("{error:#}"),
                        "failed to store the results of a batch; trying again"
                    );
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        };
        // what finds no room now is found by looking, when there is some
        let (now, patience) = (Utc::now(), self.patience);
        let is_work_left = dispatches.iter().any(|dispatch| {
            matches!(dispatch.state, State::Later(_)) && dispatch.endpoint.lane.room(now, patience) > 0
        });
        for dispatch in dispatches {
            if stored.contains(&dispatch.id) {
                self.hand_over(dispatch);
            }
        }
        if is_work_left {
            self.work.notify_one();
        }
        Ok(())
    }

    async fn insert(
        &self,
        new: &[NewDelivery],
        attempts: &[store::attempts::NewAttempt],
    ) -> anyhow::Result<HashSet<DeliveryId>> {
        let mut conn = self.pool.get().await?;
        Ok(deliveries::insert(&mut conn, new, attempts, self.recorder.leased_by(), Utc::now()).await?)
    }

    fn hand_over(&self, dispatch: Dispatch) {
        let State::Sent { answer, .. } = dispatch.state else { return };
        let recorder = Arc::clone(&self.recorder);
        recorder.take(dispatch.id);
        let work = Arc::clone(&self.work);
        self.tasks.spawn(async move {
            match answer.await {
                Ok(Ok(settlement)) => {
                    recorder.settle(dispatch.id, dispatch.owed, &dispatch.endpoint, settlement, None);
                }
                // no slot came free in time: it is the courier's now
                Ok(Err(_)) | Err(_) => {
                    recorder.give_back(dispatch.id);
                    work.notify_one();
                }
            }
        });
    }
}

impl Dispatch {
    /// Whether its answer is still to come, and waited for.
    fn is_waited_for(&self) -> bool {
        matches!(self.state, State::Sent { is_waited_for: true, .. })
    }

    async fn wait(&mut self, deadline: Instant) {
        let State::Sent { answer, is_waited_for } = &mut self.state else { return };
        let answer = if *is_waited_for {
            tokio::time::timeout_at(deadline, answer).await.ok().and_then(Result::ok)
        } else {
            answer.try_recv().ok()
        };
        match answer {
            Some(Ok(settlement)) => self.state = State::Settled(Box::new(settlement)),
            Some(Err(later)) => self.state = State::Later(later),
            None => {}
        }
    }

    fn row(&self, click: &EnrichedClick, leased_until: chrono::DateTime<Utc>) -> NewDelivery {
        let (progress, leased_until) = match &self.state {
            State::Settled(settlement) => {
                let mut progress = settlement.progress.clone();
                if !settlement.is_first_try_success() {
                    progress.body = Some(self.body.to_vec());
                }
                (progress, None)
            }
            State::Later(_) => (self.due_now(), None),
            State::Sent { .. } => (self.due_now(), Some(leased_until)),
        };
        NewDelivery {
            id: self.id,
            workspace_id: self.endpoint.workspace_id,
            owed: self.owed,
            event_type: LINK_CLICKED,
            click_id: Some(click.click.id),
            progress,
            leased_until,
        }
    }

    fn due_now(&self) -> Progress {
        Progress::due(Utc::now(), Some(self.body.to_vec()))
    }
}

fn owed_to(endpoint: &Endpoint, click: &EnrichedClick) -> Owed {
    Owed { endpoint_id: endpoint.id, event_id: click.event_id }
}
