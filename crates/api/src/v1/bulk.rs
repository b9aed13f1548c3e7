//! `/v1/links/bulk`: links by the hundred thousand, one a line, each with its result, a batch at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, post};
use futures::Stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info};
use utoipa::ToSchema;

use crate::app::Shared;
use crate::at_once::{Full, Running};
use crate::auth::{Caller, LongCaller, Scope};
use crate::desk::idempotency;
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

/// Bytes that are read of a line that is too long, in the hope that it ends.
const SKIPPED_BYTES_MAX: usize = 1024 * 1024;

/// Results are handed over in pieces of this size, but for the result that reaches it.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Pieces of results that may wait for a client that reads slowly. Beyond, nothing more is read from it.
const ANSWERS_MAX: usize = 1;

/// What a request with an `Idempotency-Key` is told.
const ONE_BY_ONE: &str = "a bulk request is not repeated as a whole: leave the header out and give each link an `external_id`, so \
     that a line which is sent again is refused with `external_id_taken`";

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
/// does not stop the rest. Of links with a password, each of which takes time to be kept safely, a request may have 10,000
/// unless the server is set otherwise; those beyond are refused one by one. When something ends the request early, the last line of the answer says so with the number of
/// the first line that was not looked at; an answer that breaks off was not read in time. It takes no `Idempotency-Key`:
/// give each link an `external_id`, and a line that is sent again is refused with `external_id_taken`.
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
    idempotency::refuse(&request, ONE_BY_ONE)?;
    let media_type = request.content_type().to_ascii_lowercase();
    if !matches!(media_type.as_str(), NDJSON | "application/ndjson" | "application/jsonl") {
        return Err(ApiError::ContentType(NDJSON));
    }
    let running = shared.bulk.begin(caller.workspace_id).map_err(|full| {
        ApiError::Busy(match full {
            Full::Everywhere => "as many bulk requests as may run at once are running: try again in a moment",
            Full::Workspace => {
                "the workspace runs as many bulk requests as it may at once: wait for one to end"
            }
        })
    })?;
    let (answers, results) = mpsc::channel(ANSWERS_MAX);
    let lines = Lines::new(payload, shared.settings.body_max_bytes);
    let is_whole = Arc::new(AtomicBool::new(false));
    let answer = Answer { results, is_whole: is_whole.clone() };
    let caller = LongCaller::new(caller, Scope::LinksWrite);
    let import =
        Import { shared, caller, lines, line: 0, passwords: 0, answers, is_whole, _running: running };
    // a task of its own: when the client goes away, the batch in hand is finished
    actix_web::rt::spawn(import.run());
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, NDJSON)).streaming(answer))
}

/// The answer as it is sent. One that does not come to its end breaks off, so that nobody takes it for whole.
struct Answer {
    results: mpsc::Receiver<Bytes>,
    is_whole: Arc<AtomicBool>,
}

#[derive(Debug, thiserror::Error)]
#[error("the results were not read in time")]
struct BrokenOff;

impl Stream for Answer {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.results.poll_recv(context).map(|piece| match piece {
            Some(piece) => Some(Ok(piece)),
            None if self.is_whole.load(Ordering::Acquire) => None,
            None => Some(Err(BrokenOff)),
        })
    }
}

