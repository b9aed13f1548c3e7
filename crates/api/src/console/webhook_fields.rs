//! What the form of a webhook says, as the API takes it.

use serde_json::{Map, Value, json};

use webhook::CustomHeaders;

use super::form::Form;
use crate::error::ApiError;

/// In the form, the schedule that has no name and stays as it is.
pub const OWN_SCHEDULE: &str = "own";

/// What stands for the value of a header that is kept.
pub const MASK: &str = "********";

/// The body that the API takes for it.
pub fn object(form: &Form, is_new: bool, kept: &CustomHeaders) -> Result<Map<String, Value>, ApiError> {
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
    set("headers", headers(form.text("headers").unwrap_or_default(), kept)?);
    if let Some(schedule) = form.text("retry_schedule").filter(|schedule| *schedule != OWN_SCHEDULE) {
        set("retry_schedule", schedule.into());
    }
    Ok(object)
}

/// The headers that the form says, as the API takes them: a value that is still masked stays what it is.
fn headers(lines: &str, kept: &CustomHeaders) -> Result<Value, ApiError> {
    let mut headers = Map::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            let detail = "must have one header a line, like `X-Tenant: 42`";
            return Err(ApiError::field("/headers", "invalid", detail));
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let before = kept.iter().find(|(kept, _)| value == MASK && *kept == name).map(|(_, value)| value);
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
