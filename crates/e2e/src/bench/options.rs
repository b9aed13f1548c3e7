//! What each delivery option costs, beside an endpoint that has none.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::figures::Figures;
use crate::sink::Sink;
use crate::world::{World, psql};
use crate::{process, streams, visitors};

/// Links that the clicks are spread over: an order by link lets so many go at once.
const LINKS: usize = 100;

/// Deliveries to an endpoint without an order for everything.
const DELIVERIES: u64 = 10_000;

/// Deliveries to an endpoint that gets one after the other.
const IN_LINE: u64 = 5_000;

/// How often the results are counted.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A service that makes no progress for so long has failed.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Deliveries a second and CPU for each option, one after the other.
pub async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let options = [
        ("plain", json!({}), DELIVERIES, "no option"),
        ("v1a", json!({ "signatures": ["v1", "v1a"] }), DELIVERIES, "an ed25519 signature as well"),
        ("thin", json!({ "payload": { "profile": "thin" } }), DELIVERIES, "thin bodies"),
        ("cloudevents", json!({ "payload": { "format": "cloudevents" } }), DELIVERIES, "CloudEvents"),
        (
            "bearer",
            json!({ "auth": { "type": "bearer", "token": "bench" } }),
            DELIVERIES,
            "a token at the door",
        ),
        (
            "batch",
            json!({ "batch": { "max_events": 100, "max_wait_ms": 100 } }),
            DELIVERIES,
            "100 in a request",
        ),
        ("checkpoints", json!({ "checkpoint_minutes": 1 }), DELIVERIES, "numbered, with checkpoints"),
        ("per_link", json!({ "ordering": "per_link" }), DELIVERIES, "in order for each of 100 links"),
        ("strict", json!({ "ordering": "strict" }), IN_LINE, "in one order"),
    ];
    // the first run finds nothing in the caches of the machine
    run(json!({}), DELIVERIES).await.context("warming up")?;
    for (name, wanted, deliveries, meaning) in options {
        let (per_second, cpu_ms) = run(wanted, deliveries).await.with_context(|| format!("option {name}"))?;
        figures.add(format!("options.{name}.per_s"), per_second, format!("deliveries a second: {meaning}"));
        figures.add(
            format!("options.{name}.cpu_ms"),
            cpu_ms,
            "CPU of deliver, PostgreSQL and nats-server for one of them, ms",
        );
    }
    Ok(())
}

async fn run(wanted: Value, deliveries: u64) -> anyhow::Result<(f64, f64)> {
    let world = World::start().await?;
    let links = world.create_links(LINKS).await?;
    let sink = Sink::start().await?;
    world.create_endpoint_with(&sink.url(0), wanted).await?;
    let link = |n: u64| &links[usize::try_from(n).unwrap_or_default() % LINKS];
    streams::publish(&world, deliveries, |n| visitors::enriched(world.workspace_id, link(n), n)).await?;
    let cpu_of_brokers = || process::cpu(world.postgres.pid()) + process::cpu(world.nats.pid());
    let before = cpu_of_brokers();
    let deliver = world.launch("deliver", &[])?;
    sink.wait_for(1, STALLED_AFTER).await?;
    let begun = Instant::now();
    wait_delivered(&world, deliveries).await?;
    let per_second = deliveries as f64 / begun.elapsed().as_secs_f64();
    let cpu = cpu_of_brokers() - before + process::cpu(deliver.pid());
    Ok((per_second, cpu.as_secs_f64() * 1000.0 / deliveries as f64))
}

/// Waits until so many deliveries are stored as accepted.
async fn wait_delivered(world: &World, deliveries: u64) -> anyhow::Result<()> {
    let url = world.postgres.url("bench");
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let count = psql(&url, "SELECT count(*) FROM deliveries WHERE status = 'delivered'").await?;
        let count: u64 = count.trim().parse()?;
        if count >= deliveries {
            return Ok(());
        }
        if count > last {
            (last, since) = (count, Instant::now());
        }
        anyhow::ensure!(since.elapsed() < STALLED_AFTER, "only {last} of {deliveries} were delivered");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
