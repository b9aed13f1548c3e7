//! One run of wrk, Debian's HTTP load generator: 64 connections in a closed loop from core 1.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use tokio::process::Command;

/// Requests in flight.
const CONNECTIONS: usize = 64;

/// What one run saw.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Answers.
    pub requests: f64,
    /// Answers a second.
    pub per_second: f64,
    /// Latency that 99 of 100 stayed under, in milliseconds.
    pub p99_ms: f64,
}

/// Sends requests for `seconds`, each for a random one of the paths that `script` makes.
pub async fn run(addr: SocketAddr, script: &Path, seconds: u64) -> anyhow::Result<Run> {
    let output = Command::new("taskset")
        .args([
            "-c",
            "1",
            "wrk",
            "-t1",
            &format!("-c{CONNECTIONS}"),
            &format!("-d{seconds}s"),
            "--latency",
            "-s",
        ])
        .arg(script)
        .arg(format!("http://{addr}/"))
        .output()
        .await
        .context("failed to run wrk (Debian package wrk)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success(), "wrk failed: {}", String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(!text.contains("Socket errors"), "requests failed:\n{text}");
    anyhow::ensure!(!text.contains("Non-2xx"), "requests were refused:\n{text}");
    parse(&text).with_context(|| format!("wrk said something unexpected:\n{text}"))
}

fn parse(text: &str) -> Option<Run> {
    let after = |label: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(label))
            .and_then(|rest| rest.split_whitespace().next())
    };
    let requests = text.lines().find(|line| line.contains("requests in"))?.split_whitespace().next()?;
    Some(Run {
        requests: requests.parse().ok()?,
        per_second: after("Requests/sec:")?.parse().ok()?,
        p99_ms: milliseconds(after("99%")?)?,
    })
}

fn milliseconds(text: &str) -> Option<f64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[number.len()..] {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}
