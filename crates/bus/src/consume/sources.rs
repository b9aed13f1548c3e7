//! Where a consumer's messages come from: one durable consumer, or one for each partition, pulled side by side.

use async_nats::jetstream::{AckKind, Message};
use chrono::DateTime;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::metrics::Counters;
use super::progress::Progress;
use super::pull::{PullError, Pulled, Puller};
use super::sharing::Holdings;
use super::{ANSWER_LIMIT, REOPEN_PAUSE, Takeover};
use crate::connect::Bus;
use crate::topology::{ConsumerName, Durable};

/// The durable consumers of one consumer of ours.
pub(super) struct Sources {
    idle: Vec<Source>,
    /// Those that wait for messages. They go on waiting from batch to batch.
    pulling: FuturesUnordered<BoxFuture<'static, (Source, Result<Pulled, PullError>)>>,
    /// Kept here so that it can be handed back when we stop.
    gathered: Gathered,
    stop: CancellationToken,
}

/// Messages for one batch.
#[derive(Default)]
pub(super) struct Gathered {
    pub messages: Vec<Message>,
    /// Partitions that have become ours with these messages.
    pub taken_over: Vec<Takeover>,
    /// Where they come from.
    pub durables: Vec<Durable>,
}

struct Source {
    bus: Bus,
    durable: Durable,
    progress: Progress,
    holdings: Holdings,
    counters: Counters,
    stop: CancellationToken,
    puller: Option<Puller>,
    has_failed: bool,
}

impl Sources {
    /// The durable consumers of `name`; from `stop` on nothing is waited for.
    pub fn new(
        bus: &Bus,
        name: ConsumerName,
        progress: &Progress,
        holdings: &Holdings,
        counters: &Counters,
        stop: &CancellationToken,
    ) -> Self {
        let source = |durable| Source {
            bus: bus.clone(),
            durable,
            progress: progress.clone(),
            holdings: holdings.clone(),
            counters: counters.clone(),
            stop: stop.clone(),
            puller: None,
            has_failed: false,
        };
        let idle = name.durables().into_iter().map(source).collect();
        Self { idle, pulling: FuturesUnordered::new(), gathered: Gathered::default(), stop: stop.clone() }
    }

    /// Waits until there is something, and brings it with what is there beside it: up to `max` messages of each source, and
    /// from no further source once there are so many. From `stop` on it brings nothing more: whoever waits heeds `stop` too.
    pub async fn next(&mut self, max: usize) -> Gathered {
        while self.gathered.messages.is_empty() {
            // the sources wait for nothing any more: asked again and again, they would never let go of this thread
            if self.stop.is_cancelled() {
                return std::future::pending().await;
            }
            self.pulling.extend(self.idle.drain(..).map(|source| source.next(max).boxed()));
            if let Some((source, pulled)) = self.pulling.next().await {
                self.add(source, pulled).await;
            }
        }
        while self.gathered.messages.len() < max
            && let Some(Some((source, pulled))) = self.pulling.next().now_or_never()
        {
            self.add(source, pulled).await;
        }
        std::mem::take(&mut self.gathered)
    }

    async fn add(&mut self, mut source: Source, pulled: Result<Pulled, PullError>) {
        match pulled {
            Ok(pulled) => {
                self.gathered.taken_over.extend(source.takeover(&pulled));
                self.gathered.durables.push(source.durable);
                self.gathered.messages.extend(pulled.messages);
            }
            Err(error) => source.fail(&error).await,
        }
        self.idle.push(source);
    }

    /// Hands back what has come and nobody will handle. After `stop` only. The pullers that are left hold their partitions
    /// until they are asked to give them up.
    pub async fn hand_back(mut self) -> Vec<Puller> {
        while let Some((source, pulled)) = self.pulling.next().await {
            self.add(source, pulled).await;
        }
        for message in &self.gathered.messages {
            let _ = message.ack_with(AckKind::Nak(None)).await;
        }
        let mut pullers: Vec<Puller> = self.idle.into_iter().filter_map(|source| source.puller).collect();
        for puller in &mut pullers {
            puller.hand_back().await;
        }
        pullers
    }
}

impl Source {
    async fn next(mut self, max: usize) -> (Self, Result<Pulled, PullError>) {
        let stop = self.stop.clone();
        let pulled = stop.run_until_cancelled(self.pull(max)).await;
        (self, pulled.unwrap_or_else(|| Ok(Pulled::default())))
    }

    async fn pull(&mut self, max: usize) -> Result<Pulled, PullError> {
        if std::mem::take(&mut self.has_failed) {
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
        let puller = match &mut self.puller {
            Some(puller) => puller,
            None => {
                let puller = Puller::open(
                    &self.bus,
                    self.durable,
                    self.holdings.clone(),
                    self.progress.clone(),
                    self.counters.clone(),
                )
                .await?;
                self.puller.insert(puller)
            }
        };
        puller.next(max).await
    }

    fn takeover(&self, pulled: &Pulled) -> Option<Takeover> {
        let partition = self.durable.partition.filter(|_| pulled.is_taken_over)?;
        let infos = pulled.messages.iter().filter_map(|message| message.info().ok());
        let first = infos.min_by_key(|info| info.stream_sequence)?;
        let nanoseconds = i64::try_from(first.published.unix_timestamp_nanos()).ok()?;
        let published_at = DateTime::from_timestamp_nanos(nanoseconds);
        Some(Takeover { partition, sequence: first.stream_sequence, published_at })
    }

    async fn fail(&mut self, error: &PullError) {
        self.counters.reopened.inc();
        warn!(%error, consumer = %self.durable, "pulling failed and is tried again");
        self.has_failed = true;
        // late messages of earlier requests may be among what has come
        if let Some(mut puller) = self.puller.take() {
            let _ = tokio::time::timeout(ANSWER_LIMIT, puller.hand_back()).await;
            puller.give_up_partition().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use prometheus::Registry;

    use super::*;
    use crate::consume::ConsumerMetrics;
    use crate::settings::{DEFAULTS, Settings};

    /// Far more than one look takes.
    const LIMIT: Duration = Duration::from_secs(30);

    #[derive(serde::Deserialize)]
    struct Section {
        nats: Settings,
    }

    /// Whether one look at what comes next ends without anything, when `stop` came just before it.
    async fn looks_once_and_waits() -> bool {
        let section: Section = toml::from_str(DEFAULTS).expect("the defaults");
        // nobody answers there, and nobody is asked
        let settings = Settings { url: "nats://127.0.0.1:1".to_owned(), ..section.nats };
        let bus = Bus::connect(&settings, "test").await.expect("a URL");
        let metrics = ConsumerMetrics::register(&Registry::new(), "test").expect("metrics");
        let (name, stop) = (ConsumerName::Record, CancellationToken::new());
        let (progress, holdings, counters) = (Progress::new(name), Holdings::default(), metrics.of(name));
        let mut sources = Sources::new(&bus, name, &progress, &holdings, &counters, &stop);
        stop.cancel();
        sources.next(10).now_or_never().is_none()
    }

    #[test]
    fn a_stop_between_two_looks_does_not_keep_the_thread() {
        let (told, looked) = mpsc::channel();

        // a thread of its own: one that never came back would not end the test
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let _ = told.send(runtime.expect("a runtime").block_on(looks_once_and_waits()));
        });

        assert_eq!(looked.recv_timeout(LIMIT), Ok(true));
    }
}
