//! Copies what was put aside into a table, where it can be listed and outlives the stream.

use std::time::Duration;

use anyhow::Context as _;
use bus::{Handler, Verdict, Verdicts};
use store::Pool;
use store::quarantine::{self, Quarantined};
use store::tombstones;
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
        let mut rows: Vec<Quarantined> = batch.iter().map(row).collect();
        let mut conn = self.pool.get().await?;
        let contacts: Vec<_> = batch.iter().map(|message| bus::erased::contact(&message.payload)).collect();
        let named =
            contacts.iter().flatten().map(|(workspace_id, contact)| (*workspace_id, contact.as_str()));
        let erased = tombstones::erased(&mut conn, named).await.context("failed to look for tombstones")?;
        for (row, contact) in rows.iter_mut().zip(&contacts) {
            if contact.as_ref().is_some_and(|contact| erased.contains(contact)) {
                // only which message it was is kept, as when people remove it
                row.payload.clear();
                row.reason.clear();
                row.removed_at = Some(row.quarantined_at);
            }
        }
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
        removed_at: None,
    }
}
