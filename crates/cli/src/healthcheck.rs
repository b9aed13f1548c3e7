//! `clickwire healthcheck`: for orchestrators whose images have no `curl`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use crate::out;

/// A probe that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Ask a URL and exit with 0 if it answers 2xx, otherwise with 1
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// For example http://127.0.0.1:9101/readyz
    url: url::Url,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let answer = client
        .get(options.url.clone())
        .send()
        .await
        .with_context(|| format!("{} does not answer", options.url))?;
    let status = answer.status();
    if !status.is_success() {
        let body = answer.text().await.unwrap_or_default();
        bail!("{} answers {status}: {}", options.url, body.trim());
    }
    out::line("ok");
    Ok(ExitCode::SUCCESS)
}
