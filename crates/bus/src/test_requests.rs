//! `api` asks `deliver` to send a test event: request and reply over core NATS, in JSON.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use async_nats::client::{Request, RequestErrorKind};
use chrono::{DateTime, Utc};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use model::delivery::{TestReply, TestRequest};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::connect::Bus;
use crate::publish::chain;
use crate::topology::{TEST_QUEUE, TEST_SUBJECT};

/// Tests that one `deliver` makes at once; more wait.
const TESTS_MAX: usize = 16;

/// Pause before subscribing again when that failed.
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

/// A request for a test, as it is sent.
#[derive(Debug, Deserialize, Serialize)]
struct Asked<R> {
    #[serde(flatten)]
    request: R,
    /// When its asker stops waiting; nothing is sent for nobody. `None`: a release before does not say.
    #[serde(default)]
    until: Option<DateTime<Utc>>,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No `deliver` is running.
    #[error("no `deliver` is running that could send the test")]
    NobodyAnswers,
    /// None came in time.
    #[error("`deliver` did not answer in time")]
    Timeout,
    /// The request could not be sent.
    #[error("failed to ask `deliver`: {0}")]
    Send(String),
    /// The reply is not one.
    #[error("the answer of `deliver` is unreadable")]
    Reply(#[source] serde_json::Error),
}

impl Bus {
    /// Asks `deliver` to send a test, and waits for how it went, at most for `limit`.
    ///
    /// # Errors
    /// [`RequestError`]
    pub async fn request_test(
        &self,
        request: &TestRequest,
        limit: Duration,
    ) -> Result<TestReply, RequestError> {
        let asked = Asked { request, until: Some(Utc::now() + limit) };
        let body = serde_json::to_vec(&asked).expect("ids can be written as JSON");
        let request = Request::new().payload(body.into()).timeout(Some(limit));
        let sent = self.client().send_request(TEST_SUBJECT, request);
        let reply = tokio::time::timeout(limit, sent).await.map_err(|_| RequestError::Timeout)?;
        let reply = reply.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => RequestError::NobodyAnswers,
            RequestErrorKind::TimedOut => RequestError::Timeout,
            _ => RequestError::Send(chain(&error)),
        })?;
        serde_json::from_slice(&reply.payload).map_err(RequestError::Reply)
    }

    /// Answers requests for tests until `stop`, but for those whose asker waits no more. All that serve share them.
    pub async fn serve_tests<F, Fut>(&self, answer: F, stop: CancellationToken)
    where
        F: Fn(TestRequest) -> Fut,
        Fut: Future<Output = TestReply>,
    {
        while !stop.is_cancelled() {
            if let Err(error) = self.serve_subscription(&answer, &stop).await {
                warn!(error, "failed to subscribe to requests for tests");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(SUBSCRIBE_PAUSE) => {}
            }
        }
    }

    async fn serve_subscription<F, Fut>(&self, answer: &F, stop: &CancellationToken) -> Result<(), String>
    where
        F: Fn(TestRequest) -> Fut,
        Fut: Future<Output = TestReply>,
    {
        let mut requests = self
            .client()
            .queue_subscribe(TEST_SUBJECT, TEST_QUEUE.to_owned())
            .await
            .map_err(|error| error.to_string())?;
        let mut tests = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(()) = tests.next() => {}
                request = requests.next(), if tests.len() < TESTS_MAX => match request {
                    Some(request) => tests.push(self.serve_one(answer, request)),
                    None => return Ok(()),
                },
            }
        }
        // whoever asks now is answered by another `deliver`; who asked before still gets an answer
        let _ = requests.unsubscribe().await;
        while tests.next().await.is_some() {}
        Ok(())
    }

    async fn serve_one<F, Fut>(&self, answer: &F, message: async_nats::Message)
    where
        F: Fn(TestRequest) -> Fut,
        Fut: Future<Output = TestReply>,
    {
        let Some(reply_to) = message.reply else { return };
        let reply = match serde_json::from_slice::<Asked<TestRequest>>(&message.payload) {
            Ok(asked) if asked.until.is_some_and(|until| until < Utc::now()) => return,
            Ok(Asked { request, .. }) => {
                match AssertUnwindSafe(async { answer(request).await }).catch_unwind().await {
                    Ok(reply) => reply,
                    Err(_) => {
                        error!("a test made its handler panic");
                        TestReply::Failed { detail: "the test failed for a reason on our side".to_owned() }
                    }
                }
            }
            Err(error) => TestReply::Failed { detail: format!("the request is unreadable: {error}") },
        };
        let body = serde_json::to_vec(&reply).expect("a reply can be written as JSON");
        if let Err(error) = self.client().publish(reply_to, body.into()).await {
            warn!(%error, "the answer to a test could not be sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{EndpointId, WorkspaceId};

    use super::*;

    #[test]
    fn a_request_is_read_by_a_release_before_and_one_of_such_is_read_too() {
        let request = TestRequest {
            workspace_id: WorkspaceId::generate(),
            endpoint_id: EndpointId::generate(),
            challenge: Some("tea".to_owned()),
        };
        let until = Some(Utc::now());
        let written = |value: serde_json::Result<String>| value.expect("JSON");
        let of_now = written(serde_json::to_string(&Asked { request: &request, until }));
        let of_before = written(serde_json::to_string(&request));

        assert_eq!(serde_json::from_str::<TestRequest>(&of_now).expect("a request"), request);
        let asked: Asked<TestRequest> = serde_json::from_str(&of_now).expect("a request");
        assert_eq!((asked.request, asked.until), (request.clone(), until));
        let asked: Asked<TestRequest> = serde_json::from_str(&of_before).expect("a request");
        assert_eq!((asked.request, asked.until), (request, None));
    }
}
