//! What enrichment counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use service::metrics::Maker;

/// Metrics of this service; those of its consumer are `bus`'s.
pub struct Metrics {
    /// Clicks that were enriched and confirmed by the stream, by verdict.
    pub clicks_total: IntCounterVec,
    /// Clicks without a location, by reason.
    pub location_missing_total: IntCounterVec,
    /// Clicks whose first-ness could not be asked.
    pub first_click_unknown_total: IntCounter,
    /// Readings of User-Agents, by whether the answer was remembered.
    pub agent_lookups_total: IntCounterVec,
    /// Files about User-Agents that could not be used when they were found or changed.
    pub agent_broken_files_total: IntCounter,
    /// Look-ups that a location file failed.
    pub geo_lookup_failures_total: IntCounter,
    /// Location files that could not be used when they were found or changed.
    pub geo_broken_files_total: IntCounter,
    /// Clicks that were told of again, by their new verdict.
    pub amendments_total: IntCounterVec,
    /// When the oldest location file in use was built, by what it tells; 0 without one.
    pub geo_build_timestamp_seconds: IntGaugeVec,
    /// 1 while only the compiled-in extract of places serves.
    pub geo_is_extract: IntGauge,
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let make = Maker::new(registry, "enrich");
        let geo_built = Opts::new(
            make.name("geo_build_timestamp_seconds"),
            "When the oldest location file in use was built.",
        );
        Ok(Self {
            clicks_total: make.counters(
                "clicks_total",
                "Clicks enriched and confirmed by the stream.",
                &["verdict"],
            )?,
            location_missing_total: make.counters(
                "location_missing_total",
                "Clicks without a location.",
                &["reason"],
            )?,
            first_click_unknown_total: make
                .counter("first_click_unknown_total", "Clicks whose first-ness could not be asked.")?,
            agent_lookups_total: make.counters(
                "agent_lookups_total",
                "Readings of User-Agents, by whether the answer was remembered.",
                &["result"],
            )?,
            agent_broken_files_total: make.counter(
                "agent_broken_files_total",
                "Files about User-Agents that could not be used when they were found or changed.",
            )?,
            geo_lookup_failures_total: make
                .counter("geo_lookup_failures_total", "Look-ups that a location file failed.")?,
            geo_broken_files_total: make.counter(
                "geo_broken_files_total",
                "Location files that could not be used when they were found or changed.",
            )?,
            amendments_total: make.counters(
                "amendments_total",
                "Clicks that later clicks threw another light on, told of again and confirmed by the stream.",
                &["verdict"],
            )?,
            geo_build_timestamp_seconds: make.registered(IntGaugeVec::new(geo_built, &["kind"]))?,
            geo_is_extract: make
                .gauge("geo_is_extract", "1 while only the compiled-in extract of places serves.")?,
        })
    }
}
