//! Which clicks an endpoint wants, beside their event type.
//!
//! A filter is a JSON object of conditions that must all hold, over fields named by their path in the payload's `data`:
//!
//! ```json
//! {"location.country": {"$in": ["SE", "NO"]}, "link.tags": "spring", "$not": {"campaign_id": {"$startsWith": "test"}}}
//! ```
//! It is parsed when it is saved ([`condition`]), field by field ([`field`]), so that what can never match, is misspelt
//! or would be slow is refused where someone sees it. An empty filter lets everything through.

mod condition;
mod field;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

use std::fmt;

use model::EnrichedClick;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use condition::{Conditions, HeldBy, Reader};

/// Longest filter, in bytes of JSON.
pub const FILTER_BYTES_MAX: usize = 16 * 1024;

/// Deepest nesting of `$and`, `$or` and `$not`.
pub const FILTER_DEPTH_MAX: usize = 5;

/// Most comparisons of one filter: each value that a field is compared with counts.
pub const FILTER_TERMS_MAX: usize = 200;

/// What an endpoint's owner chose. Without a filter an endpoint gets every click, its verdict marked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter(Conditions);

/// Why a JSON value is not a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// Where: keys and positions, from the filter inward.
    pub path: Vec<String>,
    /// Which rule is broken.
    pub rule: String,
}

impl Filter {
    /// Reads a filter from JSON; unknown keys are refused, because a misspelt one would let everything through.
    ///
    /// # Errors
    /// [`FilterError`] says where and which rule is broken.
    pub fn parse(value: &Value) -> Result<Self, FilterError> {
        if value.to_string().len() > FILTER_BYTES_MAX {
            return Err(FilterError::new(format!("must be at most {FILTER_BYTES_MAX} bytes long")));
        }
        Reader::default().conditions(value, 0).map(Self)
    }

    /// Whether the endpoint wants this click.
    pub fn matches(&self, click: &EnrichedClick) -> bool {
        self.0.hold(click)
    }

    /// Why the endpoint does not want this click; `None` when it does.
    pub fn refusal(&self, click: &EnrichedClick) -> Option<Refusal> {
        self.0.refusal(click).map(|(condition, held)| Refusal { condition, held })
    }
}

/// The condition of a filter that kept a click back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The condition, as it is written: `{"location.country":"NO"}`.
    pub condition: Value,
    /// The field that it asks about and what the click has there (several for tags, none where it is not known); `None` where
    /// it asks about several fields.
    pub held: Option<HeldBy>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.held {
            None => write!(f, "the filter wants {}", self.condition),
            Some((field, values)) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                let has = if values.is_empty() {
                    "is not known".to_owned()
                } else {
                    format!("is {}", values.join(", "))
                };
                write!(f, "{field} {has}, and the filter wants {}", self.condition)
            }
        }
    }
}

impl FilterError {
    fn new(rule: impl Into<String>) -> Self {
        Self { path: Vec::new(), rule: rule.into() }
    }

    fn within(mut self, step: impl fmt::Display) -> Self {
        self.path.insert(0, step.to_string());
        self
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path.join("/"))?;
        }
        f.write_str(&self.rule)
    }
}

impl std::error::Error for FilterError {}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::parse(&value).map_err(serde::de::Error::custom)
    }
}
