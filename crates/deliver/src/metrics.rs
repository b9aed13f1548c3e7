//! What `deliver` counts. Labels come from closed sets: no endpoint, no URL.

use model::delivery::{Attempt, ErrorClass};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};
use service::metrics::Maker;
use store::held::Held;

use crate::later::Later;
use crate::outcome::Outcome;

/// From a fast answer on the same host to a timeout.
const ATTEMPT_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];

/// From the promise of milliseconds to an outage.
const CLICK_BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0];

/// All metrics of this service; clones share them.
#[derive(Clone)]
pub struct Metrics {
    attempts: IntCounterVec,
    attempt_seconds: HistogramVec,
    click_to_webhook_seconds: Histogram,
    queued: IntCounterVec,
    dead: IntCounterVec,
    blocked: IntCounter,
    proxy_faults: IntCounter,
    own_events: IntCounter,
    /// Requests in flight.
    pub in_flight: IntGauge,
    /// Deliveries that wait for an attempt, as far as they are counted.
    pub pending: IntGauge,
    /// Age of the delivery that is due the longest, of those that do not wait for their endpoints.
    pub oldest_due_seconds: IntGauge,
    /// Endpoints that have waiting deliveries.
    pub endpoints_waiting: IntGauge,
    /// Endpoints that are sent to in order, and that something failed holds up.
    pub endpoints_held_up: IntGauge,
    /// Endpoints that are owed events.
    pub endpoints: IntGauge,
    /// Endpoints that were disabled because they are gone or only failed.
    pub endpoints_disabled: IntCounter,
    /// Results that were not taken because the lease had gone to somebody else.
    pub leases_lost: IntCounter,
    /// Deliveries that were taken over when the lease of whoever had them in hand ended.
    pub leases_taken_over: IntCounter,
    /// Batches and results that could not be stored at once.
    pub store_failures: IntCounter,
    /// Replays that are running, all replicas together, as far as they are counted.
    pub replays_running: IntGauge,
    /// Deliveries that replays have put in line.
    pub replayed: IntCounter,
    /// Deliveries that only the look at recorded clicks found.
    pub reconciled: IntCounter,
    /// Clicks that were delivered to nobody because their contact was erased.
    pub erased: IntCounter,
    /// Amendments that came while the first telling waited for them.
    pub settled: IntCounter,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When one is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let make = Maker::new(registry, "deliver");
        Ok(Self {
            attempts: make.counters("attempts_total", "POSTs by what they came to", &["outcome"])?,
            attempt_seconds: make.histograms(
                "attempt_seconds",
                "Length of a POST",
                &["outcome"],
                &ATTEMPT_BUCKETS,
            )?,
            click_to_webhook_seconds: make.histogram(
                "click_to_webhook_seconds",
                "From the click to the subscriber's acceptance, at the first attempt",
                &CLICK_BUCKETS,
            )?,
            queued: make.counters(
                "queued_total",
                "Deliveries that could not go at once, by reason",
                &["reason"],
            )?,
            dead: make.counters("dead_total", "Deliveries that were given up: replay them", &["reason"])?,
            blocked: make.counter("blocked_total", "Attempts that the address policy refused")?,
            proxy_faults: make.counter(
                "proxy_faults_total",
                "Attempts that failed at the proxy, not at the endpoint",
            )?,
            own_events: make.counter("own_events_total", "Deliveries made of events that are not clicks")?,
            in_flight: make.gauge("in_flight", "Requests in flight")?,
            pending: make.gauge("pending", "Deliveries that wait for an attempt (counted up to 100,000)")?,
            oldest_due_seconds: make.gauge(
                "oldest_due_seconds",
                "How long the oldest due delivery has been due that waits neither for its endpoint nor in line",
            )?,
            endpoints_waiting: make.gauge("endpoints_waiting", "Endpoints that have waiting deliveries")?,
            endpoints_held_up: make.gauge(
                "endpoints_held_up",
                "Endpoints that are sent to in order, and that something failed holds up",
            )?,
            endpoints: make.gauge("endpoints", "Endpoints that are owed events")?,
            endpoints_disabled: make.counter(
                "endpoints_disabled_total",
                "Endpoints that were disabled because they are gone or only failed",
            )?,
            leases_lost: make.counter("leases_lost_total", "Results whose lease had gone to somebody else")?,
            leases_taken_over: make.counter(
                "leases_taken_over_total",
                "Deliveries whose lease ended before their result was stored: a process died or stood still",
            )?,
            store_failures: make.counter(
                "store_failures_total",
                "Failures to store results; they are tried again",
            )?,
            replays_running: make.gauge("replays_running", "Replays that are running (counted up to 64)")?,
            replayed: make.counter("replayed_total", "Deliveries that replays have put in line")?,
            reconciled: make.counter(
                "reconciled_total",
                "Deliveries of clicks that were recorded and had not come: something was lost on the way",
            )?,
            erased: make.counter(
                "erased_clicks_total",
                "Clicks told nobody of because their contact was erased",
            )?,
            settled: make.counter(
                "settled_total",
                "Amendments that came before the click was told of: it is told with them, or not at all",
            )?,
        })
    }

    /// Counts an attempt.
    pub fn attempted(&self, attempt: &Attempt) {
        let outcome = attempt.error.map_or("delivered", |error| error.as_str());
        self.attempts.with_label_values(&[outcome]).inc();
        self.attempt_seconds.with_label_values(&[outcome]).observe(f64::from(attempt.duration_ms) / 1000.0);
        match attempt.error {
            Some(ErrorClass::Blocked) => self.blocked.inc(),
            Some(ErrorClass::Proxy) => self.proxy_faults.inc(),
            _ => {}
        }
    }

    /// Counts a click that arrived at its subscriber at the first attempt.
    pub fn arrived(&self, after: chrono::Duration) {
        self.click_to_webhook_seconds.observe(after.as_seconds_f64().max(0.0));
    }

    /// Counts a delivery that goes through the database.
    pub fn queued(&self, reason: Later) {
        self.queued.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts deliveries that were made of events of our own.
    pub fn told(&self, deliveries: usize) {
        self.own_events.inc_by(deliveries as u64);
    }

    /// Counts deliveries that are given up after one request.
    pub fn dead(&self, outcome: Outcome, deliveries: u32) {
        let reason = match outcome {
            Outcome::Gone => "gone",
            Outcome::Permanent => "permanent",
            Outcome::Delivered | Outcome::Retry | Outcome::Pause(_) => "exhausted",
        };
        self.dead.with_label_values(&[reason]).inc_by(deliveries.into());
    }

    /// Counts deliveries that are given up because their endpoint was deleted.
    pub fn buried(&self, deliveries: usize) {
        self.dead.with_label_values(&["endpoint_deleted"]).inc_by(deliveries as u64);
    }

    /// Counts deliveries that are given up because their endpoint was paused or disabled for too long.
    pub fn held_too_long(&self, held: &Held) {
        self.dead.with_label_values(&[held.reason.as_str()]).inc_by(held.deliveries);
    }

    /// Counts a delivery that is given up because its click is no longer there to be told of.
    pub fn body_lost(&self) {
        self.dead.with_label_values(&["event_lost"]).inc();
    }
}
