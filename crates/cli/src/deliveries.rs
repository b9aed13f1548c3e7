//! `clickwire deliveries`: what became of events, and another try, through the API.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand, ValueEnum};
use model::{ClickId, DeliveryId, EndpointId};
use reqwest::Method;
use serde_json::Value;

use crate::api::{ApiOptions, text};
use crate::listing::{self, Listing, ListingOptions};
use crate::out;
use crate::replay::moment;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List deliveries, newest event first
    List(ListOptions),
    /// Try deliveries again now, whatever became of them
    #[command(after_help = "\
Example:
  clickwire deliveries retry dlv_01jd8m3x5v9k2n4p6q8r0s1t3w

For all that an endpoint did not get, use `clickwire replay --endpoint ID --since TIME`.")]
    Retry(ChangeOptions),
    /// Give deliveries up that wait, so that what waits behind them goes on
    #[command(after_help = "\
Example:
  clickwire deliveries give-up dlv_01jd8m3x5v9k2n4p6q8r0s1t3w

They can still be sent again with `clickwire deliveries retry`, or replayed.")]
    GiveUp(ChangeOptions),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  clickwire deliveries list --endpoint whe_01jd8m3x5v9k2n4p6q8r0s1t3w --status dead --since 2h"
)]
pub(crate) struct ListOptions {
    /// Owed to this endpoint
    #[arg(long, value_name = "ID")]
    endpoint: Option<EndpointId>,

    /// That stand there
    #[arg(long, value_enum)]
    status: Option<Status>,

    /// Telling of this click
    #[arg(long, value_name = "ID")]
    click: Option<ClickId>,

    /// Of events since then: a time ("2026-11-23T00:00:00Z"), or how long ago ("2h", "3days")
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<DateTime<Utc>>,

    /// Of events before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<DateTime<Utc>>,

    #[command(flatten)]
    listing: ListingOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Pending,
    Delivered,
    Dead,
    Offered,
}

#[derive(Debug, Args)]
pub(crate) struct ChangeOptions {
    /// Ids of the deliveries
    #[arg(required = true)]
    ids: Vec<DeliveryId>,

    #[command(flatten)]
    api: ApiOptions,

    /// Print a line of JSON for each
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(options) => list(&options).await,
        Command::Retry(options) => do_to_each(&options, "retry", "tried again now").await,
        Command::GiveUp(options) => do_to_each(&options, "give-up", "given up").await,
    }
}

async fn list(options: &ListOptions) -> anyhow::Result<ExitCode> {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let status = options.status.map(|status| match status {
        Status::Pending => "pending".to_owned(),
        Status::Delivered => "delivered".to_owned(),
        Status::Dead => "dead".to_owned(),
        Status::Offered => "offered".to_owned(),
    });
    let listing = Listing {
        path: "/v1/deliveries",
        asked: vec![
            ("endpoint_id", options.endpoint.map(|id| id.to_string())),
            ("status", status),
            ("click_id", options.click.map(|id| id.to_string())),
            ("since", options.since.map(time)),
            ("until", options.until.map(time)),
        ],
        line,
        empty: "no such deliveries; `clickwire why LINK` says what keeps a link's clicks from becoming some",
    };
    listing::list(listing, &options.listing).await
}

/// Asks for each delivery that `verb` be done to it; says that it `is` now, or is not.
async fn do_to_each(options: &ChangeOptions, verb: &str, is: &str) -> anyhow::Result<ExitCode> {
    let api = options.api.open()?;
    let mut code = ExitCode::SUCCESS;
    for id in &options.ids {
        let answer = api.ask(Method::POST, &format!("/v1/deliveries/{id}/{verb}"), None).await?;
        answer.print(options.json, |delivery| vec![format!("{} is {is}", text(&delivery["id"]))]);
        if !answer.status.is_success() {
            out::error(&format!("  {id} is not {is}"));
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn line(delivery: &Value) -> String {
    let answer = match (delivery["last_status"].as_u64(), delivery["last_error"].as_str()) {
        (Some(status), _) => format!("  answered {status}"),
        (None, Some(error)) => format!("  {error}"),
        (None, None) => String::new(),
    };
    let next = delivery["next_attempt_at"].as_str().map(|at| format!("  next {at}")).unwrap_or_default();
    format!(
        "{}  {}  {}  {}  {}  {} attempts{answer}{next}",
        text(&delivery["id"]),
        text(&delivery["created_at"]),
        text(&delivery["status"]),
        text(&delivery["event_type"]),
        text(&delivery["endpoint_id"]),
        text(&delivery["attempt_count"]),
    )
}
