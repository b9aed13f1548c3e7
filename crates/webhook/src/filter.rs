//! Which clicks an endpoint wants, beside their event type.

use model::EnrichedClick;
use model::automation::Verdict;
use serde::{Deserialize, Serialize};

/// What an endpoint's owner chose. Without a filter an endpoint gets every click, its verdict marked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Filter {
    /// Only clicks with one of these verdicts; `None`: with any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Vec<Verdict>>,
}

/// Why a JSON value is not a filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Unknown keys, unknown words, or not an object.
    #[error("must be an object like {{\"verdicts\": [\"human\", \"unknown\"]}}")]
    Shape(#[source] serde_json::Error),
    /// A filter that no click can pass.
    #[error("`verdicts` must name at least one of `human`, `automated` and `unknown`")]
    NoVerdicts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    verdicts: Option<Vec<Verdict>>,
}

impl Filter {
    /// Reads a filter from JSON; unknown keys are refused, because a misspelt one would let everything through.
    ///
    /// # Errors
    /// [`FilterError`] says what a filter looks like.
    pub fn parse(value: &serde_json::Value) -> Result<Self, FilterError> {
        Unchecked::deserialize(value).map_err(FilterError::Shape)?.try_into()
    }

    /// Whether the endpoint wants this click.
    pub fn matches(&self, click: &EnrichedClick) -> bool {
        self.verdicts.as_ref().is_none_or(|wanted| wanted.contains(&click.automation.verdict))
    }
}

impl TryFrom<Unchecked> for Filter {
    type Error = FilterError;

    fn try_from(unchecked: Unchecked) -> Result<Self, FilterError> {
        match unchecked.verdicts {
            Some(verdicts) if verdicts.is_empty() => Err(FilterError::NoVerdicts),
            verdicts => Ok(Self { verdicts }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Utc;
    use model::WorkspaceId;
    use serde_json::json;

    fn click(verdict: Verdict) -> EnrichedClick {
        let mut click = crate::payload::sample(WorkspaceId::generate(), Utc::now());
        click.automation.verdict = verdict;
        click
    }

    #[test]
    fn only_clicks_with_a_wanted_verdict_pass() {
        let filter = Filter::parse(&json!({"verdicts": ["human", "unknown"]})).expect("a filter");

        assert!(filter.matches(&click(Verdict::Human)));
        assert!(filter.matches(&click(Verdict::Unknown)));
        assert!(!filter.matches(&click(Verdict::Automated)));
    }

    #[test]
    fn an_empty_filter_lets_everything_through() {
        let filter = Filter::parse(&json!({})).expect("a filter");

        assert!(filter.matches(&click(Verdict::Automated)));
    }

    #[test]
    fn what_is_not_a_filter_is_refused() {
        for value in [
            json!({"verdict": ["human"]}),
            json!({"verdicts": []}),
            json!({"verdicts": ["bot"]}),
            json!({"verdicts": "human"}),
            json!("human"),
            json!(null),
        ] {
            assert!(Filter::parse(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_filter_reads_back_as_it_was_written() {
        let filter = Filter::parse(&json!({"verdicts": ["automated"]})).expect("a filter");
        let value = serde_json::to_value(&filter).expect("JSON");

        assert_eq!(Filter::parse(&value).expect("a filter"), filter);
        assert_eq!(value, json!({"verdicts": ["automated"]}));
    }
}
