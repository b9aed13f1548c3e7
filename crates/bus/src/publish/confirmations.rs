//! The stream's confirmations of many messages over one subscription.
//!
//! The client's own way costs a future, a timer, a channel and an entry in a map for each message, and keeps the entry
//! of a message that is never answered. Here a message costs a number: it is the last token of the subject that the
//! stream answers to.

use async_nats::header::{HeaderName, HeaderValue, NATS_MESSAGE_ID};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, HeaderMap, Message, StatusCode, Subscriber, client};
use futures::{FutureExt, StreamExt};
use serde::Deserialize;

use super::batch::Place;
use super::{PublishError, chain};
use crate::messages::{self, Outgoing};

const CONTENT_TYPE: HeaderName = HeaderName::from_static("Content-Type");
const SCHEMA: HeaderName = HeaderName::from_static("Clickwire-Schema");
const TRACEPARENT: HeaderName = HeaderName::from_static(messages::TRACEPARENT);

/// What all payloads are.
const PROTOBUF: &str = "application/protobuf";

/// Sends messages and receives what their streams say. It keeps no account of what is still to come.
#[derive(Debug)]
pub(crate) struct Confirmations {
    client: Client,
    /// What the stream answers to, up to the number.
    inbox: String,
    answers: Subscriber,
    /// Of the next message; no number is used twice, so that a late answer is not taken for another's.
    number: u64,
}

/// What a stream said of the message with this number.
pub(crate) type Confirmation = (u64, Result<(), PublishError>);

impl Confirmations {
    /// Subscribes. Waits while the broker is away and much is waiting for it.
    pub(crate) async fn open(client: &Client) -> Result<Self, PublishError> {
        let inbox = format!("{}.", client.new_inbox());
        let answers = client.subscribe(format!("{inbox}>")).await;
        let answers = answers.map_err(|error| PublishError::Other(chain(&error)))?;
        Ok(Self { client: client.clone(), inbox, answers, number: 0 })
    }

    /// The number of the message that is sent next.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Sends a message; waits as [`Confirmations::open`] does.
    pub(crate) async fn send(&mut self, message: &Outgoing) -> Result<(), PublishError> {
        let reply = format!("{}{}", self.inbox, self.number);
        self.number += 1;
        self.send_to(message, reply).await
    }

    /// A name for a batch, which no other publisher's batch has.
    pub(super) fn name_batch(&mut self) -> String {
        let name = self.inbox.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        self.number += 1;
        format!("{name}-{}", self.number)
    }

    /// Sends a message of a batch; waits as [`Confirmations::open`] does.
    pub(super) async fn send_in_batch(
        &mut self,
        message: &Outgoing,
        batch: &str,
        place: Place,
    ) -> Result<(), PublishError> {
        let reply = format!("{}{batch}.{place}", self.inbox);
        self.send_to(message, reply).await
    }

    async fn send_to(&self, message: &Outgoing, reply: String) -> Result<(), PublishError> {
        let headers = headers(&message.id, message.schema, message.traceparent.as_deref())?;
        let (subject, payload) = (message.subject.clone(), message.payload.clone());
        let sent = self.client.publish_with_reply_and_headers(subject, reply, headers, payload);
        sent.await.map_err(|error| match error.kind() {
            client::PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge,
            client::PublishErrorKind::Send => PublishError::Disconnected,
            client::PublishErrorKind::InvalidSubject => PublishError::Other(chain(&error)),
        })
    }

    /// The next answer; `None` when no more will come.
    pub(crate) async fn next(&mut self) -> Option<Confirmation> {
        loop {
            let answer = self.answers.next().await?;
            if let Some(number) = self.number_of(&answer) {
                return Some((number, read(&answer)));
            }
        }
    }

    /// The next answer to a message of this batch; `None` when no more will come.
    pub(super) async fn next_of_batch(&mut self, batch: &str) -> Option<Message> {
        loop {
            let answer = self.answers.next().await?;
            let place =
                answer.subject.strip_prefix(self.inbox.as_str()).and_then(|to| to.strip_prefix(batch));
            if place.is_some_and(|place| place.starts_with('.')) {
                return Some(answer);
            }
        }
    }

    /// The next answer, if it is there.
    pub(crate) fn next_at_once(&mut self) -> Option<Confirmation> {
        self.next().now_or_never().flatten()
    }

    fn number_of(&self, answer: &Message) -> Option<u64> {
        answer.subject.strip_prefix(self.inbox.as_str())?.parse().ok()
    }
}

