//! Answers of any length, read page by page: never more of one in memory than a page.
//!
//! An export that ends early says why in its last line, where its form has a place for that, and breaks off besides: its lines are what
//! was asked for, so nobody may take it for whole who does not look at each.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use futures::stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::app::Shared;
use crate::at_once::{Full, Running};
use crate::auth::{Caller, LongCaller, Scope};
use crate::error::ApiError;
use crate::fields::{Fields, word};

/// Rows of one query and one piece of the answer.
pub const PAGE: i64 = 500;

/// Pieces that may wait for a client that reads slowly.
const PIECES_MAX: usize = 1;

/// How long an export may take, however steadily it is read: meanwhile it keeps others from running.
const EXPORT_MAX: Duration = Duration::from_secs(60 * 60);

/// How long the last line of an export that ends early has to get on its way before the answer breaks off, which throws away
/// what is not: who reads steadily gets it.
const LAST_LINE_LINGER: Duration = Duration::from_secs(1);

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An object of JSON a line.
    Ndjson,
    /// RFC 4180, with a line of headings.
    Csv,
}

impl Form {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// The form that a query asks for.
pub fn form(fields: &mut Fields<'_>) -> Form {
    let forms = word(&[("ndjson", Form::Ndjson), ("csv", Form::Csv)]);
    fields.optional("format", forms).unwrap_or(Form::Ndjson)
}

/// Where the pieces of an export come from.
pub trait Pages: 'static {
    /// The next piece, at most a page of rows and perhaps empty; `None` after the last one.
    async fn next(&mut self, shared: &Shared, caller: &Caller) -> Result<Option<Vec<u8>>, ApiError>;
}

/// A piece of the answer, or that it is whole.
enum Piece {
    Lines(Bytes),
    End,
}

#[derive(Debug, thiserror::Error)]
#[error("the export ended early")]
struct BrokenOff;

/// All pages, as an answer that goes on while they are read; `scope` is what the caller's key needs all the while. The file is called
/// `name`.
///
/// # Errors
/// When the caller has not the scope, or as many exports as may are running.
pub fn answer(
    shared: Data<Shared>,
    caller: Caller,
    scope: Scope,
    (name, form): (&'static str, Form),
    pages: impl Pages,
) -> Result<HttpResponse, ApiError> {
    caller.require(scope)?;
    let running = shared.exports.begin(caller.workspace_id).map_err(|full| {
        ApiError::Busy(match full {
            Full::Everywhere => "as many exports as may run at once are running: try again in a moment",
            Full::Workspace => "the workspace runs as many exports as it may at once: wait for one to end",
        })
    })?;
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let sending =
        Sending { shared, caller: LongCaller::new(caller, scope), form, pieces: sender, _running: running };
    actix_web::rt::spawn(async move {
        // without its last piece the answer breaks off, like any that is not whole
        if timeout(EXPORT_MAX, sending.send(pages)).await.is_err() {
            warn!("an export took longer than it may, and ended early");
        }
    });
    let answer = stream::unfold(Some(pieces), |pieces| async {
        let mut pieces: mpsc::Receiver<Piece> = pieces?;
        match pieces.recv().await {
            Some(Piece::Lines(lines)) => Some((Ok(lines), Some(pieces))),
            Some(Piece::End) => None,
            None => {
                tokio::time::sleep(LAST_LINE_LINGER).await;
                Some((Err(BrokenOff), None))
            }
        }
    });
    let disposition = format!("attachment; filename=\"{name}.{}\"", form.extension());
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, form.content_type()))
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .streaming(Box::pin(answer)))
}

/// An export in hand.
struct Sending {
    shared: Data<Shared>,
    caller: LongCaller,
    form: Form,
    pieces: mpsc::Sender<Piece>,
    _running: Running,
}

impl Sending {
    /// Sends all pages; whoever does not read on in time, or is gone, gets no more.
    async fn send(mut self, mut pages: impl Pages) {
        loop {
            let piece = match self.next(&mut pages).await {
                Ok(Some(lines)) if lines.is_empty() => {
                    if self.pieces.is_closed() {
                        return;
                    }
                    continue;
                }
                Ok(Some(lines)) => Piece::Lines(lines.into()),
                Ok(None) => Piece::End,
                Err(error) => return self.end_early(&error).await,
            };
            let is_last = matches!(piece, Piece::End);
            if !self.hand_over(piece).await || is_last {
                return;
            }
        }
    }

    /// The next page, for a caller whose key is one still.
    async fn next(&mut self, pages: &mut impl Pages) -> Result<Option<Vec<u8>>, ApiError> {
        self.caller.check(&self.shared).await?;
        pages.next(&self.shared, self.caller.get()).await
    }

    async fn end_early(&self, error: &ApiError) {
        error.log();
        info!(%error, "an export ends early");
        // what stands in a table is a row of it
        if self.form == Form::Ndjson {
            self.hand_over(Piece::Lines(line(&error.problem()).into())).await;
        }
    }

    async fn hand_over(&self, piece: Piece) -> bool {
        let sending = self.pieces.send(piece);
        matches!(timeout(self.shared.settings.bulk_idle_timeout, sending).await, Ok(Ok(())))
    }
}

/// A value as a line of JSON.
pub fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("it is JSON");
    line.push(b'\n');
    line
}

#[cfg(test)]
pub mod tests {
    /// That the description of a route names its columns, in their order.
    pub fn names_in_order(description: &str, columns: &[&str]) {
        let listed = description.split_once("at the end: ").expect("columns").1;
        let mut at = 0;
        for column in columns {
            let found = listed[at..].find(column).unwrap_or_else(|| panic!("{column}"));
            at += found + column.len();
        }
    }
}
