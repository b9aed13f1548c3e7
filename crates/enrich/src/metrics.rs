//! What enrichment counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

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
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            clicks_total: IntCounterVec::new(
                Opts::new("clickwire_enrich_clicks_total", "Clicks enriched and confirmed by the stream."),
                &["verdict"],
            )?,
            location_missing_total: IntCounterVec::new(
                Opts::new("clickwire_enrich_location_missing_total", "Clicks without a location."),
                &["reason"],
            )?,
            first_click_unknown_total: IntCounter::new(
                "clickwire_enrich_first_click_unknown_total",
                "Clicks whose first-ness could not be asked.",
            )?,
            agent_lookups_total: IntCounterVec::new(
                Opts::new(
                    "clickwire_enrich_agent_lookups_total",
                    "Readings of User-Agents, by whether the answer was remembered.",
                ),
                &["result"],
            )?,
            agent_broken_files_total: IntCounter::new(
                "clickwire_enrich_agent_broken_files_total",
                "Files about User-Agents that could not be used when they were found or changed.",
            )?,
            geo_lookup_failures_total: IntCounter::new(
                "clickwire_enrich_geo_lookup_failures_total",
                "Look-ups that a location file failed.",
            )?,
            geo_broken_files_total: IntCounter::new(
                "clickwire_enrich_geo_broken_files_total",
                "Location files that could not be used when they were found or changed.",
            )?,
            amendments_total: IntCounterVec::new(
                Opts::new(
                    "clickwire_enrich_amendments_total",
                    "Clicks that later clicks threw another light on, told of again and confirmed by the stream.",
                ),
                &["verdict"],
            )?,
            geo_build_timestamp_seconds: IntGaugeVec::new(
                Opts::new(
                    "clickwire_enrich_geo_build_timestamp_seconds",
                    "When the oldest location file in use was built.",
                ),
                &["kind"],
            )?,
            geo_is_extract: IntGauge::new(
                "clickwire_enrich_geo_is_extract",
                "1 while only the compiled-in extract of places serves.",
            )?,
        };
        registry.register(Box::new(metrics.clicks_total.clone()))?;
        registry.register(Box::new(metrics.location_missing_total.clone()))?;
        registry.register(Box::new(metrics.first_click_unknown_total.clone()))?;
        registry.register(Box::new(metrics.agent_lookups_total.clone()))?;
        registry.register(Box::new(metrics.agent_broken_files_total.clone()))?;
        registry.register(Box::new(metrics.geo_lookup_failures_total.clone()))?;
        registry.register(Box::new(metrics.geo_broken_files_total.clone()))?;
        registry.register(Box::new(metrics.amendments_total.clone()))?;
        registry.register(Box::new(metrics.geo_build_timestamp_seconds.clone()))?;
        registry.register(Box::new(metrics.geo_is_extract.clone()))?;
        Ok(metrics)
    }
}