pub(super) fn headers(
    id: &str,
    schema: &'static str,
    traceparent: Option<&str>,
) -> Result<HeaderMap, PublishError> {
    let unfit = |_| PublishError::Other("the message's id is not a header's value".to_owned());
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, id.parse::<HeaderValue>().map_err(unfit)?);
    headers.insert(CONTENT_TYPE, PROTOBUF);
    headers.insert(SCHEMA, schema);
    // what a visitor sent must not become a header of its own
    let traceparent = traceparent.filter(|text| text.bytes().all(|b| b.is_ascii_graphic()));
    if let Some(traceparent) = traceparent {
        headers.insert(TRACEPARENT, traceparent);
    }
    Ok(headers)
}

/// A stream's answer to a publish: either of both.
#[derive(Deserialize)]
struct Answer<'a> {
    /// Where the message is stored.
    #[serde(borrow)]
    stream: Option<std::borrow::Cow<'a, str>>,
    /// A message of this id was there before.
    #[serde(default)]
    duplicate: bool,
    error: Option<jetstream::Error>,
}

fn read(answer: &Message) -> Result<(), PublishError> {
    stored(answer).map(drop)
}

/// Whether the message is a new one, by the stream's answer.
pub(super) fn stored(answer: &Message) -> Result<bool, PublishError> {
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(PublishError::StreamMissing);
    }
    match serde_json::from_slice(&answer.payload) {
        Ok(Answer { error: Some(refusal), .. }) => Err(translate(&refusal)),
        Ok(Answer { stream: Some(_), error: None, duplicate }) => Ok(!duplicate),
        Ok(Answer { stream: None, error: None, .. }) => {
            Err(PublishError::Other("the answer is not a stream's".to_owned()))
        }
        Err(error) => Err(PublishError::Other(format!("the answer is unreadable: {error}"))),
    }
}

fn translate(refusal: &jetstream::Error) -> PublishError {
    match refusal.error_code() {
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED => PublishError::StreamFull,
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            PublishError::TooLarge
        }
        _ => PublishError::Other(chain(refusal)),
    }
}

/// An answer of the broker.
#[cfg(test)]
pub(super) fn answer(payload: &'static str, status: Option<StatusCode>) -> Message {
    let payload = bytes::Bytes::from_static(payload.as_bytes());
    let subject = "_INBOX.x.0".into();
    Message { subject, reply: None, payload, headers: None, status, description: None, length: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(payload: &'static str, status: Option<StatusCode>) -> Result<(), PublishError> {
        read(&answer(payload, status))
    }

    #[test]
    fn a_stream_says_what_became_of_a_message() {
        let refused = |code: &'static str| said(code, None).expect_err("a refusal");

        assert_eq!(said(r#"{"stream":"CLICKS", "seq":7}"#, None), Ok(()));
        assert_eq!(said(r#"{"stream":"CLICKS","domain":"x","seq":7,"duplicate":true}"#, None), Ok(()));
        assert_eq!(said("", Some(StatusCode::NO_RESPONDERS)), Err(PublishError::StreamMissing));
        for full in [
            r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"CLICKS","seq":0}"#,
            r#"{"error":{"code":503,"err_code":10023,"description":"insufficient resources"}}"#,
            r#"{"error":{"code":500,"err_code":10047,"description":"insufficient storage resources available"}}"#,
        ] {
            assert_eq!(refused(full), PublishError::StreamFull, "{full}");
        }
        let too_large = r#"{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"stream":"CLICKS","seq":0}"#;
        assert_eq!(refused(too_large), PublishError::TooLarge);
        let other =
            r#"{"error":{"code":503,"err_code":10008,"description":"system temporarily unavailable"}}"#;
        assert!(matches!(refused(other), PublishError::Other(text) if text.contains("unavailable")));
    }

    #[test]
    fn what_is_no_answer_of_a_stream_confirms_nothing() {
        for payload in ["", "{}", "[]", "+OK", r#"{"seq":7}"#, "\u{0}", r#"{"stream":7}"#] {
            assert!(matches!(said(payload, None), Err(PublishError::Other(_))), "{payload}");
        }
    }

    #[test]
    fn an_id_that_would_make_a_header_of_its_own_is_refused() {
        assert!(headers("x\r\nForged: y", "schema", None).is_err());
        assert!(headers("x", "schema", Some("a\r\nForged: y")).is_ok_and(|headers| headers.len() == 3));
    }
}
