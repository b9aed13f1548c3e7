//! What the redirect counts.

use model::orphan::OrphanReason;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry};
use service::metrics::Maker;

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
    /// Visitors of a link that an operator has blocked.
    pub blocked: IntCounter,
    /// Programs that were shown a link's preview.
    pub previewed: IntCounter,
    /// Visitors that were asked whether to follow a link.
    pub confirm_asked: IntCounter,
    /// Requests for what is not there.
    pub not_found: IntCounter,
    /// Requests of scanners for weak servers.
    pub noise: IntCounter,
    /// Requests of who asked too often for what is not there, or for a password.
    pub limited: IntCounter,
    /// Browsers that asked ahead and were not to.
    pub prefetch_refused: IntCounter,
    /// Visitors of a link's inspect page.
    pub inspected: IntCounter,
    /// Visitors that were asked for a password.
    pub password_asked: IntCounter,
    /// Passwords that were wrong.
    pub password_wrong: IntCounter,
    /// Connections of trusted proxies that did not begin with a PROXY preamble.
    pub preambles_refused: IntCounter,
    /// Changed files of a provider's ranges that cannot serve.
    pub broken_ranges: IntCounter,
    /// Requests that could not be read or are of other methods, and webhooks that lead to a link.
    pub refused: IntCounter,
    /// Visitors of a link that is not in memory while the database is away.
    pub unavailable: IntCounter,
    /// Visits that led nowhere, by reason.
    orphans: IntCounterVec,
    /// Those that the stream has confirmed.
    pub orphans_published: IntCounter,
    /// Those that were not told of, since their source had been told of often enough.
    pub orphans_of_source: IntCounter,
    /// Those that were not told of, since there had been enough in all.
    pub orphans_in_all: IntCounter,
    /// Those that found no place in the queue.
    pub orphans_queue_full: IntCounter,
    /// Those of a workspace that has nothing recorded.
    pub orphans_untracked: IntCounter,
    /// Those that broker or database could not take care of.
    pub orphans_unpublished: IntCounter,
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
    /// Times that all is looked up anew because notices of changes may have been missed.
    pub refreshes: IntCounter,
    /// Clicks written to the spool.
    pub clicks_spooled: IntCounter,
    /// Clicks that the spool could not take: handed to the broker from memory, or lost.
    pub clicks_unspooled: IntCounter,
    /// Those of them that wait in memory for the broker.
    pub clicks_in_memory: IntGauge,
    /// Clicks that the stream has taken.
    pub clicks_shipped: IntCounter,
    /// Clicks that neither the spool nor the stream took.
    pub clicks_lost: IntCounter,
    /// Clicks of the spool that the database was found to hold.
    pub clicks_confirmed: IntCounter,
    /// Clicks that were published again because the database did not hold them.
    pub clicks_republished: IntCounter,
    /// Clicks that the spool let go of, for want of room, without knowing that the database holds them.
    pub clicks_freed_unconfirmed: IntCounter,
    /// Clicks whose file was put aside because they never reached the database.
    pub clicks_put_aside: IntCounter,
    /// Attempts to publish that will be repeated.
    pub publish_failures: IntCounter,
    /// Size of the spool.
    pub spool_bytes: IntGauge,
    /// Part of it that the stream has not taken.
    pub spool_unshipped_bytes: IntGauge,
    /// Clicks in it that are not known to stand in the database.
    pub spool_unconfirmed_clicks: IntGauge,
    /// Time since its oldest click.
    pub spool_oldest_click_age_seconds: IntGauge,
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
        let make = Maker::new(registry, "redirect");
        let answers = make.counters(
            "answers_total",
            "Answers to visitors, by what became of the request.",
            &["outcome"],
        )?;
        let orphans = make.counters("orphans_total", "Visits that led nowhere, by why.", &["reason"])?;
        let orphans_dropped = make.counters(
            "orphans_dropped_total",
            "Visits that led nowhere and that the stream was not told of, by why.",
            &["cause"],
        )?;
        // a counter that begins with its first event hides that event from `increase`
        for reason in OrphanReason::ALL {
            orphans.with_label_values(&[reason.as_str()]);
        }
        let lookups = make.counters("lookups_total", "Look-ups of links, by who answered.", &["source"])?;
        Ok(Self {
            followed_tracked: answers.with_label_values(&["followed"]),
            followed_untracked: answers.with_label_values(&["followed_untracked"]),
            closed: answers.with_label_values(&["closed"]),
            blocked: answers.with_label_values(&["blocked"]),
            previewed: answers.with_label_values(&["previewed"]),
            confirm_asked: answers.with_label_values(&["confirm_asked"]),
            not_found: answers.with_label_values(&["not_found"]),
            noise: answers.with_label_values(&["scanner_noise"]),
            limited: answers.with_label_values(&["limited"]),
            prefetch_refused: answers.with_label_values(&["prefetch_refused"]),
            inspected: answers.with_label_values(&["inspected"]),
            password_asked: answers.with_label_values(&["password_asked"]),
            password_wrong: answers.with_label_values(&["password_wrong"]),
            refused: answers.with_label_values(&["refused"]),
            unavailable: answers.with_label_values(&["unavailable"]),
            preambles_refused: make.counter(
                "preambles_refused_total",
                "Connections of trusted proxies that were closed because they did not begin with a PROXY preamble.",
            )?,
            broken_ranges: make.counter(
                "broken_ranges_total",
                "Changed files of the provider's ranges that cannot serve; the content before them does.",
            )?,
            orphans,
            orphans_published: make.counter(
                "orphans_published_total",
                "Visits that led nowhere and that the stream CLICKS has confirmed.",
            )?,
            orphans_of_source: orphans_dropped.with_label_values(&["source_limit"]),
            orphans_in_all: orphans_dropped.with_label_values(&["total_limit"]),
            orphans_queue_full: orphans_dropped.with_label_values(&["queue_full"]),
            orphans_untracked: orphans_dropped.with_label_values(&["tracking_off"]),
            orphans_unpublished: orphans_dropped.with_label_values(&["unpublished"]),
            answer_seconds: make.histogram(
                "answer_seconds",
                "Time from a request to its answer.",
                &ANSWER_BUCKETS,
            )?,
            lookups_cached: lookups.with_label_values(&["memory"]),
            lookups_loaded: lookups.with_label_values(&["database"]),
            lookups_stale: lookups.with_label_values(&["memory_stale"]),
            lookups_failed: lookups.with_label_values(&["none"]),
            refreshes: make.counter(
                "refreshes_total",
                "Times that all links were set to be looked up anew because notices of changes may have been missed: \
                 once for each of their two subjects when it is first followed, and after each interruption.",
            )?,
            clicks_spooled: make.counter("clicks_spooled_total", "Clicks written to the spool.")?,
            clicks_unspooled: make.counter(
                "clicks_unspooled_total",
                "Clicks that the spool could not take: handed to the broker from memory, or lost.",
            )?,
            clicks_in_memory: make.gauge(
                "clicks_in_memory",
                "Clicks that the spool could not take and that wait in memory for the broker.",
            )?,
            clicks_shipped: make.counter("clicks_shipped_total", "Clicks that the stream CLICKS has taken.")?,
            clicks_lost: make.counter(
                "clicks_lost_total",
                "Clicks that neither the spool nor the stream took.",
            )?,
            clicks_confirmed: make.counter(
                "clicks_confirmed_total",
                "Clicks of the spool that were found in the database.",
            )?,
            clicks_republished: make.counter(
                "clicks_republished_total",
                "Clicks that were published again because the database did not hold them.",
            )?,
            clicks_freed_unconfirmed: make.counter(
                "clicks_freed_unconfirmed_total",
                "Clicks that a crowded spool let go of before they were found in the database.",
            )?,
            clicks_put_aside: make.counter(
                "clicks_put_aside_total",
                "Clicks whose spool file was put aside because they never reached the database.",
            )?,
            publish_failures: make.counter(
                "publish_failures_total",
                "Attempts to publish that are repeated.",
            )?,
            spool_bytes: make.gauge("spool_bytes", "Size of the spool.")?,
            spool_unshipped_bytes: make.gauge(
                "spool_unshipped_bytes",
                "Part of the spool that the stream has not taken.",
            )?,
            spool_unconfirmed_clicks: make.gauge(
                "spool_unconfirmed_clicks",
                "Clicks in the spool that were not found in the database yet; those of an earlier run count once read.",
            )?,
            spool_oldest_click_age_seconds: make.gauge(
                "spool_oldest_click_age_seconds",
                "Time since the oldest click in the spool; 0 when there is none.",
            )?,
            spool_damaged_bytes: make.counter(
                "spool_damaged_bytes_total",
                "Bytes of the spool that could not be read back.",
            )?,
            spool_sync_failures: make.counter(
                "spool_sync_failures_total",
                "Flushes of the spool that failed.",
            )?,
        })
    }

    /// Counts a visit that led nowhere.
    pub fn orphan(&self, reason: OrphanReason) {
        self.orphans.with_label_values(&[reason.as_str()]).inc();
    }
}
