//! Pull requests to one durable consumer: never more messages than someone is waiting for.
//!
//! Each request stands alone, so there is no long-lived stream that could fall mute: a request that fails, or that
//! nothing is heard of, is forgotten and made again. A stream or consumer that was deleted and made anew, a server that
//! was frozen, restarted or came back empty: all of that is one failed request.

use std::time::{Duration, Instant};

use async_nats::header::NATS_PIN_ID;
use async_nats::jetstream::{AckKind, Message};
use async_nats::{HeaderValue, StatusCode, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;

use super::metrics::Counters;
use super::progress::Progress;
use super::sharing::{Holdings, give_up};
use crate::connect::Bus;
use crate::refusals::Forbidden;
use crate::topology::{Durable, PIN_GROUP, PIN_TIMEOUT};

/// How long one request waits on the server for a message.
const EXPIRES: Duration = Duration::from_secs(30);

/// How often the server says that a waiting request is known to it.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The same of a partition: who does not ask within [`PIN_TIMEOUT`] loses it.
const PINNED_EXPIRES: Duration =
    Duration::from_secs(PIN_TIMEOUT.as_secs()).checked_div(3).expect("3 is not zero");
const PINNED_HEARTBEAT: Duration = PINNED_EXPIRES.checked_div(2).expect("2 is not zero");

/// Without any news for so long (three heartbeats), a request is taken for lost.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// While as many messages are in hand as the consumer allows, nothing is said to a request that does not wait: one that waits is
/// made then, of which the broker lets us hear.
const READY_SILENCE_MAX: Duration = Duration::from_secs(2);

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
    /// The broker does not let us ask.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
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
    durable: Durable,
    /// Under which the broker has given us the partition, if it has.
    pin: Option<String>,
    /// Others may have had the partition before the next message.
    is_taken_over: bool,
    /// The last message had more behind it: else a request that does not wait is in vain. At first nobody knows, and the answer
    /// says that the consumer is there.
    more_is_ready: bool,
    holdings: Holdings,
    progress: Progress,
    counters: Counters,
}

/// What a pull has brought.
#[derive(Default)]
pub(super) struct Pulled {
    pub messages: Vec<Message>,
    /// The partition has become ours with these messages.
    pub is_taken_over: bool,
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
    pub(super) async fn open(
        bus: &Bus,
        durable: Durable,
        holdings: Holdings,
        progress: Progress,
        counters: Counters,
    ) -> Result<Self, PullError> {
        let inbox = bus.client().new_inbox();
        let subscribe = bus.client().subscribe(format!("{inbox}.*"));
        let subscription = tokio::time::timeout(SILENCE_MAX, subscribe)
            .await
            .map_err(|_| PullError::Send)?
            .map_err(|_| PullError::Send)?;
        Ok(Self {
            bus: bus.clone(),
            request_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{}.{durable}", durable.consumer.stream()),
            inbox,
            subscription,
            interruptions: bus.interruptions(),
            requests: 0,
            taken: Vec::new(),
            durable,
            pin: None,
            is_taken_over: false,
            more_is_ready: true,
            holdings,
            progress,
            counters,
        })
    }

    /// Waits for messages: all that are ready, up to `max`, else the next one as soon as it comes and what is ready by then.
    pub(super) async fn next(&mut self, max: usize) -> Result<Pulled, PullError> {
        loop {
            if self.more_is_ready {
                self.ask(Request::Ready(max)).await?;
            }
            if self.taken.is_empty() {
                self.holdings.set_waiting(self.durable, true);
                let waited = self.ask(Request::Wait).await;
                self.holdings.set_waiting(self.durable, false);
                waited?;
                if self.more_is_ready && max > 1 {
                    // what has come goes on, whatever becomes of this one: the next request tells
                    let _ = self.ask(Request::Ready(max - 1)).await;
                }
            }
            if !self.taken.is_empty() {
                return Ok(Pulled {
                    messages: std::mem::take(&mut self.taken),
                    is_taken_over: std::mem::take(&mut self.is_taken_over),
                });
            }
        }
    }

    /// Gives back what has come and nobody will handle, and takes no more.
    pub(super) async fn hand_back(&mut self) {
        let _ = self.subscription.unsubscribe().await;
        while let Some(Some(message)) = self.subscription.next().now_or_never() {
            if is_message(&message) {
                self.take(message);
            }
        }
        for message in self.taken.drain(..) {
            let _ = message.ack_with(AckKind::Nak(None)).await;
        }
    }

    /// Lets another replica have the partition, so that it need not wait until we are missed.
    pub(super) async fn give_up_partition(self) {
        self.note_lost();
        if self.pin.is_some() {
            give_up(&self.bus, self.durable).await;
        }
    }

    /// Makes a request, and sees by what it brings whether there is more.
    async fn ask(&mut self, request: Request) -> Result<(), PullError> {
        let before = self.taken.len();
        let asked = self.request(request).await;
        self.more_is_ready = self.taken[before..].last().is_some_and(has_more_behind);
        asked
    }

