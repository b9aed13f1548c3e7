//! How fast a service works off a stream that has filled while it was away, and how fast `record` does.

use std::time::{Duration, Instant};

use bus::{ConsumerName, Message};

use crate::figures::Figures;
use crate::process;
use crate::visitors;
use crate::world::World;

/// Clicks that wait in the stream.
pub const CLICKS: u64 = 60_000;

/// Published at a time.
const BATCH: u64 = 2_000;

/// How often it is looked at, which costs the broker a question for each consumer.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A service that makes no progress for so long has failed.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Clicks a second from ENRICHED into `clicks`.
pub async fn measure_record(figures: &mut Figures) -> anyhow::Result<()> {
    let world = World::start().await?;
    let link = world.create_links(1).await?.remove(0);
    fill(&world, |n| visitors::enriched(world.workspace_id, &link, n)).await?;

    let record = world.launch("record", &[])?;
    let per_second = drain(&world, ConsumerName::Record).await?;

    figures.add(
        "record.clicks_per_s",
        per_second,
        "clicks a second into PostgreSQL, fsync on, same two cores",
    );
    figures.add(
        "record.rss_mb",
        process::resident_mib(record.pid()),
        "resident memory of record after that, MiB",
    );
    Ok(())
}

/// Publishes [`CLICKS`] messages.
pub async fn fill<M: Message>(world: &World, message: impl Fn(u64) -> M) -> anyhow::Result<()> {
    publish(world, CLICKS, message).await
}

/// Publishes `count` messages, a batch at a time.
pub async fn publish<M: Message>(
    world: &World,
    count: u64,
    message: impl Fn(u64) -> M,
) -> anyhow::Result<()> {
    let publisher = world.bus.publisher();
    for begin in (0..count).step_by(usize::try_from(BATCH)?) {
        let batch = (begin..(begin + BATCH).min(count)).map(|n| message(n).outgoing()).collect();
        for result in publisher.publish_all(batch).await {
            result?;
        }
    }
    Ok(())
}

/// Waits until a consumer has nothing left.
pub async fn wait_drained(world: &World, consumer: ConsumerName) -> anyhow::Result<()> {
    let (mut last, mut since) = (u64::MAX, Instant::now());
    loop {
        let pending = world.bus.pending(consumer).await?;
        if pending == 0 {
            return Ok(());
        }
        if pending < last {
            (last, since) = (pending, Instant::now());
        }
        anyhow::ensure!(since.elapsed() < STALLED_AFTER, "no progress with {pending} messages left");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Messages a second between the first progress and the last acknowledgement.
pub async fn drain(world: &World, consumer: ConsumerName) -> anyhow::Result<f64> {
    let mut begun = None;
    let (mut last, mut since) = (CLICKS, Instant::now());
    loop {
        let pending = world.bus.pending(consumer).await?;
        if pending < last {
            begun.get_or_insert((Instant::now(), pending));
            (last, since) = (pending, Instant::now());
        }
        if let (0, Some((at, left))) = (pending, begun) {
            return Ok(left as f64 / at.elapsed().as_secs_f64());
        }
        anyhow::ensure!(since.elapsed() < STALLED_AFTER, "no progress with {pending} messages left");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
