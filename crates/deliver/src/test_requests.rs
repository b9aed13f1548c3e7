//! Test requests: a sample event or a challenge to one endpoint, through the same sender, with the endpoint's own secrets.
//!
//! Nothing is stored and no lane is asked: whoever tests an endpoint wants to see what it does now. Who has not shown that it
//! wants what is sent, or has a token server asked that has not, is tested [sparingly](Sparing).

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use model::delivery::{TestReply, TestRequest};
use model::event_type::{ENDPOINT_DISABLED, LINK_CLICKED};
use model::{BatchId, DeliveryId, EventId};
use webhook::batch::{self, BATCH};
use webhook::verification::{self, ENDPOINT_VERIFICATION};
use webhook::{own_event, payload};

use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::sender::{Batched, Sender, Shipment};
use crate::sparing::Sparing;

/// Why a test is not sent.
const UNPROVEN: &str = "an endpoint that has not shown that it wants what is sent, or that wants a token, is tested once a second: try again in a moment";

/// Answers test requests.
#[derive(Clone)]
pub struct Tester {
    /// Finds the endpoint, whatever its state.
    pub endpoints: Arc<Endpoints>,
    /// Sends.
    pub sender: Sender,
    /// Says when the next test of some may be.
    pub sparing: Sparing,
}

impl Tester {
    /// Sends a sample, or a challenge, and says how it went.
    pub async fn answer(&self, request: TestRequest) -> TestReply {
        let endpoint = match self.endpoints.find(request.workspace_id, request.endpoint_id).await {
            Ok(Some(endpoint)) => endpoint,
            Ok(None) => return TestReply::NoSuchEndpoint,
            Err(error) => return TestReply::Failed { detail: format!("{error:#}") },
        };
        if self.endpoints.is_unproven(&endpoint) && !self.sparing.may(endpoint.id, Instant::now()) {
            return TestReply::Failed { detail: UNPROVEN.to_owned() };
        }
        let now = Utc::now();
        let (event_id, event_type, body) = match &request.challenge {
            None => sample(&endpoint, now),
            Some(challenge) => {
                let id = EventId::generate();
                (id, ENDPOINT_VERIFICATION, Bytes::from(verification::body(id, challenge, now)))
            }
        };
        // who gets batches is tested with one
        let batch = endpoint.batching().filter(|_| request.challenge.is_none());
        let batch = batch.map(|_| Batched { id: BatchId::generate_at(now), deliveries: 1 });
        let (event_type, body) = match batch {
            Some(Batched { id, .. }) => (BATCH, Bytes::from(batch::body(id, now, [&body[..]]))),
            None => (event_type, body),
        };
        let shipment = Shipment {
            event_id,
            event_type,
            delivery_id: DeliveryId::generate_at(now),
            number: 1,
            throttled: 0,
            traceparent: None,
            body: body.clone(),
            is_replay: false,
            batch,
            sequence: None,
        };
        let attempt = self.sender.send(&endpoint, &shipment).await;
        TestReply::Attempted { attempt, request_body: String::from_utf8_lossy(&body).into_owned() }
    }
}

/// A sample of what the endpoint gets, marked as a test: a click, or an alert.
fn sample(endpoint: &Endpoint, now: DateTime<Utc>) -> (EventId, &'static str, Bytes) {
    let alert = endpoint.alert_format.and_then(|_| {
        let mut event = own_event::sample(ENDPOINT_DISABLED, endpoint.workspace_id, now)?;
        event.data.insert("test".to_owned(), true.into());
        Some((event.id, ENDPOINT_DISABLED, Bytes::from(endpoint.body_of(&event))))
    });
    alert.unwrap_or_else(|| {
        let click = payload::sample(endpoint.workspace_id, now);
        (click.event_id, LINK_CLICKED, Bytes::from(endpoint.body(LINK_CLICKED, &click)))
    })
}
