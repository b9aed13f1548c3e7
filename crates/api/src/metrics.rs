//! What this service counts.

use prometheus::{DEFAULT_BUCKETS, HistogramVec, IntCounterVec, Registry};
use service::metrics::Maker;

/// Metrics of the API and the console.
#[derive(Clone)]
pub struct Metrics {
    /// Requests answered, by door (`v1`, `console`, `other`) and class of status (`2xx`, …).
    pub requests: IntCounterVec,
    /// Time to answer, by door.
    pub seconds: HistogramVec,
    /// Lines of bulk requests, by outcome (`made`, `refused`).
    pub bulk_lines: IntCounterVec,
    /// Requests refused because there were too many of them, by what was counted (`key`, `session`, `workspace`,
    /// `address`).
    pub limited: IntCounterVec,
    /// Sign-ins to the console, by outcome (`ok`, `failed`, `limited`).
    pub sign_ins: IntCounterVec,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let make = Maker::new(registry, "api");
        Ok(Self {
            requests: make.counters("requests_total", "Requests answered", &["door", "status"])?,
            seconds: make.histograms(
                "request_seconds",
                "Time to answer a request",
                &["door"],
                DEFAULT_BUCKETS,
            )?,
            bulk_lines: make.counters(
                "bulk_lines_total",
                "Lines of bulk requests for links",
                &["outcome"],
            )?,
            limited: make.counters(
                "rate_limited_total",
                "Requests refused with 429 by the rate limit of /v1 and the console",
                &["by"],
            )?,
            sign_ins: make.counters("sign_ins_total", "Sign-ins to the console", &["outcome"])?,
        })
    }
}
