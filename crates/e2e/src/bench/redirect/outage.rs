//! What visitors feel of a broker that goes away under load: answers before the outage, during it, and after it.

use std::time::Duration;

use super::servers::{self, Mode};
use super::{LINKS, STOP_LIMIT};
use crate::figures::{Figures, median};
use crate::load::Seen;
use crate::world::World;

/// Requests a second.
const RATE: u32 = 5_000;

/// Turns with the broker there, and with it away: a minute.
const BEFORE_TURNS: usize = 4;
const OUTAGE_TURNS: usize = 12;
const TURN_SECONDS: u32 = 5;

/// Time for the redirect to ship what it kept.
const CATCH_UP: Duration = Duration::from_secs(10);

/// How the broker goes away.
#[derive(Debug, Clone, Copy)]
enum Outage {
    /// Its process ends: connections are refused.
    Killed,
    /// Its process is frozen: nothing answers.
    Frozen,
}

/// 99th percentile of answers during a minute without the broker, as a multiple of that before it.
pub async fn measure(figures: &mut Figures, world: &mut World) -> anyhow::Result<()> {
    let redirect = servers::redirect(world, Mode::OsShipping).await?;
    servers::touch(redirect.addr, 0, LINKS).await?;
    for (outage, name) in [(Outage::Killed, "killed"), (Outage::Frozen, "frozen")] {
        let before = turns(&redirect.addr.to_string(), BEFORE_TURNS).await?;
        match outage {
            Outage::Killed => world.nats.kill().await,
            Outage::Frozen => world.nats.pause(),
        }
        let during = turns(&redirect.addr.to_string(), OUTAGE_TURNS).await?;
        match outage {
            Outage::Killed => world.nats.restart().await?,
            Outage::Frozen => world.nats.resume(),
        }
        crate::process::pin(world.nats.pid(), 1);
        tokio::time::sleep(CATCH_UP).await;
        report(figures, name, &before, &during);
    }
    redirect.stop(STOP_LIMIT).await;
    Ok(())
}

fn report(figures: &mut Figures, name: &str, before: &[Seen], during: &[Seen]) {
    let of = |turns: &[Seen]| turns.iter().map(|turn| turn.p99_us).collect::<Vec<_>>();
    let usual = median(of(before));
    figures.add_rounds(
        format!("redirect.outage.{name}.p99_us_before"),
        of(before),
        format!("99th percentile of answers at {RATE} requests a second with the broker there, µs"),
    );
    figures.add_rounds(
        format!("redirect.outage.{name}.p99_share"),
        of(during).into_iter().map(|p99| p99 / usual).collect(),
        format!("the same while the broker is {name} for a minute / before"),
    );
}

async fn turns(addr: &str, count: usize) -> anyhow::Result<Vec<Seen>> {
    let mut turns = Vec::with_capacity(count);
    for _ in 0..count {
        let numbers = [RATE.into(), TURN_SECONDS.into(), LINKS].map(|number: u64| number.to_string());
        turns.push(
            servers::generate(&[&["timetable".to_owned(), addr.to_owned()], &numbers[..]].concat()).await?,
        );
    }
    Ok(turns)
}
