//! What the form of a webhook says, as the API takes it.

use serde_json::{Map, Value, json};

use model::{Batching, EndpointUrl};
use webhook::{CustomHeaders, ReceiverAuth};

use super::auth_fields;
use super::form::Form;
use super::webhook_payload;
use crate::error::ApiError;

/// In the form, the schedule that has no name and stays as it is.
pub const OWN_SCHEDULE: &str = "own";

/// What stands for the value of a header that is kept.
pub const MASK: &str = "********";

/// What is saved and not shown, for fields that are left as they are.
#[derive(Default)]
pub struct Kept {
    /// Custom headers.
    pub headers: CustomHeaders,
    /// How the endpoint lets us in.
    pub auth: Option<ReceiverAuth>,
    /// Where the endpoint is.
    pub url: Option<EndpointUrl>,
}

impl Kept {
    /// Whether the form takes the endpoint to another server: what is kept for one is not for another to learn.
    fn moves_by(&self, form: &Form) -> bool {
        let typed: Option<EndpointUrl> = form.text("url").and_then(|url| url.parse().ok());
        self.url.as_ref().zip(typed).is_some_and(|(kept, typed)| !kept.stays_at_server(&typed))
    }

    /// How the endpoint lets us in, where the form may have it.
    fn auth_for(&self, form: &Form) -> Option<&ReceiverAuth> {
        self.auth.as_ref().filter(|_| !self.moves_by(form))
    }
}

/// The body that the API takes for it.
pub fn object(form: &Form, is_new: bool, kept: &Kept) -> Result<Map<String, Value>, ApiError> {
    let mut object = form.object(&["url"]);
    if !is_new {
        // left out it would stay as it is
        object.entry("url").or_insert_with(|| "".into());
    }
    let mut set = |name: &str, value: Value| object.insert(name.to_owned(), value);
    let number = |name: &str| {
        form.text(name).map(|text| text.parse::<u64>().map_or_else(|_| text.into(), Value::from))
    };
    set("description", form.text("description").map_or(Value::Null, Value::from));
    set("event_types", form.all("event_types").into_iter().map(Value::from).collect());
    set("filter", filter(form)?);
    set("rate_per_second", number("rate_per_second").unwrap_or_default());
    set("rate_burst", number("rate_burst").unwrap_or_default());
    set("settle_ms", number("settle_ms").unwrap_or_default());
    set("max_in_flight", number("max_in_flight").unwrap_or_default());
    set("timeout_ms", number("timeout_ms").unwrap_or_default());
    set("auto_disable", form.is_set("auto_disable").into());
    set("signatures", if form.is_set("v1a") { json!(["v1", "v1a"]) } else { json!(["v1"]) });
    set("batch", batch(form));
    set("headers", headers(form, kept)?);
    set("auth", auth_fields::value(form, kept.auth_for(form)));
    if let Some(payload) = webhook_payload::chosen(form) {
        set("payload", payload);
    }
    if form.has("ordering") {
        let ordering = match (form.text("ordering"), number("skip_after")) {
            (Some("strict"), Some(attempts)) => json!({"mode": "strict", "skip_after": attempts}),
            (ordering, _) => ordering.map_or(Value::Null, Value::from),
        };
        set("ordering", ordering);
    }
    if form.has("checkpoint_minutes") {
        set("checkpoint_minutes", number("checkpoint_minutes").unwrap_or_default());
    }
    if let Some(delivery) = form.text("delivery") {
        set("delivery", delivery.into());
    }
    if let Some(schedule) = form.text("retry_schedule").filter(|schedule| *schedule != OWN_SCHEDULE) {
        set("retry_schedule", schedule.into());
    }
    Ok(object)
}

/// What the form says of batches, as it is filled in again.
pub struct BatchFields {
    pub is_on: bool,
    pub max_events: String,
    pub max_wait_ms: String,
    pub max_bytes: String,
}

impl BatchFields {
    /// As an endpoint has them; without any, what they would be.
    pub fn of(batching: Option<Batching>) -> Self {
        let Batching { max_events, max_wait_ms, max_bytes } = batching.unwrap_or_default();
        Self {
            is_on: batching.is_some(),
            max_events: max_events.to_string(),
            max_wait_ms: max_wait_ms.to_string(),
            max_bytes: max_bytes.to_string(),
        }
    }

    /// As they were typed.
    pub fn typed(form: &Form) -> Self {
        let text = |name: &str| form.text(name).unwrap_or_default().to_owned();
        Self {
            is_on: form.is_set("batch"),
            max_events: text("batch_max_events"),
            max_wait_ms: text("batch_max_wait_ms"),
            max_bytes: text("batch_max_bytes"),
        }
    }
}

/// How many events a request carries, in words.
pub fn carries(batching: Option<Batching>) -> String {
    let Some(Batching { max_events, max_wait_ms, max_bytes }) = batching else {
        return "One event".to_owned();
    };
    let seconds = f64::from(max_wait_ms) / 1000.0;
    format!("Up to {max_events} events or {max_bytes} bytes, {seconds} s after the first at the latest")
}

/// What the form says of batches, as the API takes it; what is empty has its default.
fn batch(form: &Form) -> Value {
    if !form.is_set("batch") {
        return Value::Null;
    }
    let field = |name: &str| {
        let text = form.text(&format!("batch_{name}"))?;
        Some((name.to_owned(), text.parse::<u64>().map_or_else(|_| text.into(), Value::from)))
    };
    Value::Object(["max_events", "max_wait_ms", "max_bytes"].into_iter().filter_map(field).collect())
}

/// The headers that the form says, as the API takes them: a value that is still masked stays what it is, at the server that it is
/// kept for.
fn headers(form: &Form, kept: &Kept) -> Result<Value, ApiError> {
    let moves = kept.moves_by(form);
    let mut headers = Map::new();
    let lines = form.text("headers").unwrap_or_default();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            let detail = "must have one header a line, like `X-Tenant: 42`";
            return Err(ApiError::field("/headers", "invalid", detail));
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let kept = kept.headers.iter().find(|(kept, _)| value == MASK && *kept == name);
        if moves && kept.is_some() {
            let detail = format!(
                "`{name}` was saved for another server than that of the new URL: type its value, or leave it out"
            );
            return Err(ApiError::field("/headers", "invalid", detail));
        }
        let before = kept.map(|(_, value)| value);
        if headers.insert(name.clone(), before.unwrap_or(value).into()).is_some() {
            return Err(ApiError::field("/headers", "invalid", format!("`{name}` is there twice")));
        }
    }
    Ok(if headers.is_empty() { Value::Null } else { Value::Object(headers) })
}

/// The filter that the form says, as the API takes it.
pub fn filter(form: &Form) -> Result<Value, ApiError> {
    match form.text("audience") {
        Some("everything") => Ok(Value::Null),
        Some("filter") => {
            let text = form.text("filter").unwrap_or_default();
            serde_json::from_str(text)
                .map_err(|error| ApiError::field("/filter", "invalid", format!("is not JSON: {error}")))
        }
        _ => Ok(json!({"verdicts": ["human", "unknown"]})),
    }
}
