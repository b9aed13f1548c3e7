//! The slow lane: what waits is leased, sent, given back, and its results are stored.

use std::sync::Arc;

use model::delivery::DeliveryStatus;
use model::{DeliveryId, EndpointId};
use proptest::sample::Index;
use store::leases;

use super::{Answer, InHand, LEASE, World, owed_by};
use crate::{runs, settled};

impl World<'_> {
    pub(super) async fn lease(&mut self, at: usize, quota: usize) {
        let table = self.processes[at].endpoints.current();
        let is_sendable = |id: &EndpointId| table.get(*id).is_some_and(|endpoint| endpoint.is_sendable());
        let ids = self.endpoints.iter().map(|known| known.id).filter(is_sendable);
        let wanted: Vec<(EndpointId, usize)> = ids.map(|id| (id, quota)).collect();
        if wanted.is_empty() {
            return;
        }
        let (now, by) = (self.now(), self.processes[at].recorder.leased_by());
        let mut conn = self.conn().await;
        let leased = leases::lease_due(&mut conn, &wanted, by, now, now + LEASE).await.expect("leases");
        let settled = settled::as_known(&mut conn, &table, leased, by).await.expect("what is recorded");
        drop(conn);
        for leased in settled.leased {
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
            if self.processes[at].recorder.take(leased.id, now + LEASE) {
                let (id, owed, endpoint) = (leased.id, leased.owed, Arc::clone(endpoint));
                let leased = Some(leased);
                self.processes[at].in_hand.push(InHand { id, owed, endpoint, leased, is_lost: false });
            }
        }
    }

    /// Whoever has it in hand has lost its lease.
    pub(super) fn note_lost(&mut self, id: DeliveryId) {
        let in_hand = self.processes.iter_mut().flat_map(|process| &mut process.in_hand);
        in_hand.filter(|held| held.id == id).for_each(|held| held.is_lost = true);
    }

    pub(super) async fn send(&mut self, at: usize, which: Index, answer: Answer) {
        let in_hand = &mut self.processes[at].in_hand;
        if !in_hand.is_empty() {
            let held = in_hand.remove(which.index(in_hand.len()));
            self.send_one(at, held, answer).await;
        }
    }

    pub(super) async fn send_one(&mut self, at: usize, held: InHand, answer: Answer) {
        let mut kept = None;
        if let Some(leased) = &held.leased {
            let was_accepted = self.accepted.contains(&held.id) && !held.is_lost;
            assert!(!was_accepted, "{} was accepted and is sent again", held.id);
            let body = runs::body(&self.ground.pool, &held.endpoint, leased).await;
            let body = body.expect("the database is there").expect("each click is recorded");
            self.note_sent(held.id, held.owed, &body);
            kept = leased.body.is_none().then(|| body.to_vec());
        }
        let was_accepted = self.accepted.contains(&held.id);
        self.note_answered(held.id, answer);
        if held.is_lost && !was_accepted {
            // what it came to is not stored, and whoever has it now does not know of it
            self.accepted.remove(&held.id);
        }
        let settlement = answer.settlement(&held.endpoint, held.place(), self.now());
        let recorder = &self.processes[at].recorder;
        recorder.settle(held.id, held.owed, &held.endpoint, settlement, kept, false);
    }

    pub(super) fn give_back(&mut self, at: usize, which: Index) {
        let process = &mut self.processes[at];
        if !process.in_hand.is_empty() {
            let place = which.index(process.in_hand.len());
            if process.in_hand[place].leased.is_some() {
                let held = process.in_hand.remove(place);
                process.recorder.give_back(held.id);
            }
        }
    }

    pub(super) async fn renew(&mut self, at: usize) {
        let process = &self.processes[at];
        let now = self.now();
        let until = now + LEASE;
        let still_held = process.in_hand.iter().filter(|held| !held.is_lost).map(|held| (held.id, until));
        self.leased_until.extend(still_held);
        process.recorder.renew_once(|| now).await.expect("leases");
    }

    pub(super) async fn store(&mut self, at: usize) {
        self.processes[at].recording.store_what_came().await.expect("the results are stored");
    }
}
