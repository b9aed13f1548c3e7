//! `/v1/clicks/live`: clicks as they come in, as server-sent events.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get};
use utoipa::IntoParams;

use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::Query;
use crate::error::{ApiError, Problem};
use crate::live::{self, Wish, data};

/// Which clicks are told, and from where on.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
struct LiveQuery {
    /// Of this link.
    link_id: Option<String>,
    /// Of links of this campaign.
    campaign_id: Option<String>,
    /// `human`, `automated` or `unknown`. Default: any.
    verdict: Option<String>,
    /// The id of the last event that you have; the header `Last-Event-ID` says the same, and counts when both are there.
    last_event_id: Option<String>,
}

/// Watch clicks as they come in
///
/// A stream of server-sent events (`text/event-stream`). `event: link.clicked` and `link.click.amended` have the `data` of the event and
/// its place as `id`. Come back with the last id, as browsers do by themselves, and you miss nothing: what came meanwhile is told
/// first, up to 1,000 clicks. `event: ready` says from where on you hear everything; `gap` that clicks are missing, which `GET /v1/clicks`
/// has; `away` and `back` that the broker cannot be reached for a moment; `end` why the stream ends, as a problem: after an hour, when
/// the key is revoked, when the server stops. A line `:` every 15 seconds is a sign of life. What a telling may miss is what comes
/// faster than you read: it is told as a gap, never waited for. For receiving every click for certain there are webhooks.
#[utoipa::path(tag = "clicks", params(LiveQuery, ("Last-Event-ID" = Option<String>, Header)),
    security(("api_key" = ["clicks:read"])),
    responses((status = 200, body = String, content_type = "text/event-stream", example =
        "id: 4711\nevent: ready\ndata: {}\n\nid: 4712\nevent: link.clicked\ndata: {\"click_id\":\"clk_01jd8m3x5v9k2n4p6q8r0s1t3w\"}\n\n"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/clicks/live")]
pub async fn watch_clicks(
    caller: Caller,
    query: Query,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::ClicksRead)?;
    let wish: Wish = query.read()?;
    live::answer(shared, caller, wish.resumed(&request)?, data)
}
