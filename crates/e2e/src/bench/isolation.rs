//! What a healthy endpoint notices of one that takes everything and never answers.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::Message as _;
use tokio::net::TcpListener;

use crate::figures::{Figures, quantile};
use crate::process;
use crate::sink::{NUMBER_MARK, Sink};
use crate::visitors;
use crate::world::World;

/// Pairs of runs, with and without the neighbour in turns; their median counts.
const PAIRS: usize = 5;

/// Clicks a second, how often they are published, and how many in all.
const RATE: u64 = 1_000;
const TICK: Duration = Duration::from_millis(10);
const CLICKS: u64 = 6_000;

/// The first of them do not count: connections are made, and what hangs is found out.
const WARM_UP: u64 = 1_000;

/// How long the last webhook may take.
const LAST_LIMIT: Duration = Duration::from_secs(30);

/// Throughput beside a hanging neighbour as a share of that without, and what is added to the 99th percentile.
pub async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let (mut shares, mut added, mut alone_p99, mut rss_mib) = (Vec::new(), Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..PAIRS {
        let alone = run(false).await?;
        let beside = run(true).await?;
        shares.push(beside.per_second / alone.per_second);
        added.push(beside.p99_ms - alone.p99_ms);
        alone_p99.push(alone.p99_ms);
        rss_mib = rss_mib.max(beside.rss_mib);
    }
    for values in [&mut shares, &mut added, &mut alone_p99] {
        values.sort_by(f64::total_cmp);
    }
    let median = |values: &[f64]| quantile(values, 0.5);
    figures.add(
        "isolation.throughput_share",
        median(&shares),
        "deliveries a second beside an endpoint that never answers / without it, 1,000 clicks a second, median of five pairs",
    );
    figures.add(
        "isolation.p99_added_ms",
        median(&added),
        "what it adds to the 99th percentile from click to webhook, ms",
    );
    figures.add("isolation.p99_ms", median(&alone_p99), "that percentile without the neighbour, ms");
    figures.add("isolation.rss_mb", rss_mib, "the most resident memory that deliver had beside it, MiB");
    Ok(())
}

struct Run {
    per_second: f64,
    p99_ms: f64,
    rss_mib: f64,
}

async fn run(has_neighbour: bool) -> anyhow::Result<Run> {
    let world = World::start().await?;
    let link = world.create_links(1).await?.remove(0);
    let sink = Sink::start().await?;
    world.create_endpoint(&sink.url(0)).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    if has_neighbour {
        world.create_endpoint(&format!("http://{}/", listener.local_addr()?)).await?;
    }
    let hanging = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let deliver = world.service("deliver", None, &[]).await?;

    let publisher = world.bus.publisher();
    let begun = Instant::now();
    let planned =
        |number: u64| begun + Duration::from_secs(1) * u32::try_from(number).expect("few") / RATE as u32;
    let each = RATE * u64::try_from(TICK.as_millis())? / 1000;
    for first in (0..CLICKS).step_by(usize::try_from(each)?) {
        tokio::time::sleep_until(planned(first).into()).await;
        let messages = (first..first + each).map(|number| {
            let mut click = visitors::enriched(world.workspace_id, &link, number);
            click.click.destination_url = format!("https://example.com/?{NUMBER_MARK}{number}");
            click.outgoing()
        });
        for result in publisher.publish_all(messages.collect()).await {
            result?;
        }
    }
    sink.wait_for(usize::try_from(CLICKS)?, LAST_LIMIT).await?;
    let per_second = CLICKS as f64 / begun.elapsed().as_secs_f64();
    let mut latencies = Vec::new();
    for number in WARM_UP..CLICKS {
        let arrival = sink.arrival(number).with_context(|| format!("no webhook for click {number}"))?;
        let sent = planned(number - number % each);
        latencies.push(arrival.saturating_duration_since(sent).as_secs_f64() * 1000.0);
    }
    latencies.sort_by(f64::total_cmp);
    hanging.abort();
    Ok(Run { per_second, p99_ms: quantile(&latencies, 0.99), rss_mib: process::peak_mib(deliver.pid()) })
}
