//! Publishes clicks that the spool could not take, from memory, while the broker lives.

use std::time::{Duration, Instant};

use bus::Publisher;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::segment;
use crate::metrics::Metrics;

/// How long clicks are published again before they are given up. A cluster that has lost a node refuses everything until it
/// has chosen another leader, for ten seconds and more. What comes meanwhile waits behind them, up to
/// `redirect.spool.direct_max`.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause before the next attempt.
const PAUSE: Duration = Duration::from_millis(500);

/// Receives the clicks that could not be appended.
#[derive(Debug)]
pub struct Direct {
    clicks: mpsc::Receiver<Bytes>,
    in_hand: Vec<Bytes>,
    metrics: Metrics,
    window_max: usize,
}

impl Direct {
    pub(super) fn new(clicks: mpsc::Receiver<Bytes>, metrics: Metrics, window_max: usize) -> Self {
        Self { clicks, in_hand: Vec::new(), metrics, window_max }
    }

    /// Publishes until `stop`, then what is left for up to `drain_timeout`.
    pub async fn run(mut self, publisher: Publisher, stop: CancellationToken, drain_timeout: Duration) {
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(drain_timeout).await;
        };
        tokio::select! {
            () = self.ship(&publisher, &stop) => {}
            () = over => {}
        }
        self.clicks.close();
        while let Ok(click) = self.clicks.try_recv() {
            self.in_hand.push(click);
        }
        self.give_up();
    }

    async fn ship(&mut self, publisher: &Publisher, stop: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                _ = self.clicks.recv_many(&mut self.in_hand, self.window_max) => {}
                () = stop.cancelled() => {}
            }
            if self.in_hand.is_empty() {
                return;
            }
            self.publish(publisher).await;
            self.give_up();
        }
    }

    async fn publish(&mut self, publisher: &Publisher) {
        let since = Instant::now();
        loop {
            let messages = self.in_hand.iter().map(segment::decode).collect();
            let mut results = publisher.publish_all(messages).await.into_iter();
            let (before, mut refused) = (self.in_hand.len(), 0);
            self.in_hand.retain(|_| match results.next() {
                Some(Ok(())) => false,
                Some(Err(refusal)) if refusal.is_permanent() => {
                    refused += 1;
                    false
                }
                _ => true,
            });
            let done = before - self.in_hand.len();
            self.metrics.clicks_shipped.inc_by((done - refused) as u64);
            self.let_go(done - refused);
            self.lose(refused);
            if self.in_hand.is_empty() || since.elapsed() >= PATIENCE {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn give_up(&mut self) {
        let clicks = self.in_hand.len();
        self.in_hand.clear();
        self.lose(clicks);
    }

    fn lose(&self, clicks: usize) {
        if clicks == 0 {
            return;
        }
        self.let_go(clicks);
        self.metrics.clicks_lost.inc_by(clicks as u64);
        error!(clicks, "clicks are lost: neither the spool nor the broker took them");
    }

    /// So many wait in memory no longer.
    fn let_go(&self, clicks: usize) {
        self.metrics.clicks_in_memory.sub(i64::try_from(clicks).unwrap_or(i64::MAX));
    }
}
