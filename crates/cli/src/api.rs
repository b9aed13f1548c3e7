//! The API that a command asks, and how: with the URL and key that are named, else those of a running `up`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use crate::data_dir::DataDirOption;
use crate::out;

/// A count of much takes a moment.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Longer takes no server that runs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a request is made that is told to wait.
const TRIES_MAX: u32 = 5;

/// It is not waited for longer, whatever the server says.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Options of the commands that ask the API.
#[derive(Debug, Args)]
pub(crate) struct ApiOptions {
    /// URL of the API [default: that of a running `up`]
    #[arg(long, value_name = "URL", env = "CLICKWIRE_API_URL", requires = "key")]
    api_url: Option<Url>,

    /// API key with the scope that the command needs [default: that of a running `up`]
    #[arg(long, value_name = "KEY", env = "CLICKWIRE_API_KEY", hide_env_values = true)]
    key: Option<String>,

    #[command(flatten)]
    data_dir: DataDirOption,
}

/// What the API answered.
pub(crate) struct Answer {
    pub status: StatusCode,
    /// Null when there is no body.
    pub body: Value,
}

/// The API, found.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    base: String,
    key: String,
    client: reqwest::Client,
}

impl ApiOptions {
    /// Asks, and reads the answer as JSON.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        self.open()?.ask(method, path, body).await
    }

    /// The API, for a command that asks more than once.
    pub(crate) fn open(&self) -> anyhow::Result<Api> {
        let (api_url, key) = self.find()?;
        let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).no_proxy().build()?;
        Ok(Api { base: api_url.trim_end_matches('/').to_owned(), key, client })
    }

    fn find(&self) -> anyhow::Result<(String, String)> {
        if let (Some(url), Some(key)) = (&self.api_url, &self.key) {
            return Ok((url.to_string(), key.clone()));
        }
        let Some(running) = self.data_dir.dir()?.running() else {
            bail!("no running `clickwire up` was found: say --api-url and --key, or --data-dir DIR");
        };
        Ok((running.api_url, self.key.clone().unwrap_or(running.key)))
    }
}

impl Api {
    /// Asks, and reads the answer as JSON. Who is told to wait waits, and asks again.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let mut tries = 1;
        loop {
            let mut request = self.request(method.clone(), path).timeout(TIMEOUT);
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = self.send(request, path).await?;
            let pause = pause_of(&answer).filter(|_| tries < TRIES_MAX);
            let read = self.read(answer, path).await?;
            let Some(pause) = pause else { return Ok(read) };
            tokio::time::sleep(pause).await;
            tries += 1;
        }
    }

    /// A request that may take its time: a stream in or out.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key)
    }

    /// Sends it.
    pub(crate) async fn send(
        &self,
        request: reqwest::RequestBuilder,
        path: &str,
    ) -> anyhow::Result<reqwest::Response> {
        request.send().await.with_context(|| {
            format!(
                "{}{path} does not answer: is --api-url right, and does `clickwire up` run there?",
                self.base
            )
        })
    }

    /// Reads the whole answer as JSON.
    pub(crate) async fn read(&self, answer: reqwest::Response, path: &str) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.base);
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("{url} answered {status}, and broke off"))?;
        if text.is_empty() {
            return Ok(Answer { status, body: Value::Null });
        }
        let body = serde_json::from_str(&text);
        Ok(Answer { status, body: body.with_context(|| format!("{url} answered {status}, not in JSON"))? })
    }
}

/// How long to wait before a request is worth repeating: when too many were made (429), or something is away (503), which both
/// mean that nothing was done.
pub(crate) fn pause_of(answer: &reqwest::Response) -> Option<Duration> {
    let is_refused =
        matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    is_refused.then(|| Duration::from_secs(seconds).min(PAUSE_MAX))
}

impl Answer {
    /// The exit status that it means.
    pub(crate) fn exit(&self) -> ExitCode {
        if self.status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Prints the answer as JSON, or what `told` makes of a good one; why it was refused goes to standard error in both cases.
    pub(crate) fn print(&self, json: bool, told: impl FnOnce(&Value) -> Vec<String>) {
        if json {
            out::json(&self.body);
        } else if self.status.is_success() {
            told(&self.body).iter().for_each(|line| out::line(line));
        }
        if !self.status.is_success() {
            self.tell_refusal();
        }
    }

    /// Says on standard error why it was refused, and what to do about it.
    pub(crate) fn tell_refusal(&self) {
        let detail = self.body["detail"].as_str().unwrap_or(self.status.as_str());
        out::error(&format!("clickwire: {detail}"));
        let advice = match self.body["code"].as_str().unwrap_or_default() {
            "unauthorized" => {
                "name a key that is valid with --key or CLICKWIRE_API_KEY; `clickwire keys create` makes one"
            }
            "forbidden" => "make a key that may: `clickwire keys create --scope SCOPE`",
            "slug_taken" => "choose another --slug, or leave it out to have one drawn",
            "unavailable" => "run the command again in a moment; `clickwire doctor` says what is away",
            _ => return,
        };
        out::error(&format!("  {advice}"));
    }
}

/// A query, as it is appended to a path: empty when nothing is asked for.
pub(crate) fn query(pairs: &[(&str, Option<String>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { query } else { format!("?{query}") }
}

/// A text of an answer, or `-`, without what a terminal would obey.
pub(crate) fn text(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { '.' } else { c }).collect()
}
