//! The API that a command asks, and how: with the URL and key that are named, else those of a running `up`.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use crate::data_dir::DataDirOption;
use crate::out;

/// A count of much takes a moment.
const TIMEOUT: Duration = Duration::from_secs(60);

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

impl ApiOptions {
    /// Asks, and reads the answer as JSON.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let (api_url, key) = self.find()?;
        let url = format!("{}{path}", api_url.trim_end_matches('/'));
        let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        let mut request = client.request(method, &url).bearer_auth(key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("{url} does not answer"))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("{url} answered {status}, and broke off"))?;
        if text.is_empty() {
            return Ok(Answer { status, body: Value::Null });
        }
        let body = serde_json::from_str(&text);
        Ok(Answer { status, body: body.with_context(|| format!("{url} answered {status}, not in JSON"))? })
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

impl Answer {
    /// Prints the answer as JSON, or what `told` makes of a good one; a refusal goes to standard error.
    pub(crate) fn print(&self, json: bool, told: impl FnOnce(&Value) -> Vec<String>) {
        if json {
            out::json(&self.body);
        } else if self.status.is_success() {
            told(&self.body).iter().for_each(|line| out::line(line));
        } else {
            let detail = self.body["detail"].as_str().unwrap_or(self.status.as_str());
            out::error(&format!("clickwire: {detail}"));
        }
    }
}
