//! `clickwire up --detach`: starts the real one in a session of its own and waits until it is ready.

use std::fs::{self, File};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::data_dir::{DataDir, Running};
use crate::out;

use super::{Options, summary};

/// The first start makes a database cluster, and recovery after a crash takes its time.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Lines of the log that are shown when it does not start.
const LOG_LINES: usize = 15;

pub(super) async fn run(options: &Options, data_dir: &DataDir) -> anyhow::Result<ExitCode> {
    let log_path = data_dir.log();
    let log = File::options().create(true).append(true).open(&log_path);
    let log = log.with_context(|| format!("failed to write {}", log_path.display()))?;
    let written_before = log.metadata().map_or(0, |metadata| metadata.len());
    let program = std::env::current_exe().context("failed to find our own program")?;
    let mut child = Command::new(program)
        .args(arguments(options, data_dir))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("failed to start in the background")?;
    let stdout = child.stdout.take().expect("its output is a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let told = tokio::time::timeout(START_LIMIT, lines.next_line()).await;
    let Ok(Ok(Some(line))) = told else {
        let patience = if told.is_err() { "was not ready in time" } else { "ended before it was ready" };
        // it may be gone, which is what we want
        let _ = child.kill().await;
        bail!("it {patience}; the end of {}:\n{}", log_path.display(), tail(data_dir, written_before));
    };
    let running: Running = serde_json::from_str(&line).context("it said something we do not understand")?;
    for note in new_notes(data_dir, written_before) {
        out::error(&note);
    }
    if options.json {
        out::line(&line);
    } else {
        summary(&running, None);
        out::line(&format!("  log       {}", log_path.display()));
        out::line(&format!("\n`clickwire down --data-dir {}` ends it.", data_dir.path().display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Our own options, but for those that concern us alone.
fn arguments(options: &Options, data_dir: &DataDir) -> Vec<std::ffi::OsString> {
    let mut arguments: Vec<std::ffi::OsString> = vec!["up".into(), "--detached".into(), "--json".into()];
    let mut push = |name: &str, value: std::ffi::OsString| arguments.extend([name.into(), value]);
    push("--data-dir", data_dir.path().into());
    if let Some(config) = &options.config {
        push("--config", config.into());
    }
    if let Some(key) = &options.admin_key {
        push("--admin-key", key.reveal().into());
    }
    let addresses = [
        ("--redirect-addr", options.redirect_addr),
        ("--api-addr", options.api_addr),
        ("--ops-addr", options.ops_addr),
    ];
    for (name, addr) in addresses {
        if let Some(addr) = addr {
            push(name, addr.to_string().into());
        }
    }
    arguments
}

fn new_lines(data_dir: &DataDir, written_before: u64) -> Vec<String> {
    let bytes = fs::read(data_dir.log()).unwrap_or_default();
    let start = usize::try_from(written_before).map_or(bytes.len(), |start| start.min(bytes.len()));
    String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).lines().map(str::to_owned).collect()
}

fn tail(data_dir: &DataDir, written_before: u64) -> String {
    let lines = new_lines(data_dir, written_before);
    let first = lines.len().saturating_sub(LOG_LINES);
    lines.get(first..).unwrap_or_default().join("\n")
}

/// Which default ports gave way, and that links begin with another name than the public one: what in the log people must know now.
fn new_notes(data_dir: &DataDir, written_before: u64) -> Vec<String> {
    let is_note = |line: &String| {
        (line.starts_with("port ") && line.contains(" is taken: "))
            || line.starts_with("new links begin with ")
    };
    new_lines(data_dir, written_before).into_iter().filter(is_note).collect()
}
