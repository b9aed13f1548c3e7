//! JSON that is nearly a filter, or far from one: what is accepted keeps to the limits and reads back as it is written, and what
//! is refused says where and why.

use chrono::Utc;
use model::WorkspaceId;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Names and values of the language, at home anywhere in it.
const WORDS: [&str; 26] = [
    "$and",
    "$or",
    "$not",
    "$eq",
    "$ne",
    "$in",
    "$nin",
    "$startsWith",
    "$exists",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$regex",
    "verdicts",
    "campaign_id",
    "link.tags",
    "location.country",
    "automation.score",
    "device.type",
    "is_first_click",
    "human",
    "mobile",
    "SE",
    "se",
    "",
];

fn a_word() -> impl Strategy<Value = String> {
    prop_oneof![12 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned), 1 => "\\PC{0,20}", 1 => any::<String>()]
}

fn a_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        2 => (-3i64..105).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        8 => a_word().prop_map(Value::from),
    ]
}

/// Any JSON, of the words of the language.
fn a_value() -> impl Strategy<Value = Value> {
    a_scalar().prop_recursive(8, 60, 5, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            3 => prop::collection::vec((a_word(), inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Filters that mostly are ones, as deep or as long as may be and a little more.
fn nearly_a_filter() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(&["campaign_id", "link.tags", "channel", "location.city"][..]);
    let operator = prop::sample::select(&["$eq", "$ne", "$startsWith", "$in", "$nin"][..]);
    let condition = (field, operator, prop::collection::vec("[a-zé]{0,8}", 0..60)).prop_map(
        |(field, operator, words)| match operator {
            "$in" | "$nin" => json!({field: {operator: words}}),
            _ => json!({field: {operator: words.first()}}),
        },
    );
    condition.prop_recursive(8, 40, 5, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..6).prop_map(|parts| json!({"$and": parts})),
            2 => prop::collection::vec(inner.clone(), 0..6).prop_map(|parts| json!({"$or": parts})),
            3 => inner.clone().prop_map(|part| json!({"$not": part})),
            1 => (inner, a_word(), a_scalar()).prop_map(|(mut part, name, value)| {
                part[name] = value;
                part
            }),
        ]
    })
}

/// How deep operators between conditions stand in each other, and how many values are compared with.
fn size(filter: &Value) -> (usize, usize) {
    match filter {
        Value::Object(object) => sum(object.iter().map(|(name, value)| {
            let (depth, terms) = size(value);
            (depth + usize::from(matches!(name.as_str(), "$and" | "$or" | "$not")), terms)
        })),
        Value::Array(values) => sum(values.iter().map(size)),
        _ => (0, 1),
    }
}

fn sum(parts: impl Iterator<Item = (usize, usize)>) -> (usize, usize) {
    parts.fold((0, 0), |(depth, terms), (deeper, more)| (depth.max(deeper), terms + more))
}

fn check(value: &Value) -> Result<(), TestCaseError> {
    match Filter::parse(value) {
        Ok(filter) => {
            let written = serde_json::to_value(&filter).expect("JSON");
            prop_assert!(value.to_string().len() <= FILTER_BYTES_MAX);
            let (depth, terms) = size(value);
            prop_assert!(
                depth <= FILTER_DEPTH_MAX && terms <= FILTER_TERMS_MAX,
                "{depth} deep, {terms} terms"
            );
            prop_assert_eq!(size(&written), (depth, terms));
            let click = crate::payload::sample(WorkspaceId::generate(), Utc::now());
            prop_assert_eq!(filter.matches(&click), filter.refusal(&click).is_none());
            prop_assert_eq!(Filter::parse(&written), Ok(filter), "written as {}", written);
        }
        Err(error) => {
            prop_assert!(!error.rule.is_empty());
            let mut at = value;
            for step in &error.path {
                let inner = at.get(step).or_else(|| at.get(step.parse::<usize>().ok()?));
                at = inner.ok_or_else(|| TestCaseError::fail(format!("{error} is not in {value}")))?;
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_json_is_a_filter_within_limits_or_refused_where_it_is_wrong(value in a_value()) {
        check(&value)?;
    }

    #[test]
    fn what_is_nearly_a_filter_is_one_within_limits_or_refused_where_it_is_wrong(value in nearly_a_filter()) {
        check(&value)?;
    }
}
