//! `/v1/links/bulk`: links by the hundred thousand, one a line, each with its result, a batch at a time.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, post};
use futures::Stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tracing::{debug, info};
use utoipa::ToSchema;

use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::desk::link_body::NewLink;
use crate::desk::link_import::{self, Imported};
use crate::error::{ApiError, FieldError, Problem};
use crate::fields;
use crate::ndjson::{Line, Lines};

/// What requests and answers are.
const NDJSON: &str = "application/x-ndjson";

/// A batch is not larger than this, whatever its number of lines, but for the line that reaches it.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How long a batch that has begun waits for more lines: whoever waits for a result before sending on gets one.
const BATCH_LINGER: Duration = Duration::from_millis(20);

/// Batches of results that may wait for a client that reads slowly. Beyond, nothing more is read from it.
const ANSWERS_MAX: usize = 1;

/// What became of a line.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResult {
    /// The number of the line, from 1.
    #[schema(example = 1)]
    line: u64,
    /// 201, or what the link alone would have been answered with.
    #[schema(example = 201)]
    status: u16,
    /// The id of the link that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "lnk_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: Option<String>,
    /// What to send to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://go.example.com/k7m2xq9ra")]
    tracked_url: Option<String>,
    /// Where the code is explained.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// The status in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'static str>,
    /// Stable word for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// One entry for each field that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

impl BulkResult {
    fn made(line: u64, link: Imported) -> Self {
        Self {
            line,
            status: 201,
            id: Some(link.id.to_string()),
            tracked_url: Some(link.tracked_url),
            kind: None,
            title: None,
            code: None,
            detail: None,
            errors: Vec::new(),
        }
    }

    fn refused(line: u64, error: &ApiError) -> Self {
        let Problem { kind, title, status, code, detail, errors } = error.problem();
        Self {
            line,
            status,
            id: None,
            tracked_url: None,
            kind: Some(kind),
            title: Some(title),
            code: Some(code),
            detail: Some(detail),
            errors,
        }
    }
}

/// Make many links
///
/// One link a line, as newline-delimited JSON. The answer has a line for each, in the same order, and comes while you send:
/// read it at the same time, or send at most some thousand lines at once. Empty lines are skipped. A line that is refused
/// does not stop the rest. When something ends the request early, the last line of the answer says so with the number of
/// the first line that was not looked at.
#[utoipa::path(tag = "links", request_body(content = NewLink, content_type = "application/x-ndjson"),
    security(("api_key" = ["links:write"])), responses(
    (status = 200, body = BulkResult, content_type = "application/x-ndjson"),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[post("/v1/links/bulk")]
pub async fn create_links(
    caller: Caller,
    payload: Payload,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::LinksWrite)?;
    let media_type = request.content_type().to_ascii_lowercase();
    if !matches!(media_type.as_str(), NDJSON | "application/ndjson" | "application/jsonl") {
        return Err(ApiError::ContentType(NDJSON));
    }
    let permit = shared.imports.clone().try_acquire_owned().map_err(|_| {
        ApiError::Busy("as many bulk requests as may run at once are running: try again in a moment")
    })?;
    let (answers, mut results) = mpsc::channel(ANSWERS_MAX);
    let lines = Lines::new(payload, shared.settings.body_max_bytes);
    let import = Import { shared, caller, lines, line: 0, answers, _permit: permit };
    // a task of its own: when the client goes away, the batch in hand is finished
    actix_web::rt::spawn(import.run());
    let results = futures::stream::poll_fn(move |context| results.poll_recv(context));
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, NDJSON)).streaming(results))
}

/// A request in hand.
struct Import<S> {
    shared: Data<Shared>,
    caller: Caller,
    lines: Lines<S>,
    /// The number of the last line that was read.
    line: u64,
    answers: mpsc::Sender<Result<Bytes, Infallible>>,
    _permit: OwnedSemaphorePermit,
}

/// Why no further batch comes.
enum End {
    /// All lines were read.
    Complete,
    /// The client is gone.
    Gone,
    /// Whatever the rest is, it is not looked at.
    Refused(ApiError),
}

/// Lines with their numbers, and whether they are the last.
#[derive(Default)]
struct Batch {
    lines: Vec<(u64, Line)>,
    end: Option<End>,
}

