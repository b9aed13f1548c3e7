//! Allocations of a request, counted by valgrind's dhat: two runs of different length, and the difference.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::servers::{self, Mode};
use crate::figures::Figures;
use crate::world::World;

/// Links that are asked for, and requests for each of them in the shorter and the longer run.
const LINKS: u64 = 200;
const REPEATS: (u64, u64) = (5, 55);

/// valgrind is slow to end.
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// Blocks that one request of a known link allocates, shipping paused.
pub async fn measure(figures: &mut Figures, world: &World) -> anyhow::Result<()> {
    if !servers::runs("valgrind", "--version") {
        eprintln!("  no valgrind: allocations are left out");
        return Ok(());
    }
    let few = totals(world, REPEATS.0).await?;
    let many = totals(world, REPEATS.1).await?;
    let requests = (LINKS * (REPEATS.1 - REPEATS.0)) as f64;
    figures.add("redirect.allocations", (many.1 - few.1) / requests, "blocks allocated for one request");
    figures.add("redirect.allocated_bytes", (many.0 - few.0) / requests, "bytes of them");
    Ok(())
}

/// Bytes and blocks that a redirect allocated in its whole life.
async fn totals(world: &World, repeats: u64) -> anyhow::Result<(f64, f64)> {
    let report = world.file(&format!("dhat-{repeats}.txt"));
    let out = world.file(&format!("dhat-{repeats}.json"));
    let wrapper = [
        "valgrind".to_owned(),
        "--tool=dhat".to_owned(),
        format!("--log-file={}", report.display()),
        format!("--dhat-out-file={}", out.display()),
    ];
    let redirect = world.launch_under(Some(&wrapper), "redirect", &Mode::Os.env(world))?;
    world.ready(&redirect).await?;
    for _ in 0..repeats {
        servers::touch(redirect.addr, 0, LINKS).await?;
    }
    redirect.stop(STOP_LIMIT).await;
    read(&report)
}

/// `==123== Total:     1,234,567 bytes in 12,345 blocks`
fn read(report: &Path) -> anyhow::Result<(f64, f64)> {
    let text = std::fs::read_to_string(report)?;
    let total = text.lines().find_map(|line| line.split_once("Total:")).context("dhat printed no total")?.1;
    let numbers: Vec<f64> =
        total.split_whitespace().filter_map(|word| word.replace(',', "").parse().ok()).collect();
    let [bytes, blocks, ..] = numbers[..] else {
        anyhow::bail!("dhat printed something unexpected: {total}")
    };
    Ok((bytes, blocks))
}
