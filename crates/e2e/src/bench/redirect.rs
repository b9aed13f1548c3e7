//! Redirects beside bare actix-web: each server alone on core 0, the load on core 1, in turns.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use embedded::{Launch, Process, free_port};

use crate::figures::{Figures, median};
use crate::process;
use crate::world::World;
use crate::wrk::{self, Run};

/// Links that are asked for at random.
const LINKS: usize = 2_000;

/// Turns; each figure is the median of them.
const ROUNDS: usize = 3;

/// Seconds of load before a server's first turn, and in each turn.
const WARM_UP_SECONDS: u64 = 2;
const TURN_SECONDS: u64 = 5;

/// What one server did in one turn.
struct Turn {
    run: Run,
    cpu_us: f64,
}

/// Measures the redirect with its spool in the page cache (`spool.sync = "os"`), shipping to the broker all the while.
pub async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let world = World::start().await?;
    let links = world.create_links(LINKS).await?;
    let script = world.file("slugs.lua");
    write_script(&script, links.iter().map(|link| link.slug.as_str()))?;

    let env =
        [("CLICKWIRE__REDIRECT__WORKERS", "1".into()), ("CLICKWIRE__REDIRECT__SPOOL__SYNC", "os".into())];
    let redirect = world.service("redirect", Some(0), &env).await?;
    let (bare, bare_addr) = start_bare(&world)?;
    let bare_pid = bare.pid();
    process::pin(bare_pid, 0);
    process::pin(world.nats.pid(), 1);
    wait_until_it_listens(bare_addr).await?;
    for addr in [bare_addr, redirect.addr] {
        wrk::run(addr, &script, WARM_UP_SECONDS).await?;
    }

    let (mut bare_turns, mut own_turns) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare_turns.push(turn(bare_addr, bare_pid, &script).await?);
        own_turns.push(turn(redirect.addr, redirect.pid(), &script).await?);
    }
    let of = |turns: &[Turn], value: fn(&Turn) -> f64| median(turns.iter().map(value).collect());

    figures.add(
        "redirect.per_s",
        of(&own_turns, |t| t.run.per_second),
        "redirects a second, one core, 64 connections",
    );
    figures.add("redirect.bare_per_s", of(&bare_turns, |t| t.run.per_second), "the same of bare actix-web");
    figures.add("redirect.p50_ms", of(&own_turns, |t| t.run.p50_ms), "median answer, saturated, ms");
    figures.add("redirect.p99_ms", of(&own_turns, |t| t.run.p99_ms), "99th percentile, saturated, ms");
    figures.add("redirect.bare_p99_ms", of(&bare_turns, |t| t.run.p99_ms), "the same of bare actix-web");
    figures.add(
        "redirect.cpu_us",
        of(&own_turns, |t| t.cpu_us),
        "CPU of the redirect for one request, shipping included, µs",
    );
    figures.add(
        "redirect.cpu_share.os_shipping",
        of(&bare_turns, |t| t.cpu_us) / of(&own_turns, |t| t.cpu_us),
        "bare actix-web's CPU for one request / ours, shipping to the broker included",
    );
    figures.add(
        "redirect.p50_share",
        of(&own_turns, |t| t.run.p50_ms) / of(&bare_turns, |t| t.run.p50_ms),
        "our median answer / bare actix-web's",
    );
    figures.add(
        "redirect.p99_share",
        of(&own_turns, |t| t.run.p99_ms) / of(&bare_turns, |t| t.run.p99_ms),
        "our 99th percentile / bare actix-web's",
    );
    figures.add(
        "redirect.rss_mb",
        process::resident_mib(redirect.pid()),
        "resident memory of redirect after that, MiB",
    );
    Ok(())
}

async fn turn(addr: SocketAddr, pid: i32, script: &Path) -> anyhow::Result<Turn> {
    let before = process::cpu(pid);
    let run = wrk::run(addr, script, TURN_SECONDS).await?;
    // what the turn left to do (shipping) is part of its cost
    let mut after = process::cpu(pid);
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = process::cpu(pid);
        if now - after < Duration::from_millis(50) {
            break;
        }
        after = now;
    }
    Ok(Turn { run, cpu_us: (after - before).as_secs_f64() * 1e6 / run.requests })
}

fn start_bare(world: &World) -> anyhow::Result<(Process, SocketAddr)> {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let launch = Launch::new(std::env::current_exe()?, world.file("."), world.file("bare.log"))
        .arg("bare-actix")
        .arg(addr.to_string());
    Ok((Process::start(&launch)?, addr))
}

async fn wait_until_it_listens(addr: SocketAddr) -> anyhow::Result<()> {
    for _ in 0..500 {
        if tokio::net::TcpStream::connect(addr).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("the bare server does not listen")
}

/// A wrk script that asks for a random slug each time, with the headers of a browser.
fn write_script<'a>(path: &Path, slugs: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
    let mut script = String::from("local slugs = {");
    for slug in slugs {
        write!(script, "\"/{slug}\",")?;
    }
    write!(
        script,
        "}}\nwrk.headers[\"User-Agent\"] = \"{}\"\nwrk.headers[\"Accept\"] = \"text/html,application/xhtml+xml\"\n\
         wrk.headers[\"Accept-Language\"] = \"sv-SE,sv;q=0.9,en;q=0.8\"\nwrk.headers[\"X-Forwarded-For\"] = \"8.8.8.8\"\n\
         request = function() return wrk.format(\"GET\", slugs[math.random(#slugs)]) end\n",
        crate::visitors::user_agent(0),
    )?;
    Ok(std::fs::write(path, script)?)
}
