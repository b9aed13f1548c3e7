//! How long visitors wait at a steady rate, beside bare actix-web.

use std::net::SocketAddr;

use super::servers::{self, Mode};
use super::{LINKS, STOP_LIMIT};
use crate::figures::Figures;
use crate::load::Seen;
use crate::world::World;

const RATES: [u32; 2] = [5_000, 10_000];

/// Rounds; each server has one turn at each rate in each.
const ROUNDS: usize = 7;
const TURN_SECONDS: u32 = 2;

/// Median and 99th percentile at each rate as a multiple of bare actix-web's, with shipping paused and with it.
pub async fn measure(figures: &mut Figures, world: &World) -> anyhow::Result<()> {
    let bare = servers::bare(world).await?;
    let mut redirects = Vec::new();
    for mode in [Mode::Os, Mode::OsShipping] {
        let redirect = servers::redirect(world, mode).await?;
        servers::touch(redirect.addr, 0, LINKS).await?;
        redirects.push((mode, redirect));
    }
    for rate in RATES {
        let (mut bare_turns, mut own_turns) = (Vec::new(), vec![Vec::new(); redirects.len()]);
        for _ in 0..ROUNDS {
            bare_turns.push(turn(bare.addr, rate).await?);
            for ((_, redirect), turns) in redirects.iter().zip(&mut own_turns) {
                turns.push(turn(redirect.addr, rate).await?);
            }
        }
        report(figures, "bare actix-web", &format!("redirect.bare_latency_us.{rate}"), &bare_turns);
        for ((mode, _), turns) in redirects.iter().zip(&own_turns) {
            let mode = mode.as_str();
            report(figures, "the redirect", &format!("redirect.latency_us.{mode}.{rate}"), turns);
            compare(figures, mode, rate, turns, &bare_turns);
        }
    }
    for (_, redirect) in redirects {
        redirect.stop(STOP_LIMIT).await;
    }
    Ok(())
}

fn report(figures: &mut Figures, who: &str, name: &str, turns: &[Seen]) {
    let of = |value: fn(&Seen) -> f64| turns.iter().map(value).collect();
    let what = "from the planned moment of a request to its answer, µs";
    figures.add_rounds(format!("{name}.p50"), of(|t| t.p50_us), format!("{who}: {what}, median"));
    figures.add_rounds(format!("{name}.p99"), of(|t| t.p99_us), format!("{who}: {what}, 99th percentile"));
}

/// The figures with a goal have a short name: 10,000 a second, and shipping paused.
fn compare(figures: &mut Figures, mode: &str, rate: u32, turns: &[Seen], bare: &[Seen]) {
    let shares = |value: fn(&Seen) -> f64| {
        turns.iter().zip(bare).map(|(own, bare)| value(own) / value(bare)).collect()
    };
    let suffix = match (mode, rate) {
        ("os", 10_000) => String::new(),
        ("os", rate) => format!(".{rate}"),
        (mode, 10_000) => format!(".{mode}"),
        (mode, rate) => format!(".{mode}.{rate}"),
    };
    let what = format!("of answers at {rate} requests a second ({mode}) / bare actix-web's");
    figures.add_rounds(format!("redirect.p50_share{suffix}"), shares(|t| t.p50_us), format!("median {what}"));
    figures.add_rounds(
        format!("redirect.p99_share{suffix}"),
        shares(|t| t.p99_us),
        format!("99th percentile {what}"),
    );
}

async fn turn(addr: SocketAddr, rate: u32) -> anyhow::Result<Seen> {
    let arguments = [addr.to_string(), rate.to_string(), TURN_SECONDS.to_string(), LINKS.to_string()];
    servers::generate(&[&["timetable".to_owned()], &arguments[..]].concat()).await
}
