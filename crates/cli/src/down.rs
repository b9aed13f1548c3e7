//! `clickwire down`: asks a running `up` to finish, and waits until it has.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::data_dir::DataDirOption;
use crate::out;

/// Draining, the last checkpoint of PostgreSQL and all.
const PATIENCE: Duration = Duration::from_secs(90);

/// Pause between two looks at a process that is not our child.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Stop what `up` started
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    data_dir: DataDirOption,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let data_dir = options.data_dir.dir()?;
    let Some(running) = data_dir.running() else {
        if data_dir.is_taken() {
            bail!("`clickwire up` is starting or stopping on {}: try again", data_dir.path().display());
        }
        out::line(&format!("nothing runs on {}", data_dir.path().display()));
        return Ok(ExitCode::SUCCESS);
    };
    let pid =
        i32::try_from(running.pid).ok().and_then(Pid::from_raw).context("running.json names no process")?;
    kill_process(pid, Signal::TERM).with_context(|| format!("failed to stop process {}", running.pid))?;
    let asked_at = Instant::now();
    while data_dir.is_taken() || !has_ended(running.pid) {
        if asked_at.elapsed() > PATIENCE {
            bail!(
                "process {} does not end within {} s; its log may say why, and `kill -9 {}` ends it (no click is lost)",
                running.pid,
                PATIENCE.as_secs(),
                running.pid
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    out::line(&format!("stopped; the data stay in {}", data_dir.path().display()));
    Ok(ExitCode::SUCCESS)
}

/// Whether a process is gone, or only waits for its parent to ask how it ended: then it has no command line.
fn has_ended(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |command| command.is_empty())
}
