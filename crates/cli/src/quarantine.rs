//! `clickwire quarantine`: looks at what was put aside, publishes it again or removes it, through the API.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use model::QuarantineId;
use reqwest::Method;
use serde_json::Value;

use crate::api::{ApiOptions, text};
use crate::listing::{self, Listing, ListingOptions};
use crate::out;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what was put aside, newest first
    List(ListOptions),
    /// Show one message with the beginning of its bytes
    Show(OneOptions),
    /// Publish messages again, byte for byte, to the stream that they came from and under their ids
    Replay(ReplayOptions),
    /// Remove a message for good
    Delete(OneOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ListOptions {
    /// Only what this consumer put aside: enrich, record, deliver, deliver-events
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,

    #[command(flatten)]
    listing: ListingOptions,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example, all that `record` put aside:
  clickwire quarantine list --consumer record --all --json | jq -r .id | xargs -r clickwire quarantine replay")]
pub(crate) struct ReplayOptions {
    /// Ids of the messages, as `clickwire quarantine list` shows them
    #[arg(required = true)]
    ids: Vec<QuarantineId>,

    #[command(flatten)]
    api: ApiOptions,

    /// Print a line of JSON for each
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneOptions {
    /// Id of the message, as `clickwire quarantine list` shows it
    id: QuarantineId,

    #[command(flatten)]
    api: ApiOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(options) => list(&options).await,
        Command::Show(options) => one(&options, Method::GET, shown).await,
        Command::Replay(options) => replay(&options).await,
        Command::Delete(options) => {
            let id = options.id;
            one(&options, Method::DELETE, move |_| vec![format!("{id} is removed")]).await
        }
    }
}

async fn list(options: &ListOptions) -> anyhow::Result<ExitCode> {
    let listing = Listing {
        path: "/v1/quarantine",
        asked: vec![("consumer", options.consumer.clone())],
        line,
        empty: "nothing was put aside",
    };
    listing::list(listing, &options.listing).await
}

async fn replay(options: &ReplayOptions) -> anyhow::Result<ExitCode> {
    let api = options.api.open()?;
    let mut code = ExitCode::SUCCESS;
    for id in &options.ids {
        let answer = api.ask(Method::POST, &format!("/v1/quarantine/{id}/replay"), None).await?;
        answer.print(options.json, replayed);
        if !answer.status.is_success() {
            out::error(&format!("  {id} is not published again"));
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

async fn one(
    options: &OneOptions,
    method: Method,
    told: impl FnOnce(&Value) -> Vec<String>,
) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/quarantine/{}", options.id);
    let answer = options.api.ask(method, &path, None).await?;
    answer.print(options.json, told);
    Ok(answer.exit())
}

fn line(message: &Value) -> String {
    format!(
        "{}  {}  {}  {}  {} bytes  {}{}",
        text(&message["id"]),
        text(&message["quarantined_at"]),
        text(&message["consumer"]),
        text(&message["message_id"]),
        message["size_bytes"],
        text(&message["reason"]),
        state(message),
    )
}

/// What became of it, behind the rest.
fn state(message: &Value) -> String {
    match (message["again_at"].as_str(), message["replayed_at"].as_str()) {
        (Some(at), _) => format!("  (published again, and put aside again at {at})"),
        (None, Some(at)) => format!("  (published again at {at})"),
        (None, None) if message["is_replay"] == true => "  (came back)".to_owned(),
        (None, None) => String::new(),
    }
}

fn shown(message: &Value) -> Vec<String> {
    vec![
        line(message),
        format!("subject  {}", text(&message["subject"])),
        format!("hex      {}", text(&message["hex"])),
        format!("text     {}", text(&message["text"])),
    ]
}

fn replayed(message: &Value) -> Vec<String> {
    vec![format!("{} is on {} again", text(&message["id"]), text(&message["stream"]))]
}
