//! Live clicks for pages that are open: what a row of a table shows, as a script reads it.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get};
use serde_json::json;

use model::EnrichedClick;

use super::Signed;
use super::view::{device, verdict_chip};
use crate::app::Shared;
use crate::body::Query;
use crate::desk::clicks::place;
use crate::error::ApiError;
use crate::live::{self, Wish};
use crate::v1::time;

/// Events as those of `GET /v1/clicks/live`, with other data: `{id, at, slug, link_id, place, device, verdict, kind, text}`. `kind` and
/// `text` are those of the verdict's chip. Whoever is not signed in gets a problem, not a page: a script asks.
#[get("/live/clicks")]
pub async fn clicks(
    signed: Result<Signed, super::PageError>,
    query: Query,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let signed = signed.map_err(|error| error.0)?;
    let wish: Wish = query.read()?;
    live::answer(shared, signed.caller, wish.resumed(&request)?, row)
}

fn row(click: &EnrichedClick) -> String {
    let verdict = click.automation.verdict;
    let chip = verdict_chip(verdict);
    json!({
        "id": click.click.id,
        "at": time(click.click.clicked_at),
        "slug": click.click.link.slug,
        "link_id": click.click.link.id,
        "place": place(click),
        "device": device(click),
        "verdict": verdict.as_str(),
        "kind": chip.kind,
        "text": chip.text,
    })
    .to_string()
}
