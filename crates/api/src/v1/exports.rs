//! `/v1/deliveries/export`: deliveries as newline-delimited JSON, page by page: never more of it in memory than one page.

use std::io::Write as _;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpResponse, get};
use futures::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::warn;

use model::DeliveryId;
use store::delivery_log::{self, DeliveryFilter};

use super::deliveries::DeliveryView;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::Query;
use crate::desk::deliveries::{AskedAll, ExportQuery};
use crate::error::{ApiError, Problem};
use crate::imports::{Full, Running};

/// Deliveries of one query and one piece of the answer.
const PAGE: i64 = 500;

/// Pieces that may wait for a client that reads slowly.
const PIECES_MAX: usize = 1;

/// How long an export may take, however steadily it is read: meanwhile it keeps others from running.
const EXPORT_MAX: Duration = Duration::from_secs(60 * 60);

/// A piece of the answer, or that it is whole.
enum Piece {
    Lines(Bytes),
    End,
}

#[derive(Debug, thiserror::Error)]
#[error("the export ended early")]
struct BrokenOff;

/// Export deliveries, newest event first
///
/// One delivery a line, as in the list, however many there are. An answer that breaks off is not whole: the database went
/// away, it was not read in time, or it took more than an hour: ask for a shorter time with `since` and `until`.
#[utoipa::path(tag = "deliveries", params(ExportQuery), security(("api_key" = ["deliveries:read"])),
    responses((status = 200, body = DeliveryView, content_type = "application/x-ndjson"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/deliveries/export")]
pub async fn export_deliveries(
    caller: Caller,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesRead)?;
    let AskedAll(filter) = query.read()?;
    export(shared, caller, filter)
}

/// Every delivery that the filter lets through, as an answer that goes on while they are read.
///
/// # Errors
/// When as many exports as may are running.
pub fn export(
    shared: Data<Shared>,
    caller: Caller,
    filter: DeliveryFilter,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesRead)?;
    let running = shared.exports.begin(caller.workspace_id).map_err(|full| {
        ApiError::Busy(match full {
            Full::Everywhere => "as many exports as may run at once are running: try again in a moment",
            Full::Workspace => "the workspace runs as many exports as it may at once: wait for one to end",
        })
    })?;
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    actix_web::rt::spawn(async move {
        // without its last piece the answer breaks off, like any that is not whole
        if timeout(EXPORT_MAX, send(shared, caller, filter, sender, running)).await.is_err() {
            warn!("an export took longer than it may, and ended early");
        }
    });
    let answer = stream::unfold(Some(pieces), |pieces| async {
        let mut pieces: mpsc::Receiver<Piece> = pieces?;
        match pieces.recv().await {
            Some(Piece::Lines(lines)) => Some((Ok(lines), Some(pieces))),
            Some(Piece::End) => None,
            None => Some((Err(BrokenOff), None)),
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/x-ndjson"))
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"deliveries.ndjson\""))
        .streaming(Box::pin(answer)))
}

/// Sends all pages; whoever does not read on in time, or is gone, gets no more.
async fn send(
    shared: Data<Shared>,
    caller: Caller,
    filter: DeliveryFilter,
    pieces: mpsc::Sender<Piece>,
    _running: Running,
) {
    let mut before = None;
    loop {
        let (piece, last) = match page(&shared, &caller, &filter, before).await {
            Ok(page) => page,
            Err(error) => {
                warn!(error = format!("{error:#}"), "an export ended early");
                return;
            }
        };
        for piece in piece.into_iter().chain(last.is_none().then_some(Piece::End)) {
            if !matches!(timeout(shared.settings.bulk_idle_timeout, pieces.send(piece)).await, Ok(Ok(()))) {
                return;
            }
        }
        match last {
            Some(id) => before = Some(id),
            None => return,
        }
    }
}

/// A page in lines, and where the next one begins if there may be one.
async fn page(
    shared: &Shared,
    caller: &Caller,
    filter: &DeliveryFilter,
    before: Option<DeliveryId>,
) -> anyhow::Result<(Option<Piece>, Option<DeliveryId>)> {
    let mut conn = shared.pool.get().await?;
    let rows = delivery_log::list(&mut conn, caller.workspace_id, filter, before, PAGE).await?;
    drop(conn);
    let last = rows.last().map(|delivery| delivery.id).filter(|_| rows.len() as i64 == PAGE);
    let mut lines = Vec::new();
    for delivery in rows {
        serde_json::to_writer(&mut lines, &DeliveryView::from(delivery))?;
        lines.write_all(b"\n")?;
    }
    let piece = (!lines.is_empty()).then(|| Piece::Lines(lines.into()));
    Ok((piece, last))
}
