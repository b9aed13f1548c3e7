//! Sends what was leased: a delivery or a batch alone, or the *run* of a line, one delivery after the other.
//!
//! The next of a run is sent as soon as the one before it was accepted, while its result is still being stored. When one is not,
//! or the run has lasted for [`RUN_MAX`], or its endpoint has changed, the rest is given back as it was. Until all of that is
//! stored the line has a head that is leased, so nobody else goes on with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::Message as _;
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use model::delivery::{DeliveryStatus, Timings};
use model::event_type::{self, LINK_CLICKED};
use model::{DeliveryId, EnrichedClick, EventId};
use store::Pool;
use store::batches::LeasedBatch;
use store::deliveries::{self, Progress};
use store::leases::{self, Finished, Leased};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};
use webhook::batch::BATCH;

use crate::attempter::Attempter;
use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::metrics::Metrics;
use crate::order::Run;
use crate::recorder::Recorder;
use crate::sender::{Batched, Shipment};

/// So long the rest of a run is kept from whoever would change or withdraw it.
const RUN_MAX: Duration = Duration::from_secs(1);

/// How long `record` may need for a click whose body was not kept, from when the delivery was made; as whoever fetches it waits. What
/// is not recorded by then is lost.
const RECORDED_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// Pause before it is looked for again.
const RECORDED_PAUSE: TimeDelta = TimeDelta::seconds(5);

/// Sends what is in hand.
#[derive(Clone)]
pub struct Runner {
    /// Who is sent to.
    pub endpoints: Arc<Endpoints>,
    /// Sends.
    pub attempter: Arc<Attempter>,
    /// Takes results.
    pub recorder: Arc<Recorder>,
    /// Holds what bodies are rendered from again.
    pub pool: Pool,
    /// How long a leased delivery may wait for its slot.
    pub patience: Duration,
    /// Requests that are under way, of both lanes.
    pub tasks: TaskTracker,
    /// What of it this lane has begun.
    pub begun: TaskTracker,
    /// Says that there is room.
    pub work: Arc<Notify>,
    /// Counts.
    pub metrics: Metrics,
}

impl Runner {
    /// Begins to send these, one after the other. What is in hand already, because we were late to renew, is under way, and what
    /// is behind it is given back.
    pub fn begin(&self, endpoint: &Arc<Endpoint>, mut run: Vec<Leased>) {
        let until = self.recorder.latest_end();
        let taken = run.iter().take_while(|leased| self.recorder.take(leased.id, until)).count();
        let behind = run.split_off(taken);
        self.give_back(behind.iter().skip(1).map(|leased| leased.id));
        if run.is_empty() {
            return;
        }
        endpoint.lane.take(run.len());
        let (runner, endpoint) = (self.clone(), Arc::clone(endpoint));
        self.tasks.spawn(self.begun.track_future(async move {
            runner.send(&endpoint, run).await;
            runner.work.notify_one();
        }));
    }

    /// Gives back what was leased and is not sent after all. What is in hand is under way, and stays ours.
    pub fn give_back(&self, ids: impl IntoIterator<Item = DeliveryId>) {
        let until = self.recorder.latest_end();
        let taken = ids.into_iter().filter(|id| self.recorder.take(*id, until)).collect();
        self.recorder.give_back_in_line(taken);
    }

    /// Begins to send a batch.
    pub fn begin_batch(&self, endpoint: &Arc<Endpoint>, batch: LeasedBatch) {
        if !self.recorder.take_batch(batch.id, self.recorder.latest_end()) {
            return;
        }
        endpoint.lane.take(1);
        let (runner, endpoint) = (self.clone(), Arc::clone(endpoint));
        self.tasks.spawn(self.begun.track_future(async move {
            match endpoint.lane.admit_soon(runner.patience).await {
                Err(_) => runner.recorder.give_back_batch(batch.id),
                Ok(slot) => {
                    let settlement = runner.attempter.attempt(&endpoint, &shipment_of(&batch), slot).await;
                    runner.recorder.settle_batch(&batch, &endpoint, settlement);
                }
            }
            runner.work.notify_one();
        }));
    }

