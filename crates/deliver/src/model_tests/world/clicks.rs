//! Clicks, what is learned of them later, and that in the end everybody has heard the newest of it.

use std::collections::HashMap;

use bus::Message as _;
use model::automation::{Automation, Verdict};
use model::delivery::DeliveryStatus;
use model::{ClickId, EnrichedClick, EventId};
use proptest::sample::Index;
use store::clicks::{self, NewClick};
use store::deliveries::Owed;
use store::delivery_log::LoggedDelivery;
use store::standing;

use super::{SETTLES, World, owed_by};

impl World<'_> {
    pub(super) async fn click(&mut self) {
        let mut click = webhook::payload::sample(self.workspace_id, self.now());
        click.test = false;
        click.automation.verdict = Verdict::Human;
        self.publish(click);
        // what is to be sent is read from there
        self.record().await;
    }

    /// The newest telling of a click is followed by one with another verdict.
    pub(super) fn amend(&mut self, click: Index) {
        let now = self.now();
        let newest = self.newest();
        let mut ids: Vec<&ClickId> = newest.keys().collect();
        ids.sort();
        let Some(told) = (!ids.is_empty()).then(|| newest[ids[click.index(ids.len())]]) else { return };
        let verdict = match told.event_id.revision() % 4 {
            0 => Verdict::Automated,
            2 => Verdict::Unknown,
            _ => Verdict::Human,
        };
        let automation = Automation { verdict, ..told.automation.clone() };
        if let Some(amended) = told.amended(automation, now) {
            self.publish(amended);
        }
    }

    fn publish(&mut self, telling: EnrichedClick) {
        self.unacknowledged.push(self.tellings.len());
        self.unrecorded.push(self.tellings.len());
        self.tellings.push(telling);
    }

    pub(super) async fn record(&mut self) {
        let (now, mut conn) = (self.now(), self.conn().await);
        for number in std::mem::take(&mut self.unrecorded) {
            let click = &self.tellings[number];
            let event = click.outgoing().payload;
            let new = NewClick { click, event: &event };
            clicks::record(&mut conn, &[new], now).await.expect("the click is stored");
        }
    }

    fn newest(&self) -> HashMap<ClickId, &EnrichedClick> {
        // a later telling takes the place of those before
        self.tellings.iter().map(|telling| (telling.click.id, telling)).collect()
    }

    /// Who was always there has the newest telling of each click, and heard it if it accepted; or none at all, if that is nothing
    /// it wants to hear.
    pub(super) async fn check_newest(&self) {
        let mut conn = self.conn().await;
        for (number, known) in self.endpoints.iter().enumerate().filter(|(_, known)| !known.was_away) {
            for (click_id, newest) in self.newest() {
                let first = Owed { endpoint_id: known.id, event_id: EventId::of_click(click_id, 0) };
                let standing = standing::ask(&mut conn, &[first], self.now()).await.expect("an answer");
                let rows = self.rows.values().filter(|row| {
                    row.replay_number == 0 && row.endpoint_id == known.id && row.click_id == Some(click_id)
                });
                let told_by = |row: &LoggedDelivery| match standing.existing.get(&owed_by(row)) {
                    Some(told) => *told,
                    None => row.event_id.revision(),
                };
                let last = rows.max_by_key(|row| told_by(row));
                let (told, revision) = (last.map(told_by), newest.event_id.revision());
                if let Some(last) = last.filter(|last| last.status == DeliveryStatus::Delivered) {
                    let has_heard = self.bodies.contains_key(&(owed_by(last), told_by(last)));
                    assert!(has_heard, "nobody has sent what it says: {last:?}");
                }
                let is_wanted = number != SETTLES || newest.automation.verdict == Verdict::Human;
                assert!(
                    told == Some(revision) || (told.is_none() && !is_wanted),
                    "endpoint {number} was told {told:?} of {click_id}, and the newest is {revision}"
                );
            }
        }
    }
}
