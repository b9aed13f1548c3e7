//! How fast `deliver` works off a stream that has filled while it was away, and what a delivery costs.

use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::process;
use crate::sink::Sink;
use crate::streams;
use crate::visitors;
use crate::world::World;

/// Deliveries of each measurement, whatever the number of endpoints.
const DELIVERIES: u64 = 60_000;

/// A service that makes no progress for so long has failed.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Deliveries a second with one endpoint and with ten, CPU with its brokers, memory.
pub async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let one = run(1).await?;
    figures.add(
        "deliver.per_s.endpoints_1",
        one.per_second,
        "deliveries a second to one endpoint, sink and brokers on the same two cores",
    );
    figures.add(
        "deliver.cpu_ms_per_delivery",
        one.cpu_ms,
        "CPU of deliver, PostgreSQL and nats-server for one delivery, ms",
    );
    figures.add("deliver.rss_mb", one.rss_mib, "resident memory of deliver after that, MiB");
    let ten = run(10).await?;
    figures.add(
        "deliver.per_s.endpoints_10",
        ten.per_second,
        "deliveries a second when each click goes to ten endpoints",
    );
    figures.add(
        "deliver.cpu_ms_per_delivery.endpoints_10",
        ten.cpu_ms,
        "CPU of the same three for one of those, ms",
    );
    Ok(())
}

struct Outcome {
    per_second: f64,
    cpu_ms: f64,
    rss_mib: f64,
}

async fn run(endpoints: usize) -> anyhow::Result<Outcome> {
    let world = World::start().await?;
    let link = world.create_links(1).await?.remove(0);
    let sink = Sink::start().await?;
    for n in 0..endpoints {
        world.create_endpoint(&sink.url(n)).await?;
    }
    let clicks = DELIVERIES / endpoints as u64;
    streams::publish(&world, clicks, |n| visitors::enriched(world.workspace_id, &link, n)).await?;

    let cpu_of_brokers = || process::cpu(world.postgres.pid()) + process::cpu(world.nats.pid());
    let before = cpu_of_brokers();
    let deliver = world.launch("deliver", &[])?;
    sink.wait_for(1, STALLED_AFTER).await?;
    let (begun, first) = (Instant::now(), sink.count());
    let expected = usize::try_from(clicks)? * endpoints;
    sink.wait_for(expected, STALLED_AFTER).await?;
    let per_second = (expected - first) as f64 / begun.elapsed().as_secs_f64();
    let cpu = cpu_of_brokers() - before + process::cpu(deliver.pid());
    Ok(Outcome {
        per_second,
        cpu_ms: cpu.as_secs_f64() * 1000.0 / expected as f64,
        rss_mib: process::resident_mib(deliver.pid()),
    })
}
