//! The fast lane: a batch of enriched clicks, each to the endpoints that want it, at once.
//!
//! ```text
//! what is owed? ─► send, or queue for a slot, or leave to the courier
//!  (`matching`)          │ answered within `patience`?
//!                        ├─ yes: its result  ─┐
//!                        └─ no: a leased row ─┴─► one statement ─► the clicks are done
//! ```
//! A click is done when PostgreSQL holds, for each endpoint that is owed it, a delivery that is delivered, waits
//! for its next attempt, or is dead (promise P3). If that cannot be stored, the clicks come again, and some are
//! sent again with the same `webhook-id` (promise P4); but from then on rows come first, until some are stored.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use bus::{Handler, Verdict, Verdicts};
use bytes::Bytes;
use chrono::Utc;
use model::{DeliveryId, EnrichedClick, EventId, WorkspaceId};
use store::deliveries::{self, NewDelivery};
use store::{Pool, tombstones};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::attempter::{Attempter, Settlement};
use crate::batch::{Dispatch, State};
use crate::claim::Claim;
use crate::endpoints::EndpointTable;
use crate::fetch_notices::FetchNotices;
use crate::later::Later;
use crate::matching::{Bodies, Debt, Matching};
use crate::metrics::Metrics;
use crate::recorder::Recorder;
use crate::sender::Shipment;
use crate::unstored::Unstored;

/// When a batch that could not be stored comes again, and what another batch has in hand.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// When an amendment comes again that came before what it amends, and when a click does for which there was no time.
const AGAIN_DELAY: Duration = Duration::from_secs(2);

/// A batch that takes longer comes again: answers to what it has under way by then are lost, and that is sent twice. It must
/// outlast the results of a batch that cannot be stored at once.
pub const HANDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// So long a batch begins to send. What is begun by then is answered and stored before [`HANDLE_TIMEOUT`].
pub const BEGIN_MAX: Duration =
    HANDLE_TIMEOUT.checked_sub(Duration::from_secs(15)).expect("it is longer than that");

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

/// Dispatches batches.
pub struct Dispatcher {
    /// Finds who is owed what.
    pub matching: Matching,
    /// Sends.
    pub attempter: Arc<Attempter>,
    /// Takes the answers that come late.
    pub recorder: Arc<Recorder>,
    /// Keeps results.
    pub pool: Pool,
    /// How long a slot and an answer are waited for.
    pub patience: Duration,
    /// Requests that are under way.
    pub tasks: TaskTracker,
    /// Tells the courier that there is work.
    pub work: Arc<Notify>,
    /// Tells who fetches events that there are some.
    pub notices: Arc<FetchNotices>,
    /// Counts.
    pub metrics: Metrics,
    /// Events that batches have in hand: one that was published twice is not sent twice at the same time.
    pub in_hand: Mutex<HashSet<EventId>>,
    /// Places for [`AT_ONCE_MAX`] deliveries.
    pub at_once: Semaphore,
    /// Whether results can be stored; while they cannot, the courier sends.
    pub unstored: Unstored,
    /// How long a batch begins to send: [`BEGIN_MAX`]. What is left then comes again.
    pub begin_max: Duration,
}

/// Places for all deliveries that are sent and waited for at a time.
pub fn at_once() -> Semaphore {
    Semaphore::new(AT_ONCE_MAX)
}

impl Handler for Dispatcher {
    type Message = EnrichedClick;

