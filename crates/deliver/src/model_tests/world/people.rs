//! What people do, and what is done for them: endpoints change, deliveries are asked for again, what nobody will send ends.

use std::time::Duration;

use chrono::TimeDelta;
use model::DeliveryId;
use model::delivery::DeliveryStatus;
use proptest::sample::Index;
use store::endpoints::State;
use store::replays::{Selection, What};
use store::{delivery_log, endpoints, given_up, held, replays};

use super::{MANY, World};

/// How long what a paused or disabled endpoint is owed waits for it.
const PAUSE_HOLD: Duration = Duration::from_secs(3600);

impl World<'_> {
    pub(super) async fn set(&mut self, endpoint: usize, state: State) {
        let (now, mut conn) = (self.now(), self.conn().await);
        let known = &mut self.endpoints[endpoint];
        if known.is_deleted {
            return;
        }
        let set = endpoints::set_state(&mut conn, self.workspace_id, known.id, state, None, now).await;
        set.expect("it is set");
        if known.state == State::Disabled && state != State::Disabled {
            known.owed_from = now;
        }
        known.was_away |= state == State::Disabled;
        known.state = state;
    }

    pub(super) async fn delete(&mut self, endpoint: usize) {
        let (now, mut conn) = (self.now(), self.conn().await);
        let known = &mut self.endpoints[endpoint];
        let deleted = endpoints::delete(&mut conn, self.workspace_id, known.id, now).await;
        assert_eq!(deleted.expect("it is deleted"), !known.is_deleted);
        known.is_deleted = true;
        known.was_away = true;
    }

    /// One of the deliveries, if there are any.
    fn one(&self, which: Index) -> Option<DeliveryId> {
        let ids: Vec<DeliveryId> = self.rows.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[which.index(ids.len())])
    }

    pub(super) async fn retry(&mut self, which: Index) {
        let Some(id) = self.one(which) else { return };
        let asked = delivery_log::retry(&mut *self.conn().await, self.workspace_id, id, self.now()).await;
        assert!(asked.expect("it is asked for"));
        self.accepted.remove(&id);
        // it may tell what is known by now
        self.first_bodies.remove(&id);
        *self.more_attempts.entry(id).or_default() += 1;
        self.asked_for = Some(id);
    }

    pub(super) async fn give_up(&mut self, which: Index) {
        let Some(id) = self.one(which) else { return };
        let given_up = given_up::give_up(&mut *self.conn().await, self.workspace_id, id, self.now()).await;
        let was_pending = self.rows[&id].status == DeliveryStatus::Pending;
        assert_eq!(given_up.expect("it is ended"), was_pending);
        if was_pending {
            self.ended.insert(id);
            self.note_lost(id);
        }
    }

    pub(super) async fn replay(&mut self, endpoint: usize, what: What) {
        let now = self.now();
        let selection = Selection {
            workspace_id: self.workspace_id,
            endpoint_id: self.endpoints[endpoint].id,
            what,
            since: self.began_at - TimeDelta::minutes(1),
            until: now,
            event_type: None,
            campaign_id: None,
            delivery_ids: Vec::new(),
        };
        // while another one runs, none begins
        let begun = replays::insert(&mut *self.conn().await, &selection, 100, None, "test", now).await;
        begun.expect("the database is there");
    }

    /// Tells how many deliveries are new in line.
    pub(super) async fn advance(&self) -> u64 {
        self.ground.replayer().step(self.now()).await.expect("a step")
    }

    pub(super) async fn tidy(&mut self) {
        let (now, mut conn) = (self.now(), self.conn().await);
        held::bury_of_deleted(&mut conn, now, MANY).await.expect("they are ended");
        held::bury(&mut conn, PAUSE_HOLD, now, MANY).await.expect("they are ended");
        drop(conn);
        for (id, row) in self.read().await {
            let was_pending = self.rows.get(&id).is_none_or(|row| row.status == DeliveryStatus::Pending);
            if was_pending && row.status == DeliveryStatus::Dead {
                let of = self.endpoints.iter().find(|known| known.id == row.endpoint_id);
                let gets_nothing = of.is_some_and(|known| known.is_deleted || known.state != State::Active);
                assert!(gets_nothing, "nobody has ended it: {row:?}");
                self.ended.insert(id);
                self.note_lost(id);
            }
        }
    }
}
