//! `/v1/webhook-endpoints/{id}/events`: the events of an endpoint, for a receiver that fetches them.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpResponse, get};
use futures::stream;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

use super::endpoints::endpoint_id;
use super::time;
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::body::Query;
use crate::desk::pull::{self, Asked, Fetched, Look, PullQuery, Whose, cursor};
use crate::error::{ApiError, Problem};

/// How often an answer that waits sends a line feed, which JSON allows before its beginning: that nobody is there any more shows
/// only when something is sent, and a proxy takes the connection for alive.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// An event, as it is posted where events are sent.
#[derive(Serialize, ToSchema)]
struct FetchedView {
    /// Also `webhook-id`: the same however often the event comes.
    #[schema(example = "evt_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    id: String,
    #[serde(rename = "type")]
    #[schema(example = "link.clicked")]
    event_type: String,
    /// When it happened.
    timestamp: String,
    delivery_id: String,
    /// `after` for who has dealt with the events up to this one.
    #[schema(example = "p1.184467.dlv_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    cursor: String,
    /// The body that is posted, with its own `id`, `type`, `timestamp` and `data`.
    #[schema(value_type = Object)]
    body: Box<RawValue>,
}

/// Events in the order in which they are fetched.
#[derive(Serialize, ToSchema)]
struct FetchedPage {
    data: Vec<FetchedView>,
    /// `after` of the next request; there is one on every answer.
    #[schema(example = "p1.184467.dlv_01jd8m3x5v9k2n4p6q8r0s1t3w")]
    next_cursor: String,
    /// More are there already: ask again at once.
    has_more: bool,
    /// Events before `next_cursor` that are told to nobody any more: their contact was erased, or what they tell is lost.
    skipped: u64,
}

impl From<Fetched> for FetchedView {
    fn from(fetched: Fetched) -> Self {
        Self {
            id: fetched.event_id.to_string(),
            event_type: fetched.event_type,
            timestamp: time(fetched.event_id.timestamp()),
            delivery_id: fetched.delivery_id.to_string(),
            cursor: cursor(fetched.position),
            body: fetched.body,
        }
    }
}

impl From<Look> for FetchedPage {
    fn from(look: Look) -> Self {
        Self {
            data: look.events.into_iter().map(FetchedView::from).collect(),
            next_cursor: cursor(look.position),
            has_more: look.has_more,
            skipped: look.skipped,
        }
    }
}

/// Fetch events
///
/// The events that the endpoint is owed, oldest first, whether they are sent to it as well (`delivery` is `push`) or not (`pull`):
/// for a receiver behind a firewall. Ids and bodies are those of the POSTs. Deal with them, keep `next_cursor`, and ask again with
/// it as `after`; nothing is passed over, however late it was stored, and an event can come more than once: know it by its `id`.
/// With `wait` an answer without events comes when there is one, or at the end of that time; line feeds come before it meanwhile.
/// A replay, and a delivery that is tried again, come once more. What is kept is what `GET /v1/deliveries` lists. Needs
/// `clicks:read` beside `deliveries:read`.
#[utoipa::path(tag = "webhook endpoints", params(("id" = String, Path), PullQuery), security(("api_key" = ["deliveries:read"])),
    responses((status = 200, body = FetchedPage),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/webhook-endpoints/{id}/events")]
pub async fn pull_events(
    caller: Caller,
    id: Path<String>,
    query: Query,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::DeliveriesRead)?;
    caller.require(Scope::ClicksRead)?;
    let asked: Asked = query.read()?;
    let endpoint_id = endpoint_id(&id)?;
    let found = pull::fetch(&shared, &caller, endpoint_id, &asked).await?;
    if asked.wait.is_zero() || !found.events.is_empty() {
        return Ok(HttpResponse::Ok().json(FetchedPage::from(found)));
    }
    let whose = Whose { workspace_id: caller.workspace_id, endpoint_id };
    wait(shared, whose, found, &asked)
}

/// What is found by then, as an answer whose end is waited for. It is forgotten, and its place free, when nobody reads it.
fn wait(shared: Data<Shared>, whose: Whose, found: Look, asked: &Asked) -> Result<HttpResponse, ApiError> {
    let place = shared.pulls.begin(whose.workspace_id)?;
    let (limit, ends_at) = (asked.limit, Instant::now() + asked.wait);
    let found: Pin<Box<dyn Future<Output = Look>>> = Box::pin(async move {
        let _place = place;
        pull::until_there_is_one(&shared, whose, found, limit, ends_at).await
    });
    let body = stream::unfold(Some(found), |waiting| async move {
        let mut waiting = waiting?;
        Some(match timeout(HEARTBEAT, &mut waiting).await {
            Ok(found) => (Ok::<_, Infallible>(json(found)), None),
            Err(_) => (Ok(Bytes::from_static(b"\n")), Some(waiting)),
        })
    });
    Ok(HttpResponse::Ok().content_type("application/json").streaming(Box::pin(body)))
}

fn json(found: Look) -> Bytes {
    serde_json::to_vec(&FetchedPage::from(found)).expect("bodies are JSON").into()
}
