//! A filter lets through what it says, and says what is wrong with it.

use chrono::Utc;
use model::WorkspaceId;
use model::automation::Verdict;
use model::device::DeviceKind;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn sample() -> EnrichedClick {
    crate::payload::sample(WorkspaceId::generate(), Utc::now())
}

fn matches(filter: Value) -> bool {
    Filter::parse(&filter).expect("a filter").matches(&sample())
}

#[test]
fn conditions_are_asked_of_the_fields_of_the_payload() {
    for (filter, is_match) in [
        (json!({}), true),
        (json!({"verdicts": ["human", "unknown"]}), true),
        (json!({"verdicts": ["automated"]}), false),
        (json!({"campaign_id": "cmp_42"}), true),
        (json!({"campaign_id": {"$eq": "cmp_43"}}), false),
        (json!({"sequence_id": "seq_5", "step_id": {"$startsWith": "step_"}}), true),
        (json!({"step_id": {"$in": ["step_1", "step_3"]}}), false),
        (json!({"campaign_id": {"$startsWith": "cmp_", "$ne": "cmp_42"}}), false),
        (json!({"conversation_id": {"$exists": true}, "contact_id": "cont_9"}), true),
        (json!({"link.tags": "spring"}), true),
        (json!({"link.tags": {"$nin": ["spring", "summer"]}}), false),
        (json!({"link.external_id": {"$exists": false}}), false),
        (json!({"location.country": {"$in": ["NO", "SE"]}}), true),
        (json!({"location.city": {"$ne": "Linköping"}}), false),
        (json!({"device.type": "mobile", "device.os": "iOS"}), true),
        (json!({"device.browser": {"$startsWith": "Chrome"}}), false),
        (json!({"automation.score": {"$gte": 0, "$lt": 50}}), true),
        (json!({"automation.score": {"$gt": 0}}), false),
        (json!({"is_first_click": true}), true),
        (json!({"channel": {"$in": ["email", "whatsapp"]}}), false),
        (json!({"$or": [{"channel": "email"}, {"location.country": "SE"}]}), true),
        (json!({"$and": [{"channel": "sms"}, {"location.country": "NO"}]}), false),
        (json!({"$not": {"channel": "sms", "location.country": "NO"}}), true),
        (json!({"$not": {"$or": [{"channel": "sms"}, {"channel": "email"}]}}), false),
    ] {
        assert_eq!(matches(filter.clone()), is_match, "{filter}");
    }
}

#[test]
fn what_is_not_known_equals_nothing_and_differs_from_everything() {
    let mut click = sample();
    (click.location.country, click.is_first_click) = (None, None);
    click.click.link.labels.tags.clear();
    for (filter, is_match) in [
        (json!({"location.country": "SE"}), false),
        (json!({"location.country": {"$ne": "SE"}}), true),
        (json!({"location.country": {"$nin": ["SE"]}}), true),
        (json!({"location.country": {"$exists": false}}), true),
        (json!({"is_first_click": false}), false),
        (json!({"link.tags": {"$exists": true}}), false),
        (json!({"link.tags": {"$ne": "spring"}}), true),
    ] {
        assert_eq!(Filter::parse(&filter).expect("a filter").matches(&click), is_match, "{filter}");
    }
}

#[test]
fn what_is_not_a_filter_is_refused_with_its_place_and_the_rule() {
    for (filter, place, rule) in [
        (json!("human"), "", "must be an object"),
        (json!(null), "", "must be an object"),
        (json!({"verdict": ["human"]}), "verdict", "is not a field"),
        (json!({"verdicts": []}), "verdicts", "at least one"),
        (json!({"verdicts": ["bot"]}), "verdicts/0", "must be one of `human`"),
        (json!({"verdicts": "human"}), "verdicts", "must be a list"),
        (json!({"country": "SE"}), "country", "`location.country`"),
        (json!({"location.country": "Sweden"}), "location.country", "two capital letters"),
        (json!({"location.country": {"$in": ["SE", "se"]}}), "location.country/$in/1", "two capital letters"),
        (
            json!({"location.country": {"$startsWith": "S"}}),
            "location.country/$startsWith",
            "is not an operator",
        ),
        (json!({"location.country": {"$exists": "no"}}), "location.country/$exists", "true or false"),
        (json!({"campaign_id": {}}), "campaign_id", "at least one operator"),
        (json!({"campaign_id": ["a"]}), "campaign_id", "$in"),
        (json!({"campaign_id": null}), "campaign_id", "$exists"),
        (json!({"campaign_id": ""}), "campaign_id", "must not be empty"),
        (json!({"campaign_id": 42}), "campaign_id", "must be a string"),
        (json!({"campaign_id": {"eq": "a"}}), "campaign_id/eq", "there are `$eq`"),
        (json!({"campaign_id": {"$gt": "a"}}), "campaign_id/$gt", "is not an operator"),
        (json!({"campaign_id": "x".repeat(257)}), "campaign_id", "256 bytes"),
        (json!({"device.type": "phone"}), "device.type", "`mobile`"),
        (json!({"link.id": "cmp_1"}), "link.id", "id of a link"),
        (json!({"automation.score": {"$gt": 0.5}}), "automation.score/$gt", "whole number"),
        (json!({"is_first_click": "yes"}), "is_first_click", "true or false"),
        (json!({"$xor": []}), "$xor", "`$and`, `$or` and `$not`"),
        (json!({"$or": []}), "$or", "at least one"),
        (json!({"$or": {}}), "$or", "must be a list"),
        (json!({"$or": [{"channel": "sms"}, {}]}), "$or/1", "at least one condition"),
        (json!({"$not": [{}]}), "$not", "must be an object"),
        (json!({"$or": [{"$and": [{"channel": 1}]}]}), "$or/0/$and/0/channel", "must be a string"),
    ] {
        let error = Filter::parse(&filter).expect_err("not a filter");
        assert_eq!(error.path.join("/"), place, "{filter}");
        assert!(error.rule.contains(rule), "{filter}: {}", error.rule);
    }
}

