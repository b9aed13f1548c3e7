//! Publishes clicks that the spool could not take, from memory, while the broker lives.

use std::time::Duration;

use bus::Publisher;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::segment;
use crate::metrics::Metrics;

/// How often a click is published before it is given up.
const ATTEMPTS: u32 = 3;

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
        for attempt in 1..=ATTEMPTS {
            let messages = self.in_hand.iter().map(segment::decode).collect();
            let mut results = publisher.publish_all(messages).await.into_iter();
            self.in_hand.retain(|_| {
                let is_shipped = matches!(results.next(), Some(Ok(())));
                self.metrics.clicks_shipped.inc_by(u64::from(is_shipped));
                !is_shipped
            });
            if self.in_hand.is_empty() {
                return;
            }
            if attempt < ATTEMPTS {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn give_up(&mut self) {
        if self.in_hand.is_empty() {
            return;
        }
        let clicks = self.in_hand.len();
        self.in_hand.clear();
        self.metrics.clicks_lost.inc_by(clicks as u64);
        error!(clicks, "clicks are lost: neither the spool nor the broker took them");
    }
}
