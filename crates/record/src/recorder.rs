//! Keeps every enriched click once, in batches of one statement.

use std::time::Duration;

use anyhow::Context as _;
use bus::{Handler, Message as _, Verdict, Verdicts};
use bytes::Bytes;
use chrono::Utc;
use model::EnrichedClick;
use store::Pool;
use store::clicks::{self, NewClick};
use tracing::{debug, warn};

use crate::metrics::Metrics;

/// Writes ENRICHED into `clicks`.
pub struct Recorder {
    pool: Pool,
    retry_delay: Duration,
    metrics: Metrics,
}

impl Recorder {
    /// A recorder that hands clicks back for `retry_delay` while the database cannot take them.
    pub fn new(pool: Pool, retry_delay: Duration, metrics: Metrics) -> Self {
        Self { pool, retry_delay, metrics }
    }

    async fn record(&self, batch: &[EnrichedClick]) -> anyhow::Result<()> {
        let events: Vec<Bytes> = batch.iter().map(|click| click.outgoing().payload).collect();
        let rows = batch.iter().zip(&events).map(|(click, event)| NewClick { click, event });
        // a sample is nobody's click
        let rows: Vec<NewClick<'_>> = rows.filter(|new| !new.click.test).collect();
        let mut conn = self.pool.get().await?;
        let written = clicks::record(&mut conn, &rows, Utc::now()).await.context("failed to write clicks")?;
        self.metrics.clicks_total.inc_by(written as u64);
        self.metrics.repeated_clicks_total.inc_by((batch.len() - written) as u64);
        debug!(clicks = batch.len(), written, "recorded");
        Ok(())
    }
}

impl Handler for Recorder {
    type Message = EnrichedClick;

    async fn handle(&self, batch: &[EnrichedClick]) -> Verdicts {
        match self.record(batch).await {
            Ok(()) => Verdicts::all(Verdict::Done),
            Err(error) => {
                warn!(
                    error = format!("{error:#}"),
                    clicks = batch.len(),
                    "recording failed; the clicks come again"
                );
                Verdicts::all(Verdict::Retry(self.retry_delay))
            }
        }
    }
}
