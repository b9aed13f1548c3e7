//! Many messages that one stream stores as a batch, with one confirmation (fast ingest, ADR-50; nats-server 2.14).
//!
//! What the stream needs to know of a message's place stands in the subject that it answers to. A batch of which not all
//! was stored says nothing of a single message: its messages are published again, one by one, which their ids make
//! harmless.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Message, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::confirmations::Confirmations;
use crate::connect::Bus;
use crate::messages::Outgoing;
use crate::server;
use crate::topology::StreamName;

/// Most messages of a batch.
pub(super) const BATCH_MAX: usize = 1000;

/// Fewer messages gain nothing: a batch has an answer to its first message besides the one to its last.
const BATCH_MIN: usize = 8;

/// After how many messages the stream says how far it is. A publisher may be two such answers ahead, which is a whole batch.
const FLOW: usize = BATCH_MAX / 2;

/// How long messages go one by one after a batch that was not taken.
const PAUSE: Duration = Duration::from_secs(10);

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it is on the stream.
    Stored,
    /// Some of it is not, or nobody knows.
    Refused,
    /// The stream has not said.
    Silence,
}

/// Whether a connection's messages go in batches.
#[derive(Debug, Default)]
pub(crate) struct Batching {
    /// Until when they do not.
    paused_until: Mutex<Option<Instant>>,
}

impl Batching {
    /// Whether these do: they are many, for one stream that may take batches.
    pub(super) fn is_for(&self, bus: &Bus, messages: &[Outgoing]) -> bool {
        messages.len() >= BATCH_MIN
            && bus.settings().batch_publish
            && !self.is_paused()
            && bus.is_connected()
            && are_of_one_stream(messages)
            && server::takes_batches(&bus.client().server_info().version)
    }

    /// Lets messages go one by one for a while.
    pub(super) fn pause(&self) {
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + PAUSE);
    }

    fn is_paused(&self) -> bool {
        let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }
}

fn are_of_one_stream(messages: &[Outgoing]) -> bool {
    let mut streams = messages.iter().map(|message| StreamName::of_clicks(&message.subject));
    let first = streams.next().flatten();
    first.is_some() && streams.all(|stream| stream == first)
}

/// The place of a message in its batch, as the stream reads it from the right end of a subject (ADR-50).
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Counted from one.
    number: usize,
    is_last: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = match self {
            // a commit that is stored itself
            Self { is_last: true, .. } => 2,
            Self { number: 1, .. } => 0,
            Self { .. } => 1,
        };
        // a gap ends the batch
        write!(f, "{FLOW}.fail.{}.{operation}.$FI", self.number)
    }
}

/// Publishes at most [`BATCH_MAX`] messages as one batch. It has no limit of time.
pub(super) async fn publish(confirmations: &mut Confirmations, messages: &[Outgoing]) -> Outcome {
    let batch = confirmations.name_batch();
    for (index, message) in messages.iter().enumerate() {
        let place = Place { number: index + 1, is_last: index + 1 == messages.len() };
        if confirmations.send_in_batch(message, &batch, place).await.is_err() {
            // the stream forgets it by itself
            return Outcome::Refused;
        }
    }
    while let Some(answer) = confirmations.next_of_batch(&batch).await {
        match read(&answer) {
            Said::UnderWay => {}
            Said::Stored(count) if count == messages.len() => return Outcome::Stored,
            Said::Stored(_) | Said::Refused => return Outcome::Refused,
        }
    }
    Outcome::Silence
}

/// What a stream says of a batch.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    UnderWay,
    /// It has ended with so many messages on the stream.
    Stored(usize),
    Refused,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<std::borrow::Cow<'a, str>>,
    error: Option<IgnoredAny>,
    #[serde(borrow)]
    batch: Option<std::borrow::Cow<'a, str>>,
    count: Option<usize>,
    /// Of the last message that the batch has stored.
    #[serde(default)]
    seq: u64,
}

fn read(answer: &Message) -> Said {
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Said::Refused;
    }
    match serde_json::from_slice(&answer.payload) {
        Ok(Answer { kind: Some(kind), error: None, .. }) if kind == "ack" => Said::UnderWay,
        // a batch of nothing but duplicates has stored nothing: whether those are stored yet, it does not say
        Ok(Answer { kind: None, error: None, batch: Some(_), count: Some(count), seq: 1.. }) => {
            Said::Stored(count)
        }
        // an error, a gap, or a server that takes each message for itself
        Ok(_) | Err(_) => Said::Refused,
    }
}

#[cfg(test)]
mod tests {
    use testkit::given;

    use super::super::confirmations::answer;
    use super::*;
    use crate::messages::Message as _;

    fn said(payload: &'static str, status: Option<StatusCode>) -> Said {
        read(&answer(payload, status))
    }

    #[test]
    fn only_a_commit_says_that_a_batch_is_stored() {
        assert_eq!(said(r#"{"type":"ack","seq":0,"msgs":500}"#, None), Said::UnderWay);
        assert_eq!(said(r#"{"stream":"CLICKS","seq":9,"batch":"b","count":3}"#, None), Said::Stored(3));
        for refusal in [
            r#"{"type":"gap","last_seq":2,"seq":4}"#,
            r#"{"type":"err","seq":5,"error":{"code":503,"err_code":10077}}"#,
            r#"{"error":{"code":400,"err_code":10205},"stream":"CLICKS","seq":0}"#,
            r#"{"error":{"code":400},"stream":"CLICKS","seq":0,"batch":"b","count":3}"#,
            r#"{"stream":"CLICKS","seq":9}"#,
            r#"{"stream":"CLICKS","seq":0,"batch":"b","count":3}"#,
            "{}",
            "",
            "[]",
            "+OK",
        ] {
            assert_eq!(said(refusal, None), Said::Refused, "{refusal}");
        }
        assert_eq!(said("", Some(StatusCode::NO_RESPONDERS)), Said::Refused);
    }

    #[test]
    fn a_place_is_written_as_the_stream_reads_it() {
        let place = |number, is_last| Place { number, is_last }.to_string();

        assert_eq!(place(1, false), "500.fail.1.0.$FI");
        assert_eq!(place(2, false), "500.fail.2.1.$FI");
        assert_eq!(place(3, true), "500.fail.3.2.$FI");
        assert_eq!(place(1, true), "500.fail.1.2.$FI");
    }

    #[test]
    fn a_batch_is_for_one_stream_of_clicks() {
        let (click, enriched) = (given::click().outgoing(), given::enriched_click().outgoing());
        let event = Outgoing { subject: "clickwire.events.w.link.created".into(), ..click.clone() };

        assert!(are_of_one_stream(&[click.clone(), click.clone()]));
        assert!(are_of_one_stream(&[enriched.clone(), enriched.clone()]));
        assert!(!are_of_one_stream(&[click, enriched]));
        assert!(!are_of_one_stream(&[event.clone(), event]));
        assert!(!are_of_one_stream(&[]));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_batch_that_was_not_taken_messages_go_one_by_one_for_a_while() {
        let batching = Batching::default();

        assert!(!batching.is_paused());
        batching.pause();
        assert!(batching.is_paused());
        tokio::time::advance(PAUSE).await;
        assert!(!batching.is_paused());
    }
}
