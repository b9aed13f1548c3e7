//! Makes the partitions of the coming days before anything is written to them.

use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use store::{Pool, partitions};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Makes them now and then every `every`, until `stop`. A failure is tried again next time: until the default
/// partition takes what has no other.
pub async fn keep_ahead(pool: Pool, every: Duration, days_ahead: u32, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = make(&pool, days_ahead).await {
            warn!(error = format!("{error:#}"), "partitions of the coming days could not be made");
        }
        stop.run_until_cancelled(tokio::time::sleep(every)).await;
    }
}

async fn make(pool: &Pool, days_ahead: u32) -> anyhow::Result<()> {
    let mut conn = pool.get().await?;
    partitions::ensure(&mut conn, Utc::now().date_naive(), days_ahead)
        .await
        .context("failed to make partitions")?;
    Ok(())
}
