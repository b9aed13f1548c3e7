//! A handler that remembers, and consumers that run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{
    Bus, ConsumeError, Consumer, ConsumerMetrics, ConsumerName, Handler, Limits, Message, Publisher, Verdict,
    Verdicts,
};
use model::{Click, ClickId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Generous: it only ends tests that fail.
pub const LIMIT: Duration = Duration::from_secs(60);

pub const LIMITS: Limits = Limits {
    batch_max: 100,
    batches_max: 4,
    gather: Duration::ZERO,
    handle_timeout: Duration::from_secs(30),
    drain_timeout: Duration::from_secs(10),
};

type Judge = dyn Fn(&Click, usize) -> Verdict + Send + Sync;

/// Counts how often it has seen each click, and judges by that.
pub struct Recorder {
    seen: Mutex<BTreeMap<ClickId, usize>>,
    judge: Box<Judge>,
}

impl Recorder {
    /// Is done with everything at once.
    pub fn new() -> Arc<Self> {
        Self::judging(|_, _| Verdict::Done)
    }

    /// Judges by the click and how often it has been seen.
    pub fn judging(judge: impl Fn(&Click, usize) -> Verdict + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { seen: Mutex::default(), judge: Box::new(judge) })
    }

    pub fn seen(&self) -> BTreeMap<ClickId, usize> {
        self.seen.lock().unwrap().clone()
    }

    /// How often it has seen a click.
    pub fn times(&self, click: &Click) -> usize {
        self.seen().get(&click.id).copied().unwrap_or(0)
    }
}

impl Handler for Recorder {
    type Message = Click;

    async fn handle(&self, batch: &[Click]) -> Verdicts {
        let judge = |click: &Click| {
            let times = {
                let mut seen = self.seen.lock().unwrap();
                let times = seen.entry(click.id).or_default();
                *times += 1;
                *times
            };
            (self.judge)(click, times)
        };
        Verdicts::each(batch.iter().map(judge).collect())
    }
}

/// A consumer that runs until it is stopped.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), ConsumeError>>,
    pub ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    pub registry: prometheus::Registry,
}

impl Running {
    pub fn start<H: Handler>(bus: &Bus, name: ConsumerName, limits: Limits, handler: Arc<H>) -> Self {
        let registry = prometheus::Registry::new();
        let metrics = ConsumerMetrics::register(&registry, "test").unwrap();
        let consumer = Consumer::new(bus, name, limits, metrics);
        let ready = Box::new(consumer.progress());
        let stop = CancellationToken::new();
        let task = tokio::spawn(consumer.run(handler, stop.clone()));
        Self { stop, task, ready, registry }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// How many batches were handled.
    pub fn batches(&self) -> u64 {
        let families = self.registry.gather();
        let seconds = families.iter().find(|family| family.name() == "clickwire_test_batch_seconds");
        let batches = seconds.into_iter().flat_map(|family| family.get_metric());
        batches.map(|metric| metric.get_histogram().get_sample_count()).sum()
    }

    /// How many messages became of this verdict.
    pub fn count(&self, verdict: &str) -> f64 {
        let families = self.registry.gather();
        let messages = families.iter().find(|family| family.name() == "clickwire_test_messages_total");
        let counters = messages.into_iter().flat_map(|family| family.get_metric());
        let labelled =
            counters.filter(|metric| metric.get_label().iter().any(|label| label.value() == verdict));
        labelled.map(|metric| metric.get_counter().get_value()).sum()
    }
}

/// Publishes again until the stream has it, as every publisher of ours does.
pub async fn publish_until_stored<M: Message>(publisher: &Publisher, message: &M) {
    while let Err(error) = publisher.publish(message.outgoing()).await {
        assert!(!error.is_permanent(), "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Something to wait for.
pub fn when(condition: bool) -> Option<()> {
    condition.then_some(())
}
