//! What this service counts.

use prometheus::{HistogramVec, IntCounterVec, Registry, histogram_opts, opts};

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
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            requests: IntCounterVec::new(
                opts!("clickwire_api_requests_total", "Requests answered"),
                &["door", "status"],
            )?,
            seconds: HistogramVec::new(
                histogram_opts!("clickwire_api_request_seconds", "Time to answer a request"),
                &["door"],
            )?,
            bulk_lines: IntCounterVec::new(
                opts!("clickwire_api_bulk_lines_total", "Lines of bulk requests for links"),
                &["outcome"],
            )?,
            limited: IntCounterVec::new(
                opts!(
                    "clickwire_api_rate_limited_total",
                    "Requests refused with 429 by the rate limit of /v1 and the console"
                ),
                &["by"],
            )?,
            sign_ins: IntCounterVec::new(
                opts!("clickwire_api_sign_ins_total", "Sign-ins to the console"),
                &["outcome"],
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.bulk_lines.clone()))?;
        registry.register(Box::new(metrics.limited.clone()))?;
        registry.register(Box::new(metrics.sign_ins.clone()))?;
        Ok(metrics)
    }
}
