//! `/v1/event-types`: what an endpoint can subscribe to.

use actix_web::{HttpResponse, get};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use model::event_type::{EVENT_TYPES, LINK_CLICKED};

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
    /// The body of a webhook of this type, as a test sends it.
    #[schema(value_type = Object)]
    sample: Value,
}

/// List event types, each with a sample
#[utoipa::path(tag = "webhook endpoints", security(("api_key" = [])), responses((status = 200, body = Page<EventTypeView>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
#[get("/v1/event-types")]
pub async fn list_event_types(caller: Caller) -> Result<HttpResponse, ApiError> {
    let sample = webhook::payload::link_clicked(&webhook::payload::sample(caller.workspace_id, now()));
    let view = |name| EventTypeView {
        name,
        description: match name {
            LINK_CLICKED => "Someone, or something, opened a tracked link",
            _ => "",
        },
        sample: serde_json::from_slice(&sample).expect("a webhook body is JSON"),
    };
    let data: Vec<_> = EVENT_TYPES.into_iter().map(view).collect();
    Ok(HttpResponse::Ok().json(Page { data, next_cursor: None }))
}
