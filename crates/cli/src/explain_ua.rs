//! `clickwire explain-ua`: what enrichment makes of a User-Agent, by its own code and data.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use enrich::look_up::LookUp;
use enrich::metrics::Metrics;
use model::automation::Automation;
use model::click::Request;
use model::device::Device;
use serde::Serialize;
use service::ops::Ops;

use crate::layers::Layers;
use crate::{explain, out};

/// Say which device a User-Agent is taken for, and whether for a person's, and why
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The User-Agent, in quotes; without one, that of a request that has none
    user_agent: Option<String>,

    /// Another header of the request, as in 'Sec-CH-UA-Model: "SM-A546B"'; may be given more than once
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// Method of the request
    #[arg(long, default_value = "GET")]
    method: String,

    /// Settings file; otherwise CLICKWIRE_CONFIG, otherwise ./clickwire.toml if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Explanation {
    device: Device,
    automation: Automation,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let settings = Layers::new(options.config.clone())
        .load::<enrich::Settings>(enrich::Settings::DEFAULTS, &toml::Table::new())
        .context("settings cannot be used")?
        .enrich;
    let request = Request {
        method: options.method.clone(),
        user_agent: options.user_agent.clone(),
        headers: options.headers.iter().map(|line| parsed(line)).collect::<anyhow::Result<_>>()?,
        ..Request::default()
    };
    let metrics = Arc::new(Metrics::register(Ops::new().registry()).context("failed to register metrics")?);
    let told = move || anyhow::Ok(LookUp::open(&settings, metrics)?.tell(&request));
    let (device, automation) = tokio::task::spawn_blocking(told).await.context("reading failed")??;
    if options.json {
        out::json(&Explanation { device, automation });
    } else {
        explain::device(&device);
        explain::verdict(&automation);
    }
    Ok(ExitCode::SUCCESS)
}

/// Names of headers are kept in lower case, as the redirect does.
fn parsed(line: &str) -> anyhow::Result<(String, String)> {
    let (name, value) =
        line.split_once(':').with_context(|| format!("`{line}` is not a header like `Name: value`"))?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}
