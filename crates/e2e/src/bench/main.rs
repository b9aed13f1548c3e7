//! Measures Clickwire on this machine: `scripts/bench [PART ...] [--json FILE]`.
//!
//! Real processes as they are shipped, a private PostgreSQL with fsync on and a private nats-server. Every figure
//! comes from one run; figures that compare (a share, a ratio) have both sides in the same run, taken in turns.

mod accuracy;
mod backlog;
mod bare;
mod bulk;
mod deliver;
mod enrich;
mod export;
mod figures;
mod isolation;
mod latency;
mod load;
mod options;
mod path;
mod peer;
mod process;
mod redirect;
mod rollups;
mod scale;
mod sink;
mod streams;
mod visitors;
mod world;
mod wrk;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use crate::figures::Figures;

/// Measures redirects, enrichment, recording, delivery and the way from a click to its webhook.
#[derive(Debug, Parser)]
#[command(name = "clickwire-bench", args_conflicts_with_subcommands = true)]
struct Args {
    /// What to measure; everything when nothing is named.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Also writes the figures to this file, as a JSON object of numbers; of several rounds NAME.least and NAME.greatest too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Links in the table when it is shown that memory does not grow with it.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    links: u64,
    /// Clicks of the month that is counted.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000_000)]
    clicks: u64,
    /// Folder of location files that enrichment is measured with, instead of the extract that is compiled in.
    #[arg(long, value_name = "DIR")]
    geo: Option<PathBuf>,
    #[command(subcommand)]
    peer: Option<Peer>,
}

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Redirects beside a bare actix-web server.
    Redirect,
    /// Links a second in bulk.
    Bulk,
    /// Clicks a second through `enrich`, its start, and what its parts cost.
    Enrich,
    /// Clicks a second through `record`.
    Record,
    /// A month of clicks counted by quarters of an hour, held against a full count, and read.
    Rollups,
    /// Deliveries a second through `deliver`, with one endpoint and with ten, and of 200,000 that waited for a paused one.
    Deliver,
    /// What each delivery option costs beside an endpoint that has none.
    Options,
    /// A healthy endpoint beside one that never answers.
    Isolation,
    /// A click beside 1 to 100,000 endpoints of others.
    Scale,
    /// From the click to the webhook, at 200 clicks a second and at 2,000.
    Latency,
    /// Clicks a second all the way.
    Path,
    /// A million clicks as a file, and the memory of the API meanwhile.
    Export,
    /// How often enrichment is right, by suite and field.
    Accuracy,
}

/// What the measurement starts of itself.
#[derive(Debug, Subcommand)]
enum Peer {
    /// Serves a constant 302 with bare actix-web and one worker.
    #[command(hide = true)]
    BareActix {
        /// Where to listen.
        addr: SocketAddr,
    },
    /// Starts what `redirect` measures and leaves it to a profiler until standard input ends.
    Hold,
    /// Asks at a steady rate for random links and prints what it saw.
    #[command(hide = true)]
    Timetable {
        /// Whom to ask.
        addr: SocketAddr,
        /// Requests a second.
        rate: u32,
        /// For how long.
        seconds: u32,
        /// Links below this number.
        links: u64,
    },
    /// Asks for each link once and prints what it saw.
    #[command(hide = true)]
    Touch {
        /// Whom to ask.
        addr: SocketAddr,
        /// The first link.
        first: u64,
        /// The link after the last.
        end: u64,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(peer) = args.peer {
        return play(peer).await;
    }
    let parts = if args.parts.is_empty() { Part::value_variants().to_vec() } else { args.parts };

    let mut figures = Figures::default();
    process::describe_machine();
    world::describe_programs()?;
    for part in parts {
        eprintln!("measuring {} …", part.to_possible_value().expect("no part is hidden").get_name());
        match part {
            Part::Redirect => redirect::measure(&mut figures, args.links).await?,
            Part::Bulk => bulk::measure(&mut figures).await?,
            Part::Enrich => enrich::measure(&mut figures, args.geo.as_deref()).await?,
            Part::Record => streams::measure_record(&mut figures).await?,
            Part::Rollups => rollups::measure(&mut figures, args.clicks).await?,
            Part::Deliver => {
                deliver::measure(&mut figures).await?;
                backlog::measure(&mut figures).await?;
            }
            Part::Options => options::measure(&mut figures).await?,
            Part::Isolation => isolation::measure(&mut figures).await?,
            Part::Scale => scale::measure(&mut figures).await?,
            Part::Latency => latency::measure(&mut figures).await?,
            Part::Path => path::measure(&mut figures).await?,
            Part::Export => export::measure(&mut figures).await?,
            Part::Accuracy => accuracy::measure(&mut figures).await?,
        }
    }
    figures.print();
    match args.json {
        Some(path) => figures.write(&path).with_context(|| format!("failed to write {}", path.display())),
        None => Ok(()),
    }
}

async fn play(peer: Peer) -> anyhow::Result<()> {
    let seen = match peer {
        Peer::BareActix { addr } => return peer::serve(addr).await,
        Peer::Hold => return redirect::hold().await,
        Peer::Timetable { addr, rate, seconds, links } => load::keep_timetable(addr, rate, seconds, links)?,
        Peer::Touch { addr, first, end } => load::touch(addr, first, end)?,
    };
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}