    async fn send(&self, endpoint: &Arc<Endpoint>, run: Vec<Leased>) {
        let begun = Instant::now();
        let mut rest = run.into_iter();
        while let Some(leased) = rest.next() {
            let is_last = rest.len() == 0;
            let is_accepted = self.send_one(endpoint, leased, is_last).await;
            if !is_accepted || begun.elapsed() >= RUN_MAX || !self.goes_on(endpoint) {
                break;
            }
        }
        self.recorder.give_back_in_line(rest.map(|leased| leased.id).collect());
    }

    /// Whether the endpoint is as it was, and so are we.
    fn goes_on(&self, endpoint: &Arc<Endpoint>) -> bool {
        let table = self.endpoints.current();
        let is_as_it_was = table.get(endpoint.id).is_some_and(|now| Arc::ptr_eq(now, endpoint));
        is_as_it_was && !self.tasks.is_closed()
    }

    /// Sends a delivery, the last of its run or not; tells whether it was accepted.
    async fn send_one(&self, endpoint: &Endpoint, leased: Leased, is_last: bool) -> bool {
        let Ok(slot) = endpoint.lane.admit_soon(self.patience).await else {
            self.recorder.give_back(leased.id);
            return false;
        };
        match body(&self.pool, endpoint, &leased).await {
            Ok(Some(body)) => {
                let body = numbered(body, leased.sequence);
                let shipment = shipment(&leased, body.clone());
                let settlement = self.attempter.attempt(endpoint, &shipment, slot).await;
                let settlement = if leased.was_accepted { settlement.asked_for() } else { settlement };
                let is_accepted = settlement.progress.status == DeliveryStatus::Delivered;
                let kept = leased.body.is_none().then(|| body.to_vec());
                let is_awaited = endpoint.ordering.is_kept() && (is_last || !is_accepted);
                self.recorder.settle(leased.id, leased.owed, endpoint, settlement, kept, is_awaited);
                is_accepted
            }
            Ok(None) => {
                self.settle_without_body(&leased).await;
                false
            }
            Err(error) => {
                warn!(error = format!("{error:#}"), "failed to render a body again");
                self.recorder.give_back(leased.id);
                false
            }
        }
    }

    /// What has no body waits until its click is recorded, or ends when that is gone.
    async fn settle_without_body(&self, leased: &Leased) {
        match self.await_recording(leased).await {
            Ok(true) => {
                debug!(delivery.id = %leased.id, "the event of a delivery is not recorded yet");
                self.recorder.give_back(leased.id);
            }
            Ok(false) => {
                error!(delivery.id = %leased.id, "the event of a delivery is gone; it cannot be sent again");
                self.metrics.body_lost();
                self.recorder.settle_without_attempt(lost(leased));
            }
            Err(error) => {
                warn!(
                    error = format!("{error:#}"),
                    "failed to put off a delivery whose event is not recorded"
                );
                self.recorder.give_back(leased.id);
            }
        }
    }

    async fn await_recording(&self, leased: &Leased) -> anyhow::Result<bool> {
        let Some(click_id) = leased.click_id else { return Ok(false) };
        let (ids, by, now) = ((leased.id, click_id), self.recorder.leased_by(), Utc::now());
        let mut conn = self.pool.get().await?;
        let (since, due_at) = (now - RECORDED_WITHIN, now + RECORDED_PAUSE);
        Ok(leases::await_recording(&mut conn, ids, by, since, due_at).await?)
    }
}

/// What of a run is sent, and what is given back, of the leases that were got for it: nothing is sent behind what somebody else has.
///
/// `leased` are those leases, `settled` what is still to be sent of all: the others are told to nobody any more.
pub fn gathered(
    run: &Run,
    leased: &HashSet<DeliveryId>,
    settled: &mut HashMap<DeliveryId, Leased>,
) -> (Vec<Leased>, Vec<DeliveryId>) {
    let ours = run.iter().take_while(|id| leased.contains(id)).count();
    let sent = run[..ours].iter().filter_map(|id| settled.remove(id)).collect();
    let given_back = run[ours..].iter().filter_map(|id| settled.remove(id)).map(|leased| leased.id).collect();
    (sent, given_back)
}

fn shipment_of(batch: &LeasedBatch) -> Shipment {
    let uuid = batch.id.uuid();
    Shipment {
        event_id: EventId::from_parts(uuid, 0),
        event_type: BATCH,
        delivery_id: DeliveryId::from_uuid(uuid),
        number: batch.attempt_count.saturating_add(1),
        throttled: batch.throttled,
        traceparent: None,
        body: Bytes::from(batch.body.clone()),
        is_replay: batch.is_replay,
        batch: Some(Batched { id: batch.id, deliveries: batch.events }),
        sequence: None,
    }
}

