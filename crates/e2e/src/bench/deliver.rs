//! How fast `deliver` works off a stream that has filled while it was away, and what a delivery costs.

use std::time::{Duration, Instant};

use bus::ConsumerName;

use crate::bare;
use crate::figures::Figures;
use crate::process;
use crate::sink::Sink;
use crate::streams;
use crate::visitors;
use crate::world::World;

/// Deliveries of each measurement, whatever the number of endpoints.
const DELIVERIES: u64 = 60_000;

/// Deliveries of the run in which statements are counted.
const COUNTED: u64 = 20_000;

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
    figures.add("deliver.rss_mb", one.rss_mib, "the most resident memory that deliver had in that, MiB");
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
    figures.add(
        "deliver.rss_mb.endpoints_10",
        ten.rss_mib,
        "the most resident memory that deliver had in that, MiB",
    );
    let bare = bare::posts_per_second().await?;
    figures.add(
        "deliver.bare_per_s",
        bare,
        "a loop that signs and posts to the same sink and stores nothing, requests a second",
    );
    figures.add(
        "deliver.share_of_bare.endpoints_1",
        one.per_second / bare,
        "deliveries a second to one endpoint / that",
    );
    figures.add(
        "deliver.share_of_bare.endpoints_10",
        ten.per_second / bare,
        "deliveries a second to ten endpoints / that",
    );
    // apart, because PostgreSQL works more while it counts
    let counted = run_in(World::start_counting().await?, 1, COUNTED).await?;
    figures.add(
        "deliver.statements_per_1000",
        counted.statements.unwrap_or_default() * 1000.0 / COUNTED as f64,
        "statements of deliver for 1,000 deliveries, BEGIN and COMMIT among them (pg_stat_statements)",
    );
    Ok(())
}

struct Outcome {
    per_second: f64,
    cpu_ms: f64,
    rss_mib: f64,
    /// Where they are counted.
    statements: Option<f64>,
}

async fn run(endpoints: usize) -> anyhow::Result<Outcome> {
    run_in(World::start().await?, endpoints, DELIVERIES).await
}

async fn run_in(world: World, endpoints: usize, deliveries: u64) -> anyhow::Result<Outcome> {
    let link = world.create_links(1).await?.remove(0);
    let sink = Sink::start().await?;
    for n in 0..endpoints {
        world.create_endpoint(&sink.url(n)).await?;
    }
    let clicks = deliveries / endpoints as u64;
    streams::publish(&world, clicks, |n| visitors::enriched(world.workspace_id, &link, n)).await?;

    let cpu_of_brokers = || process::cpu(world.postgres.pid()) + process::cpu(world.nats.pid());
    let statements_before = world.statements().await.ok();
    let before = cpu_of_brokers();
    let deliver = world.launch("deliver", &[])?;
    sink.wait_for(1, STALLED_AFTER).await?;
    let (begun, first) = (Instant::now(), sink.count());
    let expected = usize::try_from(clicks)? * endpoints;
    sink.wait_for(expected, STALLED_AFTER).await?;
    let per_second = (expected - first) as f64 / begun.elapsed().as_secs_f64();
    let cpu = cpu_of_brokers() - before + process::cpu(deliver.pid());
    let statements = match statements_before {
        Some(before) => {
            // the last results are stored after the last arrival
            streams::wait_drained(&world, ConsumerName::Deliver).await?;
            Some(world.statements().await? - before)
        }
        None => None,
    };
    Ok(Outcome {
        statements,
        per_second,
        cpu_ms: cpu.as_secs_f64() * 1000.0 / expected as f64,
        rss_mib: process::peak_mib(deliver.pid()),
    })
}
