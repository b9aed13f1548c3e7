//! `clickwire quarantine`: looks at what was put aside, publishes it again or removes it, through the API.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use model::QuarantineId;
use reqwest::Method;
use serde_json::Value;

use crate::api::{ApiOptions, query, text};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what was put aside, newest first
    List(ListOptions),
    /// Show one message with the beginning of its bytes
    Show(OneOptions),
    /// Publish a message again, byte for byte, to the stream that it came from and under its id
    Replay(OneOptions),
    /// Remove a message for good
    Delete(OneOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ListOptions {
    /// Only what this consumer put aside: enrich, record, deliver, deliver-events
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,

    /// Most messages, 1 to 250
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=250))]
    limit: u32,

    #[command(flatten)]
    api: ApiOptions,

    /// Print one line of JSON
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
        Command::Show(options) => one(&options, Method::GET, "", shown).await,
        Command::Replay(options) => one(&options, Method::POST, "/replay", replayed).await,
        Command::Delete(options) => {
            let id = options.id;
            one(&options, Method::DELETE, "", move |_| vec![format!("{id} is removed")]).await
        }
    }
}

async fn list(options: &ListOptions) -> anyhow::Result<ExitCode> {
    let asked = [("limit", Some(options.limit.to_string())), ("consumer", options.consumer.clone())];
    let path = format!("/v1/quarantine{}", query(&asked));
    let answer = options.api.ask(Method::GET, &path, None).await?;
    answer.print(options.json, |page| {
        let messages = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        match messages {
            [] => vec!["nothing was put aside".to_owned()],
            messages => messages.iter().map(line).collect(),
        }
    });
    Ok(answer.exit())
}

async fn one(
    options: &OneOptions,
    method: Method,
    action: &str,
    told: impl FnOnce(&Value) -> Vec<String>,
) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/quarantine/{}{action}", options.id);
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
