//! Our own: CSV whose columns have the names of the API's fields (`url`, `slug`, `tags`, …, and `metadata.NAME`, `utm.source` or
//! `utm_source`, `preview.title` or `preview_title` for what is within one), or JSON with the bodies themselves. What
//! `clickwire links list --all --json`, `GET /v1/links` and `GET /v1/links/export` tell of links can be read again: what the server
//! sets by itself is left out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::draft::Draft;
use super::record::{Record, flag, moment, texts_of, written};

/// What the server sets.
const READ_ONLY: [&str; 16] = [
    "id",
    "link_id",
    "tracked_url",
    "undercounts",
    "recording",
    "recording_decided_by",
    "counted_clicks",
    "exhausted_at",
    "has_password",
    "revision",
    "created_by",
    "created_at",
    "updated_at",
    "archived_at",
    "blocked_at",
    "line",
];

/// Fields that are objects.
const OBJECTS: [&str; 3] = ["metadata", "utm", "preview"];

/// Those of them whose fields are named with `_` as well.
const UNDERSCORED: [&str; 2] = ["utm", "preview"];

/// Fields that are times.
const TIMES: [&str; 3] = ["starts_at", "expires_at", "sent_at"];

/// Fields that are numbers.
const NUMBERS: [&str; 2] = ["max_clicks", "status_code"];

/// Bytes of the digest that a row without a name is recognised by.
const DIGEST_BYTES: usize = 16;

pub(super) fn draft(record: &Record) -> Draft {
    let mut body = Map::new();
    for (name, value) in &record.fields {
        let name = name.trim().to_lowercase().replace([' ', '-'], "_");
        let is_empty = value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
        if is_empty || READ_ONLY.contains(&name.as_str()) {
            continue;
        }
        let value = match value {
            Value::String(text) => typed(&name, text),
            value => value.clone(),
        };
        match within(&name) {
            Some((object, within)) => {
                let object = body.entry(object).or_insert_with(|| Value::Object(Map::new()));
                if let Some(object) = object.as_object_mut() {
                    object.insert(within.to_owned(), value);
                }
            }
            None => {
                body.insert(name, value);
            }
        }
    }
    let external_id = body.get("external_id").and_then(Value::as_str).map(str::to_owned);
    let external_id = external_id.unwrap_or_else(|| made_up(&body));
    let mut draft = Draft::of(body);
    draft.known_as(Some(external_id));
    if record.flag(&["haspassword"]) == Some(true) {
        draft.note(
            "it had a password, which is not imported: set one, or whoever knows the link may follow it",
        );
    }
    draft
}

/// The object that a name is about, and the field within it.
fn within(name: &str) -> Option<(&str, &str)> {
    let dotted = name.split_once('.').filter(|(object, _)| OBJECTS.contains(object));
    dotted.or_else(|| name.split_once('_').filter(|(object, _)| UNDERSCORED.contains(object)))
}

/// A text as the value that the field wants; what is none stays a text, which the API refuses with its rule.
fn typed(name: &str, text: &str) -> Value {
    let text = text.trim();
    match name {
        "tags" => texts_of(&Value::String(text.to_owned())).into(),
        "enabled" => flag(text).map_or_else(|| text.into(), Value::Bool),
        name if NUMBERS.contains(&name) => {
            text.parse::<u64>().map_or_else(|_| text.into(), |number| Value::Number(number.into()))
        }
        name if TIMES.contains(&name) => {
            moment(text).map_or_else(|| text.into(), |moment| written(moment).into())
        }
        name if OBJECTS.contains(&name) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        _ => text.into(),
    }
}

/// What a row is recognised by that names no id of its own: its slug, else all that it says.
fn made_up(body: &Map<String, Value>) -> String {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    if !text("slug").is_empty() {
        return format!("import:{}/{}", text("domain"), text("slug"));
    }
    let digest = Sha256::digest(Value::Object(body.clone()).to_string());
    format!("import:{}", URL_SAFE_NO_PAD.encode(&digest[..DIGEST_BYTES]))
}