fn shipment(leased: &Leased, body: Bytes) -> Shipment {
    Shipment {
        event_id: leased.owed.event_id,
        event_type: type_of(leased),
        delivery_id: leased.id,
        number: leased.attempt_count.saturating_add(1),
        throttled: leased.throttled,
        traceparent: None,
        body,
        is_replay: leased.is_replay,
        batch: None,
        sequence: leased.sequence,
    }
}

/// Where what the endpoint is owed is counted, the body says its number.
fn numbered(body: Bytes, sequence: Option<u64>) -> Bytes {
    match sequence {
        Some(sequence) => webhook::numbering::numbered(body.into(), sequence).into(),
        None => body,
    }
}

/// The type of its event.
pub(crate) fn type_of(leased: &Leased) -> &'static str {
    event_type::known(&leased.event_type).unwrap_or(LINK_CLICKED)
}

/// The bytes to send: those that are kept, else rendered again from the recorded click, in the shape that the endpoint has now.
pub(crate) async fn body(pool: &Pool, endpoint: &Endpoint, leased: &Leased) -> anyhow::Result<Option<Bytes>> {
    if let Some(body) = &leased.body {
        return Ok(Some(Bytes::from(body.clone())));
    }
    let Some(click_id) = leased.click_id else { return Ok(None) };
    let mut conn = pool.get().await?;
    let Some(event) = deliveries::recorded_event(&mut conn, click_id).await? else { return Ok(None) };
    let click = EnrichedClick::decode(&event)?;
    let body = endpoint.body_again(type_of(leased), &click, leased.owed.event_id.revision());
    Ok(body.map(Bytes::from))
}

fn lost(leased: &Leased) -> Finished {
    Finished {
        id: leased.id,
        workspace_id: leased.workspace_id,
        owed: leased.owed,
        progress: Progress {
            status: DeliveryStatus::Dead,
            attempt_count: leased.attempt_count,
            next_attempt_at: None,
            attempted_at: None,
            finished_at: Some(Utc::now()),
            duration_ms: None,
            last_status: None,
            last_error: Some("event_lost"),
            response_body: None,
            body: None,
            throttled: leased.throttled,
            timings: Timings::default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use model::{EndpointId, WorkspaceId};
    use store::deliveries::Owed;

    use super::*;

    fn leased(id: DeliveryId) -> (DeliveryId, Leased) {
        let leased = Leased {
            id,
            workspace_id: WorkspaceId::generate(),
            owed: Owed { endpoint_id: EndpointId::generate(), event_id: EventId::generate() },
            event_type: LINK_CLICKED.to_owned(),
            click_id: None,
            attempt_count: 0,
            body: None,
            is_replay: false,
            throttled: 0,
            told_revision: 0,
            is_taken_over: false,
            sequence: None,
            was_accepted: false,
        };
        (id, leased)
    }

    #[test]
    fn nothing_is_sent_behind_what_somebody_else_has_and_who_is_told_no_more_holds_up_nobody() {
        let run: Run = (0..5).map(|_| DeliveryId::generate()).collect();
        let sorted_out = |leased_ids: &[usize], settled_ids: &[usize]| {
            let ids = leased_ids.iter().map(|n| run[*n]).collect();
            let mut settled = settled_ids.iter().map(|n| leased(run[*n])).collect();
            let (sent, given_back) = gathered(&run, &ids, &mut settled);
            let place = |id: DeliveryId| run.iter().position(|other| *other == id).expect("of the run");
            (
                sent.iter().map(|leased| place(leased.id)).collect::<Vec<_>>(),
                given_back.into_iter().map(place).collect::<Vec<_>>(),
            )
        };

        assert_eq!(sorted_out(&[0, 1, 2, 3, 4], &[4, 3, 2, 1, 0]), (vec![0, 1, 2, 3, 4], vec![]));
        assert_eq!(sorted_out(&[0, 1, 3, 4], &[0, 1, 3, 4]), (vec![0, 1], vec![3, 4]));
        assert_eq!(sorted_out(&[0, 1, 2, 3], &[0, 2]), (vec![0, 2], vec![]));
        assert_eq!(sorted_out(&[1, 2], &[1, 2]), (vec![], vec![1, 2]));
    }
}
