//! What the redirect counts.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector,
};

/// Answers come from memory, or wait for the database: 10 µs to 5 s.
const ANSWER_BUCKETS: [f64; 12] =
    [0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1, 1.0, 5.0];

/// The metrics of the redirect. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Visitors that were sent on, by a tracked link.
    pub followed_tracked: IntCounter,
    /// Visitors that were sent on, by a link that records nothing.
    pub followed_untracked: IntCounter,
    /// Visitors of a disabled, expired or not yet started link.
    pub closed: IntCounter,
    /// Requests for what is not there.
    pub not_found: IntCounter,
    /// Requests that could not be read, or of other methods.
    pub refused: IntCounter,
    /// Visitors of a link that is not in memory while the database is away.
    pub unavailable: IntCounter,
    /// Time from the request to its answer.
    pub answer_seconds: Histogram,
    /// Look-ups answered from memory.
    pub lookups_cached: IntCounter,
    /// Look-ups that asked the database.
    pub lookups_loaded: IntCounter,
    /// Look-ups answered from memory although too old, because the database was away.
    pub lookups_stale: IntCounter,
    /// Look-ups that failed.
    pub lookups_failed: IntCounter,
    /// Clicks written to the spool.
    pub clicks_spooled: IntCounter,
    /// Clicks that the stream has confirmed.
    pub clicks_shipped: IntCounter,
    /// Clicks that neither the spool nor the stream took.
    pub clicks_lost: IntCounter,
    /// Attempts to publish that will be repeated.
    pub publish_failures: IntCounter,
    /// Size of the spool.
    pub spool_bytes: IntGauge,
    /// Part of it that the stream has not confirmed.
    pub spool_unshipped_bytes: IntGauge,
    /// Bytes of the spool that could not be read back.
    pub spool_damaged_bytes: IntCounter,
    /// Flushes of the spool that failed.
    pub spool_sync_failures: IntCounter,
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// When the registry has them already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let answers =
            counters(registry, "answers", "outcome", "Answers to visitors, by what became of the request.")?;
        let lookups = counters(registry, "lookups", "source", "Look-ups of links, by who answered.")?;
        let seconds = HistogramOpts::new(name("answer_seconds"), "Time from a request to its answer.")
            .buckets(ANSWER_BUCKETS.to_vec());
        Ok(Self {
            followed_tracked: answers.with_label_values(&["followed"]),
            followed_untracked: answers.with_label_values(&["followed_untracked"]),
            closed: answers.with_label_values(&["closed"]),
            not_found: answers.with_label_values(&["not_found"]),
            refused: answers.with_label_values(&["refused"]),
            unavailable: answers.with_label_values(&["unavailable"]),
            answer_seconds: registered(registry, Histogram::with_opts(seconds))?,
            lookups_cached: lookups.with_label_values(&["memory"]),
            lookups_loaded: lookups.with_label_values(&["database"]),
            lookups_stale: lookups.with_label_values(&["memory_stale"]),
            lookups_failed: lookups.with_label_values(&["none"]),
            clicks_spooled: counter(registry, "clicks_spooled_total", "Clicks written to the spool.")?,
            clicks_shipped: counter(
                registry,
                "clicks_shipped_total",
                "Clicks that the stream CLICKS has confirmed.",
            )?,
            clicks_lost: counter(
                registry,
                "clicks_lost_total",
                "Clicks that neither the spool nor the stream took.",
            )?,
            publish_failures: counter(
                registry,
                "publish_failures_total",
                "Attempts to publish that are repeated.",
            )?,
            spool_bytes: gauge(registry, "spool_bytes", "Size of the spool.")?,
            spool_unshipped_bytes: gauge(
                registry,
                "spool_unshipped_bytes",
                "Part of the spool that the stream has not confirmed.",
            )?,
            spool_damaged_bytes: counter(
                registry,
                "spool_damaged_bytes_total",
                "Bytes of the spool that could not be read back.",
            )?,
            spool_sync_failures: counter(
                registry,
                "spool_sync_failures_total",
                "Flushes of the spool that failed.",
            )?,
        })
    }
}

fn name(rest: &str) -> String {
    format!("clickwire_redirect_{rest}")
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let collector = collector?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counter(registry: &Registry, rest: &str, help: &str) -> prometheus::Result<IntCounter> {
    registered(registry, IntCounter::new(name(rest), help))
}

fn gauge(registry: &Registry, rest: &str, help: &str) -> prometheus::Result<IntGauge> {
    registered(registry, IntGauge::new(name(rest), help))
}

fn counters(registry: &Registry, noun: &str, label: &str, help: &str) -> prometheus::Result<IntCounterVec> {
    registered(registry, IntCounterVec::new(Opts::new(name(&format!("{noun}_total")), help), &[label]))
}
