//! Test requests: a sample event to one endpoint, through the same sender, with the endpoint's own secrets.
//!
//! Nothing is stored and no lane is asked: whoever tests an endpoint wants to see what it does now.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use model::delivery::{TestReply, TestRequest};
use model::event_type::{ENDPOINT_DISABLED, LINK_CLICKED};
use model::{DeliveryId, EventId};
use webhook::{alert, own_event, payload};

use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::sender::{Sender, Shipment};

/// Answers test requests.
#[derive(Clone)]
pub struct Tester {
    /// Finds the endpoint, whatever its state.
    pub endpoints: Arc<Endpoints>,
    /// Sends.
    pub sender: Sender,
}

impl Tester {
    /// Sends a sample and says how it went.
    pub async fn answer(&self, request: TestRequest) -> TestReply {
        let endpoint = match self.endpoints.find(request.workspace_id, request.endpoint_id).await {
            Ok(Some(endpoint)) => endpoint,
            Ok(None) => return TestReply::NoSuchEndpoint,
            Err(error) => return TestReply::Failed { detail: format!("{error:#}") },
        };
        let now = Utc::now();
        let (event_id, event_type, body) = sample(&endpoint, now);
        let shipment = Shipment {
            event_id,
            event_type,
            delivery_id: DeliveryId::generate_at(now),
            number: 1,
            throttled: 0,
            traceparent: None,
            body: body.clone(),
            is_replay: false,
        };
        let attempt = self.sender.send(&endpoint, &shipment).await;
        TestReply::Attempted { attempt, request_body: String::from_utf8_lossy(&body).into_owned() }
    }
}

/// A sample of what the endpoint gets, marked as a test: a click, or an alert.
fn sample(endpoint: &Endpoint, now: DateTime<Utc>) -> (EventId, &'static str, Bytes) {
    let alert = endpoint.alert_format.and_then(|format| {
        let mut event = own_event::sample(ENDPOINT_DISABLED, endpoint.workspace_id, now)?;
        event.data.insert("test".to_owned(), true.into());
        Some((event.id, ENDPOINT_DISABLED, Bytes::from(alert::body(&event, format))))
    });
    alert.unwrap_or_else(|| {
        let click = payload::sample(endpoint.workspace_id, now);
        (click.event_id, LINK_CLICKED, Bytes::from(payload::link_clicked(&click)))
    })
}
