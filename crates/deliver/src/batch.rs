//! What a batch of the fast lane has in hand: each delivery from its decision to its row.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use model::{DeliveryId, EnrichedClick};
use store::deliveries::{NewDelivery, Progress};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::attempter::Settlement;
use crate::later::Later;
use crate::matching::Debt;

/// What became of a delivery that was sent, or why it was not.
pub type Answer = Result<Settlement, Later>;

/// A delivery of this batch.
pub struct Dispatch {
    /// Its id.
    pub id: DeliveryId,
    /// What is owed to whom.
    pub debt: Debt,
    /// The bytes that are sent.
    pub body: Bytes,
    /// Where it stands.
    pub state: State,
}

/// Where a delivery of a batch stands.
pub enum State {
    /// It goes through the database.
    Later(Later),
    /// It was answered.
    Settled(Box<Settlement>),
    /// It is under way.
    Sent {
        /// Comes when it is answered.
        answer: oneshot::Receiver<Answer>,
        /// Only where answers usually come in time.
        is_waited_for: bool,
    },
}

impl Dispatch {
    /// Whether its answer is still to come, and waited for.
    pub fn is_waited_for(&self) -> bool {
        matches!(self.state, State::Sent { is_waited_for: true, .. })
    }

    /// Waits for its answer until then.
    pub async fn wait(&mut self, deadline: Instant) {
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

    /// What is stored of it now; if it is under way, it is leased until then.
    pub fn row(&self, click: &EnrichedClick, leased_until: DateTime<Utc>) -> NewDelivery {
        let (progress, leased_until) = match &self.state {
            State::Settled(settlement) => {
                let mut progress = settlement.progress.clone();
                if !settlement.is_first_try_success() {
                    progress.body = Some(self.body.to_vec());
                }
                (progress, None)
            }
            State::Later(_) => (self.due(), None),
            State::Sent { .. } => (self.due(), Some(leased_until)),
        };
        NewDelivery {
            id: self.id,
            workspace_id: self.debt.endpoint.workspace_id,
            owed: self.debt.owed,
            event_type: self.debt.event_type,
            click_id: Some(click.click.id),
            told_revision: click.event_id.revision(),
            progress,
            leased_until,
            line: self.debt.endpoint.line_of(click),
        }
    }

    fn due(&self) -> Progress {
        self.debt.endpoint.untried(self.debt.due_at.unwrap_or_else(Utc::now), Some(self.body.to_vec()))
    }
}
