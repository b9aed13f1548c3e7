//! What the consumer loop counts, for every service alike.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::topology::ConsumerName;

/// What became of a message; the closed set of label `verdict`.
pub(super) mod verdict {
    pub const DONE: &str = "done";
    pub const RETRY: &str = "retry";
    pub const REJECTED: &str = "rejected";
    pub const UNDECODABLE: &str = "undecodable";
    pub const PANICKED: &str = "panicked";
    pub const HANDED_BACK: &str = "handed_back";
}

/// Metrics of the consumers of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConsumerMetrics {
    messages: IntCounterVec,
    batch_seconds: HistogramVec,
    in_flight: IntGaugeVec,
    pending: IntGaugeVec,
    redelivered: IntCounterVec,
    reopened: IntCounterVec,
}

impl ConsumerMetrics {
    /// Registers `clickwire_<service>_messages_total` and its siblings.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub fn register(registry: &Registry, service: &str) -> prometheus::Result<Self> {
        let name = |rest: &str| format!("clickwire_{service}_{rest}");
        let metrics = Self {
            messages: IntCounterVec::new(
                Opts::new(
                    name("messages_total"),
                    "Messages by what became of them: done, retry (will come again), rejected, undecodable and panicked \
                     (put aside on QUARANTINE), handed_back (at shutdown)",
                ),
                &["consumer", "verdict"],
            )?,
            batch_seconds: HistogramVec::new(
                HistogramOpts::new(
                    name("batch_seconds"),
                    "Time from a batch's arrival to its last acknowledgement",
                )
                .buckets(prometheus::exponential_buckets(0.001, 2.5, 12)?),
                &["consumer"],
            )?,
            in_flight: IntGaugeVec::new(
                Opts::new(name("messages_in_flight"), "Messages in hand"),
                &["consumer"],
            )?,
            pending: IntGaugeVec::new(
                Opts::new(
                    name("messages_pending"),
                    "Messages that waited on the stream when the last one came",
                ),
                &["consumer"],
            )?,
            redelivered: IntCounterVec::new(
                Opts::new(name("messages_redelivered_total"), "Messages that had been delivered before"),
                &["consumer"],
            )?,
            reopened: IntCounterVec::new(
                Opts::new(
                    name("stream_reopened_total"),
                    "Pull requests that failed and were made again after a pause",
                ),
                &["consumer"],
            )?,
        };
        registry.register(Box::new(metrics.messages.clone()))?;
        registry.register(Box::new(metrics.batch_seconds.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.pending.clone()))?;
        registry.register(Box::new(metrics.redelivered.clone()))?;
        registry.register(Box::new(metrics.reopened.clone()))?;
        Ok(metrics)
    }

    pub(super) fn of(&self, consumer: ConsumerName) -> Counters {
        let label = &[consumer.as_str()];
        Counters {
            consumer,
            messages: self.messages.clone(),
            batch_seconds: self.batch_seconds.with_label_values(label),
            in_flight: self.in_flight.with_label_values(label),
            pending: self.pending.clone(),
            redelivered: self.redelivered.with_label_values(label),
            reopened: self.reopened.with_label_values(label),
        }
    }
}

/// Metrics of one consumer.
#[derive(Debug, Clone)]
pub(super) struct Counters {
    consumer: ConsumerName,
    messages: IntCounterVec,
    pub batch_seconds: Histogram,
    pub in_flight: IntGauge,
    pending: IntGaugeVec,
    pub redelivered: IntCounter,
    pub reopened: IntCounter,
}

impl Counters {
    /// So many messages wait at this durable consumer; there is one for each partition.
    pub fn pending(&self, durable: &str, messages: u64) {
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        self.pending.with_label_values(&[durable]).set(messages);
    }

    /// How many wait there is another replica's to say.
    pub fn forget_pending(&self, durable: &str) {
        // it may never have been said
        let _ = self.pending.remove_label_values(&[durable]);
    }

    pub fn count(&self, verdict: &str, messages: usize) {
        if messages > 0 {
            let messages = u64::try_from(messages).unwrap_or(u64::MAX);
            self.messages.with_label_values(&[self.consumer.as_str(), verdict]).inc_by(messages);
        }
    }
}