    async fn handle(&self, batch: &[EnrichedClick]) -> Verdicts {
        let last_begin = Instant::now() + self.begin_max;
        let claim = Claim::of(&self.in_hand, batch);
        let clicks: Vec<&EnrichedClick> =
            batch.iter().zip(&claim.is_ours).filter(|(_, ours)| **ours).map(|(click, _)| click).collect();
        let dispatched = async {
            let clicks = self.without_erased(clicks).await?;
            self.dispatch(&clicks, last_begin).await
        };
        let done = dispatched.await.inspect_err(|error| {
            warn!(error = format!("{error:#}"), clicks = batch.len(), "dispatching failed");
        });
        let verdict = |(click, is_ours): (&EnrichedClick, &bool)| match &done {
            _ if !is_ours => Verdict::NotYet(RETRY_DELAY),
            Ok(again) => again.get(&click.event_id).copied().unwrap_or(Verdict::Done),
            Err(_) => Verdict::Retry(RETRY_DELAY),
        };
        Verdicts::each(batch.iter().zip(&claim.is_ours).map(verdict).collect())
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

    /// Tells what is to come again: amendments that came too early, and clicks with webhooks that are not begun at `last_begin`.
    async fn dispatch(
        &self,
        clicks: &[&EnrichedClick],
        last_begin: Instant,
    ) -> anyhow::Result<HashMap<EventId, Verdict>> {
        let found = self.matching.debts(clicks, Utc::now()).await?;
        let early = found.early.into_iter().map(|event_id| (event_id, Verdict::NotYet(AGAIN_DELAY)));
        let (mut again, mut rest) = (early.collect::<HashMap<_, _>>(), &found.debts[..]);
        while !rest.is_empty() {
            let (next, behind) = rest.split_at(rest.len().min(OWED_MAX));
            let places = u32::try_from(next.len()).unwrap_or(u32::MAX);
            let places = self.at_once.acquire_many(places).await.context("nobody closes the semaphore")?;
            if Instant::now() >= last_begin {
                // nothing is under way, and what is stored is not owed the next time
                warn!(
                    webhooks = rest.len(),
                    "there was no time for all webhooks of a batch; they come again"
                );
                let late = rest.iter().map(|debt| clicks[debt.click].event_id);
                again.extend(late.map(|event_id| (event_id, Verdict::Retry(AGAIN_DELAY))));
                break;
            }
            self.dispatch_some(clicks, next, places).await?;
            rest = behind;
        }
        Ok(again)
    }

    async fn dispatch_some(
        &self,
        clicks: &[&EnrichedClick],
        debts: &[Debt],
        places: SemaphorePermit<'_>,
    ) -> anyhow::Result<()> {
        let (mut bodies, table) = (Bodies::default(), self.matching.endpoints.current());
        let begin = |debt: &Debt| {
            let click = clicks[debt.click];
            self.begin(debt, click, bodies.of(debt, click), &table)
        };
        let dispatches = debts.iter().map(begin).collect();
        self.settle(clicks, dispatches, places).await
    }

    /// Stores what is known, again and again until all is, or until patience is over: what was accepted and is not stored
    /// yet would be sent again if we died now.
    async fn settle(
        &self,
        clicks: &[&EnrichedClick],
        mut open: Vec<Dispatch>,
        mut places: SemaphorePermit<'_>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.patience;
        while !open.is_empty() {
            let round = (Instant::now() + ROUND).min(deadline);
            for dispatch in &mut open {
                dispatch.wait(round).await;
            }
            let is_over = Instant::now() >= deadline;
            let (known, rest): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|dispatch| is_over || !dispatch.is_waited_for());
            open = rest;
            // others may be sent while these are stored and the rest is waited for
            drop(places.split(known.len()));
            self.count(clicks, &known);
            self.store(clicks, known).await?;
        }
        Ok(())
    }

