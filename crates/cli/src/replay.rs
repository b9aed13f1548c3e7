//! `clickwire replay`: offers an endpoint again what it did not get, through the API.

use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, ValueEnum};
use model::EndpointId;
use reqwest::Method;
use serde_json::{Map, Value};

use crate::api::{Answer, Api, ApiOptions, text};
use crate::out::{self, Progress};

/// How often it is asked how far a replay is.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Send an endpoint again what it did not get
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  clickwire replay --endpoint whe_01jd8m3x5v9k2n4p6q8r0s1t3w --since 2h --dry-run
  clickwire replay --endpoint whe_01jd8m3x5v9k2n4p6q8r0s1t3w --since 3days --missing --wait")]
pub(crate) struct Options {
    /// Id of the endpoint
    #[arg(long, value_name = "ID")]
    endpoint: EndpointId,

    /// Of events since then: a time ("2026-11-23T00:00:00Z"), or how long ago ("2h", "3days")
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: DateTime<Utc>,

    /// Of events before then [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<DateTime<Utc>>,

    /// Of events whose newest delivery stands there
    #[arg(long, value_enum, default_value_t = Status::Dead, conflicts_with = "missing")]
    status: Status,

    /// Of clicks that it wants and was never sent
    #[arg(long)]
    missing: bool,

    /// Only clicks of this campaign
    #[arg(long, value_name = "CAMPAIGN")]
    campaign: Option<String>,

    /// Most deliveries a second [default: 100]
    #[arg(long, value_name = "RATE")]
    rate: Option<u32>,

    /// Only count
    #[arg(long)]
    dry_run: bool,

    /// Wait until all of it is in line, and say how far it is
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,

    #[command(flatten)]
    api: ApiOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Dead,
    Delivered,
    Any,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let api = options.api.open()?;
    let body = Value::Object(body(options));
    let mut answer = api.ask(Method::POST, "/v1/replays", Some(&body)).await?;
    if options.wait && answer.status.is_success() {
        answer = ended(&api, answer).await?;
        let is_unfinished = answer.status.is_success() && answer.body["state"] != "done";
        if options.json || !is_unfinished {
            answer.print(options.json, |replay| vec![outcome(replay)]);
        }
        if is_unfinished {
            out::error(&outcome(&answer.body));
            return Ok(ExitCode::FAILURE);
        }
        return Ok(answer.exit());
    }
    answer.print(options.json, |replay| vec![told(replay)]);
    Ok(answer.exit())
}

/// The replay once it runs no more.
async fn ended(api: &Api, begun: Answer) -> anyhow::Result<Answer> {
    let path = format!("/v1/replays/{}", begun.body["id"].as_str().unwrap_or_default());
    let (mut answer, mut progress) = (begun, Progress::new());
    while answer.status.is_success() && answer.body["state"] == "running" {
        tokio::time::sleep(LOOK_AGAIN).await;
        answer = api.ask(Method::GET, &path, None).await?;
        progress.tell(|| {
            format!("{} of {} are in line", text(&answer.body["done"]), text(&answer.body["total"]))
        });
    }
    progress.clear();
    Ok(answer)
}

fn outcome(replay: &Value) -> String {
    let (id, state) = (text(&replay["id"]), text(&replay["state"]));
    let why = replay["error"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
    let done = &replay["done"];
    format!("{id} is {state}{why}: {done} in line; `clickwire deliveries list` tells what becomes of them")
}

fn body(options: &Options) -> Map<String, Value> {
    let time = |at: DateTime<Utc>| Value::from(at.to_rfc3339_opts(SecondsFormat::Millis, true));
    let word = match options.status {
        Status::Dead => "dead",
        Status::Delivered => "delivered",
        Status::Any => "any",
    };
    let mut body = Map::new();
    body.insert("endpoint_id".to_owned(), options.endpoint.to_string().into());
    body.insert("since".to_owned(), time(options.since));
    if let Some(until) = options.until {
        body.insert("until".to_owned(), time(until));
    }
    if let Some(campaign) = &options.campaign {
        body.insert("campaign_id".to_owned(), campaign.as_str().into());
    }
    if let Some(rate) = options.rate {
        body.insert("rate_per_second".to_owned(), rate.into());
    }
    if options.missing {
        body.insert("missing_only".to_owned(), true.into());
    } else {
        body.insert("status".to_owned(), word.into());
    }
    body.insert("dry_run".to_owned(), options.dry_run.into());
    body
}

fn told(answer: &Value) -> String {
    let (matching, total) = (&answer["matching"], &answer["total"]);
    if answer["dry_run"] == true {
        let at_least = if answer["is_complete"] == true { "" } else { "at least " };
        return format!("{at_least}{matching} would be replayed");
    }
    let id = answer["id"].as_str().unwrap_or_default();
    match total.as_u64() {
        Some(total) => format!("{id} has begun: {total} to replay"),
        None => format!("{id} has begun: more to replay than were counted"),
    }
}

/// A time, or how long ago.
pub(crate) fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    let ago = humantime::parse_duration(text).map_err(|error| {
        format!("must be a time like `2026-11-23T00:00:00Z` or how long ago, like `2h`: {error}")
    })?;
    chrono::Duration::from_std(ago)
        .ok()
        .and_then(|ago| Utc::now().checked_sub_signed(ago))
        .ok_or_else(|| "is longer ago than time goes back".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        assert_eq!(moment("2026-11-23T01:00:00+01:00").unwrap().to_rfc3339(), "2026-11-23T00:00:00+00:00");
        let ago = Utc::now() - moment("2h").unwrap();
        assert_eq!((ago + chrono::Duration::seconds(30)).num_minutes(), 120);
        for wrong in ["", "yesterday", "-2h", "99999999years"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
