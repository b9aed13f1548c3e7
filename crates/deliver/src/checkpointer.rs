//! Makes checkpoints for the endpoints that ask for them: of what was numbered since the one before, as often as they say.
//!
//! A checkpoint is told as an event (`endpoint.checkpoint`) to the endpoint itself, if it chose the type. That telling is numbered
//! like everything else, and is covered by the next checkpoint; alone it makes none, or there would be no end.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store::Pool;
use store::checkpoints::{self, Wanted};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;

/// How often it looks who is due.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long checkpoints are kept.
const KEPT: TimeDelta = TimeDelta::days(90);

/// Most old checkpoints that are removed at a look.
const REMOVED_MAX: i64 = 10_000;

/// Makes checkpoints.
pub struct Checkpointer {
    /// Who asks for them.
    pub endpoints: Arc<Endpoints>,
    /// Holds them, and the deliveries.
    pub pool: Pool,
}

impl Checkpointer {
    /// Looks again and again until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            if let Err(error) = self.look(Utc::now()).await {
                warn!(error = format!("{error:#}"), "failed to make checkpoints");
            }
        }
    }

    /// Makes those that are due; tells how many.
    ///
    /// # Errors
    /// When the database is away. What was made until then stays.
    pub async fn look(&self, now: DateTime<Utc>) -> anyhow::Result<usize> {
        let table = self.endpoints.current();
        let wanted: Vec<Wanted> = table.counted().filter_map(|endpoint| wanted(endpoint)).collect();
        let mut conn = self.pool.get().await?;
        checkpoints::remove_old(&mut conn, now - KEPT, REMOVED_MAX).await?;
        if wanted.is_empty() {
            return Ok(0);
        }
        let mut made = 0;
        for due in checkpoints::due(&mut conn, &wanted, now).await? {
            made += usize::from(checkpoints::close(&mut conn, &due, now).await?.is_some());
        }
        Ok(made)
    }
}

fn wanted(endpoint: &Endpoint) -> Option<Wanted> {
    let every = TimeDelta::minutes(endpoint.checkpoint_minutes?.into());
    Some(Wanted { endpoint_id: endpoint.id, workspace_id: endpoint.workspace_id, every })
}
