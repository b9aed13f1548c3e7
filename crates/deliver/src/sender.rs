//! One signed POST, with bounds on everything that a subscriber can make long: time, headers, body.
//!
//! Both lanes and test requests send through here, each request with the client that [`crate::clients`] has for its endpoint.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::delivery::{Attempt, ErrorClass};
use model::{AddressPolicy, BatchId, DeliveryId, EgressPolicy, EventId};
use service::names::{self, ResolverError};
use service::telemetry::{SpanKind, Step, Traces, around, within};
use tokio::time::Instant;
use tracing::debug;
use webhook::asymmetric;
use webhook::headers::ATTEMPT_HEADER;
use webhook::shape::content_type;
use webhook::signature::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};

use crate::clients::Clients;
use crate::destination::{GuardedResolver, on_behalf_of};
use crate::endpoint::Endpoint;
use crate::kept;
use crate::send_error::told;
use crate::settings::SendSettings;
use crate::timings::Stopwatch;
use crate::token::Refusal;
use crate::tunnel::ConnectedTo;

/// Most bytes of an answer's body that are read; then the connection is closed.
pub const RESPONSE_READ_MAX: usize = 64 * 1024;

/// Most bytes of an answer's body that are kept.
pub const RESPONSE_KEPT_MAX: usize = 16 * 1024;

/// Who we say we are.
const OUR_USER_AGENT: &str = concat!("Clickwire/", env!("CARGO_PKG_VERSION"));

/// The status that says that a token is not good.
const UNAUTHORIZED: u16 = 401;

/// Why there is no sender.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// The machine has no certificate authorities to check subscribers' certificates with, or no TLS provider.
    #[error("failed to set up TLS: is a CA store installed (package `ca-certificates`)?")]
    Tls(#[source] rustls::Error),
    /// The client cannot be put together.
    #[error("failed to set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// Names cannot be looked up with the name servers of the settings.
    #[error(transparent)]
    Names(#[from] ResolverError),
}

/// Sends webhooks.
#[derive(Clone)]
pub struct Sender {
    clients: Arc<Clients>,
    policy: Arc<EgressPolicy>,
    timeout: Duration,
    traces: Traces,
}

/// What is sent, beside what the endpoint itself says.
#[derive(Debug, Clone)]
pub struct Shipment {
    /// `webhook-id`.
    pub event_id: EventId,
    /// `clickwire-event-type`.
    pub event_type: &'static str,
    /// `clickwire-delivery-id`.
    pub delivery_id: DeliveryId,
    /// `clickwire-attempt`, counted from 1.
    pub number: u32,
    /// Attempts before this one that were answered 429 and do not count against the schedule.
    pub throttled: u32,
    /// The visitor's trace, if there is one.
    pub traceparent: Option<String>,
    /// The bytes that are signed and sent.
    pub body: Bytes,
    /// `clickwire-replayed`: a replay put it in line.
    pub is_replay: bool,
    /// It is a batch: `webhook-id` is the batch's, and no delivery is named.
    pub batch: Option<Batched>,
    /// `clickwire-sequence`: its place among what the endpoint is owed, if that is counted.
    pub sequence: Option<u64>,
}

/// Several deliveries in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batched {
    /// `webhook-id`.
    pub id: BatchId,
    /// How many they are.
    pub deliveries: u32,
}

impl Shipment {
    /// How many deliveries the request carries.
    pub fn deliveries(&self) -> u32 {
        self.batch.map_or(1, |batch| batch.deliveries)
    }

    fn webhook_id(&self) -> String {
        self.batch.map_or_else(|| self.event_id.to_string(), |batch| batch.id.to_string())
    }
}

impl Sender {
    /// A sender with its own connections. The TLS provider must be installed before.
    ///
    /// # Errors
    /// [`SenderError`] when TLS or look-ups cannot work on this machine.
    pub fn new(settings: &SendSettings) -> Result<Self, SenderError> {
        let policy = Arc::new(EgressPolicy {
            addresses: AddressPolicy::allowing(settings.allowed_networks.clone()),
            https_only: settings.https_only,
            allowed_ports: settings.allowed_ports.clone(),
        });
        let (limit, lookups_max) = (settings.dns_timeout, settings.in_flight_max);
        let ask = names::ask(&settings.dns_servers, limit, lookups_max)?;
        let resolver = GuardedResolver::new(ask, Arc::clone(&policy), limit, lookups_max);
        let clients = Arc::new(Clients::new(settings, resolver)?);
        Ok(Self { clients, policy, timeout: settings.request_timeout, traces: Traces::default() })
    }

