//! What is outside of a spool: a stream that may answer or not, and may lose what it has taken, and a database.

use std::collections::BTreeSet;
use std::sync::Mutex;

use bus::{Outgoing, PublishError};
use model::ClickId;

use super::super::confirm::{Away, Outside};

/// The stream takes no larger payload.
const TAKEN_BYTES_MAX: usize = 140;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The stream takes and confirms it.
    Taken,
    /// The stream takes it, and nobody learns of that.
    Unconfirmed,
    /// It does not get there.
    Away,
}

/// Stream and database.
#[derive(Debug, Default)]
pub(super) struct Servers {
    /// What the stream holds and nobody has read.
    stream: Vec<ClickId>,
    /// What it has taken ever.
    pub taken: BTreeSet<ClickId>,
    /// What it will never take.
    pub refused: BTreeSet<ClickId>,
    /// Where clicks come to rest.
    pub database: BTreeSet<ClickId>,
}

impl Servers {
    pub(super) fn publish(&mut self, message: &Outgoing, answer: Answer) -> Result<(), PublishError> {
        if answer == Answer::Away {
            return Err(PublishError::Disconnected);
        }
        let id: ClickId = message.id.parse().expect("a click");
        if message.payload.len() > TAKEN_BYTES_MAX {
            self.refused.insert(id);
            return Err(PublishError::TooLarge);
        }
        self.taken.insert(id);
        if !self.stream.contains(&id) {
            self.stream.push(id);
        }
        if answer == Answer::Taken { Ok(()) } else { Err(PublishError::Timeout) }
    }

    /// The broker loses what it has taken and nobody has read.
    pub(super) fn lose_stream(&mut self) {
        self.stream.clear();
    }

    /// So many clicks come to rest.
    pub(super) fn record(&mut self, clicks: usize) {
        let read = self.stream.drain(..clicks.min(self.stream.len()));
        self.database.extend(read);
    }
}

/// Stream and database as a confirmer finds them.
pub(super) struct Found<'a> {
    pub servers: Mutex<&'a mut Servers>,
    /// Of its messages in turn.
    pub answers: Vec<Answer>,
    pub is_behind: bool,
    pub is_database_away: bool,
}

impl Outside for Found<'_> {
    async fn held(&self, ids: &[ClickId]) -> Result<BTreeSet<ClickId>, Away> {
        if self.is_database_away {
            return Err(Away::Query(store::QueryError::NotFound));
        }
        let servers = self.servers.lock().expect("nobody panics with this in hand");
        Ok(ids.iter().copied().filter(|id| servers.database.contains(id)).collect())
    }

    async fn is_behind(&self) -> Result<bool, Away> {
        Ok(self.is_behind)
    }

    async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
        let mut servers = self.servers.lock().expect("nobody panics with this in hand");
        let answers = self.answers.iter().cycle();
        messages.iter().zip(answers).map(|(message, answer)| servers.publish(message, *answer)).collect()
    }
}
