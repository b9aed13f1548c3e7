//! Redirects beside a bare actix-web server: the servers on core 0, load, broker and database on core 1.
//!
//! The steady figure on a noisy machine is CPU for one request; what compares has both sides in one run, in turns of a
//! few seconds, and the median of the rounds' ratios counts.

mod confirmation;
mod cost;
mod counted;
mod memory;
mod outage;
mod servers;
mod timetable;

use std::time::Duration;

use self::servers::Mode;
use crate::figures::Figures;
use crate::process;
use crate::world::World;

/// Links that are asked for at random, all of them in memory.
const LINKS: u64 = 100_000;

/// Measures the redirect. `links_max`: rows in the table when it is shown that memory does not grow with it.
pub async fn measure(figures: &mut Figures, links_max: u64) -> anyhow::Result<()> {
    let mut world = World::start().await?;
    process::pin(world.nats.pid(), 1);
    process::pin_with_children(world.postgres.pid(), 1);
    world.insert_links(0, LINKS).await?;

    memory::measure_cold(figures, &world).await?;
    cost::measure(figures, &world).await?;
    timetable::measure(figures, &world).await?;
    outage::measure(figures, &mut world).await?;
    counted::measure(figures, &world).await?;
    memory::measure_many(figures, &world, links_max).await?;
    drop(world);
    confirmation::measure(figures).await
}

/// Starts what is measured, with all links in memory, and leaves it to a profiler until standard input ends.
pub async fn hold() -> anyhow::Result<()> {
    let world = World::start().await?;
    process::pin(world.nats.pid(), 1);
    process::pin_with_children(world.postgres.pid(), 1);
    world.insert_links(0, LINKS).await?;
    let script = world.file("links.lua");
    cost::write_script(&script)?;
    let bare = servers::bare(&world).await?;
    println!("script {}\nbare {} {}", script.display(), bare.pid(), bare.addr);
    let mut redirects = Vec::new();
    for mode in [Mode::Os, Mode::OsShipping] {
        let redirect = servers::redirect(&world, mode).await?;
        servers::touch(redirect.addr, 0, LINKS).await?;
        println!("{} {} {}", mode.as_str(), redirect.pid(), redirect.addr);
        redirects.push(redirect);
    }
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(())
}

/// For what is left to do after the last answer.
const STOP_LIMIT: Duration = Duration::from_secs(20);