    /// Makes each first attempt a step of the click's trace.
    pub fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Makes one attempt and says what it came to. Never waits longer than the endpoint's timeout.
    pub async fn send(&self, endpoint: &Endpoint, shipment: &Shipment) -> Attempt {
        let started_at = Utc::now();
        let clock = Instant::now();
        let step = self.step(shipment);
        let ours = step.as_ref().map(Step::traceparent);
        let traceparent = ours.as_deref().or(shipment.traceparent.as_deref());
        let headers = request_headers(endpoint, shipment, traceparent, started_at);
        let mut attempt = Attempt {
            request_headers: kept::request_headers(&headers, endpoint),
            ..Attempt::begun(started_at)
        };
        let limit = endpoint.timeout.unwrap_or(self.timeout);
        match self.policy.check_url(&endpoint.url) {
            Ok(()) => {
                let exchange = self.exchange(endpoint, headers, &shipment.body, limit, &mut attempt);
                around(step.as_ref(), on_behalf_of(endpoint.workspace_id, exchange)).await;
            }
            Err(error) => fail(&mut attempt, ErrorClass::Blocked, &error),
        }
        attempt.duration_ms = u32::try_from(clock.elapsed().as_millis()).unwrap_or(u32::MAX);
        within(step.as_ref(), || {
            debug!(
                delivery.id = %shipment.delivery_id,
                endpoint.id = %endpoint.id,
                attempt = shipment.number,
                status = attempt.status,
                error = attempt.error.map(ErrorClass::as_str),
                duration_ms = attempt.duration_ms,
                "an attempt has ended"
            );
        });
        if let Some(step) = step {
            end(step, &attempt);
        }
        attempt
    }

    /// The step of a shipment whose event has a trace.
    fn step(&self, shipment: &Shipment) -> Option<Step> {
        let mut step =
            self.traces.step("deliver", SpanKind::Client, Some(shipment.traceparent.as_deref()?))?;
        step.note("clickwire.event.id", shipment.event_id.to_string());
        step.note("clickwire.delivery.id", shipment.delivery_id.to_string());
        Some(step)
    }

    /// Posts, with a token where the endpoint wants one. A token that is refused is exchanged once, and the answer to the second request
    /// is the attempt's.
    async fn exchange(
        &self,
        endpoint: &Endpoint,
        mut headers: HeaderMap,
        body: &Bytes,
        limit: Duration,
        attempt: &mut Attempt,
    ) {
        let deadline = Instant::now() + limit;
        let Some(tokens) = &endpoint.tokens else {
            return self.post(endpoint, headers, body.clone(), deadline, limit, attempt).await;
        };
        attempt.request_headers.push((AUTHORIZATION.as_str().to_owned(), kept::MASKED.to_owned()));
        let asked = attempt.clone();
        for is_last in [false, true] {
            let bearer = match tokens.bearer(self.clients.shared(), &self.policy, deadline).await {
                Ok(bearer) => bearer,
                // there is an answer already, which says more
                Err(_) if is_last => return,
                Err(Refusal { class, why }) => {
                    attempt.error = Some(class);
                    attempt.error_detail = Some(kept::error_detail(&why));
                    return;
                }
            };
            headers.insert(AUTHORIZATION, bearer.clone());
            *attempt = asked.clone();
            self.post(endpoint, headers.clone(), body.clone(), deadline, limit, attempt).await;
            if attempt.is_success() {
                tokens.has_worked(&bearer);
            }
            if attempt.status != Some(UNAUTHORIZED) || !tokens.forget(&bearer) {
                return;
            }
        }
    }

