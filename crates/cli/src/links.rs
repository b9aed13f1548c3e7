//! `clickwire links`: makes and lists links, and imports what other shorteners export, through the API.

mod import;
mod sending;

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use model::link::LinkKind;
use reqwest::Method;
use serde_json::{Map, Value};

use crate::api::{ApiOptions, text};
use crate::listing::{self, Listing, ListingOptions};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a link and print its tracked URL
    Create(CreateOptions),
    /// List links, newest first
    List(ListOptions),
    /// Make the links of a file: our own, or an export of Bitly, Dub, Shlink or YOURLS
    Import(import::Options),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  clickwire links create https://example.com/offer --slug spring --campaign spring-26 --tag sms --expires 30days"
)]
pub(crate) struct CreateOptions {
    /// Where the link leads
    url: String,

    /// Its name [default: random characters]
    #[arg(long)]
    slug: Option<String>,

    /// One of your domains [default: the default one]
    #[arg(long, value_name = "HOST")]
    domain: Option<String>,

    /// Who is to follow it: anybody (shareable), who got the message (message), or nobody but machines (honeypot) [default: message
    /// with --contact, --conversation or --message, else shareable]
    #[arg(long, value_parser = PossibleValuesParser::new(LinkKind::ALL.map(LinkKind::as_str)))]
    kind: Option<String>,

    /// Campaign that it is sent in
    #[arg(long, value_name = "ID")]
    campaign: Option<String>,

    /// Who it is sent to
    #[arg(long, value_name = "ID")]
    contact: Option<String>,

    /// Conversation that it is sent in
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,

    /// Message that it is sent in
    #[arg(long, value_name = "ID")]
    message: Option<String>,

    /// By which way it is sent: sms, email, …
    #[arg(long, value_name = "WORD")]
    channel: Option<String>,

    /// Your own id of the link
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,

    /// A tag; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// A pair of your own; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,

    /// When it stops to lead anywhere: a time ("2026-12-24T18:00:00Z"), or how long from now ("30days")
    #[arg(long, value_name = "TIME", value_parser = moment_to_come)]
    expires: Option<DateTime<Utc>>,

    /// After how many clicks of people it stops to lead anywhere
    #[arg(long, value_name = "NUMBER")]
    max_clicks: Option<u32>,

    #[command(flatten)]
    api: ApiOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example; `clickwire links import` reads the file again:
  clickwire links list --tag sms --all --json >links.ndjson")]
pub(crate) struct ListOptions {
    /// With this tag
    #[arg(long)]
    tag: Option<String>,

    /// Sent in this campaign
    #[arg(long, value_name = "ID")]
    campaign: Option<String>,

    /// With your own id
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,

    /// Whose slug or URL contains this
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,

    #[command(flatten)]
    listing: ListingOptions,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(options) => create(&options).await,
        Command::List(options) => list(&options).await,
        Command::Import(options) => import::run(options).await,
    }
}

async fn create(options: &CreateOptions) -> anyhow::Result<ExitCode> {
    let answer = options.api.ask(Method::POST, "/v1/links", Some(&body(options))).await?;
    answer.print(options.json, |link| vec![text(&link["tracked_url"])]);
    Ok(answer.exit())
}

fn body(options: &CreateOptions) -> Value {
    let mut body = Map::new();
    body.insert("url".to_owned(), options.url.clone().into());
    for (name, value) in [
        ("slug", &options.slug),
        ("domain", &options.domain),
        ("kind", &options.kind),
        ("campaign_id", &options.campaign),
        ("contact_id", &options.contact),
        ("conversation_id", &options.conversation),
        ("message_id", &options.message),
        ("channel", &options.channel),
        ("external_id", &options.external_id),
    ] {
        if let Some(value) = value {
            body.insert(name.to_owned(), value.clone().into());
        }
    }
    if !options.tags.is_empty() {
        body.insert("tags".to_owned(), options.tags.clone().into());
    }
    if !options.metadata.is_empty() {
        let pairs = options.metadata.iter().map(|(name, value)| (name.clone(), Value::from(value.clone())));
        body.insert("metadata".to_owned(), Value::Object(pairs.collect()));
    }
    if let Some(at) = options.expires {
        body.insert("expires_at".to_owned(), at.to_rfc3339_opts(SecondsFormat::Millis, true).into());
    }
    if let Some(most) = options.max_clicks {
        body.insert("max_clicks".to_owned(), most.into());
    }
    Value::Object(body)
}

async fn list(options: &ListOptions) -> anyhow::Result<ExitCode> {
    let listing = Listing {
        path: "/v1/links",
        asked: vec![
            ("tag", options.tag.clone()),
            ("campaign_id", options.campaign.clone()),
            ("external_id", options.external_id.clone()),
            ("q", options.search.clone()),
        ],
        line,
        empty: "no links; make one with `clickwire links create URL`",
    };
    listing::list(listing, &options.listing).await
}

fn line(link: &Value) -> String {
    let state = match link {
        link if !link["archived_at"].is_null() => "  (archived)",
        link if !link["blocked_at"].is_null() => "  (blocked)",
        link if !link["exhausted_at"].is_null() => "  (used up)",
        link if link["enabled"] == false => "  (disabled)",
        _ => "",
    };
    format!("{}  {}  → {}{state}", text(&link["id"]), text(&link["tracked_url"]), text(&link["url"]))
}

/// `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A time, or how long from now.
fn moment_to_come(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    let time = humantime::parse_duration(text).map_err(|error| {
        format!("must be a time like `2026-12-24T18:00:00Z` or how long from now, like `30days`: {error}")
    })?;
    chrono::Duration::from_std(time)
        .ok()
        .and_then(|time| Utc::now().checked_add_signed(time))
        .ok_or_else(|| "is further away than time goes".to_owned())
}
