//! What links cost when they are first asked for, and what memory they take.

use std::net::SocketAddr;
use std::time::Duration;

use super::servers::{self, Mode};
use super::{LINKS, STOP_LIMIT};
use crate::figures::Figures;
use crate::process;
use crate::world::World;

/// Links in memory when the goal for memory counts.
const CACHED: u64 = 10_000;

/// Links of a large table that are asked for, far more than may stay in memory.
const ASKED: u64 = 200_000;

/// How often each link is asked for before memory is read.
const VISITS: u64 = 2;

/// For what was shipped to be confirmed.
const SETTLING: Duration = Duration::from_secs(1);

/// The first visit of each link, one after the other, with 16 at a time.
pub async fn measure_cold(figures: &mut Figures, world: &World) -> anyhow::Result<()> {
    let redirect = servers::redirect(world, Mode::Os).await?;
    let before = process::cpu(redirect.pid());
    let seen = servers::touch(redirect.addr, 0, LINKS).await?;
    let cpu = process::cpu(redirect.pid()) - before;
    let requests = seen.requests as f64;
    figures.add(
        "redirect.cold.cpu_us",
        cpu.as_secs_f64() * 1e6 / requests,
        "CPU of the first visit of a link, µs",
    );
    figures.add("redirect.cold.per_s", seen.per_second, "first visits a second, 16 at a time");
    figures.add("redirect.cold.p50_us", seen.p50_us, "first visits: median answer, µs");
    figures.add("redirect.cold.p99_us", seen.p99_us, "first visits: 99th percentile, µs");
    figures.add(
        "redirect.rss_mb.links_100000",
        process::resident_mib(redirect.pid()),
        "resident memory with 100,000 links in it, MiB",
    );
    redirect.stop(STOP_LIMIT).await;
    Ok(())
}

/// Resident memory with 10,000 links in it; then, with no room for more, after visits of many others.
pub async fn measure_many(figures: &mut Figures, world: &World, links_max: u64) -> anyhow::Result<()> {
    let redirect = servers::redirect(world, Mode::OsShipping).await?;
    load(redirect.addr, CACHED).await?;
    figures.add(
        "redirect.rss_mb",
        process::resident_mib(redirect.pid()),
        "resident memory with 10,000 links in it, after 20,000 clicks shipped, MiB",
    );
    redirect.stop(STOP_LIMIT).await;

    eprintln!("  filling the table up to {links_max} links …");
    world.insert_links(LINKS, links_max.max(LINKS)).await?;
    let env =
        [Mode::OsShipping.env(world), vec![("CLICKWIRE__REDIRECT__CACHED_LINKS_MAX", CACHED.to_string())]]
            .concat();
    let redirect = world.service("redirect", Some(0), &env).await?;
    load(redirect.addr, CACHED).await?;
    let few = process::resident_mib(redirect.pid());
    let asked = ASKED.min(links_max.max(LINKS));
    // from everywhere in the table
    servers::touch(redirect.addr, links_max.max(LINKS) - asked, links_max.max(LINKS)).await?;
    load(redirect.addr, CACHED).await?;
    let many = process::resident_mib(redirect.pid());
    figures.add(
        "redirect.rss_mb.table_asked_10000",
        few,
        format!("resident memory, {links_max} links in the table, room for 10,000, 10,000 asked for, MiB"),
    );
    figures.add(
        "redirect.rss_mb.table_asked_200000",
        many,
        "the same process after 200,000 others were asked for, MiB",
    );
    redirect.stop(STOP_LIMIT).await;
    Ok(())
}

/// Visitors who wait for their answers: those that keep a timetable never sleep, and take the core from a database that is
/// asked for links which are not in memory.
async fn load(addr: SocketAddr, links: u64) -> anyhow::Result<()> {
    for _ in 0..VISITS {
        servers::touch(addr, 0, links).await?;
    }
    tokio::time::sleep(SETTLING).await;
    Ok(())
}
