//! `clickwire spool`: looks at the directory of a redirect that does not run, and ships what is in it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bus::Bus;
use clap::{Args, Subcommand};
use redirect::{Contents, Inspection, PutAside};
use serde::Serialize;

use crate::connections::ConnectionOptions;
use crate::out;

/// How long NATS may take to be reached, and then to take the next click.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what a spool holds; changes nothing, and may be asked while a redirect uses it
    Inspect(InspectOptions),
    /// Send NATS what a spool holds; no redirect may be using it
    ///
    /// Exits with 0 when NATS has taken everything and no file was left aside, otherwise with 1. The files stay: the next
    /// redirect that uses the directory removes them when the database holds their clicks. Sending clicks again does no
    /// harm.
    Ship(ShipOptions),
}

#[derive(Debug, Args)]
pub(crate) struct InspectOptions {
    /// The directory (redirect.spool.dir)
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShipOptions {
    #[command(flatten)]
    connections: ConnectionOptions,

    /// The directory (redirect.spool.dir)
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// Send everything that is there, also what NATS has taken before and what was put aside unconfirmed
    #[arg(long)]
    all: bool,

    /// Print one line of JSON, and no progress
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Done {
    shipped_clicks: u64,
    refused_clicks: u64,
    left_clicks: u64,
    left_bytes: u64,
    /// Files whose clicks were not sent.
    put_aside: Vec<PutAside>,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Inspect(options) => inspect(&options),
        Command::Ship(options) => ship(&options).await,
    }
}

fn inspect(options: &InspectOptions) -> anyhow::Result<ExitCode> {
    let dir = &options.dir;
    let inspection = look(dir)?;
    if options.json {
        out::json(&inspection);
    } else {
        print(dir, &inspection);
    }
    Ok(ExitCode::SUCCESS)
}

fn look(dir: &Path) -> anyhow::Result<Inspection> {
    redirect::inspect(dir).with_context(|| format!("failed to look at the spool in {}", dir.display()))
}

fn print(dir: &Path, inspection: &Inspection) {
    let Inspection { is_held, files, shipped, unshipped, put_aside } = inspection;
    let held = if *is_held { "a redirect uses it" } else { "no process uses it" };
    out::line(&format!("spool      {}; {held}", dir.display()));
    out::line(&format!("files      {files}"));
    out::line(&format!("unshipped  {}", words(unshipped)));
    out::line(&format!("shipped    {}, kept until the database holds them", words(shipped)));
    out::line(&format!("damaged    {} bytes", shipped.damaged_bytes + unshipped.damaged_bytes));
    for file in put_aside {
        out::line(&format!("put aside  {}, {} bytes", file.path.display(), file.bytes));
    }
}

fn words(contents: &Contents) -> String {
    let clicks = format!("{} clicks, {} bytes", contents.clicks, contents.bytes);
    match (contents.oldest, contents.newest) {
        (Some(oldest), Some(newest)) => {
            let moment = "%Y-%m-%dT%H:%M:%SZ";
            format!("{clicks}, from {} to {}", oldest.format(moment), newest.format(moment))
        }
        _ => clicks,
    }
}

async fn ship(options: &ShipOptions) -> anyhow::Result<ExitCode> {
    let connections = options.connections.find()?;
    let bus = Bus::connect(&connections.nats, "redirect").await?;
    bus.wait_connected(PATIENCE).await.context("NATS cannot be reached (nats.url)")?;
    let progress = |clicks: u64, left: u64| {
        if !options.json {
            out::error(&format!("{clicks} clicks sent, {left} bytes to go"));
        }
    };
    let shipped = redirect::ship(&options.dir, bus.publisher(), options.all, PATIENCE, progress).await?;
    let done = Done {
        shipped_clicks: shipped.clicks,
        refused_clicks: shipped.refused,
        left_clicks: shipped.left.clicks,
        left_bytes: shipped.left.bytes,
        // looked for afterwards: what cannot be read is put aside meanwhile
        put_aside: look(&options.dir)?.put_aside,
    };
    if options.json {
        out::json(&done);
    } else {
        tell(&done);
    }
    let is_done = done.left_bytes == 0 && done.refused_clicks == 0 && done.put_aside.is_empty();
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(done: &Done) {
    out::line(&format!("{} clicks sent", done.shipped_clicks));
    if done.refused_clicks > 0 {
        out::line(&format!("{} clicks are too large for the stream", done.refused_clicks));
    }
    if done.left_bytes > 0 {
        out::line(&format!(
            "{} clicks are left ({} bytes): NATS takes no more; look at its stream CLICKS (`clickwire doctor`)",
            done.left_clicks, done.left_bytes
        ));
    }
    for file in &done.put_aside {
        out::line(&format!("not sent   {}, {} bytes", file.path.display(), file.bytes));
    }
    if !done.put_aside.is_empty() {
        out::line(
            "keep these files: --all sends those that end with .unconfirmed; those that end with .damaged cannot be read",
        );
    }
}
