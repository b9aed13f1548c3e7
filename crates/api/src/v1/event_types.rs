//! `/v1/event-types`: what an endpoint can subscribe to.

use actix_web::{HttpResponse, get};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use model::WorkspaceId;
use model::event_type::{EVENT_TYPES, LINK_CLICK_AMENDED, LINK_CLICKED};
use webhook::{own_event, payload};

use crate::auth::Caller;
use crate::desk::now;
use crate::error::{ApiError, Problem};
use crate::page::Page;

/// A type of event.
#[derive(Serialize, ToSchema)]
pub struct EventTypeView {
    #[serde(rename = "type")]
    #[schema(example = "link.clicked")]
    name: &'static str,
    description: &'static str,
    /// The body of a webhook of this type.
    #[schema(value_type = Object)]
    sample: Value,
}

/// List event types, each with a sample
#[utoipa::path(tag = "webhook endpoints", security(("api_key" = [])), responses((status = 200, body = Page<EventTypeView>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/event-types")]
pub async fn list_event_types(caller: Caller) -> Result<HttpResponse, ApiError> {
    let view = |name| EventTypeView {
        name,
        description: description(name),
        sample: serde_json::from_slice(&sample(name, caller.workspace_id)).expect("a webhook body is JSON"),
    };
    let data: Vec<_> = EVENT_TYPES.into_iter().map(view).collect();
    Ok(HttpResponse::Ok().json(Page { data, next_cursor: None }))
}

fn sample(name: &str, workspace_id: WorkspaceId) -> Vec<u8> {
    match own_event::sample(name, workspace_id, now()) {
        Some(event) => event.body(),
        None => {
            let click = payload::sample(workspace_id, now());
            if name == LINK_CLICK_AMENDED {
                payload::of_type(LINK_CLICK_AMENDED, &payload::amended_sample(&click))
            } else {
                payload::link_clicked(&click)
            }
        }
    }
}

fn description(name: &str) -> &'static str {
    match name {
        LINK_CLICKED => "Someone, or something, opened a tracked link",
        LINK_CLICK_AMENDED => {
            "More was learned about a click: the whole click with its new verdict and a higher `revision`. Every endpoint \
             that was told of the click gets it, whatever its filter"
        }
        "endpoint.created" => "A webhook endpoint was made",
        "endpoint.updated" => "A webhook endpoint was changed",
        "endpoint.paused" => "A webhook endpoint was paused: what it is owed waits",
        "endpoint.resumed" => "A webhook endpoint was resumed or enabled",
        "endpoint.warning" => {
            "A webhook endpoint has not succeeded for half, three quarters or nine tenths of the time after which it is disabled"
        }
        "endpoint.disabled" => {
            "A webhook endpoint was disabled: it answered 410 (`gone`), or has only failed for days (`failing`)"
        }
        "endpoint.recovered" => "A webhook endpoint succeeded again after its failures were told of",
        "endpoint.removed" => "A webhook endpoint was removed",
        "endpoint.checkpoint" => {
            "What this endpoint was owed since the checkpoint before, by number: it proves that nothing is missing. Sent every \
             `checkpoint_minutes` to the endpoint that it tells of, and to no other"
        }
        "delivery.failing" => {
            "A click could not be delivered for the third time; told once an hour for each endpoint"
        }
        "delivery.dead" => "A click was given up after its last attempt; told once an hour for each endpoint",
        "secret.rotated" => {
            "An endpoint has a new signing secret; the old ones end in a day, or when whoever made it said"
        }
        "secret.revoked" => "A signing secret of an endpoint ended at once",
        _ => "",
    }
}
