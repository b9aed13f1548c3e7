//! `clickwire endpoints`: adds, lists, tests and verifies webhook endpoints, through the API.

mod checkpoints;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use model::EndpointId;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::api::{ApiOptions, text};
use crate::links::pair;
use crate::listing::{self, Listing, ListingOptions};
use crate::out;

/// How much of a subscriber's answer is shown, in characters.
const ANSWER_CHARS_MAX: usize = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add an endpoint and show its signing secret
    Add(AddOptions),
    /// Send an endpoint a sample click and say how it went
    Test(TestOptions),
    /// Send an endpoint a challenge: it is verified when it gives that back
    Verify(verify::Options),
    /// List endpoints, newest first
    #[command(after_help = "Example:\n  clickwire endpoints list --all --json")]
    List(ListingOptions),
    /// List the checkpoints of an endpoint, first to last: how many deliveries there were, by number
    Checkpoints(checkpoints::Options),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  clickwire endpoints add https://crm.example.com/hooks/clicks --people-only --header x-tenant=42"
)]
pub(crate) struct AddOptions {
    /// Where events are posted: http or https
    url: String,

    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// A type of event, or a beginning with `*`; may be given several times [default: link.clicked]
    #[arg(long = "event", value_name = "TYPE")]
    events: Vec<String>,

    /// Only clicks for which these conditions hold, as JSON: '{"location.country": "SE"}'
    #[arg(long, value_name = "JSON", value_parser = object)]
    filter: Option<Value>,

    /// Only clicks of people
    #[arg(long, conflicts_with = "filter")]
    people_only: bool,

    /// A header that each request carries; may be given several times
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,

    /// Most requests a second
    #[arg(long, value_name = "NUMBER")]
    rate: Option<u32>,

    /// Several events in one request, as JSON: '{"max_events": 100, "max_wait_ms": 1000}'
    #[arg(long, value_name = "JSON", value_parser = object)]
    batch: Option<Value>,

    /// How a body looks, as JSON: '{"format": "cloudevents", "profile": "thin"}'
    #[arg(long, value_name = "JSON", value_parser = object)]
    payload: Option<Value>,

    /// Wait so long for the settled verdict on a click
    #[arg(long, value_name = "MILLISECONDS")]
    settle_ms: Option<u32>,

    /// Nothing is sent to it: it fetches its events (`clickwire events pull`)
    #[arg(long)]
    pull: bool,

    /// Send the clicks of a link, or everything, one after the other
    #[arg(long, value_enum)]
    order: Option<Order>,

    /// With --order strict: give up what has failed so often, and go on
    #[arg(long, value_name = "ATTEMPTS", requires = "order")]
    skip_after: Option<u32>,

    /// Make a checkpoint so often, with which a receiver proves that it has missed nothing
    #[arg(long, value_name = "MINUTES")]
    checkpoint_minutes: Option<u32>,

    /// Sign with a private key too (v1a): whoever has the public key can verify, and cannot sign
    #[arg(long)]
    v1a: bool,

    /// A file with what requests sign in with at the receiver, as JSON: {"type": "bearer", "token": "…"}
    #[arg(long, value_name = "FILE")]
    auth_file: Option<PathBuf>,

    #[command(flatten)]
    api: ApiOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  clickwire endpoints test whe_01jd8m3x5v9k2n4p6q8r0s1t3w && echo it works"
)]
pub(crate) struct TestOptions {
    /// Id of the endpoint
    id: EndpointId,

    #[command(flatten)]
    api: ApiOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    PerLink,
    Strict,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Add(options) => add(&options).await,
        Command::Test(options) => test(&options).await,
        Command::Verify(options) => verify::run(&options).await,
        Command::Checkpoints(options) => checkpoints::run(&options).await,
        Command::List(options) => {
            let listing = Listing {
                path: "/v1/webhook-endpoints",
                asked: Vec::new(),
                line,
                empty: "no endpoints; add one with `clickwire endpoints add URL`",
            };
            listing::list(listing, &options).await
        }
    }
}

