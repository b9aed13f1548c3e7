//! Metrics that are registered as they are made: none is counted in and never shown.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Makes the metrics of one service. Each is named by what follows `clickwire_<service>_`, and registered; a name that is taken
/// is an error.
pub struct Maker<'a> {
    registry: &'a Registry,
    service: &'a str,
}

impl<'a> Maker<'a> {
    /// For the metrics of `service`, named without `clickwire-`.
    pub fn new(registry: &'a Registry, service: &'a str) -> Self {
        Self { registry, service }
    }

    /// What only grows.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn counter(&self, rest: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.registered(IntCounter::new(self.name(rest), help))
    }

    /// The same, by labels.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn counters(&self, rest: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.registered(IntCounterVec::new(Opts::new(self.name(rest), help), labels))
    }

    /// What rises and falls.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn gauge(&self, rest: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.registered(IntGauge::new(self.name(rest), help))
    }

    /// What is spread over `buckets`.
    ///
    /// # Errors
    /// When the name is taken, or the buckets do not ascend.
    pub fn histogram(&self, rest: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        let options = HistogramOpts::new(self.name(rest), help).buckets(buckets.to_vec());
        self.registered(Histogram::with_opts(options))
    }

    /// The same, by labels.
    ///
    /// # Errors
    /// When the name is taken, or the buckets do not ascend.
    pub fn histograms(
        &self,
        rest: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(self.name(rest), help).buckets(buckets.to_vec());
        self.registered(HistogramVec::new(options, labels))
    }

    /// The whole name of a metric.
    pub fn name(&self, rest: &str) -> String {
        format!("clickwire_{}_{rest}", self.service)
    }

    /// Registers what was made elsewhere.
    ///
    /// # Errors
    /// When it could not be made, or its name is taken.
    pub fn registered<C: Collector + Clone + 'static>(
        &self,
        made: prometheus::Result<C>,
    ) -> prometheus::Result<C> {
        let collector = made?;
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn what_is_made_is_shown_under_its_service() {
        let registry = Registry::new();
        let make = Maker::new(&registry, "record");

        make.counter("things_total", "Things.").expect("a counter").inc();
        make.counters("kinds_of_thing_total", "Kinds.", &["kind"])
            .expect("counters")
            .with_label_values(&["a"])
            .inc();
        make.histogram("thing_seconds", "How long.", &[1.0]).expect("a histogram").observe(0.5);

        let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("a text");
        for line in [
            "# HELP clickwire_record_things_total Things.",
            "clickwire_record_things_total 1",
            "clickwire_record_kinds_of_thing_total{kind=\"a\"} 1",
            "clickwire_record_thing_seconds_bucket{le=\"1\"} 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{text}");
        }
    }

    #[test]
    fn a_name_is_given_once() {
        let registry = Registry::new();
        let make = Maker::new(&registry, "record");
        make.counter("things_total", "Things.").expect("a counter");

        assert!(make.counter("things_total", "Things.").is_err());
        assert!(make.gauge("things_total", "Things.").is_err());
    }
}
