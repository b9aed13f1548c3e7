//! One batch in hand: decode, handle, answer for every message.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::{AckKind, Message as Received};
use chrono::Utc;
use futures::FutureExt;
use futures::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::metrics::{Counters, verdict};
use super::{ANSWER_LIMIT, Handler, Kind, Takeover, Verdict, Verdicts};
use crate::connect::Bus;
use crate::messages::{Message, Quarantined, TRACEPARENT, trace_id};
use crate::publish::chain;
use crate::topology::{ACK_WAIT, ConsumerName};

/// How often the broker is told that a message is still in hand.
const PROGRESS_INTERVAL: Duration =
    Duration::from_secs(ACK_WAIT.as_secs()).checked_div(3).expect("3 is not zero");

/// When a message that could not be put aside, or whose batch took too long, comes again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Longest reason that is put aside with a message, in bytes.
const REASON_BYTES_MAX: usize = 1024;

pub(super) struct Batch {
    pub bus: Bus,
    pub consumer: ConsumerName,
    pub counters: Counters,
    pub handle_timeout: Duration,
    pub hand_back: CancellationToken,
    pub messages: Vec<Received>,
    /// Partitions that have become ours with these messages.
    pub taken_over: Vec<Takeover>,
}

/// What the broker is told of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Done,
    Again(Duration),
    /// The same, and nothing that others need is away.
    NotYet(Duration),
    /// Publish to QUARANTINE, then terminate.
    Aside {
        label: &'static str,
        reason: String,
    },
}

/// Why a handler gave no verdicts.
enum NoVerdicts {
    Panicked(String),
    TimedOut,
}

impl Batch {
    /// Works the batch off. Returns how long nothing should be pulled, if all of it that had its time is to be retried.
    pub(super) async fn run<H: Handler>(self, handler: &H) -> Option<Duration> {
        let started_at = Instant::now();
        let size = i64::try_from(self.messages.len()).unwrap_or(i64::MAX);
        self.counters.in_flight.add(size);
        self.count_arrival();
        let work = async {
            join_all(self.taken_over.iter().map(|takeover| handler.taken_over(takeover))).await;
            self.judge(handler).await
        };
        let answers = tokio::select! {
            answers = work => Some(answers),
            never = self.stay_in_hand() => match never {},
            () = self.hand_back.cancelled() => None,
        };
        match &answers {
            Some(answers) => self.answer(answers).await,
            None => self.give_back().await,
        }
        self.counters.in_flight.sub(size);
        self.counters.batch_seconds.observe(started_at.elapsed().as_secs_f64());
        answers.and_then(|answers| pause_of(&answers))
    }

    fn count_arrival(&self) {
        for info in self.messages.iter().filter_map(|message| message.info().ok()) {
            self.counters.pending(info.consumer, info.pending);
            if info.delivered > 1 {
                self.counters.redelivered.inc();
            }
        }
    }

