//! Publishing: every message waits for its stream's confirmation.
//!
//! A confirmation that does not come leaves open whether the message was stored. That is why every message has an id:
//! publishing it again is harmless.

mod batch;
mod confirmations;
mod window;

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

pub(crate) use self::batch::Batching;
use self::batch::{BATCH_MAX, Outcome};
pub(crate) use self::confirmations::Confirmations;
use self::confirmations::{headers, stored};
use self::window::Window;
use crate::connect::Bus;
use crate::messages::Outgoing;
use crate::refusals::Forbidden;

/// Publishes of one process that may wait for their confirmation; more wait for a place.
pub(crate) const IN_FLIGHT_MAX: usize = 4096;

/// Publishes of one [`Publisher::publish_all`] that wait for their confirmation: more only adds latency.
const WINDOW: usize = 1024;

/// Why a message was, as far as we know, not stored. Publishing it again under its id is always safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No confirmation in time; the message may have been stored.
    #[error("the stream did not confirm in time")]
    Timeout,
    /// The broker is away.
    #[error("NATS is not connected")]
    Disconnected,
    /// The broker does not let us.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// No stream takes the subject.
    #[error("no stream takes the subject; run `clickwire setup`")]
    StreamMissing,
    /// The stream or the broker's disk is full.
    #[error("the stream is full")]
    StreamFull,
    /// The stream or the broker does not take messages of this size, and never will.
    #[error("the message is too large")]
    TooLarge,
    /// Something else that the broker said.
    #[error("failed to publish: {0}")]
    Other(String),
}

impl PublishError {
    /// Whether there was no confirmation, nor a stream's refusal.
    const fn is_silence(&self) -> bool {
        matches!(self, Self::Timeout | Self::Disconnected | Self::Forbidden(_))
    }

    /// Whether trying again cannot help.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::TooLarge)
    }
}

/// Publishes to the streams. Cheap to clone; clones share one limit of unconfirmed messages.
#[derive(Debug, Clone)]
pub struct Publisher {
    bus: Bus,
}

impl Publisher {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Publishes a message and waits for the confirmation, within `nats.request_timeout`.
    /// That the stream has the message already is success.
    ///
    /// # Errors
    /// [`PublishError`]
    pub async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        self.publish_all(vec![message]).await.pop().unwrap_or(Err(PublishError::Disconnected))
    }

    /// Publishes a message as [`Publisher::publish`] does, and says whether the stream has it from us: `false` when it had another
    /// of this id.
    ///
    /// # Errors
    /// [`PublishError`]
    pub async fn publish_new(&self, message: Outgoing) -> Result<bool, PublishError> {
        let headers = headers(&message.id, message.schema, message.traceparent.as_deref())?;
        let begun_at = Instant::now();
        let request = self.bus.client().request_with_headers(message.subject, headers, message.payload);
        match tokio::time::timeout(self.limit(), request).await {
            Ok(Ok(answer)) => stored(&answer),
            Ok(Err(error)) if self.bus.is_connected() => Err(PublishError::Other(chain(&error))),
            Ok(Err(_)) | Err(_) => Err(self.unconfirmed(begun_at)),
        }
    }

    /// Publishes messages with many confirmations under way at once. The results are in the messages' order.
    ///
    /// They are sent one after the other, so that the stream stores them in this order. It is over within four times
    /// `nats.request_timeout`, plus the time that a working broker takes for them: once a message goes unconfirmed, those
    /// that were not sent yet are not sent. Many for one stream go in batches, where it takes them; what it does not take so
    /// is sent message by message.
    pub async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
        let count = messages.len();
        let begun_at = Instant::now();
        let deadline = begun_at + self.limit();
        let begin = async {
            let places = u32::try_from(count.min(WINDOW)).expect("WINDOW fits");
            let places = self.bus.in_flight().acquire_many(places).await;
            let places = places.map_err(|_| PublishError::Disconnected)?;
            Ok((places, self.bus.confirmations().await?))
        };
        let (_places, mut confirmations) = match tokio::time::timeout_at(deadline, begin).await {
            Ok(Ok(begun)) => begun,
            Ok(Err(error)) => return vec![Err(error); count],
            Err(_) => return vec![Err(self.unconfirmed(begun_at)); count],
        };
        let (stored, outcome) = self.publish_in_batches(&mut confirmations, &messages).await;
        let mut results = vec![Ok(()); stored];
        if outcome == Outcome::Silence {
            results.resize(count, Err(self.unconfirmed(begun_at)));
            return results;
        }
        let left = &messages[stored..];
        let (kept, of_them) = Window::new(self, confirmations, left.len()).publish(left).await;
        if let Some(kept) = kept {
            self.bus.keep_confirmations(kept);
        }
        results.extend(of_them);
        results
    }

    /// Publishes as many of the messages as their stream takes in batches; says how many, and what came of the next batch.
    async fn publish_in_batches(
        &self,
        confirmations: &mut Confirmations,
        messages: &[Outgoing],
    ) -> (usize, Outcome) {
        if !self.bus.batching().is_for(&self.bus, messages) {
            return (0, Outcome::Refused);
        }
        let mut stored = 0;
        for batch in messages.chunks(BATCH_MAX) {
            let limit = tokio::time::timeout(self.limit(), batch::publish(confirmations, batch));
            match limit.await.unwrap_or(Outcome::Silence) {
                Outcome::Stored => stored += batch.len(),
                outcome => {
                    debug!(?outcome, "a batch was not taken: messages go one by one for a while");
                    self.bus.batching().pause();
                    return (stored, outcome);
                }
            }
        }
        (stored, Outcome::Stored)
    }

    /// Why there is no confirmation of what was sent at that moment or later.
    fn unconfirmed(&self, begun_at: Instant) -> PublishError {
        if !self.bus.is_connected() {
            return PublishError::Disconnected;
        }
        self.bus.refused_since(begun_at.into_std()).map_or(PublishError::Timeout, PublishError::Forbidden)
    }

    fn limit(&self) -> Duration {
        self.bus.settings().request_timeout
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
