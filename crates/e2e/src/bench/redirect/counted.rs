//! What a request takes whatever the machine's mood: instructions, and blocks of memory. valgrind's callgrind counts them in two
//! runs of different length, and the difference is what requests took.

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

/// What gives a block back to the allocator: a block that a request allocates is one that it gives back, but
/// for the few that grow and move.
const FREE: &str = "mi_free";

/// What a process took in its whole life.
struct Taken {
    instructions: f64,
    blocks: f64,
}

/// Instructions of the process and blocks of memory for one request of a known link, shipping paused.
pub async fn measure(figures: &mut Figures, world: &World) -> anyhow::Result<()> {
    if !servers::runs("valgrind", "--version") {
        eprintln!("  no valgrind: instructions and allocations are left out");
        return Ok(());
    }
    let few = taken(world, REPEATS.0).await?;
    let many = taken(world, REPEATS.1).await?;
    let requests = (LINKS * (REPEATS.1 - REPEATS.0)) as f64;
    figures.add(
        "redirect.instructions",
        (many.instructions - few.instructions) / requests,
        "instructions for one request and what runs meanwhile, those of the system left out",
    );
    figures.add(
        "redirect.allocations",
        (many.blocks - few.blocks) / requests,
        "blocks allocated for one request",
    );
    Ok(())
}

async fn taken(world: &World, repeats: u64) -> anyhow::Result<Taken> {
    let counts = world.file(&format!("callgrind-{repeats}.out"));
    let wrapper = [
        "valgrind".to_owned(),
        "--tool=callgrind".to_owned(),
        "--compress-strings=no".to_owned(),
        format!("--log-file={}", world.file(&format!("callgrind-{repeats}.log")).display()),
        format!("--callgrind-out-file={}", counts.display()),
    ];
    let redirect = world.launch_under(Some(&wrapper), "redirect", &Mode::Os.env(world))?;
    world.ready(&redirect).await?;
    for _ in 0..repeats {
        servers::touch(redirect.addr, 0, LINKS).await?;
    }
    redirect.stop(STOP_LIMIT).await;
    read(&counts)
}

/// In callgrind's format, `cfn=NAME` names who is called, the line `calls=COUNT …` behind it says how often, and `totals: COUNT`
/// tells the instructions.
fn read(counts: &Path) -> anyhow::Result<Taken> {
    let text = std::fs::read_to_string(counts)?;
    let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    let instructions = text.lines().rev().find_map(|line| line.strip_prefix("totals:"));
    let instructions = instructions.and_then(number).context("callgrind printed no totals")?;
    let mut blocks = 0.0;
    let mut is_free = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            is_free = name == FREE;
        } else if let Some(calls) = line.strip_prefix("calls=").filter(|_| is_free) {
            blocks += number(calls).context("callgrind printed a number of calls that is none")?;
        }
    }
    anyhow::ensure!(blocks > 0.0, "callgrind saw no call of {FREE}: is the allocator another?");
    Ok(Taken { instructions, blocks })
}