    async fn judge<H: Handler>(&self, handler: &H) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(self.messages.len());
        let mut values = Vec::with_capacity(self.messages.len());
        for message in &self.messages {
            match H::Message::decode(&message.payload) {
                Ok(value) => {
                    values.push(value);
                    answers.push(None);
                }
                Err(error) => {
                    answers.push(Some(Answer::Aside { label: verdict::UNDECODABLE, reason: chain(&error) }));
                }
            }
        }
        let mut handled = self.handle(handler, &values).await.into_iter();
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.or_else(|| handled.next()).unwrap_or(Answer::Again(AGAIN_AFTER)))
            .collect()
    }

    async fn handle<H: Handler>(&self, handler: &H, values: &[H::Message]) -> Vec<Answer> {
        if values.is_empty() {
            return Vec::new();
        }
        match self.guarded(handler, values).await {
            Ok(verdicts) => self.answers_of(verdicts, values.len()),
            Err(NoVerdicts::TimedOut) => vec![Answer::Again(AGAIN_AFTER); values.len()],
            Err(NoVerdicts::Panicked(_)) => {
                // one of them is the culprit, and the others should not suffer for it
                let mut answers = Vec::with_capacity(values.len());
                for value in values {
                    answers.push(self.handle_alone(handler, value).await);
                }
                answers
            }
        }
    }

    async fn handle_alone<H: Handler>(&self, handler: &H, value: &H::Message) -> Answer {
        match self.guarded(handler, std::slice::from_ref(value)).await {
            Ok(verdicts) => self.answers_of(verdicts, 1).pop().unwrap_or(Answer::Again(AGAIN_AFTER)),
            Err(NoVerdicts::TimedOut) => Answer::Again(AGAIN_AFTER),
            Err(NoVerdicts::Panicked(text)) => {
                Answer::Aside { label: verdict::PANICKED, reason: format!("the handler panicked: {text}") }
            }
        }
    }

    async fn guarded<H: Handler>(&self, handler: &H, values: &[H::Message]) -> Result<Verdicts, NoVerdicts> {
        let handle = AssertUnwindSafe(async { handler.handle(values).await }).catch_unwind();
        match tokio::time::timeout(self.handle_timeout, handle).await {
            Ok(Ok(verdicts)) => Ok(verdicts),
            Ok(Err(panic)) => {
                let text = panic_text(&*panic);
                error!(consumer = %self.consumer, messages = values.len(), panic = text, "the handler panicked");
                Err(NoVerdicts::Panicked(text))
            }
            Err(_) => {
                error!(
                    consumer = %self.consumer,
                    messages = values.len(),
                    limit = ?self.handle_timeout,
                    "the handler took too long; the messages will come again"
                );
                Err(NoVerdicts::TimedOut)
            }
        }
    }

    fn answers_of(&self, verdicts: Verdicts, expected: usize) -> Vec<Answer> {
        let verdicts = match verdicts.0 {
            Kind::All(verdict) => vec![verdict; expected],
            Kind::Each(verdicts) => verdicts,
        };
        if verdicts.len() != expected {
            error!(consumer = %self.consumer, verdicts = verdicts.len(), expected, "the handler forgot messages");
            return vec![Answer::Again(AGAIN_AFTER); expected];
        }
        let answer_of = |verdict| match verdict {
            Verdict::Done => Answer::Done,
            Verdict::Retry(after) => Answer::Again(after),
            Verdict::NotYet(after) => Answer::NotYet(after),
            Verdict::Reject(reason) => Answer::Aside { label: verdict::REJECTED, reason: reason.to_owned() },
        };
        verdicts.into_iter().map(answer_of).collect()
    }

    /// Tells the broker again and again that the messages are in hand.
    async fn stay_in_hand(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(PROGRESS_INTERVAL).await;
            self.tell_all(AckKind::Progress).await;
        }
    }

    async fn answer(&self, answers: &[Answer]) {
        let mut done = 0;
        let mut again = 0;
        let mut aside = Vec::new();
        let acknowledge = async {
            for (message, answer) in self.messages.iter().zip(answers) {
                match answer {
                    Answer::Done => {
                        done += 1;
                        tell(message, AckKind::Ack).await;
                    }
                    Answer::Again(after) | Answer::NotYet(after) => {
                        again += 1;
                        tell(message, AckKind::Nak(Some(*after))).await;
                    }
                    Answer::Aside { label, reason } => aside.push((message, *label, reason.as_str())),
                }
            }
        };
        // what does not get through comes again by itself
        let _ = tokio::time::timeout(ANSWER_LIMIT, acknowledge).await;
        self.counters.count(verdict::DONE, done);
        self.counters.count(verdict::RETRY, again);
        self.put_aside(aside).await;
    }

    async fn put_aside(&self, messages: Vec<(&Received, &'static str, &str)>) {
        if messages.is_empty() {
            return;
        }
        let outgoing = if self.consumer == ConsumerName::Quarantine {
            // it lies on QUARANTINE already; once more would be for ever
            Vec::new()
        } else {
            messages.iter().map(|(message, _, reason)| self.quarantined(message, reason).outgoing()).collect()
        };
        let results = self.bus.publisher().publish_all(outgoing).await;
        let mut results = results.into_iter();
        for (message, label, reason) in messages {
            let sequence = message.info().map_or(0, |info| info.stream_sequence);
            let traceparent = message.headers.as_ref().and_then(|headers| headers.get(TRACEPARENT));
            let trace_id = traceparent.and_then(|traceparent| trace_id(traceparent.as_str()));
            match results.next().unwrap_or(Ok(())) {
                Ok(()) => {
                    warn!(consumer = %self.consumer, sequence, trace_id, reason, "a message was put aside");
                    self.counters.count(label, 1);
                    let _ = tokio::time::timeout(ANSWER_LIMIT, tell(message, AckKind::Term)).await;
                }
                Err(error) => {
                    error!(
                        consumer = %self.consumer,
                        sequence,
                        trace_id,
                        reason,
                        %error,
                        "a message could not be put aside"
                    );
                    self.counters.count(verdict::RETRY, 1);
                    let again = tell(message, AckKind::Nak(Some(AGAIN_AFTER)));
                    let _ = tokio::time::timeout(ANSWER_LIMIT, again).await;
                }
            }
        }
    }

    fn quarantined(&self, message: &Received, reason: &str) -> Quarantined {
        let header = |name| message.headers.as_ref().and_then(|headers| headers.get(name));
        Quarantined {
            stream: self.consumer.stream().to_string(),
            stream_sequence: message.info().map_or(0, |info| info.stream_sequence),
            message_id: header(NATS_MESSAGE_ID).map(ToString::to_string),
            consumer: self.consumer.to_string(),
            subject: message.subject.to_string(),
            reason: reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned(),
            payload: message.payload.clone(),
            quarantined_at: Utc::now(),
        }
    }

    async fn give_back(&self) {
        self.tell_all(AckKind::Nak(None)).await;
        self.counters.count(verdict::HANDED_BACK, self.messages.len());
    }

    async fn tell_all(&self, kind: AckKind) {
        let tell_each = async {
            for message in &self.messages {
                tell(message, kind).await;
            }
        };
        let _ = tokio::time::timeout(ANSWER_LIMIT, tell_each).await;
    }
}