#[test]
fn a_filter_has_limits() {
    let nested = |depth: usize| (0..depth).fold(json!({"channel": "sms"}), |inner, _| json!({"$not": inner}));
    assert!(Filter::parse(&nested(FILTER_DEPTH_MAX)).is_ok());
    for depth in [FILTER_DEPTH_MAX + 1, 100] {
        let error = Filter::parse(&nested(depth)).expect_err("too deep");
        assert!(error.rule.contains("nested deeper"), "{error}");
    }

    let values = |count: usize| json!({"campaign_id": {"$in": vec!["c"; count]}});
    assert!(Filter::parse(&values(FILTER_TERMS_MAX)).is_ok());
    let error = Filter::parse(&values(FILTER_TERMS_MAX + 1)).expect_err("too many");
    assert!(error.rule.contains("comparisons"), "{error}");

    let long = json!({"campaign_id": {"$in": vec!["x".repeat(250); 100]}});
    assert!(Filter::parse(&long).expect_err("too long").rule.contains("bytes"));
}

#[test]
fn a_filter_is_written_as_it_was_read() {
    for filter in [
        json!({"verdicts": ["automated"]}),
        json!({"campaign_id": "a", "$or": [{"link.tags": {"$in": ["x", "y"]}}, {"automation.score": {"$lte": 3}}]}),
    ] {
        assert_eq!(serde_json::to_value(Filter::parse(&filter).expect("a filter")).expect("JSON"), filter);
    }
    let long_form = Filter::parse(&json!({"channel": {"$eq": "sms"}})).expect("a filter");
    assert_eq!(serde_json::to_value(long_form).expect("JSON"), json!({"channel": "sms"}));
}

/// Few words, so that they meet in filters and clicks.
const WORDS: [&str; 4] = ["a", "ab", "b", "ba"];
const COUNTRIES: [&str; 3] = ["SE", "NO", "DK"];

/// Conditions on one field, as people write them.
fn field_condition() -> impl Strategy<Value = (String, Value)> {
    let text = prop::sample::select(&WORDS[..]).prop_map(Value::from);
    let country = prop::sample::select(&COUNTRIES[..]).prop_map(Value::from);
    let among = |value: BoxedStrategy<Value>| {
        prop_oneof![
            value.clone(),
            value.clone().prop_map(|v| json!({"$eq": v})),
            value.clone().prop_map(|v| json!({"$ne": v})),
            prop::collection::vec(value.clone(), 1..4).prop_map(|v| json!({"$in": v})),
            prop::collection::vec(value.clone(), 1..4).prop_map(|v| json!({"$nin": v})),
            (any::<bool>(), value).prop_map(|(exists, v)| json!({"$exists": exists, "$ne": v})),
        ]
    };
    let starting = prop::sample::select(&WORDS[..]).prop_map(|word| json!({"$startsWith": word}));
    let path = prop::sample::select(&["campaign_id", "channel", "link.tags", "device.os"][..]);
    let words = (path, prop_oneof![among(text.boxed()), starting]);
    let score = prop::sample::select(&["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"][..]);
    prop_oneof![
        words.prop_map(|(path, test)| (path.to_owned(), test)),
        among(country.boxed()).prop_map(|test| ("location.country".to_owned(), test)),
        (score, 0..4i64).prop_map(|(op, bound)| ("automation.score".to_owned(), json!({op: bound}))),
        any::<bool>().prop_map(|is| ("is_first_click".to_owned(), json!(is))),
        prop::sample::subsequence(vec!["human", "automated", "unknown"], 1..=3)
            .prop_map(|verdicts| ("verdicts".to_owned(), json!(verdicts))),
    ]
}

fn a_filter() -> impl Strategy<Value = Value> {
    let conditions = prop::collection::vec(field_condition(), 1..3)
        .prop_map(|entries| Value::Object(entries.into_iter().collect()));
    let filled = conditions.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|parts| json!({"$and": parts})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|parts| json!({"$or": parts})),
            inner.prop_map(|part| json!({"$not": part})),
        ]
    });
    prop_oneof![1 => Just(json!({})), 20 => filled]
}

