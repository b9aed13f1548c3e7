//! `clickwire explain-click`: why a recorded click has the verdict, the place and the device that it has.

use std::process::ExitCode;

use anyhow::{Context, bail};
use bus::Message;
use clap::Args;
use enrich::{ATTRIBUTION, ATTRIBUTION_URL};
use model::automation::Automation;
use model::device::Device;
use model::location::Location;
use model::{ClickId, EnrichedClick};
use serde::Serialize;
use store::first_run::WORKSPACE_NAME;
use store::{click_log, workspaces};

use crate::connections::ConnectionOptions;
use crate::{explain, out};

/// Say why a recorded click has its verdict, place and device
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Id of the click
    click: ClickId,

    /// Name of the workspace that it belongs to
    #[arg(long, value_name = "NAME", default_value = WORKSPACE_NAME)]
    workspace: String,

    #[command(flatten)]
    connections: ConnectionOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Explanation {
    click_id: ClickId,
    clicked_at: String,
    user_agent: Option<String>,
    location: Location,
    location_missing: Option<&'static str>,
    device: Device,
    automation: Automation,
    is_first_click: Option<bool>,
    redacted_fields: Vec<String>,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut conn = options.connections.find()?.database().await?;
    let name = &options.workspace;
    let workspace = workspaces::find_by_name(&mut conn, name).await?;
    let workspace = workspace.with_context(|| format!("there is no workspace `{name}`"))?;
    let Some(recorded) = click_log::find(&mut conn, workspace.id, options.click).await? else {
        bail!("workspace `{name}` has no recorded click {}", options.click);
    };
    let click = EnrichedClick::decode(&recorded.event).context("the recorded click cannot be read")?;
    let explanation = Explanation {
        click_id: click.click.id,
        clicked_at: click.click.clicked_at.to_rfc3339(),
        user_agent: click.click.request.user_agent,
        location: click.location,
        location_missing: click.location_missing.map(|reason| reason.as_str()),
        device: click.device,
        automation: click.automation,
        is_first_click: click.is_first_click,
        redacted_fields: click.redacted_fields,
    };
    if options.json {
        out::json(&explanation);
    } else {
        print(&explanation);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(explanation: &Explanation) {
    out::line(&format!("click     {} of {}", explanation.click_id, explanation.clicked_at));
    let agent = match &explanation.user_agent {
        Some(agent) => agent.escape_debug().to_string(),
        None if explanation.redacted_fields.iter().any(|field| field == "user_agent") => {
            "not kept".to_owned()
        }
        None => "none".to_owned(),
    };
    out::line(&format!("agent     {agent}"));
    let location = &explanation.location;
    let place: Vec<&str> = [&location.city, &location.region, &location.country]
        .into_iter()
        .filter_map(|part| part.as_deref())
        .collect();
    let place = match explanation.location_missing {
        Some(reason) => format!("unknown: {reason}"),
        None => place.join(", "),
    };
    out::line(&format!("place     {place}"));
    if explanation.location_missing.is_none() {
        out::line(&format!("source    {ATTRIBUTION}, {ATTRIBUTION_URL}"));
    }
    explain::device(&explanation.device);
    explain::verdict(&explanation.automation);
    let first = match explanation.is_first_click {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not known",
    };
    out::line(&format!("first     {first}"));
}
