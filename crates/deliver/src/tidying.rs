//! What is done now and then for what waits, whoever is sent to: ended, offered, numbered, counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use model::EndpointId;
use store::{Pool, batches, deliveries, held, lines, pulled, sequences};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::metrics::Metrics;
use crate::unnumbered::Unnumbered;

/// How often.
const INTERVAL: Duration = Duration::from_secs(30);

/// Waiting deliveries are counted no further.
const COUNTED_MAX: i64 = 100_000;

/// Most deliveries that get their numbers at a time that were stored before their endpoint was sent to in order.
const NUMBERED_MAX: i64 = 10_000;

/// Most deliveries of deleted, paused or disabled endpoints that are ended at a time, and of those who fetch that are offered.
const DELIVERIES_MAX: i64 = 10_000;

/// Most batches of them, each of many deliveries.
const BATCHES_MAX: i64 = 100;

/// Looks after what waits.
pub struct Tidying {
    /// Who is to be sent to.
    pub endpoints: Arc<Endpoints>,
    /// Holds what waits.
    pub pool: Pool,
    /// How long what a paused or disabled endpoint is owed waits for it.
    pub pause_hold: Duration,
    /// Says that there is work.
    pub work: Arc<Notify>,
    /// Counts.
    pub metrics: Metrics,
}

impl Tidying {
    /// Goes on until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let mut unnumbered = Unnumbered::default();
        loop {
            if let Err(error) = self.once(&mut unnumbered).await {
                warn!(error = format!("{error:#}"), "failed to look after waiting deliveries; trying again");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    async fn once(&self, unnumbered: &mut Unnumbered<Endpoint>) -> anyhow::Result<()> {
        let mut conn = self.pool.get().await?;
        let buried = held::bury_of_deleted(&mut conn, Utc::now(), DELIVERIES_MAX).await?;
        self.metrics.buried(buried);
        for held in held::bury(&mut conn, self.pause_hold, Utc::now(), DELIVERIES_MAX).await? {
            self.metrics.held_too_long(&held);
        }
        for held in batches::bury(&mut conn, self.pause_hold, Utc::now(), BATCHES_MAX).await? {
            self.metrics.held_too_long(&held);
        }
        // else what is in them would never be offered
        batches::dissolve_of_fetching(&mut conn, Utc::now(), BATCHES_MAX).await?;
        pulled::offer_waiting(&mut conn, Utc::now(), DELIVERIES_MAX).await?;
        let (table, now) = (self.endpoints.current(), Instant::now());
        let looked = unnumbered.due(table.counted().map(|endpoint| (endpoint.id, endpoint)), now);
        let has_numbered = sequences::number_rest(&mut conn, &looked, NUMBERED_MAX).await? > 0;
        unnumbered.looked(&looked, has_numbered, now);
        if has_numbered {
            self.work.notify_one();
        }
        let in_order: Vec<EndpointId> = table.sent_in_order().map(|endpoint| endpoint.id).collect();
        self.metrics.endpoints_held_up.set(lines::count_held_up(&mut conn, &in_order, COUNTED_MAX).await?);
        self.metrics.pending.set(deliveries::count_waiting(&mut conn, COUNTED_MAX).await?);
        Ok(())
    }
}
