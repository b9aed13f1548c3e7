//! The fields of a click's `data`, and which of them an endpoint gets.

use serde::Serialize;
use serde_json::{Map, Value};

use super::choice::ShapeError;

/// Most fields that a mask names.
pub const MASK_FIELDS_MAX: usize = 100;

/// Most characters of a wrong name that are told again.
const TOLD_CHARS_MAX: usize = 64;

/// Each field by its path in `data`, in the order of the body. `link.metadata`, whose names are the customer's, is one.
pub const FIELDS: &[&str] = &[
    "click_id",
    "workspace_id",
    "clicked_at",
    "link.id",
    "link.kind",
    "link.tracked_url",
    "link.original_url",
    "link.destination_url",
    "link.domain",
    "link.slug",
    "link.external_id",
    "link.revision",
    "link.tags",
    "link.metadata",
    "campaign_id",
    "conversation_id",
    "contact_id",
    "message_id",
    "channel",
    "sequence_id",
    "step_id",
    "location.country",
    "location.country_name",
    "location.region",
    "location.city",
    "location.postal_code",
    "location.latitude",
    "location.longitude",
    "location.accuracy_km",
    "location.timezone",
    "location.continent",
    "location.is_eu",
    "location.asn",
    "location.as_organization",
    "location.is_anonymizer",
    "location.is_hosting",
    "location.missing",
    "device.type",
    "device.brand",
    "device.model",
    "device.model_name",
    "device.os",
    "device.os_version",
    "device.browser",
    "device.browser_version",
    "device.in_app",
    "referrer",
    "language",
    "ip",
    "user_agent",
    "automation.verdict",
    "automation.class",
    "automation.score",
    "automation.reasons",
    "automation.ruleset",
    "is_first_click",
    "revision",
    "previous_verdict",
    "test",
    "privacy.redacted_fields",
    "enrichment",
];

/// The objects that hold them; one stands for all of its fields.
pub const GROUPS: &[&str] = &["link", "location", "device", "automation", "privacy"];

/// What the profile `standard` leaves out.
pub(super) const NOT_STANDARD: &[&str] = &[
    "location.postal_code",
    "location.latitude",
    "location.longitude",
    "location.accuracy_km",
    "location.asn",
    "location.as_organization",
    "location.is_anonymizer",
    "location.is_hosting",
    "device.model",
    "device.os_version",
    "device.browser_version",
    "referrer",
    "ip",
    "user_agent",
    "automation.reasons",
    "automation.ruleset",
];

/// What the profile `thin` has.
pub(super) const THIN: &[&str] = &["click_id", "workspace_id", "clicked_at", "link.id", "revision", "test"];

/// Which fields an endpoint gets of those that its profile has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// These.
    Include(Vec<&'static str>),
    /// All but these.
    Exclude(Vec<&'static str>),
}

impl Mask {
    /// Reads `{"include": […]}` or `{"exclude": […]}`, of paths that there are.
    pub(super) fn read(value: &Value) -> Result<Self, ShapeError> {
        let object = value.as_object().ok_or_else(|| ShapeError::new("must be an object"))?;
        let mut entries = object.iter();
        let (Some((name, list)), None) = (entries.next(), entries.next()) else {
            return Err(ShapeError::new("must have either `include` or `exclude`"));
        };
        let mask: fn(Vec<&'static str>) -> Self = match name.as_str() {
            "include" => Self::Include,
            "exclude" => Self::Exclude,
            _ => {
                return Err(ShapeError::new("is not a field; there are `include`, `exclude`").within(name));
            }
        };
        paths(list).map(mask).map_err(|error| error.within(name))
    }

    /// Whether it lets this field through.
    pub fn keeps(&self, path: &str) -> bool {
        match self {
            Self::Include(chosen) => is_among(chosen, path),
            Self::Exclude(chosen) => !is_among(chosen, path),
        }
    }
}

/// Whether a field is named, or the object that holds it.
pub(super) fn is_among(chosen: &[&str], path: &str) -> bool {
    chosen.iter().any(|chosen: &&str| {
        path.strip_prefix(*chosen).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Takes out of `data`, or of the object `within` it, what is not kept; an object that has nothing left goes.
pub(super) fn prune(object: &mut Map<String, Value>, within: &str, keeps: &impl Fn(&str) -> bool) {
    object.retain(|name, value| {
        let path = if within.is_empty() { name.clone() } else { format!("{within}.{name}") };
        match value {
            Value::Object(inner) if GROUPS.contains(&path.as_str()) => {
                prune(inner, &path, keeps);
                !inner.is_empty()
            }
            _ => keeps(&path),
        }
    });
}

fn paths(list: &Value) -> Result<Vec<&'static str>, ShapeError> {
    let list = list.as_array().ok_or_else(|| ShapeError::new("must be a list"))?;
    if list.is_empty() {
        return Err(ShapeError::new("must name at least one field"));
    }
    if list.len() > MASK_FIELDS_MAX {
        return Err(ShapeError::new(format!("must have at most {MASK_FIELDS_MAX} entries")));
    }
    let mut paths = Vec::with_capacity(list.len());
    for (at, value) in list.iter().enumerate() {
        let path = path(value).map_err(|error| error.within(at))?;
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn path(value: &Value) -> Result<&'static str, ShapeError> {
    let text = value.as_str().ok_or_else(|| ShapeError::new("must be a string"))?;
    let known = GROUPS.iter().chain(FIELDS).copied().find(|known| *known == text);
    known.ok_or_else(|| {
        let told: String = text.chars().take(TOLD_CHARS_MAX).collect();
        let known: Vec<&str> = GROUPS.iter().chain(FIELDS).copied().collect();
        ShapeError::new(format!("`{told}` is not a field of `data`; there are `{}`", known.join("`, `")))
    })
}
