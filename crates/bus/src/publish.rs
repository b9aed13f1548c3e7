//! Publishing: every message waits for its stream's confirmation.
//!
//! A confirmation that does not come leaves open whether the message was stored. That is why every message has an id:
//! publishing it again is harmless.

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::{self, ErrorCode, message::PublishMessage};
use futures::StreamExt;
use tokio::time::Instant;

use crate::connect::Bus;
use crate::messages::Outgoing;

/// Publishes of one process that may wait for their confirmation; more wait for a place.
pub(crate) const IN_FLIGHT_MAX: usize = 4096;

/// Publishes of one [`Publisher::publish_all`] that wait for their confirmation: more only adds latency.
const WINDOW: usize = 1024;

const CONTENT_TYPE: &str = "application/protobuf";

/// Why a message was, as far as we know, not stored. Publishing it again under its id is always safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No confirmation in time; the message may have been stored.
    #[error("the stream did not confirm in time")]
    Timeout,
    /// The broker is away.
    #[error("NATS is not connected")]
    Disconnected,
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
        self.publish_by(message, Instant::now() + self.limit()).await
    }

    /// Publishes messages with many confirmations under way at once. The results are in the messages' order.
    ///
    /// It is over within two times `nats.request_timeout`, plus the time that a working broker takes for them:
    /// once a message goes unconfirmed, those that were not sent yet are not sent.
    pub async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
        let gave_up = &AtomicBool::new(false);
        futures::stream::iter(messages)
            .map(|message| async move {
                if gave_up.load(Ordering::Relaxed) {
                    return Err(self.unconfirmed());
                }
                let result = self.publish(message).await;
                if matches!(result, Err(PublishError::Timeout | PublishError::Disconnected)) {
                    gave_up.store(true, Ordering::Relaxed);
                }
                result
            })
            // polls all of the window, so that no confirmation's time waits for another's
            .buffered(WINDOW)
            .collect()
            .await
    }

    async fn publish_by(&self, message: Outgoing, deadline: Instant) -> Result<(), PublishError> {
        let publish = async {
            let _place = self.bus.in_flight().acquire().await.map_err(|_| PublishError::Disconnected)?;
            if !self.bus.is_connected() {
                let left = deadline.saturating_duration_since(Instant::now());
                self.bus.wait_connected(left).await.map_err(|_| PublishError::Disconnected)?;
            }
            let (subject, message) = address(message);
            let confirmation = self.bus.context().send_publish(subject, message).await.map_err(translate)?;
            confirmation.await.map(drop).map_err(translate)
        };
        match tokio::time::timeout_at(deadline, publish).await {
            Ok(Err(PublishError::Timeout)) | Err(_) => Err(self.unconfirmed()),
            Ok(result) => result,
        }
    }

    fn unconfirmed(&self) -> PublishError {
        if self.bus.is_connected() { PublishError::Timeout } else { PublishError::Disconnected }
    }

    fn limit(&self) -> Duration {
        self.bus.settings().request_timeout
    }
}

fn address(message: Outgoing) -> (String, PublishMessage) {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, message.id.as_str());
    headers.insert("Content-Type", CONTENT_TYPE);
    headers.insert("Clickwire-Schema", message.schema);
    // what a visitor sent must not become a header of its own
    let traceparent = message.traceparent.filter(|text| text.bytes().all(|b| b.is_ascii_graphic()));
    if let Some(traceparent) = traceparent {
        headers.insert("traceparent", traceparent);
    }
    (message.subject, PublishMessage::build().payload(message.payload).headers(headers))
}

fn translate(error: jetstream::context::PublishError) -> PublishError {
    match error.kind() {
        PublishErrorKind::StreamNotFound => PublishError::StreamMissing,
        PublishErrorKind::TimedOut | PublishErrorKind::MaxAckPending => PublishError::Timeout,
        PublishErrorKind::BrokenPipe => PublishError::Disconnected,
        PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge,
        _ => {
            let refusal = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
            match refusal.map(jetstream::Error::error_code) {
                Some(
                    ErrorCode::STREAM_STORE_FAILED
                    | ErrorCode::INSUFFICIENT_RESOURCES
                    | ErrorCode::STORAGE_RESOURCES_EXCEEDED,
                ) => PublishError::StreamFull,
                Some(
                    ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM,
                ) => PublishError::TooLarge,
                _ => PublishError::Other(chain(&error)),
            }
        }
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
