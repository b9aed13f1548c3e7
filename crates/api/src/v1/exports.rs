//! `/v1/deliveries/export`: deliveries as newline-delimited JSON.

use actix_web::web::Data;
use actix_web::{HttpResponse, get};

use model::DeliveryId;
use store::delivery_log::{self, DeliveryFilter};

use super::deliveries::DeliveryView;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::Query;
use crate::desk::deliveries::{AskedAll, ExportQuery};
use crate::error::{ApiError, Problem};
use crate::export::{self, Form, PAGE, Pages, line};

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
    let pages = Deliveries { filter, before: None, is_done: false };
    export::answer(shared, caller, Scope::DeliveriesRead, ("deliveries", Form::Ndjson), pages)
}

struct Deliveries {
    filter: DeliveryFilter,
    before: Option<DeliveryId>,
    is_done: bool,
}

impl Pages for Deliveries {
    async fn next(&mut self, shared: &Shared, caller: &Caller) -> Result<Option<Vec<u8>>, ApiError> {
        if self.is_done {
            return Ok(None);
        }
        let mut conn = shared.pool.get().await?;
        let rows =
            delivery_log::list(&mut conn, caller.workspace_id, &self.filter, self.before, PAGE).await?;
        drop(conn);
        self.is_done = (rows.len() as i64) < PAGE;
        self.before = rows.last().map(|delivery| delivery.id);
        Ok(Some(rows.into_iter().flat_map(|delivery| line(&DeliveryView::from(delivery))).collect()))
    }
}
