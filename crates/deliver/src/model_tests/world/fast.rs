//! The fast lane: a telling of a click is matched, sent at once or later, and kept.

use std::collections::HashSet;

use bytes::Bytes;
use model::{DeliveryId, EndpointId, EnrichedClick, EventId};
use proptest::sample::Index;
use store::deliveries::{self, NewDelivery, Owed};
use tokio::sync::oneshot;

use super::{Fate, InHand, Known, LEASE, World, owed_by};
use crate::attempter::{Place, Settlement};
use crate::batch::{Dispatch, State as Dispatched};
use crate::later::Later;
use crate::matching::Debt;
use crate::model_tests::process::Batch;

impl World<'_> {
    pub(super) async fn dispatch(&mut self, at: usize, telling: Index, with_next: bool, fates: &[Fate]) {
        // a process works on a click once at a time
        if self.processes[at].batch.is_none() && !self.unacknowledged.is_empty() {
            let first = telling.index(self.unacknowledged.len());
            let numbers = self.unacknowledged[first..].iter().copied().take(1 + usize::from(with_next));
            self.dispatch_numbers(at, numbers.collect(), fates).await;
        }
    }

    pub(super) async fn dispatch_numbers(&mut self, at: usize, numbers: Vec<usize>, fates: &[Fate]) {
        let tellings: Vec<EnrichedClick> =
            numbers.iter().map(|number| self.tellings[*number].clone()).collect();
        let owed: Vec<Owed> = tellings.iter().flat_map(|telling| self.owed(telling)).collect();
        let now = self.now();
        let found = self.processes[at].matching.debts(&tellings.iter().collect::<Vec<_>>(), now).await;
        let found = found.expect("the database is there");
        let mut dispatches = Vec::new();
        for (debt, fate) in found.debts.into_iter().zip(fates.iter().cycle()) {
            let is_first = self.rows.values().all(|row| row.replay_number > 0 || owed_by(row) != debt.owed);
            assert!(is_first, "{:?} has a row and is sent again", debt.owed);
            let telling = &tellings[debt.click];
            let is_owed = match self.settles(debt.owed.endpoint_id) {
                // its first tellings are made to wait, and are no debts
                true => debt.owed.event_id.revision() > 0 && self.is_told_on(debt.owed.endpoint_id, telling),
                false => owed.contains(&debt.owed),
            };
            assert!(is_owed, "{:?} is not owed", debt.owed);
            dispatches.push(self.begin(debt, telling, *fate));
        }
        let is_early = |number: &usize| found.early.contains(&self.tellings[*number].event_id);
        let early = numbers.iter().copied().filter(is_early).collect();
        self.processes[at].batch = Some(Batch { tellings: numbers, early, owed, dispatches });
    }

    /// Who is owed a telling of a click as people see it, but for who waits for evidence.
    fn owed(&self, click: &EnrichedClick) -> Vec<Owed> {
        let is_new_enough = |known: &Known| known.owed_from <= click.click.clicked_at;
        let is_owed = |known: &&Known| {
            let is_told = (known.is_there() && is_new_enough(known)) || self.is_told_on(known.id, click);
            !self.settles(known.id) && is_told
        };
        let owed = |known: &Known| Owed { endpoint_id: known.id, event_id: click.event_id };
        self.endpoints.iter().filter(is_owed).map(owed).collect()
    }

    /// Whether an endpoint is there, and has a delivery of the first telling of a click: then it hears more of it.
    fn is_told_on(&self, endpoint_id: EndpointId, click: &EnrichedClick) -> bool {
        let first = Owed { endpoint_id, event_id: EventId::of_click(click.click.id, 0) };
        let is_there = self.endpoints.iter().any(|known| known.id == endpoint_id && known.is_there());
        is_there && self.rows.values().any(|row| row.replay_number == 0 && owed_by(row) == first)
    }

    fn begin(&mut self, debt: Debt, click: &EnrichedClick, fate: Fate) -> Dispatch {
        let id = DeliveryId::generate_at(click.event_id.timestamp());
        let body = Bytes::from(debt.endpoint.body(debt.event_type, click));
        let state = match fate {
            _ if debt.due_at.is_some() => Dispatched::Later(Later::Settling),
            _ if !debt.endpoint.is_sendable() => Dispatched::Later(Later::Held),
            Fate::Later => Dispatched::Later(Later::Busy),
            Fate::Answered(answer) => {
                self.note_sent(id, debt.owed, &body);
                self.note_answered(id, answer);
                let place = Place { number: 1, throttled: 0 };
                Dispatched::Settled(Box::new(answer.settlement(&debt.endpoint, place, self.now())))
            }
            Fate::UnderWay => {
                self.note_sent(id, debt.owed, &body);
                let (_, answer) = oneshot::channel();
                Dispatched::Sent { answer, is_waited_for: false }
            }
        };
        Dispatch { id, debt, body, state }
    }

    pub(super) async fn keep(&mut self, at: usize) {
        let Some(batch) = self.processes[at].batch.take() else { return };
        let now = self.now();
        let row = |dispatch: &Dispatch| {
            let telling = &self.tellings[batch.tellings[dispatch.debt.click]];
            dispatch.row(telling, now + LEASE)
        };
        let rows: Vec<NewDelivery> = batch.dispatches.iter().map(row).collect();
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
                self.processes[at].recorder.take(id, now + LEASE);
                self.processes[at].in_hand.push(held);
            }
        }
        self.promised.extend(batch.owed);
        self.unacknowledged.retain(|number| !batch.tellings.contains(number) || batch.early.contains(number));
    }
}
