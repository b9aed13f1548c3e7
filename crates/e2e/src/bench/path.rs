//! How many clicks a second come all the way: visitors as fast as the redirect lets them, until the last webhook is there.

use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::load;
use crate::process;
use crate::sink::Sink;
use crate::world::World;

/// The services on the way.
const NAMES: [&str; 4] = ["redirect", "enrich", "deliver", "record"];

/// Links that are clicked.
const LINKS: u64 = 1_000;

/// Clicks a second that are asked for, and for how long: more than arrives meanwhile.
const RATE: u32 = 12_000;
const SECONDS: u32 = 5;

/// A way on which nothing moves for so long is blocked.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Clicks a second from the visitor to the subscriber, and the CPU of every process on the way.
pub async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let world = World::start().await?;
    world.insert_links(0, LINKS).await?;
    let sink = Sink::start().await?;
    world.create_endpoint(&sink.url(0)).await?;
    let mut services = Vec::new();
    for name in NAMES {
        services.push(world.service(name, None, &[]).await?);
    }
    let addr = services[0].addr;
    let cpu = || {
        let stores = process::cpu(world.postgres.pid()) + process::cpu(world.nats.pid());
        services.iter().map(|service| process::cpu(service.pid())).fold(stores, |sum, cpu| sum + cpu)
    };

    let (before, begun) = (cpu(), Instant::now());
    let seen =
        tokio::task::spawn_blocking(move || load::keep_timetable(addr, RATE, SECONDS, LINKS)).await??;
    sink.wait_for(usize::try_from(seen.requests)?, STALLED_AFTER).await?;
    let (took, used) = (begun.elapsed(), cpu() - before);

    figures.add(
        "path.clicks_per_s",
        seen.requests as f64 / took.as_secs_f64(),
        "clicks a second from the visitor to the subscriber, everything on two cores",
    );
    figures.add(
        "path.cpu_ms_per_click",
        used.as_secs_f64() * 1000.0 / seen.requests as f64,
        "CPU of all services, PostgreSQL and nats-server for one click, ms",
    );
    for (name, service) in NAMES.iter().zip(&services) {
        figures.add(
            format!("path.rss_mb.{name}"),
            process::peak_mib(service.pid()),
            format!("the most resident memory that {name} had in that, MiB"),
        );
    }
    Ok(())
}
