//! Deliveries that wait: what they cost in memory, and how fast they go when their endpoint takes them again.

use std::time::{Duration, Instant};

use bus::ConsumerName;

use crate::figures::Figures;
use crate::process;
use crate::sink::Sink;
use crate::streams;
use crate::visitors;
use crate::world::World;

/// Deliveries that wait for an endpoint which its owner has paused.
const WAITING: u64 = 200_000;

/// A service that makes no progress for so long has failed.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Resident memory of `deliver` with 200,000 waiting deliveries, and deliveries a second when they are let go.
pub async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let world = World::start().await?;
    let link = world.create_links(1).await?.remove(0);
    let sink = Sink::start().await?;
    let endpoint = world.create_endpoint(&sink.url(0)).await?;
    world.set_paused(&endpoint, true).await?;
    let deliver = world.service("deliver", None, &[]).await?;
    streams::publish(&world, WAITING, |n| visitors::enriched(world.workspace_id, &link, n)).await?;
    streams::wait_drained(&world, ConsumerName::Deliver).await?;
    figures.add(
        "deliver.rss_mb.waiting",
        process::resident_mib(deliver.pid()),
        "resident memory of deliver with 200,000 waiting deliveries, MiB",
    );

    world.set_paused(&endpoint, false).await?;
    sink.wait_for(1, STALLED_AFTER).await?;
    let (begun, first) = (Instant::now(), sink.count());
    sink.wait_for(usize::try_from(WAITING)?, STALLED_AFTER).await?;
    figures.add(
        "deliver.drain_per_s",
        (WAITING as f64 - first as f64) / begun.elapsed().as_secs_f64(),
        "deliveries a second of 200,000 that waited for a paused endpoint",
    );
    figures.add(
        "deliver.rss_mb.drained",
        process::peak_mib(deliver.pid()),
        "the most memory that deliver had in all of this, MiB",
    );
    Ok(())
}
