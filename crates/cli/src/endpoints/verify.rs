//! `clickwire endpoints verify`: has an endpoint show that it wants what is sent to it.

use std::process::ExitCode;

use clap::Args;
use model::EndpointId;
use reqwest::Method;

use crate::api::{ApiOptions, text};
use crate::out;

use super::{advice, tested};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  clickwire endpoints verify whe_01jd8m3x5v9k2n4p6q8r0s1t3w")]
pub(crate) struct Options {
    /// Id of the endpoint
    id: EndpointId,

    #[command(flatten)]
    api: ApiOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let id = options.id;
    let answer = options.api.ask(Method::POST, &format!("/v1/webhook-endpoints/{id}/verify"), None).await?;
    answer.print(options.json, |_| Vec::new());
    if !answer.status.is_success() {
        return Ok(answer.exit());
    }
    if answer.body["verified"] == true {
        if !options.json {
            out::line(&format!("{id} is verified"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    out::error(&format!("{id} is not verified: {}", text(&answer.body["detail"])));
    if answer.body["reason"] == "not_accepted" {
        let attempt = &answer.body["attempt"];
        out::error(&format!("  {}", tested(attempt, false)));
        if let Some(advice) = advice(attempt) {
            out::error(&format!("  {advice}"));
        }
    }
    Ok(ExitCode::FAILURE)
}
