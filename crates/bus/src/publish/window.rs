//! One round of publishing: which messages are sent, which are confirmed, and when to give up.

use tokio::time::{Instant, timeout_at};

use super::confirmations::{Confirmation, Confirmations};
use super::{PublishError, Publisher, WINDOW};
use crate::messages::Outgoing;

/// The messages of one call. They are sent in order; answers come in any.
pub(super) struct Window<'a> {
    publisher: &'a Publisher,
    /// Gone when the client has closed the subscription.
    confirmations: Option<Confirmations>,
    begun_at: Instant,
    /// The number of the first message.
    first: u64,
    /// What is known of each message that was sent, or could not be.
    results: Vec<Option<Result<(), PublishError>>>,
    /// By when each of them has to be confirmed.
    deadlines: Vec<Instant>,
    /// The first one of which nothing is known.
    oldest: usize,
    unconfirmed: usize,
    /// A message went unconfirmed: those that were not sent yet are not sent.
    gave_up: bool,
}

impl<'a> Window<'a> {
    pub(super) fn new(publisher: &'a Publisher, confirmations: Confirmations, count: usize) -> Self {
        Self {
            publisher,
            begun_at: Instant::now(),
            first: confirmations.number(),
            confirmations: Some(confirmations),
            results: Vec::with_capacity(count),
            deadlines: Vec::with_capacity(count),
            oldest: 0,
            unconfirmed: 0,
            gave_up: false,
        }
    }

    /// Sends the messages and waits for what their streams say. The subscription comes back if it can be used again.
    pub(super) async fn publish(
        mut self,
        messages: &[Outgoing],
    ) -> (Option<Confirmations>, Vec<Result<(), PublishError>>) {
        for message in messages {
            while self.unconfirmed >= WINDOW {
                self.receive().await;
            }
            if self.gave_up {
                self.note_sent(Err(self.unconfirmed()), Instant::now());
            } else {
                self.send(message).await;
            }
        }
        while self.unconfirmed > 0 {
            self.receive().await;
        }
        let unconfirmed = self.unconfirmed();
        let results = self.results.into_iter().map(|result| result.unwrap_or(Err(unconfirmed.clone())));
        (self.confirmations, results.collect())
    }

    async fn send(&mut self, message: &Outgoing) {
        let Some(confirmations) = &mut self.confirmations else { return };
        let bus = &self.publisher.bus;
        let deadline = Instant::now() + self.publisher.limit();
        let sending = async {
            if !bus.is_connected() {
                let left = self.publisher.limit();
                bus.wait_connected(left).await.map_err(|_| PublishError::Disconnected)?;
            }
            confirmations.send(message).await
        };
        let sent = timeout_at(deadline, sending).await;
        let sent = sent.unwrap_or_else(|_| Err(self.unconfirmed()));
        self.note_sent(sent, deadline);
    }

    fn unconfirmed(&self) -> PublishError {
        self.publisher.unconfirmed(self.begun_at)
    }

    fn note_sent(&mut self, sent: Result<(), PublishError>, deadline: Instant) {
        self.gave_up |= sent.as_ref().is_err_and(PublishError::is_silence);
        self.unconfirmed += usize::from(sent.is_ok());
        self.results.push(sent.err().map(Err));
        self.deadlines.push(deadline);
    }

    /// Waits for an answer, up to the deadline of the oldest message, and takes all that are there.
    async fn receive(&mut self) {
        while self.results.get(self.oldest).is_some_and(Option::is_some) {
            self.oldest += 1;
        }
        let (Some(confirmations), Some(deadline)) =
            (&mut self.confirmations, self.deadlines.get(self.oldest))
        else {
            return self.end();
        };
        match timeout_at(*deadline, confirmations.next()).await {
            Ok(Some(confirmation)) => self.settle(confirmation),
            Ok(None) => return self.end(),
            Err(_) => {
                self.gave_up = true;
                let silence = self.unconfirmed();
                self.settle((self.first + self.oldest as u64, Err(silence)));
            }
        }
        while let Some(confirmation) = self.confirmations.as_mut().and_then(Confirmations::next_at_once) {
            self.settle(confirmation);
        }
    }

    /// An answer to an earlier call's message is nobody's.
    fn settle(&mut self, (number, result): Confirmation) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(open @ None) = index.and_then(|index| self.results.get_mut(index)) {
            *open = Some(result);
            self.unconfirmed -= 1;
        }
    }

    /// Nothing more will be heard.
    fn end(&mut self) {
        self.confirmations = None;
        self.gave_up = true;
        self.unconfirmed = 0;
    }
}
