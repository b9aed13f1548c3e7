//! `/v1/deliveries/export`: deliveries as newline-delimited JSON, page by page: never more of it in memory than one page.
//!
//! An export that ends early says why in its last line, as a bulk request does, and breaks off besides: its lines are what was
//! asked for, so nobody may take it for whole who does not look at each.

use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpResponse, get};
use futures::stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

use model::DeliveryId;
use store::delivery_log::{self, DeliveryFilter};

use super::deliveries::DeliveryView;
use crate::app::Shared;
use crate::auth::{Caller, LongCaller, Scope};
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

/// How long the last line of an export that ends early has to get on its way before the answer breaks off, which throws away
/// what is not: who reads steadily gets it.
const LAST_LINE_LINGER: Duration = Duration::from_secs(1);

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
/// away, the API key was revoked or expired meanwhile (the last line is a problem then, with `status` and `code`), it was not read
/// in time, or it took more than an hour: ask for a shorter time with `since` and `until`.
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
    let caller = LongCaller::new(caller, Scope::DeliveriesRead);
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
            None => {
                tokio::time::sleep(LAST_LINE_LINGER).await;
                Some((Err(BrokenOff), None))
            }
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
    mut caller: LongCaller,
    filter: DeliveryFilter,
    pieces: mpsc::Sender<Piece>,
    _running: Running,
) {
    let hand_over = async |piece| {
        matches!(timeout(shared.settings.bulk_idle_timeout, pieces.send(piece)).await, Ok(Ok(())))
    };
    let mut before = None;
    loop {
        let (piece, last) = match page(&shared, &mut caller, &filter, before).await {
            Ok(page) => page,
            Err(error) => {
                error.log();
                info!(%error, "an export ends early");
                hand_over(Piece::Lines(line(&error.problem()).into())).await;
                return;
            }
        };
        for piece in piece.into_iter().chain(last.is_none().then_some(Piece::End)) {
            if !hand_over(piece).await {
                return;
            }
        }
        match last {
            Some(id) => before = Some(id),
            None => return,
        }
    }
}

/// A page in lines, and where the next one begins if there may be one; for a caller whose key is one still.
async fn page(
    shared: &Shared,
    caller: &mut LongCaller,
    filter: &DeliveryFilter,
    before: Option<DeliveryId>,
) -> Result<(Option<Piece>, Option<DeliveryId>), ApiError> {
    caller.check(shared).await?;
    let mut conn = shared.pool.get().await?;
    let rows = delivery_log::list(&mut conn, caller.get().workspace_id, filter, before, PAGE).await?;
    drop(conn);
    let last = rows.last().map(|delivery| delivery.id).filter(|_| rows.len() as i64 == PAGE);
    let mut lines = Vec::new();
    for delivery in rows {
        lines.extend(line(&DeliveryView::from(delivery)));
    }
    let piece = (!lines.is_empty()).then(|| Piece::Lines(lines.into()));
    Ok((piece, last))
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("it is JSON");
    line.push(b'\n');
    line
}
