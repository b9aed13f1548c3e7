//! Pull requests to one durable consumer: never more messages than someone is waiting for.
//!
//! Each request stands alone, so there is no long-lived stream that could fall mute: a request that fails, or that
//! nothing is heard of, is forgotten and made again. A stream or consumer that was deleted and made anew, a server that
//! was frozen, restarted or came back empty: all of that is one failed request.

use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use async_nats::{StatusCode, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;

use super::progress::Progress;
use crate::connect::Bus;
use crate::topology::ConsumerName;

/// How long one request waits on the server for a message.
const EXPIRES: Duration = Duration::from_secs(30);

/// How often the server says that a waiting request is known to it.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Without any news for so long (three heartbeats), a request is taken for lost.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// Messages of one request follow each other closely; those that came must not grow old waiting for more.
const GAP_MAX: Duration = Duration::from_millis(500);

/// Bytes of one request.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Why a request brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PullError {
    /// The broker said nothing.
    #[error("the broker is silent")]
    Silent,
    /// Nobody serves the consumer: it is gone, its stream is, or JetStream is off.
    #[error("the broker does not know the consumer")]
    Unknown,
    /// The broker ended the request.
    #[error("the broker refused with status {0}")]
    Refused(StatusCode),
    /// The request could not be sent.
    #[error("the request could not be sent")]
    Send,
    /// The subscription ended.
    #[error("the subscription ended")]
    Ended,
}

/// Asks for messages, one request after the other.
pub(super) struct Puller {
    bus: Bus,
    request_subject: String,
    inbox: String,
    subscription: Subscriber,
    interruptions: watch::Receiver<u64>,
    requests: u64,
    /// What the current request has brought so far; kept here so that it can be handed back when we stop.
    taken: Vec<Message>,
    progress: Progress,
}

/// What to ask for.
#[derive(Clone, Copy)]
enum Request {
    /// Up to so many that are there already.
    Ready(usize),
    /// One, as soon as there is one.
    Wait,
}

impl Puller {
    pub(super) async fn open(bus: &Bus, name: ConsumerName, progress: Progress) -> Result<Self, PullError> {
        let inbox = bus.client().new_inbox();
        let subscribe = bus.client().subscribe(format!("{inbox}.*"));
        let subscription = tokio::time::timeout(SILENCE_MAX, subscribe)
            .await
            .map_err(|_| PullError::Send)?
            .map_err(|_| PullError::Send)?;
        Ok(Self {
            bus: bus.clone(),
            request_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", name.stream(), name),
            inbox,
            subscription,
            interruptions: bus.interruptions(),
            requests: 0,
            taken: Vec::new(),
            progress,
        })
    }

    /// Waits for messages: all that are ready, up to `max`, else the next one as soon as it comes.
    pub(super) async fn next(&mut self, max: usize) -> Result<Vec<Message>, PullError> {
        loop {
            for request in [Request::Ready(max), Request::Wait] {
                self.request(request).await?;
                if !self.taken.is_empty() {
                    return Ok(std::mem::take(&mut self.taken));
                }
            }
        }
    }

    /// Gives back what has come and nobody will handle.
    pub(super) async fn hand_back(mut self) {
        let _ = self.subscription.unsubscribe().await;
        while let Some(Some(message)) = self.subscription.next().now_or_never() {
            if is_message(&message) {
                self.take(message);
            }
        }
        for message in &self.taken {
            let _ = message.ack_with(AckKind::Nak(None)).await;
        }
    }

    async fn request(&mut self, request: Request) -> Result<(), PullError> {
        self.interruptions.mark_unchanged();
        self.requests += 1;
        let inbox = format!("{}.{}", self.inbox, self.requests);
        let send = self.bus.client().publish_with_reply(
            self.request_subject.clone(),
            inbox.clone(),
            request.body().into(),
        );
        tokio::time::timeout(SILENCE_MAX, send)
            .await
            .map_err(|_| PullError::Send)?
            .map_err(|_| PullError::Send)?;
        loop {
            let patience = if self.taken.is_empty() { SILENCE_MAX } else { GAP_MAX };
            let news = tokio::select! {
                biased;
                news = tokio::time::timeout(patience, self.subscription.next()) => news,
                // the request was lost with the connection
                Ok(()) = self.interruptions.changed() => return Ok(()),
            };
            let message = match news {
                Ok(Some(message)) => message,
                Ok(None) => return Err(PullError::Ended),
                Err(_) if self.taken.is_empty() => return Err(PullError::Silent),
                Err(_) => return Ok(()),
            };
            if is_message(&message) {
                self.take(message);
                if self.taken.len() >= request.messages_max() {
                    return Ok(());
                }
                continue;
            }
            // what ended an earlier request says nothing about this one
            if message.subject.as_str() == inbox
                && let Some(end) = self.end_of(request, message.status)
            {
                return end;
            }
        }
    }

    /// What a status means for the request; `None` when it goes on.
    fn end_of(&self, request: Request, status: Option<StatusCode>) -> Option<Result<(), PullError>> {
        /// "Conflict": among others, as many messages are in hand as the consumer allows.
        const CONFLICT: StatusCode = StatusCode::REQUEST_TERMINATED;
        match (status.unwrap_or(StatusCode::OK), request) {
            (StatusCode::IDLE_HEARTBEAT, _) => {
                self.progress.made();
                None
            }
            (StatusCode::NOT_FOUND | StatusCode::TIMEOUT, _) => {
                self.progress.made();
                Some(Ok(()))
            }
            // a request that waits is told more exactly, or waits until there is room
            (CONFLICT, Request::Ready(_)) => Some(Ok(())),
            (_, _) if !self.taken.is_empty() => Some(Ok(())),
            (StatusCode::NO_RESPONDERS, _) => Some(Err(PullError::Unknown)),
            (status, _) => Some(Err(PullError::Refused(status))),
        }
    }

    fn take(&mut self, message: async_nats::Message) {
        self.taken.push(Message { message, context: self.bus.context().clone() });
    }
}

impl Request {
    fn messages_max(self) -> usize {
        match self {
            Self::Ready(max) => max,
            Self::Wait => 1,
        }
    }

    /// The body of a request to `$JS.API.CONSUMER.MSG.NEXT` (NATS ADR-37); durations are nanoseconds.
    fn body(self) -> Vec<u8> {
        let body = match self {
            Self::Ready(max) => serde_json::json!({ "batch": max, "max_bytes": BYTES_MAX, "no_wait": true }),
            Self::Wait => serde_json::json!({
                "batch": 1,
                "expires": u64::try_from(EXPIRES.as_nanos()).unwrap_or(u64::MAX),
                "idle_heartbeat": u64::try_from(HEARTBEAT.as_nanos()).unwrap_or(u64::MAX),
            }),
        };
        body.to_string().into_bytes()
    }
}

fn is_message(message: &async_nats::Message) -> bool {
    message.status.is_none_or(|status| status == StatusCode::OK)
}