/// An answer that gets lost means that the message comes again, which every handler must bear anyway.
async fn tell(message: &Received, kind: AckKind) {
    if let Err(error) = message.ack_with(kind).await {
        warn!(%error, "an acknowledgement could not be sent");
    }
}

fn pause_of(answers: &[Answer]) -> Option<Duration> {
    let had_their_time = answers.iter().filter(|answer| !matches!(answer, Answer::NotYet(_)));
    let delays = had_their_time.map(|answer| match answer {
        Answer::Again(after) => Some(*after),
        Answer::NotYet(_) | Answer::Done | Answer::Aside { .. } => None,
    });
    delays.collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_when_everything_is_to_be_retried_does_pulling_pause() {
        let again = |seconds| Answer::Again(Duration::from_secs(seconds));

        assert_eq!(pause_of(&[again(1), again(3)]), Some(Duration::from_secs(3)));
        assert_eq!(pause_of(&[again(1), Answer::Done]), None);
        assert_eq!(pause_of(&[]), None);
    }

    #[test]
    fn what_came_too_early_neither_lets_pulling_pause_nor_keeps_it_from_that() {
        let (again, early) = (Answer::Again(Duration::from_secs(1)), Answer::NotYet(Duration::from_secs(3)));

        assert_eq!(pause_of(&[early.clone(), early.clone()]), None);
        assert_eq!(pause_of(&[early.clone(), Answer::Done]), None);
        assert_eq!(pause_of(&[early, again]), Some(Duration::from_secs(1)));
    }
}
