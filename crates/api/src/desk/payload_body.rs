//! What a request says of the shape of an endpoint's bodies, and what is stored of it.

use serde_json::Value;
use utoipa::ToSchema;

use webhook::Shape;
use webhook::shape::ShapeChange;

use crate::fields::{Wrong, invalid};

/// The shape of an endpoint's bodies.
#[derive(ToSchema)]
#[schema(as = Payload)]
#[expect(dead_code, reason = "describes `payload` for the OpenAPI document")]
pub struct PayloadText {
    /// How much of a click: `full` (default), `standard` (without coordinates, network, address and what the browser said word
    /// for word) or `thin` (ids, times, and the URL that tells the rest). Other events are told whole.
    #[schema(example = "full")]
    profile: Option<String>,
    /// Which fields of that; `null`: all.
    fields: Option<FieldsText>,
    /// What stands around it: `standard_webhooks` (default), `cloudevents` (CloudEvents 1.0, structured), `request`
    /// (`{data, event, request_id}`) or `slack` (a message for Slack's incoming webhooks).
    #[schema(example = "standard_webhooks")]
    format: Option<String>,
    /// Which version of the fields. A new endpoint gets the newest, and keeps it until another one is named here.
    #[schema(example = "2026-11-01")]
    version: Option<String>,
}

/// Fields of a click's `data` by their paths (`location.city`); an object (`location`) stands for all of its fields. Either
/// `include` or `exclude`, at most 100.
#[derive(ToSchema)]
#[schema(as = PayloadFields)]
#[expect(dead_code, reason = "describes `payload.fields` for the OpenAPI document")]
pub struct FieldsText {
    /// These alone are sent.
    include: Option<Vec<String>>,
    /// These are left out.
    exclude: Option<Vec<String>>,
}

/// A choice, or a change of one.
pub fn payload(value: &Value) -> Result<ShapeChange, Wrong> {
    ShapeChange::parse(value)
        .map_err(|error| error.path.iter().rev().fold(invalid(error.rule), |wrong, step| wrong.at(step)))
}

/// What a new endpoint is stored with: also who chooses nothing keeps the version of today.
pub fn made(chosen: Option<ShapeChange>) -> Value {
    Shape::newest().changed(chosen.unwrap_or_default()).to_json()
}

/// What an endpoint is stored with after a change; `None`: all but the version is as it is by default.
pub fn changed(stored: Option<&Value>, change: Option<ShapeChange>) -> Value {
    let shape = shape(stored);
    match change {
        Some(change) => shape.changed(change).to_json(),
        None => shape.reset().to_json(),
    }
}

/// The shape that is stored; what a newer release stored, and nobody reads here, counts as the default.
pub fn shape(stored: Option<&Value>) -> Shape {
    Shape::stored(stored).unwrap_or_default()
}
