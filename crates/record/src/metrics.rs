//! What recording counts.

use prometheus::{IntCounter, Registry};

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
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("clickwire_record_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        Ok(Self {
            clicks_total: counter("clicks_total", "Rows written to clicks.")?,
            repeated_clicks_total: counter(
                "repeated_clicks_total",
                "Tellings of clicks that were recorded already, at the same or a higher revision.",
            )?,
            erased_clicks_total: counter(
                "erased_clicks_total",
                "Clicks of erased contacts that came late and were recorded without what tells who it was.",
            )?,
            exhausted_links_total: counter(
                "exhausted_links_total",
                "Links that have had as many clicks as they may have.",
            )?,
            quarantined_total: counter("quarantined_total", "Messages copied from QUARANTINE.")?,
            events_total: counter("events_total", "Events published from the outbox.")?,
            dropped_events_total: counter("dropped_events_total", "Events that can never be published.")?,
        })
    }
}