/// A request in hand.
struct Import<S> {
    shared: Data<Shared>,
    caller: LongCaller,
    lines: Lines<S>,
    /// The number of the last line that was read.
    line: u64,
    /// Passwords that were hashed.
    passwords: u64,
    answers: mpsc::Sender<Bytes>,
    /// Whether every result was handed over.
    is_whole: Arc<AtomicBool>,
    _running: Running,
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
        let is_whole = self.work_off().await;
        // before the answer ends, which it does when this is dropped
        self.is_whole.store(is_whole, Ordering::Release);
    }

    /// Works the lines off; `true` when everything there is to tell was handed over.
    async fn work_off(&mut self) -> bool {
        loop {
            let Batch { lines, end } = self.next_batch().await;
            let next = lines.first().map_or(self.line + 1, |(number, _)| *number);
            // with a key that was revoked meanwhile it does not go on
            let imported = match self.caller.check(&self.shared).await {
                Ok(()) => self.import(lines).await,
                Err(error) => Err(error),
            };
            let is_read = match imported {
                Ok(results) => self.answer(results).await,
                Err(error) => {
                    error.log();
                    return self.finish(next, &error).await;
                }
            };
            if !is_read {
                debug!(line = self.line, "who sent links does not read what became of them");
                return false;
            }
            match end {
                None => {}
                Some(End::Refused(error)) => return self.finish(self.line + 1, &error).await,
                Some(End::Complete) => return true,
                Some(End::Gone) => return false,
            }
        }
    }

    /// The next lines that are there, up to a batch. Waits for the first one only, and not for ever: what ends no line is no
    /// progress, nor is an empty line.
    async fn next_batch(&mut self) -> Batch {
        let settings = &self.shared.settings;
        let mut progress_until = Instant::now() + settings.bulk_idle_timeout;
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
                progress_until = Instant::now() + settings.bulk_idle_timeout;
                batch.lines.push((self.line, line));
                if batch.lines.len() == settings.bulk_batch_max || bytes >= BATCH_BYTES_MAX {
                    return batch;
                }
            }
            if self.lines.has_ended() {
                batch.end = Some(End::Complete);
                return batch;
            }
            if self.lines.skipped() > SKIPPED_BYTES_MAX {
                batch.end = Some(End::Refused(ApiError::TooLarge(settings.body_max_bytes)));
                return batch;
            }
            let has_begun = !batch.lines.is_empty();
            let linger_until = has_begun.then(|| Instant::now() + BATCH_LINGER);
            let wait_until = linger_until.map_or(progress_until, |until| until.min(progress_until));
            match timeout_at(wait_until, self.lines.fill()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    debug!(%error, "a body broke off");
                    batch.end = Some(End::Gone);
                    return batch;
                }
                Err(_) if has_begun => return batch,
                Err(_) => {
                    let error = ApiError::Idle("no line was sent for too long: send the rest again");
                    batch.end = Some(End::Refused(error));
                    return batch;
                }
            }
        }
    }

    async fn import(&mut self, lines: Vec<(u64, Line)>) -> Result<Vec<BulkResult>, ApiError> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: Vec<u64> = lines.iter().map(|(number, _)| *number).collect();
        let line_max = self.shared.settings.body_max_bytes;
        let batch = lines.into_iter().map(|(_, line)| self.bounded(read(line, line_max)?)).collect();
        let results = link_import::import(&self.shared, self.caller.get(), batch).await?;
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

    /// Refuses a link with a password once there were as many as one request may have.
    fn bounded(&mut self, new: NewLink) -> Result<NewLink, ApiError> {
        let max = self.shared.settings.bulk_passwords_max;
        if !new.has_password() {
            return Ok(new);
        }
        if self.passwords == max {
            let rule =
                format!("a request may have at most {max} links with a password: send this one in another");
            return Err(ApiError::field("/password", "limit_reached", rule));
        }
        self.passwords += 1;
        Ok(new)
    }

    /// Says why the rest is not looked at; `false` when that could not be handed over.
    async fn finish(&self, line: u64, error: &ApiError) -> bool {
        info!(line, %error, "a bulk request ends early");
        self.answer(vec![BulkResult::refused(line, error)]).await
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
            if text.len() >= ANSWER_BYTES_MAX && !self.hand_over(std::mem::take(&mut text)).await {
                return false;
            }
        }
        text.is_empty() || self.hand_over(text).await
    }

    async fn hand_over(&self, text: Vec<u8>) -> bool {
        let sending = self.answers.send(text.into());
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