    /// Sends at once if nothing speaks for later and the endpoint has a slot or will have one soon; `table` is how the endpoints
    /// are now.
    fn begin(&self, debt: &Debt, click: &EnrichedClick, body: Bytes, table: &EndpointTable) -> Dispatch {
        // made at the event's moment: both live in the event's partition
        let (id, endpoint) = (DeliveryId::generate_at(click.event_id.timestamp()), &debt.endpoint);
        let dispatch = |state| Dispatch { id, debt: debt.clone(), body: body.clone(), state };
        if let Some(later) = self.why_later(debt, table) {
            return dispatch(State::Later(later));
        }
        let slot = match endpoint.lane.admit(Utc::now()) {
            Ok(slot) => Some(slot),
            Err(Later::Busy) if endpoint.lane.has_slot_soon(self.patience) => None,
            Err(later) => return dispatch(State::Later(later)),
        };
        let shipment = Shipment {
            event_id: debt.owed.event_id,
            event_type: debt.event_type,
            delivery_id: id,
            number: 1,
            throttled: 0,
            traceparent: click.click.traceparent.clone(),
            body: body.clone(),
            is_replay: false,
            batch: None,
            sequence: None,
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

    /// Why it is not sent at once, whatever slots are free. An endpoint that is not as it was when the click was matched is left to
    /// the courier, who looks at each endpoint as it is then.
    fn why_later(&self, debt: &Debt, table: &EndpointTable) -> Option<Later> {
        let endpoint = &debt.endpoint;
        let is_as_matched = || table.get(endpoint.id).is_some_and(|now| Arc::ptr_eq(now, endpoint));
        if debt.due_at.is_some() {
            Some(Later::Settling)
        } else if endpoint.is_pulled() {
            Some(Later::Fetched)
        } else if !endpoint.is_sendable() || !is_as_matched() {
            Some(Later::Held)
        } else if endpoint.batching().is_some() {
            Some(Later::Batching)
        } else if endpoint.is_counted() {
            Some(Later::InLine)
        } else if endpoint.lane.is_rated() {
            Some(Later::RateLimited)
        } else if self.unstored.is_so() {
            Some(Later::Unstored)
        } else {
            None
        }
    }

    fn count(&self, clicks: &[&EnrichedClick], dispatches: &[Dispatch]) {
        let now = Utc::now();
        for dispatch in dispatches {
            let click = clicks[dispatch.debt.click];
            match &dispatch.state {
                // an amendment is as late as its evidence
                State::Settled(_) if click.event_id.revision() > 0 => {}
                State::Settled(settlement) if settlement.is_first_try_success() => {
                    self.metrics.arrived(now - click.click.clicked_at);
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
        // dated again whenever they are about to be stored
        let leased_until = Utc::now() + self.recorder.lease();
        let mut attempts = Vec::new();
        let mut new = Vec::with_capacity(dispatches.len());
        for dispatch in &dispatches {
            new.push(dispatch.row(clicks[dispatch.debt.click], leased_until));
            if let State::Settled(settlement) = &dispatch.state {
                attempts.extend(
                    Settlement::clone(settlement).into_attempt_row(dispatch.id, &dispatch.debt.endpoint),
                );
            }
        }
        let (deadline, storing) = (Instant::now() + STORE_PATIENCE, self.unstored.storing());
        let stored = loop {
            let result = self.insert(&mut new, &attempts).await;
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
        storing.done();
        let is_stored = |dispatch: &&Dispatch| stored.contains(&dispatch.id);
        self.notices.tell(dispatches.iter().filter(is_stored).map(|dispatch| &dispatch.debt.endpoint));
        // what finds no room now is found by looking, when there is some
        let (now, patience) = (Utc::now(), self.patience);
        let is_work_left = dispatches.iter().any(|dispatch| {
            matches!(&dispatch.state, State::Later(later) if !matches!(later, Later::Batching | Later::Fetched))
                && dispatch.debt.due_at.is_none_or(|due_at| due_at <= now)
                && dispatch.debt.endpoint.lane.room(now, patience) > 0
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

    /// Leases begin here: however long the database was waited for, what is under way stays ours.
    async fn insert(
        &self,
        new: &mut [NewDelivery],
        attempts: &[store::attempts::NewAttempt],
    ) -> anyhow::Result<HashSet<DeliveryId>> {
        let mut conn = self.pool.get().await?;
        let now = Utc::now();
        for leased_until in new.iter_mut().filter_map(|delivery| delivery.leased_until.as_mut()) {
            *leased_until = now + self.recorder.lease();
        }
        Ok(deliveries::insert(&mut conn, new, attempts, self.recorder.leased_by(), now).await?)
    }

    fn hand_over(&self, dispatch: Dispatch) {
        let State::Sent { answer, .. } = dispatch.state else { return };
        let recorder = Arc::clone(&self.recorder);
        recorder.take(dispatch.id, recorder.latest_end());
        let work = Arc::clone(&self.work);
        self.tasks.spawn(async move {
            match answer.await {
                Ok(Ok(settlement)) => {
                    recorder.settle(
                        dispatch.id,
                        dispatch.debt.owed,
                        &dispatch.debt.endpoint,
                        settlement,
                        None,
                        false,
                    );
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

#[cfg(test)]
mod tests;
