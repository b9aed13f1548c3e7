//! Publishes events from the outbox: they are there exactly when the transaction that caused them was committed.

use std::time::Duration;

use anyhow::Context as _;
use bus::{Event, Message as _, Publisher};
use store::outbox::{self, Waiting};
use store::{AsyncConnection as _, Pool};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::metrics::Metrics;

/// Relays the outbox to EVENTS. Several may run: each holds the rows that it is about to publish.
pub struct Outbox {
    pool: Pool,
    publisher: Publisher,
    batch_max: u32,
    metrics: Metrics,
}

impl Outbox {
    /// A relay that takes `batch_max` events at a time.
    pub fn new(pool: Pool, publisher: Publisher, batch_max: u32, metrics: Metrics) -> Self {
        Self { pool, publisher, batch_max, metrics }
    }

    /// Relays until `stop`; looks again after `poll` when there was nothing, or when something failed.
    pub async fn run(self, poll: Duration, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.step().await {
                Ok(published) if published > 0 => continue,
                Ok(_) => {}
                Err(error) => warn!(error = format!("{error:#}"), "events stay in the outbox for now"),
            }
            stop.run_until_cancelled(tokio::time::sleep(poll)).await;
        }
    }

    /// Publishes the oldest events and removes those that the stream confirmed; tells how many.
    ///
    /// The rows stay locked while the broker answers, which takes at most twice `nats.request_timeout`: without the lock two
    /// relays would publish the same events side by side. Whoever dies in between leaves the rows to the next one, and the
    /// broker recognises their ids.
    ///
    /// # Errors
    /// When the database or the broker is away.
    pub async fn step(&self) -> anyhow::Result<usize> {
        let mut conn = self.pool.get().await?;
        let (published, failure) = conn
            .transaction(async |conn| {
                let waiting = outbox::lock_oldest(conn, i64::from(self.batch_max)).await?;
                if waiting.is_empty() {
                    return Ok((0, None));
                }
                let ids: Vec<_> = waiting.iter().map(|event| event.id).collect();
                let messages = waiting.into_iter().map(|event| message(event).outgoing()).collect();
                let results = self.publisher.publish_all(messages).await;
                let mut gone = Vec::with_capacity(ids.len());
                let mut failure = None;
                for (id, result) in ids.into_iter().zip(results) {
                    match result {
                        Ok(()) => gone.push(id),
                        Err(error) if error.is_permanent() => {
                            error!(event.id = %id, %error, "an event can never be published and is dropped");
                            self.metrics.dropped_events_total.inc();
                            gone.push(id);
                        }
                        Err(error) => failure = failure.or(Some(error)),
                    }
                }
                outbox::remove(conn, &gone).await?;
                store::QueryResult::Ok((gone.len(), failure))
            })
            .await
            .context("failed to read the outbox")?;
        self.metrics.events_total.inc_by(published as u64);
        match failure {
            Some(error) => Err(error).context("failed to publish events"),
            None => Ok(published),
        }
    }
}

fn message(waiting: Waiting) -> Event {
    Event {
        id: waiting.id,
        workspace_id: waiting.workspace_id,
        event_type: waiting.event_type,
        occurred_at: waiting.occurred_at,
        data: waiting.data.to_string(),
    }
}
