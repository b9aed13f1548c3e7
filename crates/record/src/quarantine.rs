//! Copies what was put aside into a table, where it can be listed and outlives the stream.

use std::time::Duration;

use anyhow::Context as _;
use bus::{Handler, Verdict, Verdicts};
use store::Pool;
use store::quarantine::{self, Quarantined};
use tracing::warn;

use crate::metrics::Metrics;

/// Writes QUARANTINE into `quarantine`.
pub struct QuarantineKeeper {
    pool: Pool,
    retry_delay: Duration,
    metrics: Metrics,
}

impl QuarantineKeeper {
    /// A keeper that hands messages back for `retry_delay` while the database cannot take them.
    pub fn new(pool: Pool, retry_delay: Duration, metrics: Metrics) -> Self {
        Self { pool, retry_delay, metrics }
    }

    async fn keep(&self, batch: &[bus::Quarantined]) -> anyhow::Result<()> {
        let rows: Vec<Quarantined> = batch.iter().map(row).collect();
        let mut conn = self.pool.get().await?;
        let kept = quarantine::insert(&mut conn, &rows).await.context("failed to write the quarantine")?;
        self.metrics.quarantined_total.inc_by(kept as u64);
        Ok(())
    }
}

impl Handler for QuarantineKeeper {
    type Message = bus::Quarantined;

    async fn handle(&self, batch: &[bus::Quarantined]) -> Verdicts {
        match self.keep(batch).await {
            Ok(()) => Verdicts::all(Verdict::Done),
            Err(error) => {
                warn!(
                    error = format!("{error:#}"),
                    messages = batch.len(),
                    "the quarantine could not be written"
                );
                Verdicts::all(Verdict::Retry(self.retry_delay))
            }
        }
    }
}

fn row(message: &bus::Quarantined) -> Quarantined {
    Quarantined {
        stream: message.stream.clone(),
        stream_sequence: i64::try_from(message.stream_sequence).unwrap_or(i64::MAX),
        message_id: message.message_id.clone(),
        consumer: message.consumer.clone(),
        subject: message.subject.clone(),
        // PostgreSQL refuses the character NUL, which the message of a panic may contain
        reason: message.reason.replace('\0', ""),
        payload: message.payload.to_vec(),
        quarantined_at: message.quarantined_at,
    }
}
