//! What recording counts.

use prometheus::{Gauge, Histogram, IntCounter, IntGauge, Registry};
use service::metrics::Maker;

/// A bucket has one click or millions.
const RECOUNT_SECONDS: [f64; 9] = [0.005, 0.02, 0.05, 0.1, 0.3, 1.0, 5.0, 20.0, 60.0];

/// Metrics of this service; those of its consumers are `bus`'s.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Rows written to `clicks`.
    pub clicks_total: IntCounter,
    /// Tellings of clicks that were recorded already, at the same or a higher revision.
    pub repeated_clicks_total: IntCounter,
    /// Clicks of erased contacts that came late and were recorded without what tells who it was.
    pub erased_clicks_total: IntCounter,
    /// Links that have had as many clicks as they may have.
    pub exhausted_links_total: IntCounter,
    /// Messages copied from QUARANTINE.
    pub quarantined_total: IntCounter,
    /// Events published from the outbox.
    pub events_total: IntCounter,
    /// Events that can never be published.
    pub dropped_events_total: IntCounter,
    /// Quarters of an hour, each of a workspace, that wait to be counted again.
    pub dirty_buckets: IntGauge,
    /// How long the one of them waits that has waited longest; 0: none waits.
    pub oldest_dirty_bucket_seconds: Gauge,
    /// How long it took to count one again.
    pub recount_seconds: Histogram,
    /// Buckets that could not be counted, and wait again.
    pub recount_failures_total: IntCounter,
    /// Buckets whose clicks somebody changed without marking them.
    pub unmarked_buckets_total: IntCounter,
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let make = Maker::new(registry, "record");
        let oldest_dirty_bucket_seconds = Gauge::new(
            make.name("oldest_dirty_bucket_seconds"),
            "How long the one of them waits that has waited longest.",
        );
        Ok(Self {
            clicks_total: make.counter("clicks_total", "Rows written to clicks.")?,
            repeated_clicks_total: make.counter(
                "repeated_clicks_total",
                "Tellings of clicks that were recorded already, at the same or a higher revision.",
            )?,
            erased_clicks_total: make.counter(
                "erased_clicks_total",
                "Clicks of erased contacts that came late and were recorded without what tells who it was.",
            )?,
            exhausted_links_total: make.counter(
                "exhausted_links_total",
                "Links that have had as many clicks as they may have.",
            )?,
            quarantined_total: make.counter("quarantined_total", "Messages copied from QUARANTINE.")?,
            events_total: make.counter("events_total", "Events published from the outbox.")?,
            dropped_events_total: make.counter(
                "dropped_events_total",
                "Events that can never be published.",
            )?,
            dirty_buckets: make.gauge(
                "dirty_buckets",
                "Quarters of an hour, each of a workspace, that wait to be counted again.",
            )?,
            oldest_dirty_bucket_seconds: make.registered(oldest_dirty_bucket_seconds)?,
            recount_seconds: make.histogram(
                "recount_seconds",
                "How long it took to count the clicks of a quarter of an hour again.",
                &RECOUNT_SECONDS,
            )?,
            recount_failures_total: make.counter(
                "recount_failures_total",
                "Buckets that could not be counted, and wait again.",
            )?,
            unmarked_buckets_total: make.counter(
                "unmarked_buckets_total",
                "Buckets whose clicks were written by a program that does not have them counted; they are counted again.",
            )?,
        })
    }
}
