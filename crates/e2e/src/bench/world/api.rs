//! What a measurement asks of the API.

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use model::LinkId;
use serde_json::{Value, json};

use super::{Service, World};

/// Links are created by so many requests at a time.
const CREATING_AT_ONCE: usize = 16;

/// Lines of a bulk request that are sent at a time.
const LINES_AT_ONCE: usize = 256;

/// A link of the measurement.
#[derive(Debug, Clone)]
pub struct BenchLink {
    pub id: LinkId,
    pub slug: String,
}

impl World {
    /// Creates `count` links over the API.
    pub async fn create_links(&self, count: usize) -> anyhow::Result<Vec<BenchLink>> {
        futures::stream::iter(0..count)
            .map(|n| async move {
                let url = format!("https://example.com/offer/{n}");
                let link = self.post("/v1/links", &json!({ "url": url, "campaign_id": "bench" })).await?;
                Ok(BenchLink {
                    id: serde_json::from_value(link["id"].clone())?,
                    slug: link["slug"].as_str().context("a link without a slug")?.to_owned(),
                })
            })
            .buffer_unordered(CREATING_AT_ONCE)
            .try_collect()
            .await
    }

    /// Creates an endpoint over the API; returns its id.
    pub async fn create_endpoint(&self, url: &str) -> anyhow::Result<String> {
        self.create_endpoint_with(url, json!({})).await
    }

    /// The same with these options.
    pub async fn create_endpoint_with(&self, url: &str, options: Value) -> anyhow::Result<String> {
        let mut body = options;
        body["url"] = url.into();
        body["event_types"] = json!(["link.clicked"]);
        let endpoint = self.post("/v1/webhook-endpoints", &body).await?;
        Ok(endpoint["id"].as_str().context("an endpoint without an id")?.to_owned())
    }

    /// Pauses an endpoint over the API, or lets it go on.
    pub async fn set_paused(&self, endpoint: &str, is_paused: bool) -> anyhow::Result<()> {
        let verb = if is_paused { "pause" } else { "resume" };
        self.post(&format!("/v1/webhook-endpoints/{endpoint}/{verb}"), &json!({})).await?;
        Ok(())
    }

    /// Creates `count` links in one bulk request.
    pub async fn import_links(&self, count: u64) -> anyhow::Result<()> {
        let lines = (0..count).map(|n| {
            let line = json!({ "url": format!("https://example.com/offer/{n}"), "campaign_id": "bench" });
            Ok::<_, std::io::Error>(format!("{line}\n"))
        });
        let api = self.api()?;
        let mut answer = self
            .http
            .post(format!("http://{}/v1/links/bulk", api.addr))
            .bearer_auth(&self.api_key)
            .header("content-type", "application/x-ndjson")
            .body(reqwest::Body::wrap_stream(
                futures::stream::iter(lines)
                    .ready_chunks(LINES_AT_ONCE)
                    .map(|lines| lines.into_iter().collect::<Result<String, _>>()),
            ))
            .send()
            .await?;
        anyhow::ensure!(
            answer.status().is_success(),
            "the bulk request was answered with {}",
            answer.status()
        );
        let (mut lines, mut rest) = (0, Vec::new());
        while let Some(chunk) = answer.chunk().await? {
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Value = serde_json::from_slice(&rest[..end])?;
                anyhow::ensure!(line["status"] == 201, "a link was not created: {line}");
                rest.drain(..=end);
                lines += 1;
            }
        }
        anyhow::ensure!(lines == count, "{lines} results came for {count} lines");
        Ok(())
    }

    /// Reads an answer of the API to its end and keeps nothing of it; tells how many lines and bytes it had.
    pub async fn read(&self, path: &str) -> anyhow::Result<(u64, u64)> {
        let api = self.api()?;
        let request = self.http.get(format!("http://{}{path}", api.addr)).bearer_auth(&self.api_key);
        let mut answer = request.send().await?.error_for_status()?;
        let (mut lines, mut bytes) = (0, 0);
        while let Some(chunk) = answer.chunk().await? {
            lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
            bytes += chunk.len() as u64;
        }
        Ok((lines, bytes))
    }

    /// The process that serves the API.
    pub fn api_pid(&self) -> anyhow::Result<i32> {
        Ok(self.api()?.pid())
    }

    fn api(&self) -> anyhow::Result<&Service> {
        self.api.as_ref().context("the API is not running")
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let api = self.api()?;
        let answer = self
            .http
            .post(format!("http://{}{path}", api.addr))
            .bearer_auth(&self.api_key)
            .json(body)
            .send()
            .await?;
        let (status, text) = (answer.status(), answer.text().await?);
        anyhow::ensure!(status.is_success(), "POST {path} was answered with {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}
