//! What it costs to find that the database holds the clicks of the spool, before it lets go of them.

use std::time::{Duration, Instant};

use bus::ConsumerName;

use super::STOP_LIMIT;
use super::servers::{self, Mode};
use crate::figures::Figures;
use crate::process;
use crate::streams;
use crate::world::World;

/// Links that are clicked, and clicks: half of what the confirmation remembers as missing.
const LINKS: u64 = 1_000;
const RATE: u32 = 3_000;
const SECONDS: u32 = 10;

/// How long the redirect may need to find all clicks.
const CONFIRM_LIMIT: Duration = Duration::from_secs(90);

/// Clicks that the spool holds and the database is not known to hold.
const UNCONFIRMED: &str = "clickwire_redirect_spool_unconfirmed_clicks";

/// CPU of the redirect and of PostgreSQL for each click that is confirmed, in a world of its own: what `redirect` left in
/// its streams is not to be recorded here.
pub async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let world = World::start().await?;
    world.insert_links(0, LINKS).await?;
    let mut env = Mode::OsShipping.env(&world);
    env.push(("CLICKWIRE__REDIRECT__SPOOL__SEGMENT_AGE_MAX", "1s".into()));
    let redirect = world.service("redirect", Some(0), &env).await?;
    let numbers = [RATE.into(), SECONDS.into(), LINKS].map(|number: u64| number.to_string());
    let load = [&["timetable".to_owned(), redirect.addr.to_string()], &numbers[..]].concat();
    let clicks = servers::generate(&load).await?.requests;
    // shipped; and the last file closed
    tokio::time::sleep(Duration::from_secs(3)).await;

    // only the redirect's questions shall be counted: it stands still while the clicks are recorded
    redirect.pause();
    for (service, consumer) in [("enrich", ConsumerName::Enrich), ("record", ConsumerName::Record)] {
        let service = world.service(service, None, &[]).await?;
        streams::wait_drained(&world, consumer).await?;
        service.stop(STOP_LIMIT).await;
    }
    let cpu = || process::cpu(redirect.pid()) + process::cpu(world.postgres.pid());
    let before = cpu();
    redirect.resume();
    let begun = Instant::now();
    while world.metric(&redirect, UNCONFIRMED).await? > 0.0 {
        anyhow::ensure!(begun.elapsed() < CONFIRM_LIMIT, "clicks stay unconfirmed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    figures.add(
        "redirect.confirm_cpu_us",
        (cpu() - before).as_secs_f64() * 1e6 / clicks as f64,
        "CPU of the redirect and PostgreSQL to find one click of the spool in the database, µs",
    );
    redirect.stop(STOP_LIMIT).await;
    Ok(())
}
