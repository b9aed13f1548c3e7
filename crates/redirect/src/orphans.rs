//! Tells of visits that led nowhere: by the stream CLICKS, best effort, beside the visitor's way.
//!
//! Such a visit is not a click, and anybody can make as many as they like. So no visitor waits for one, none goes through
//! the spool, and how many are told of is limited: for each source, so that a scanner does not drown the rest, and in
//! all, so that a thousand scanners do not flood the stream. What is not told is counted.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Message, Publisher};
use model::Orphan;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::cache::Unavailable;
use crate::links::Links;
use crate::metrics::Metrics;
use crate::settings::OrphanSettings;
use service::tally::{SLOTS, Tally, wide_network};

/// Visits that wait to be published.
const QUEUE_MAX: usize = 1024;

/// Visits that are published at a time.
const BATCH_MAX: usize = 256;

/// Takes visits that led nowhere. Clones share the limits.
#[derive(Debug, Clone)]
pub struct Orphans {
    queue: mpsc::Sender<Orphan>,
    limits: Arc<Limits>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Limits {
    of_source: Tally,
    in_all: Tally,
}

/// Publishes what [`Orphans`] took.
pub struct OrphanPublisher {
    queue: mpsc::Receiver<Orphan>,
    in_hand: Vec<Orphan>,
    links: Links,
    metrics: Metrics,
}

/// A way in for visitors' workers and a way out to the stream.
pub fn open(settings: &OrphanSettings, links: Links, metrics: &Metrics) -> (Orphans, OrphanPublisher) {
    let (queue, waiting) = mpsc::channel(QUEUE_MAX);
    let limits = Limits {
        of_source: Tally::new(SLOTS, settings.per_source),
        in_all: Tally::new(1, settings.per_minute),
    };
    let orphans = Orphans { queue, limits: Arc::new(limits), metrics: metrics.clone() };
    let publisher = OrphanPublisher { queue: waiting, in_hand: Vec::new(), links, metrics: metrics.clone() };
    (orphans, publisher)
}

impl Orphans {
    /// Tells of a visit of `client`, if the limits allow; `orphan` is not put together otherwise. Never waits.
    pub fn tell(&self, client: IpAddr, now: Instant, orphan: impl FnOnce() -> Orphan) {
        let dropped = if self.limits.of_source.take(wide_network(client), now).is_err() {
            &self.metrics.orphans_of_source
        } else if self.limits.in_all.take((), now).is_err() {
            &self.metrics.orphans_in_all
        } else if self.queue.try_send(orphan()).is_err() {
            &self.metrics.orphans_queue_full
        } else {
            return;
        };
        dropped.inc();
    }
}

impl OrphanPublisher {
    /// Publishes until `stop`, then what is left for up to `drain_timeout`.
    pub async fn run(mut self, publisher: Publisher, stop: CancellationToken, drain_timeout: Duration) {
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(drain_timeout).await;
        };
        tokio::select! {
            () = self.publish_all(&publisher, &stop) => {}
            () = over => {}
        }
        self.queue.close();
        let left = self.in_hand.len() + self.queue.len();
        self.metrics.orphans_unpublished.inc_by(left as u64);
    }

    async fn publish_all(&mut self, publisher: &Publisher, stop: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                _ = self.queue.recv_many(&mut self.in_hand, BATCH_MAX) => {}
                () = stop.cancelled() => {}
            }
            if self.in_hand.is_empty() {
                return;
            }
            self.address().await;
            let messages = self.in_hand.iter().map(Message::outgoing).collect();
            let results = publisher.publish_all(messages).await;
            self.in_hand.clear();
            for result in results {
                match result {
                    Ok(()) => self.metrics.orphans_published.inc(),
                    Err(error) => {
                        debug!(error = format!("{error:#}"), "a visit that led nowhere is not told of");
                        self.metrics.orphans_unpublished.inc();
                    }
                }
            }
        }
    }

    /// Finds out whose domain was visited, and forgets visits of those who want nothing recorded.
    async fn address(&mut self) {
        let mut told = Vec::with_capacity(self.in_hand.len());
        while let Some(orphan) = self.in_hand.pop() {
            if orphan.workspace_id.is_some() {
                told.push(orphan);
                continue;
            }
            match self.links.domain(&orphan.host, Instant::now()).await {
                Ok(Some(domain)) if !domain.is_tracking => self.metrics.orphans_untracked.inc(),
                Ok(domain) => {
                    let workspace_id = domain.map(|domain| domain.workspace_id);
                    told.push(Orphan { workspace_id, ..orphan });
                }
                Err(Unavailable) => self.metrics.orphans_unpublished.inc(),
            }
        }
        told.reverse();
        self.in_hand = told;
    }
}
