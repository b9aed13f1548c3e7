//! Makes the partitions of the coming days before anything is written to them, and drops what is older than it is kept: days of
//! the delivery log, of clicks, and of their counts.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{Days, NaiveDate, NaiveTime, Utc};
use store::{Pool, partitions, rollups};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Old counts that are deleted at a time, of each table.
const OLD_COUNTS_MAX: i64 = 10_000;

/// What there is a partition for.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// So many days to come.
    pub days_ahead: u32,
    /// So many days of the delivery log; 0: all there ever were.
    pub days_kept: u32,
    /// So many days of its attempts, if those are fewer; 0: as many.
    pub attempts_kept: u32,
    /// So many days of clicks; 0: all.
    pub clicks_kept: u32,
    /// So many days of counts; 0: all.
    pub rollups_kept: u32,
}

/// Makes and drops them now and then every `every`, until `stop`. A failure is tried again next time: until then the
/// default partition takes what has no other.
pub async fn keep(pool: Pool, every: Duration, range: Range, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = make(&pool, range.days_ahead).await {
            warn!(error = format!("{error:#}"), "partitions of the coming days could not be made");
        }
        if range.days_kept > 0
            && let Err(error) = drop_old(&pool, range.days_kept).await
        {
            warn!(error = format!("{error:#}"), "old days of the delivery log could not be dropped");
        }
        if range.attempts_kept > 0
            && let Err(error) = drop_old_attempts(&pool, range.attempts_kept).await
        {
            warn!(error = format!("{error:#}"), "old days of attempts could not be dropped");
        }
        if range.clicks_kept > 0
            && let Err(error) = drop_old_clicks(&pool, range.clicks_kept).await
        {
            warn!(error = format!("{error:#}"), "old days of clicks could not be dropped");
        }
        if range.rollups_kept > 0
            && let Some(Err(error)) =
                stop.run_until_cancelled(delete_old_counts(&pool, range.rollups_kept)).await
        {
            warn!(error = format!("{error:#}"), "old counts could not be deleted");
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

async fn drop_old(pool: &Pool, days_kept: u32) -> anyhow::Result<()> {
    let Some(first_kept) = first_kept(days_kept) else { return Ok(()) };
    let mut conn = pool.get().await?;
    partitions::drop_deliveries_before(&mut conn, first_kept).await.context("failed to drop partitions")?;
    Ok(())
}

async fn drop_old_attempts(pool: &Pool, days_kept: u32) -> anyhow::Result<()> {
    let Some(first_kept) = first_kept(days_kept) else { return Ok(()) };
    let mut conn = pool.get().await?;
    partitions::drop_attempts_before(&mut conn, first_kept).await.context("failed to drop partitions")?;
    Ok(())
}

async fn drop_old_clicks(pool: &Pool, days_kept: u32) -> anyhow::Result<()> {
    let Some(first_kept) = first_kept(days_kept) else { return Ok(()) };
    let mut conn = pool.get().await?;
    partitions::drop_clicks_before(&mut conn, first_kept).await.context("failed to drop partitions")?;
    Ok(())
}

async fn delete_old_counts(pool: &Pool, days_kept: u32) -> anyhow::Result<()> {
    let Some(first_kept) = first_kept(days_kept) else { return Ok(()) };
    let before = first_kept.and_time(NaiveTime::MIN).and_utc();
    let mut conn = pool.get().await?;
    while rollups::delete_before(&mut conn, before, OLD_COUNTS_MAX)
        .await
        .context("failed to delete counts")?
        > 0
    {}
    Ok(())
}

fn first_kept(days_kept: u32) -> Option<NaiveDate> {
    Utc::now().date_naive().checked_sub_days(Days::new(days_kept.into()))
}