impl<S> Import<S>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    async fn run(mut self) {
        loop {
            let Batch { lines, end } = self.next_batch().await;
            let next = lines.first().map_or(self.line + 1, |(number, _)| *number);
            let is_read = match self.import(lines).await {
                Ok(results) => self.answer(results).await,
                Err(error) => {
                    error.log();
                    return self.finish(next, &error).await;
                }
            };
            match end {
                None if is_read => {}
                None => return debug!(line = self.line, "who sent links does not read what became of them"),
                Some(End::Refused(error)) => {
                    let next = self.line + 1;
                    return self.finish(next, &error).await;
                }
                Some(End::Complete | End::Gone) => return,
            }
        }
    }

    /// The next lines that are there, up to a batch. Waits for the first one only.
    async fn next_batch(&mut self) -> Batch {
        let settings = &self.shared.settings;
        let (mut batch, mut bytes) = (Batch::default(), 0);
        loop {
            while let Some(line) = self.lines.take() {
                if self.line == settings.bulk_lines_max {
                    batch.end = Some(End::Refused(ApiError::TooManyLines(settings.bulk_lines_max)));
                    return batch;
                }
                self.line += 1;
                if let Line::Text(text) = &line {
                    if text.trim_ascii().is_empty() {
                        continue;
                    }
                    bytes += text.len();
                }
                batch.lines.push((self.line, line));
                if batch.lines.len() == settings.bulk_batch_max || bytes >= BATCH_BYTES_MAX {
                    return batch;
                }
            }
            if self.lines.has_ended() {
                batch.end = Some(End::Complete);
                return batch;
            }
            let has_begun = !batch.lines.is_empty();
            let patience = if has_begun { BATCH_LINGER } else { settings.bulk_idle_timeout };
            match timeout(patience, self.lines.fill()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    debug!(%error, "a body broke off");
                    batch.end = Some(End::Gone);
                    return batch;
                }
                Err(_) if has_begun => return batch,
                Err(_) => {
                    let error = ApiError::Idle("nothing was sent for too long: send the rest again");
                    batch.end = Some(End::Refused(error));
                    return batch;
                }
            }
        }
    }

    async fn import(&self, lines: Vec<(u64, Line)>) -> Result<Vec<BulkResult>, ApiError> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: Vec<u64> = lines.iter().map(|(number, _)| *number).collect();
        let line_max = self.shared.settings.body_max_bytes;
        let batch = lines.into_iter().map(|(_, line)| read(line, line_max)).collect();
        let results = link_import::import(&self.shared, &self.caller, batch).await?;
        let made = results.iter().filter(|result| result.is_ok()).count();
        let count = |outcome: &str, lines: usize| {
            self.shared.metrics.bulk_lines.with_label_values(&[outcome]).inc_by(lines as u64);
        };
        count("made", made);
        count("refused", results.len() - made);
        let results = numbers.into_iter().zip(results).map(|(line, result)| match result {
            Ok(link) => BulkResult::made(line, link),
            Err(error) => BulkResult::refused(line, &error),
        });
        Ok(results.collect())
    }

    /// Says why the rest is not looked at.
    async fn finish(self, line: u64, error: &ApiError) {
        info!(line, %error, "a bulk request ends early");
        self.answer(vec![BulkResult::refused(line, error)]).await;
    }

    /// Hands results over; `false` when the client is gone, or reads nothing for as long as it may send nothing.
    async fn answer(&self, results: Vec<BulkResult>) -> bool {
        if results.is_empty() {
            return !self.answers.is_closed();
        }
        let mut text = Vec::new();
        for result in results {
            serde_json::to_writer(&mut text, &result).expect("a result is JSON");
            text.push(b'\n');
        }
        let sending = self.answers.send(Ok(text.into()));
        matches!(timeout(self.shared.settings.bulk_idle_timeout, sending).await, Ok(Ok(())))
    }
}

fn read(line: Line, line_max: usize) -> Result<NewLink, ApiError> {
    match line {
        Line::Text(text) => {
            let value = serde_json::from_slice(&text).map_err(|e| ApiError::Malformed(e.to_string()))?;
            fields::read(&value)
        }
        Line::TooLong => Err(ApiError::TooLarge(line_max)),
    }
}
