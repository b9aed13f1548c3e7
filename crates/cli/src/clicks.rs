//! `clickwire clicks tail`: clicks as they come, over `GET /v1/clicks/live`.
//!
//! A connection that breaks is made again, and goes on behind the last event that came (`Last-Event-ID`). What the API cannot
//! tell any more in between it says (`event: gap`), and so does this.

mod sse;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use model::LinkId;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use tokio::time::timeout;

use crate::api::{Api, ApiOptions, pause_of, query, text};
use crate::out;
use sse::{Event, Events};

const PATH: &str = "/v1/clicks/live";

/// A server that says nothing for so long, not even that nothing happens, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Before a connection that broke is made again.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// The pause doubles until then.
const PAUSE_MAX: Duration = Duration::from_secs(15);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show clicks as they come, until Ctrl-C
    Tail(TailOptions),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  clickwire clicks tail --verdict human
  clickwire clicks tail --json | jq -r '[.clicked_at, .link.slug, .location.country] | @tsv'")]
pub(crate) struct TailOptions {
    /// Only clicks with this verdict
    #[arg(long, value_enum)]
    verdict: Option<Verdict>,

    /// Only clicks of the link with this slug or id
    #[arg(long, value_name = "LINK")]
    link: Option<String>,

    /// End after so many clicks
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,

    #[command(flatten)]
    api: ApiOptions,

    /// Print a line of JSON for each click
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Verdict {
    Human,
    Automated,
    Unknown,
}

/// Why a connection is not read on.
enum End {
    /// All that was asked for was shown, or nobody reads it.
    Done,
    /// It broke off, or the API ended it for a reason that passes.
    Broken(String),
    /// The key opens it no more.
    Refused(String),
}

/// What is shown, and how far.
struct Tail<'a> {
    options: &'a TailOptions,
    last_id: Option<String>,
    shown: u64,
    is_ready: bool,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let Command::Tail(options) = command;
    let api = options.api.open()?;
    let stop = service::shutdown::on_signal()?;
    let mut tail = Tail { options: &options, last_id: None, shown: 0, is_ready: false };
    tokio::select! {
        // also while a connection is being made
        () = stop.cancelled() => Ok(ExitCode::SUCCESS),
        code = tail.follow(&api) => code,
    }
}

impl Tail<'_> {
    async fn follow(&mut self, api: &Api) -> anyhow::Result<ExitCode> {
        let link_id = self.options.link.clone().filter(|link| link.starts_with(LinkId::PREFIX));
        let asked = [("verdict", self.verdict().map(str::to_owned)), ("link_id", link_id)];
        let path = format!("{PATH}{}", query(&asked));
        let mut pause = PAUSE_MIN;
        let mut was_open = false;
        loop {
            let mut request = api.request(Method::GET, &path).header(header::ACCEPT, "text/event-stream");
            if let Some(id) = &self.last_id {
                request = request.header("last-event-id", id);
            }
            let why = match api.send(request, &path).await {
                Ok(answer) if answer.status().is_success() => {
                    (was_open, pause) = (true, PAUSE_MIN);
                    match self.show_all(answer).await {
                        End::Done => return Ok(ExitCode::SUCCESS),
                        End::Broken(why) => why,
                        End::Refused(why) => {
                            out::error(&format!("clickwire: {why}"));
                            return Ok(ExitCode::FAILURE);
                        }
                    }
                }
                Ok(answer) => {
                    let status = answer.status();
                    let asked = pause_of(&answer);
                    if asked.is_none() && !is_passing(status) {
                        let answer = api.read(answer, &path).await?;
                        answer.tell_refusal();
                        return Ok(ExitCode::FAILURE);
                    }
                    pause = asked.unwrap_or(pause);
                    format!("the API answered {status}")
                }
                // nobody was ever there: that is a wrong URL rather than an outage
                Err(error) if !was_open => return Err(error),
                Err(error) => format!("{error:#}"),
            };
            out::error(&format!("{why}; trying again in {} s", pause.as_secs_f32().ceil()));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn show_all(&mut self, mut answer: reqwest::Response) -> End {
        let mut events = Events::default();
        loop {
            let chunk = match timeout(SILENCE_MAX, answer.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return End::Broken("the API ended the stream".to_owned()),
                Ok(Err(error)) => return End::Broken(format!("the connection broke: {error}")),
                Err(_) => return End::Broken("the API has gone silent".to_owned()),
            };
            let read = match events.read(&chunk) {
                Ok(read) => read,
                Err(error) => return End::Broken(error.to_string()),
            };
            for event in read {
                if let Some(end) = self.show(&event) {
                    return end;
                }
            }
        }
    }

    /// Shows an event.
    fn show(&mut self, event: &Event) -> Option<End> {
        if event.id.is_some() {
            self.last_id.clone_from(&event.id);
        }
        match event.name.as_str() {
            "click" | "link.clicked" | "link.click.amended" => {}
            "gap" => {
                out::error(
                    "some clicks are not shown here; `GET /v1/clicks` has all of them, and an endpoint gets all of them",
                );
                return None;
            }
            // from here on every click comes
            "ready" => {
                if !std::mem::replace(&mut self.is_ready, true) && !self.options.json {
                    out::error("waiting for clicks; Ctrl-C ends it");
                }
                return None;
            }
            "away" => {
                out::error("the API cannot reach the broker for a moment: clicks come later");
                return None;
            }
            "end" => return Some(ended(&event.data)),
            // signs that all is well, and what a newer API may say
            _ => return None,
        }
        let click = serde_json::from_str::<Value>(&event.data).ok().filter(|click| self.is_wanted(click))?;
        let is_read = out::is_read(&if self.options.json { click.to_string() } else { line(&click) });
        self.shown += 1;
        let is_enough = self.options.count.is_some_and(|count| self.shown >= count);
        (is_enough || !is_read).then_some(End::Done)
    }

    fn verdict(&self) -> Option<&'static str> {
        self.options.verdict.map(|verdict| match verdict {
            Verdict::Human => "human",
            Verdict::Automated => "automated",
            Verdict::Unknown => "unknown",
        })
    }

    fn is_wanted(&self, click: &Value) -> bool {
        let link = self.options.link.as_deref();
        self.verdict().is_none_or(|verdict| click["automation"]["verdict"] == verdict)
            && link.is_none_or(|link| {
                click["link"]["id"] == link
                    || click["link"]["slug"].as_str().is_some_and(|slug| slug.eq_ignore_ascii_case(link))
            })
    }
}

