//! Test requests: a sample event to one endpoint, through the same sender, with the endpoint's own secrets.
//!
//! Nothing is stored and no lane is asked: whoever tests an endpoint wants to see what it does now.

use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use model::DeliveryId;
use model::delivery::{TestReply, TestRequest};
use model::event_type::LINK_CLICKED;

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
        let sample = webhook::payload::sample(request.workspace_id, now);
        let body = Bytes::from(webhook::payload::link_clicked(&sample));
        let shipment = Shipment {
            event_id: sample.event_id,
            event_type: LINK_CLICKED,
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