fn a_click() -> impl Strategy<Value = EnrichedClick> {
    let word = || prop::option::of(prop::sample::select(&WORDS[..]).prop_map(str::to_owned));
    let tags = prop::sample::subsequence(WORDS.to_vec(), 0..3);
    let country = prop::option::of(prop::sample::select(&COUNTRIES[..]).prop_map(str::to_owned));
    let verdict = prop::sample::select(&[Verdict::Human, Verdict::Automated, Verdict::Unknown][..]);
    (word(), word(), word(), tags, country, verdict, 0..4u8, any::<Option<bool>>()).prop_map(
        |(campaign, channel, os, tags, country, verdict, score, is_first_click)| {
            let mut click = sample();
            let labels = &mut click.click.link.labels;
            (labels.campaign_id, labels.channel) = (campaign, channel);
            labels.tags = tags.into_iter().map(str::to_owned).collect();
            (click.location.country, click.device.os, click.device.kind) = (country, os, DeviceKind::Tablet);
            (click.automation.verdict, click.automation.score) = (verdict, score);
            click.is_first_click = is_first_click;
            click
        },
    )
}

/// The language as its description says, on the JSON of the filter and the JSON of the payload.
fn holds(filter: &Value, data: &Value) -> bool {
    let all = |list: &Value| list.as_array().expect("a list").iter().all(|part| holds(part, data));
    filter.as_object().expect("an object").iter().all(|(key, value)| match key.as_str() {
        "$and" => all(value),
        "$or" => value.as_array().expect("a list").iter().any(|part| holds(part, data)),
        "$not" => !holds(value, data),
        "verdicts" => value.as_array().expect("a list").contains(&data["automation"]["verdict"]),
        path => {
            let found = path.split('.').fold(data, |at, step| &at[step]);
            let held: Vec<Value> = match found {
                Value::Null => Vec::new(),
                Value::Array(values) => values.clone(),
                value => vec![value.clone()],
            };
            match value.as_object() {
                None => held.contains(value),
                Some(tests) => tests.iter().all(|(operator, wanted)| test_holds(operator, wanted, &held)),
            }
        }
    })
}

fn test_holds(operator: &str, wanted: &Value, held: &[Value]) -> bool {
    let among = || held.iter().any(|value| wanted.as_array().expect("a list").contains(value));
    let compared = |passes: fn(i64, i64) -> bool| {
        let bound = wanted.as_i64().expect("a number");
        held.iter().any(|value| value.as_i64().is_some_and(|number| passes(number, bound)))
    };
    match operator {
        "$eq" => held.contains(wanted),
        "$ne" => !held.contains(wanted),
        "$in" => among(),
        "$nin" => !among(),
        "$startsWith" => held
            .iter()
            .any(|value| value.as_str().expect("a text").starts_with(wanted.as_str().expect("a text"))),
        "$exists" => held.is_empty() != wanted.as_bool().expect("a truth"),
        "$gt" => compared(|number, bound| number > bound),
        "$gte" => compared(|number, bound| number >= bound),
        "$lt" => compared(|number, bound| number < bound),
        "$lte" => compared(|number, bound| number <= bound),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_kept_back_is_kept_back_by_a_condition_that_is_named_with_what_the_click_has() {
    let refusal = |filter: Value| {
        let refusal = Filter::parse(&filter).expect("a filter").refusal(&sample());
        refusal.map(|refusal| refusal.to_string())
    };

    assert_eq!(refusal(json!({"verdicts": ["human"]})), None);
    assert_eq!(
        refusal(json!({"campaign_id": "cmp_42", "location.country": {"$in": ["NO", "DK"]}})).as_deref(),
        Some(r#"location.country is "SE", and the filter wants {"location.country":{"$in":["NO","DK"]}}"#)
    );
    assert_eq!(
        refusal(json!({"$and": [{"verdicts": ["human"]}, {"campaign_id": "x"}]})).as_deref(),
        Some(r#"campaign_id is "cmp_42", and the filter wants {"campaign_id":"x"}"#)
    );
    assert_eq!(
        refusal(json!({"$not": {"campaign_id": "cmp_42"}})).as_deref(),
        Some(r#"the filter wants {"$not":{"campaign_id":"cmp_42"}}"#)
    );
}

proptest! {
    #[test]
    fn reading_what_was_written_gives_the_same_filter(value in a_filter()) {
        let filter = Filter::parse(&value).expect("a filter");
        let written = serde_json::to_value(&filter).expect("JSON");

        prop_assert_eq!(Filter::parse(&written), Ok(filter));
    }

    #[test]
    fn matching_is_what_the_description_says(value in a_filter(), click in a_click()) {
        let body: Value = serde_json::from_slice(&crate::payload::link_clicked(&click)).expect("JSON");

        let is_match = Filter::parse(&value).expect("a filter").matches(&click);

        prop_assert_eq!(is_match, holds(&value, &body["data"]), "{}", value);
        prop_assert_eq!(is_match, Filter::parse(&value).expect("a filter").refusal(&click).is_none(), "{}", value);
    }
}