async fn add(options: &AddOptions) -> anyhow::Result<ExitCode> {
    let mut body = body(options);
    if let Some(path) = &options.auth_file {
        body["auth"] = auth(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let answer = options.api.ask(Method::POST, "/v1/webhook-endpoints", Some(&body)).await?;
    answer.print(options.json, |endpoint| {
        let id = text(&endpoint["id"]);
        if endpoint["delivery"] == "pull" {
            return vec![id.clone(), format!("next    clickwire events pull {id}")];
        }
        let mut lines = vec![id.clone(), format!("secret  {}", text(&endpoint["secret"]))];
        let warnings = endpoint["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
        lines.extend(warnings.iter().map(|warning| format!("note    {}", text(warning))));
        lines.push(format!("next    clickwire endpoints test {id}"));
        lines
    });
    Ok(answer.exit())
}

/// Not an argument of the command: others on the machine see those.
fn auth(path: &Path) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

fn body(options: &AddOptions) -> Value {
    let mut body = Map::new();
    body.insert("url".to_owned(), options.url.clone().into());
    if let Some(description) = &options.description {
        body.insert("description".to_owned(), description.clone().into());
    }
    if !options.events.is_empty() {
        body.insert("event_types".to_owned(), options.events.clone().into());
    }
    let people = || json!({ "verdicts": ["human"] });
    if let Some(filter) = options.filter.clone().or_else(|| options.people_only.then(people)) {
        body.insert("filter".to_owned(), filter);
    }
    if !options.headers.is_empty() {
        let pairs = options.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.clone())));
        body.insert("headers".to_owned(), Value::Object(pairs.collect()));
    }
    if let Some(rate) = options.rate {
        body.insert("rate_per_second".to_owned(), rate.into());
    }
    for (name, value) in [("batch", &options.batch), ("payload", &options.payload)] {
        if let Some(value) = value {
            body.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(milliseconds) = options.settle_ms {
        body.insert("settle_ms".to_owned(), milliseconds.into());
    }
    if options.pull {
        body.insert("delivery".to_owned(), "pull".into());
    }
    if let Some(order) = options.order {
        let mode = match order {
            Order::PerLink => "per_link",
            Order::Strict => "strict",
        };
        body.insert("ordering".to_owned(), json!({ "mode": mode, "skip_after": options.skip_after }));
    }
    if let Some(minutes) = options.checkpoint_minutes {
        body.insert("checkpoint_minutes".to_owned(), minutes.into());
    }
    if options.v1a {
        body.insert("signatures".to_owned(), json!(["v1", "v1a"]));
    }
    Value::Object(body)
}

async fn test(options: &TestOptions) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/webhook-endpoints/{}/test", options.id);
    let answer = options.api.ask(Method::POST, &path, None).await?;
    answer.print(options.json, |_| Vec::new());
    if !answer.status.is_success() {
        return Ok(answer.exit());
    }
    let is_delivered = answer.body["delivered"] == true;
    let attempt = &answer.body["attempt"];
    let line = tested(attempt, is_delivered);
    if is_delivered {
        if !options.json {
            out::line(&line);
        }
        return Ok(ExitCode::SUCCESS);
    }
    out::error(&line);
    if let Some(advice) = advice(attempt) {
        out::error(&format!("  {advice}"));
    }
    Ok(ExitCode::FAILURE)
}

fn tested(attempt: &Value, is_delivered: bool) -> String {
    let word = if is_delivered { "delivered" } else { "not delivered" };
    let status = attempt["status"].as_u64().map(|status| format!(", answered {status}")).unwrap_or_default();
    let error = attempt["error_detail"].as_str().or(attempt["error"].as_str()).unwrap_or_default();
    let error = if error.is_empty() { String::new() } else { format!(": {error}") };
    let body: String = text(&attempt["response_body"]).chars().take(ANSWER_CHARS_MAX).collect();
    let body = if matches!(body.trim(), "" | "-") { String::new() } else { format!("\n  it said: {body}") };
    format!("{word}{status} in {} ms{error}{body}", text(&attempt["duration_ms"]))
}

/// What to do about a test that failed.
fn advice(attempt: &Value) -> Option<&'static str> {
    Some(match (attempt["error"].as_str()?, attempt["status"].as_u64().unwrap_or_default()) {
        ("dns", _) => "the name leads nowhere: is it spelt right, and does it exist outside your network?",
        ("connect", _) => "nobody listens there: does the receiver run, and does a firewall let us in?",
        ("tls", _) => {
            "the certificate is not accepted: it must be valid, for this name, with its whole chain"
        }
        ("timeout", _) => "answer within 15 seconds: take the event, answer 200, and work afterwards",
        ("blocked", _) => {
            "the address is inside: see `deliver.allowed_networks` to allow receivers in your own network"
        }
        ("protocol", _) => "what listens there does not speak HTTP: is the port right, and http or https?",
        ("token", _) => {
            "no token came from its token URL: are client id and secret right, and does it answer?"
        }
        ("proxy", _) => "it is not the receiver's fault: an operator looks at `deliver.proxy`",
        (_, 300..=399) => "redirects are not followed: use the URL that it leads to",
        (_, 400 | 401 | 403) => {
            "the receiver refuses it: does it verify with this endpoint's secret, over the bytes as they came?"
        }
        (_, 404 | 405) => "nothing takes POST at that path: is the path right?",
        (_, 410) => {
            "410 means that nobody wants it any more: the next event that is answered so disables the endpoint"
        }
        (_, 500..) => "the receiver failed: its log has the reason",
        _ => "answer with any status from 200 to 299",
    })
}

fn line(endpoint: &Value) -> String {
    let types = endpoint["event_types"].as_array().map(Vec::as_slice).unwrap_or_default();
    let types: Vec<String> = types.iter().map(text).collect();
    let reason = endpoint["state_reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let failed = endpoint["health"]["failed"].as_i64().filter(|failed| *failed > 0);
    let failed = failed.map(|failed| format!("  {failed} failed since the last success")).unwrap_or_default();
    format!(
        "{}  {}{reason}  {}  [{}]{failed}",
        text(&endpoint["id"]),
        text(&endpoint["state"]),
        text(&endpoint["url"]),
        types.join(" "),
    )
}

fn object(text: &str) -> Result<Value, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("must be a JSON object: {error}"))?;
    if value.is_object() { Ok(value) } else { Err("must be a JSON object".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_test_says_what_to_do() {
        let refused =
            json!({"status": 401, "error": "status", "duration_ms": 12, "response_body": "who\nare you"});

        assert_eq!(
            tested(&refused, false),
            "not delivered, answered 401 in 12 ms: status\n  it said: who.are you"
        );
        assert!(advice(&refused).unwrap().contains("this endpoint's secret"));
        for (error, words) in
            [("dns", "the name leads nowhere"), ("connect", "nobody listens"), ("timeout", "15 seconds")]
        {
            assert!(advice(&json!({"status": null, "error": error})).unwrap().contains(words), "{error}");
        }
        assert_eq!(advice(&json!({"status": 200, "error": null})), None);
    }
}
