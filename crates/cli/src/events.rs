//! `clickwire events`: fetches the events of an endpoint, for a receiver that nothing can be sent to, through the API.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use model::EndpointId;
use reqwest::Method;
use serde_json::Value;

use crate::api::{Api, ApiOptions, query, text};
use crate::out;

/// Events of one request.
const LIMIT: u32 = 100;

/// How long one request waits for an event, in seconds.
const WAIT_SECONDS: u32 = 25;

/// Before a request that failed is made again.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch what an endpoint is owed, oldest first
    Pull(PullOptions),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  clickwire events pull whe_01jd8m3x5v9k2n4p6q8r0s1t3w --json | jq -c .body
  clickwire events pull whe_01jd8m3x5v9k2n4p6q8r0s1t3w --after CURSOR --follow

Standard error says at the end where to go on. An event can come more than once: know it by its id.")]
pub(crate) struct PullOptions {
    /// Id of the endpoint
    endpoint: EndpointId,

    /// Go on after this place: the `cursor` of an event [default: the oldest event that is kept]
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,

    /// Wait for more, until Ctrl-C
    #[arg(long)]
    follow: bool,

    #[command(flatten)]
    api: ApiOptions,

    /// Print a line of JSON for each event
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let Command::Pull(options) = command;
    let api = options.api.open()?;
    let stop = service::shutdown::on_signal()?;
    let mut after = options.after.clone();
    let code = tokio::select! {
        () = stop.cancelled() => Ok(ExitCode::SUCCESS),
        code = pull(&options, &api, &mut after) => code,
    };
    if let Some(after) = after.filter(|_| code.is_ok()) {
        out::error(&format!("go on with --after {after}"));
    }
    code
}

/// Shows events until there are none, or for ever; `after` is where what was shown ends.
async fn pull(options: &PullOptions, api: &Api, after: &mut Option<String>) -> anyhow::Result<ExitCode> {
    let mut was_answered = false;
    loop {
        let wait = options.follow.then(|| WAIT_SECONDS.to_string());
        let asked = [("after", after.clone()), ("limit", Some(LIMIT.to_string())), ("wait", wait)];
        let path = format!("/v1/webhook-endpoints/{}/events{}", options.endpoint, query(&asked));
        let is_tried_again = was_answered && options.follow;
        let answer = match api.ask(Method::GET, &path, None).await {
            Err(error) if !is_tried_again => return Err(error),
            Err(error) => {
                out::error(&format!("{error:#}; trying again in {} s", PAUSE.as_secs()));
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Ok(answer) if answer.status.is_server_error() && is_tried_again => {
                out::error(&format!(
                    "the API answered {}; trying again in {} s",
                    answer.status,
                    PAUSE.as_secs()
                ));
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Ok(answer) => answer,
        };
        if !answer.status.is_success() {
            answer.tell_refusal();
            return Ok(ExitCode::FAILURE);
        }
        was_answered = true;
        for event in answer.body["data"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let shown = if options.json { event.to_string() } else { line(event) };
            if !out::is_read(&shown) {
                return Ok(ExitCode::SUCCESS);
            }
            *after = event["cursor"].as_str().map(str::to_owned);
        }
        *after = answer.body["next_cursor"].as_str().map(str::to_owned);
        if !options.follow && answer.body["has_more"] != true {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn line(event: &Value) -> String {
    format!(
        "{}  {}  {}  {}",
        text(&event["id"]),
        text(&event["timestamp"]),
        text(&event["type"]),
        text(&event["delivery_id"]),
    )
}