/// Why the API ends a stream, as a problem: mostly for a while only.
fn ended(problem: &str) -> End {
    let problem: Value = serde_json::from_str(problem).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("no reason was given");
    match problem["code"].as_str() {
        Some("unauthorized" | "forbidden") => End::Refused(detail.to_owned()),
        _ => End::Broken(format!("the API ended the stream: {detail}")),
    }
}

/// Whether it is worth asking again.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

fn line(click: &Value) -> String {
    let joined = |fields: &[&Value], by: &str, other: &str| {
        let known: Vec<String> =
            fields.iter().filter(|field| !field.is_null()).map(|field| text(field)).collect();
        if known.is_empty() { other.to_owned() } else { known.join(by) }
    };
    let (location, device) = (&click["location"], &click["device"]);
    let place = joined(&[&location["city"], &location["country_name"]], ", ", "place unknown");
    let thing = joined(&[&device["brand"], &device["model"]], " ", &text(&device["type"]));
    let mut line = format!(
        "{}  {}  {place}  {thing}, {}  {}",
        text(&click["clicked_at"]),
        text(&click["link"]["tracked_url"]),
        joined(&[&device["browser"]], "", "browser unknown"),
        text(&click["automation"]["verdict"]),
    );
    for (name, id) in [("campaign", &click["campaign_id"]), ("contact", &click["contact_id"])] {
        if !id.is_null() {
            line.push_str(&format!("  {name} {}", text(id)));
        }
    }
    if click["revision"].as_u64().is_some_and(|revision| revision > 0) {
        line.push_str(&format!("  (was {})", text(&click["previous_verdict"])));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn a_line_tells_when_where_with_what_and_whether_it_was_a_person() {
        let click = json!({
            "clicked_at": "2026-11-23T14:16:12.345Z", "link": {"tracked_url": "https://go.example.com/abc"},
            "location": {"city": "Linköping", "country_name": "Sweden"},
            "device": {"type": "mobile", "brand": "Apple", "model": "iPhone", "browser": "Mobile Safari"},
            "automation": {"verdict": "human"}, "campaign_id": null, "contact_id": "cont_9", "revision": 0
        });

        assert_eq!(
            line(&click),
            "2026-11-23T14:16:12.345Z  https://go.example.com/abc  Linköping, Sweden  Apple iPhone, Mobile Safari  human  \
             contact cont_9"
        );
        let little = json!({"device": {"type": "bot"}, "revision": 1, "previous_verdict": "human", "automation": {"verdict": "automated"}});
        assert_eq!(line(&little), "-  -  place unknown  bot, browser unknown  automated  (was human)");
    }
}
