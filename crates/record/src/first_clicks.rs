//! Forgets places among first clicks that nobody can ask for any more, once a day and little by little.

use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use store::{Pool, first_clicks};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often the table is looked through. Whoever starts begins with it.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Pause after each part of the table, which leaves the disk to others.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks through the table now and then every day, until `stop`. After a failure it begins anew the next day; several may look at
/// once.
pub async fn forget_old(pool: Pool, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Some(Err(error)) = stop.run_until_cancelled(look_through(&pool)).await {
            warn!(error = format!("{error:#}"), "old first clicks could not be forgotten");
        }
        stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
    }
}

async fn look_through(pool: &Pool) -> anyhow::Result<()> {
    let now = Utc::now();
    let (mut next, mut rows) = (Some(0), 0);
    while let Some(block) = next {
        let mut conn = pool.get().await?;
        let forgotten = first_clicks::forget_hashes(&mut conn, now, block).await;
        drop(conn);
        let forgotten = forgotten.context("failed to delete them")?;
        rows += forgotten.rows;
        next = forgotten.next;
        tokio::time::sleep(PAUSE).await;
    }
    if rows > 0 {
        info!(rows, "forgot first clicks of visitors whom nobody can tell any more");
    }
    Ok(())
}
