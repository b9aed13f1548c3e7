//! What a request costs: CPU of the server in turns with bare actix-web, in a closed loop.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::servers::{self, Mode};
use super::{LINKS, STOP_LIMIT};
use crate::figures::Figures;
use crate::process;
use crate::world::{Service, World};
use crate::wrk::{self, Run};

/// Rounds; each server has one turn in each.
const ROUNDS: usize = 7;

/// Seconds of load before a server's first turn, and in each turn.
const WARM_UP_SECONDS: u64 = 1;
const TURN_SECONDS: u64 = 3;

/// What one server did in one turn.
struct Turn {
    run: Run,
    cpu_us: f64,
}

/// CPU for a request as a share of bare actix-web's in each mode, requests a second, and nginx beside it.
pub async fn measure(figures: &mut Figures, world: &World) -> anyhow::Result<()> {
    let script = world.file("slugs.lua");
    write_script(&script)?;
    let bare = servers::bare(world).await?;
    let nginx = servers::nginx(world).await?;
    let mut redirects: Vec<(Mode, Service)> = Vec::new();
    for mode in [Mode::Os, Mode::OsShipping, Mode::Always] {
        match servers::redirect(world, mode).await {
            Ok(redirect) => redirects.push((mode, redirect)),
            Err(error) if mode == Mode::Always => {
                eprintln!("  left out: redirect.spool.sync = \"always\" is refused ({error:#})");
            }
            Err(error) => return Err(error),
        }
    }
    let references = std::iter::once(("bare", &bare)).chain(nginx.as_ref().map(|nginx| ("nginx", nginx)));
    let mut servers: Vec<_> =
        references.map(|(name, server)| (name, server.addr, server.pid(), Vec::new())).collect();
    for (mode, redirect) in &redirects {
        servers::touch(redirect.addr, 0, LINKS).await?;
        servers.push((mode.as_str(), redirect.addr, redirect.pid(), Vec::new()));
    }
    for (_, addr, ..) in &servers {
        wrk::run(*addr, &script, WARM_UP_SECONDS).await?;
    }
    for _ in 0..ROUNDS {
        for (_, addr, pid, turns) in &mut servers {
            turns.push(turn(*addr, *pid, &script).await?);
        }
    }
    let bare_turns = servers.remove(0).3;
    report_bare(figures, &bare_turns);
    for (name, _, _, turns) in &servers {
        report(figures, name, turns, &bare_turns);
    }
    for (_, redirect) in redirects {
        redirect.stop(STOP_LIMIT).await;
    }
    Ok(())
}

fn report_bare(figures: &mut Figures, turns: &[Turn]) {
    figures.add_rounds(
        "redirect.bare_cpu_us",
        values(turns, |t| t.cpu_us),
        "CPU of bare actix-web for one request, µs",
    );
    figures.add_rounds(
        "redirect.bare_per_s",
        values(turns, |t| t.run.per_second),
        "its requests a second, one core, 64 connections",
    );
    figures.add_rounds(
        "redirect.bare_p99_ms",
        values(turns, |t| t.run.p99_ms),
        "its 99th percentile, saturated, ms",
    );
}

fn report(figures: &mut Figures, name: &str, turns: &[Turn], bare: &[Turn]) {
    let shares = bare.iter().zip(turns).map(|(bare, own)| bare.cpu_us / own.cpu_us).collect();
    let what = match name {
        "os" => "the redirect, spool.sync = \"os\", the broker away",
        "os_shipping" => "the redirect, spool.sync = \"os\", each click shipped and confirmed",
        "always" => "the redirect, spool.sync = \"always\", the broker away",
        _ => "nginx with a map of the links and a log line each",
    };
    figures.add_rounds(
        format!("redirect.cpu_share.{name}"),
        shares,
        format!("bare actix-web's CPU for one request / that of {what}"),
    );
    figures.add_rounds(format!("redirect.cpu_us.{name}"), values(turns, |t| t.cpu_us), "that CPU, µs");
    figures.add_rounds(
        format!("redirect.per_s.{name}"),
        values(turns, |t| t.run.per_second),
        "its requests a second, one core, 64 connections",
    );
    figures.add_rounds(
        format!("redirect.p99_ms.{name}"),
        values(turns, |t| t.run.p99_ms),
        "its 99th percentile, saturated, ms",
    );
}

fn values(turns: &[Turn], value: fn(&Turn) -> f64) -> Vec<f64> {
    turns.iter().map(value).collect()
}

async fn turn(addr: SocketAddr, pid: i32, script: &Path) -> anyhow::Result<Turn> {
    let before = process::cpu(pid);
    let run = wrk::run(addr, script, TURN_SECONDS).await?;
    // what the turn left to do (shipping) is part of its cost
    let mut after = process::cpu(pid);
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = process::cpu(pid);
        let is_idle = now - after < Duration::from_millis(20);
        after = now;
        if is_idle {
            break;
        }
    }
    Ok(Turn { run, cpu_us: (after - before).as_secs_f64() * 1e6 / run.requests })
}

/// A wrk script that asks for a random link each time, with the headers of a browser.
pub fn write_script(path: &Path) -> std::io::Result<()> {
    let script = format!(
        "wrk.headers[\"User-Agent\"] = \"{}\"\nwrk.headers[\"Accept\"] = \"text/html,application/xhtml+xml\"\n\
         wrk.headers[\"Accept-Language\"] = \"sv-SE,sv;q=0.9,en;q=0.8\"\nwrk.headers[\"X-Forwarded-For\"] = \"8.8.8.8\"\n\
         request = function() return wrk.format(\"GET\", \"/b\" .. math.random(0, {})) end\n",
        crate::visitors::user_agent(0),
        LINKS - 1,
    );
    std::fs::write(path, script)
}