    async fn request(&mut self, request: Request) -> Result<(), PullError> {
        self.interruptions.mark_unchanged();
        self.requests += 1;
        let inbox = format!("{}.{}", self.inbox, self.requests);
        let asked_at = Instant::now();
        let taken_max = self.taken.len() + request.messages_max();
        let send = self.bus.client().publish_with_reply(
            self.request_subject.clone(),
            inbox.clone(),
            self.body(request).into(),
        );
        tokio::time::timeout(SILENCE_MAX, send)
            .await
            .map_err(|_| PullError::Send)?
            .map_err(|_| PullError::Send)?;
        loop {
            let patience = if self.taken.is_empty() { request.patience() } else { GAP_MAX };
            let news = tokio::select! {
                biased;
                news = tokio::time::timeout(patience, self.subscription.next()) => news,
                // the request was lost with the connection
                Ok(()) = self.interruptions.changed() => return Ok(()),
            };
            let message = match news {
                Ok(Some(message)) => message,
                Ok(None) => return Err(PullError::Ended),
                Err(_) if self.taken.is_empty() && matches!(request, Request::Wait) => {
                    return Err(self.silence(asked_at));
                }
                Err(_) => return Ok(()),
            };
            if is_message(&message) {
                self.take(message);
                if self.taken.len() >= taken_max {
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

    /// The partition is not ours any more.
    fn note_lost(&self) {
        self.holdings.set_ours(self.durable, false);
        self.counters.forget_pending(&self.durable.to_string());
    }

    /// Why nothing was heard of a request.
    fn silence(&self, asked_at: Instant) -> PullError {
        self.bus.refused_since(asked_at).map_or(PullError::Silent, PullError::Forbidden)
    }

    /// The body of a request to `$JS.API.CONSUMER.MSG.NEXT` (NATS ADR-37, ADR-42); durations are nanoseconds.
    fn body(&self, request: Request) -> Vec<u8> {
        let is_pinned = self.durable.partition.is_some();
        let (expires, heartbeat) =
            if is_pinned { (PINNED_EXPIRES, PINNED_HEARTBEAT) } else { (EXPIRES, HEARTBEAT) };
        let mut body = match request {
            Request::Ready(max) => {
                serde_json::json!({ "batch": max, "max_bytes": BYTES_MAX, "no_wait": true })
            }
            Request::Wait => serde_json::json!({
                "batch": 1,
                "expires": nanoseconds(expires),
                "idle_heartbeat": nanoseconds(heartbeat),
            }),
        };
        if is_pinned {
            body["group"] = PIN_GROUP.into();
            if let Some(pin) = &self.pin {
                body["id"] = pin.as_str().into();
            }
        }
        body.to_string().into_bytes()
    }

    /// What a status means for the request; `None` when it goes on.
    fn end_of(&mut self, request: Request, status: Option<StatusCode>) -> Option<Result<(), PullError>> {
        const CONFLICT: StatusCode = StatusCode::REQUEST_TERMINATED;
        match (status.unwrap_or(StatusCode::OK), request) {
            (StatusCode::IDLE_HEARTBEAT, _) => {
                self.progress.made(self.durable);
                None
            }
            (StatusCode::NOT_FOUND | StatusCode::TIMEOUT, _) => {
                self.progress.made(self.durable);
                Some(Ok(()))
            }
            // another has the partition now
            (StatusCode::PIN_ID_MISMATCH, _) => {
                self.pin = None;
                self.note_lost();
                Some(Ok(()))
            }
            // a request that waits is told more exactly
            (CONFLICT, Request::Ready(_)) => Some(Ok(())),
            (_, _) if !self.taken.is_empty() => Some(Ok(())),
            (StatusCode::NO_RESPONDERS, _) => Some(Err(PullError::Unknown)),
            (status, _) => Some(Err(PullError::Refused(status))),
        }
    }

    fn take(&mut self, message: async_nats::Message) {
        let pin = message.headers.as_ref().and_then(|headers| headers.get(NATS_PIN_ID));
        if let Some(pin) = pin.map(HeaderValue::as_str)
            && self.pin.as_deref() != Some(pin)
        {
            self.pin = Some(pin.to_owned());
            self.is_taken_over = true;
            self.holdings.set_ours(self.durable, true);
        }
        self.taken.push(Message { message, context: self.bus.context().clone() });
    }
}

impl Request {
    /// How long nothing may be heard of it.
    fn patience(self) -> Duration {
        match self {
            Self::Ready(_) => READY_SILENCE_MAX,
            Self::Wait => SILENCE_MAX,
        }
    }

    fn messages_max(self) -> usize {
        match self {
            Self::Ready(max) => max,
            Self::Wait => 1,
        }
    }
}

/// Whether the broker had more for us when it sent this message. What comes again is not in its count, and seldom comes alone.
fn has_more_behind(message: &Message) -> bool {
    message.info().map_or(true, |info| info.pending > 0 || info.delivered > 1)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn is_message(message: &async_nats::Message) -> bool {
    message.status.is_none_or(|status| status == StatusCode::OK)
}