    /// The status decides. What follows it is read for the log, as far as time and bounds allow.
    async fn post(
        &self,
        endpoint: &Endpoint,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
        limit: Duration,
        attempt: &mut Attempt,
    ) {
        let client = match self.clients.of(endpoint) {
            Ok(client) => client,
            Err(error) => return fail(attempt, ErrorClass::Tls, &error),
        };
        let request = client.post(endpoint.url.url(), headers, body);
        let watch = Stopwatch::default();
        let answered = tokio::time::timeout_at(deadline, watch.time(request)).await;
        attempt.timings = watch.read();
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return fail(attempt, error.class(), &error),
            Err(_) => {
                attempt.error = Some(ErrorClass::Timeout);
                attempt.error_detail = Some(format!("no answer within {} s", limit.as_secs_f32()));
                return;
            }
        };
        attempt.status = Some(response.status().as_u16());
        let through_proxy = response.extensions().get::<ConnectedTo>().map(|connected| connected.0);
        let remote_ip = through_proxy.or_else(|| response.remote_addr().map(|address| address.ip()));
        attempt.remote_ip = remote_ip.map(|ip| ip.to_string());
        attempt.response_headers = kept::response_headers(response.headers());
        if !response.status().is_success() {
            attempt.error = Some(ErrorClass::Status);
            attempt.error_detail = Some(format!("answered {}", response.status()));
        }
        let mut body = Vec::new();
        // an end by the deadline is like any other end: what came is kept
        let _ = tokio::time::timeout_at(deadline, read_body(response, &mut body)).await;
        attempt.response_body = (!body.is_empty()).then(|| kept::text(&body));
    }
}

/// Ends the step of an attempt with what it came to.
fn end(mut step: Step, attempt: &Attempt) {
    if let Some(status) = attempt.status {
        step.note("http.response.status_code", i64::from(status));
    }
    if let Some(error) = attempt.error {
        step.fail(error.as_str());
    }
}

/// Reads up to [`RESPONSE_READ_MAX`], so that an ordinary connection can be used again; keeps less.
async fn read_body(mut response: reqwest::Response, kept: &mut Vec<u8>) {
    let mut read = 0;
    while read < RESPONSE_READ_MAX {
        let Ok(Some(chunk)) = response.chunk().await else { return };
        read += chunk.len();
        let room = RESPONSE_KEPT_MAX - kept.len();
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
}

fn request_headers(
    endpoint: &Endpoint,
    shipment: &Shipment,
    traceparent: Option<&str>,
    now: DateTime<Utc>,
) -> HeaderMap {
    let id = shipment.webhook_id();
    let seconds = now.timestamp();
    let mut signature = sign(&endpoint.secrets, &id, seconds, &shipment.body);
    asymmetric::append(&endpoint.keys, &id, seconds, &shipment.body, &mut signature);
    let mut headers = HeaderMap::with_capacity(11 + endpoint.headers.len());
    for (name, value) in &endpoint.headers {
        headers.insert(name.clone(), value.clone());
    }
    let delivery = ("clickwire-delivery-id", shipment.delivery_id.to_string());
    let ours = [(ID_HEADER, id), (TIMESTAMP_HEADER, seconds.to_string()), (SIGNATURE_HEADER, signature)]
        .into_iter()
        .chain(shipment.batch.is_none().then_some(delivery))
        .chain([(ATTEMPT_HEADER, shipment.number.to_string())]);
    for (name, value) in ours {
        let value = HeaderValue::try_from(value).expect("ids, numbers and base64 are visible ASCII");
        headers.insert(HeaderName::from_static(name), value);
    }
    headers.insert("clickwire-event-type", HeaderValue::from_static(shipment.event_type));
    if shipment.is_replay {
        headers.insert("clickwire-replayed", HeaderValue::from_static("true"));
    }
    if let Some(sequence) = shipment.sequence {
        headers.insert("clickwire-sequence", HeaderValue::from(sequence));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(&shipment.body)));
    headers.insert(USER_AGENT, HeaderValue::from_static(OUR_USER_AGENT));
    // it came from a visitor, so it may be anything
    if let Some(traceparent) = traceparent.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert("traceparent", traceparent);
    }
    headers
}

fn fail(attempt: &mut Attempt, class: ErrorClass, error: &(dyn Error + 'static)) {
    attempt.error = Some(class);
    attempt.error_detail = Some(kept::error_detail(&told(error)));
}
