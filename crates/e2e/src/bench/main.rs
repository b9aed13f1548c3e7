//! Measures Clickwire on this machine: `scripts/bench [PART ...] [--json FILE]`.
//!
//! Real processes in release form, a private PostgreSQL with fsync on and a private nats-server. Every figure
//! comes from one run; figures that compare (a share, a ratio) have both sides in the same run, taken in turns.

mod deliver;
mod figures;
mod latency;
mod peer;
mod process;
mod redirect;
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
    /// Also writes the figures to this file, as a JSON object of numbers.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    peer: Option<Peer>,
}

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Redirects beside a bare actix-web server.
    Redirect,
    /// Clicks a second through `enrich`.
    Enrich,
    /// Clicks a second through `record`.
    Record,
    /// Deliveries a second through `deliver`, with one endpoint and with ten.
    Deliver,
    /// From the click to the webhook, at 200 clicks a second.
    Latency,
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
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(Peer::BareActix { addr }) = args.peer {
        return peer::serve(addr).await;
    }
    let parts = if args.parts.is_empty() { Part::value_variants().to_vec() } else { args.parts };

    let mut figures = Figures::default();
    process::describe_machine();
    for part in parts {
        eprintln!("measuring {} …", part.to_possible_value().expect("no part is hidden").get_name());
        match part {
            Part::Redirect => redirect::measure(&mut figures).await?,
            Part::Enrich => streams::measure_enrich(&mut figures).await?,
            Part::Record => streams::measure_record(&mut figures).await?,
            Part::Deliver => deliver::measure(&mut figures).await?,
            Part::Latency => latency::measure(&mut figures).await?,
        }
    }
    figures.print();
    match args.json {
        Some(path) => figures.write(&path).with_context(|| format!("failed to write {}", path.display())),
        None => Ok(()),
    }
}
