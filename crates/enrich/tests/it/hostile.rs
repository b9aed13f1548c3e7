//! User-Agents and hints that nobody sends: told alike whenever they are asked about, and within limits.

use std::fs;
use std::sync::LazyLock;

use enrich::look_up::LookUp;
use enrich::settings::EnrichSettings;
use model::automation::Verdict;
use model::click::{HEADER_BYTES_MAX, KEPT_HEADERS, Request, USER_AGENT_BYTES_MAX};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use crate::given;

/// What was sent in the kept cases.
static CORPUS: LazyLock<Vec<Request>> = LazyLock::new(|| {
    let read = |name: &str| fs::read_to_string(given::data(name)).expect("kept cases");
    let cases = [read("clicks.ndjson"), read("strangers.ndjson")].concat();
    cases.lines().map(|line| request(&serde_json::from_str(line).expect("JSON"))).collect()
});

static LOOK_UP: LazyLock<LookUp> =
    LazyLock::new(|| LookUp::open(&given::settings(), given::metrics()).expect("look-ups"));

/// One that remembers next to nothing.
static FORGETFUL: LazyLock<LookUp> = LazyLock::new(|| {
    let settings = EnrichSettings { agents_max: 1, ..given::settings() };
    LookUp::open(&settings, given::metrics()).expect("look-ups")
});

fn request(case: &Value) -> Request {
    let headers = case["headers"].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Request {
        method: "GET".into(),
        user_agent: case["user_agent"].as_str().map(str::to_owned),
        headers: headers.map(|(name, value)| (name.to_lowercase(), text(value))).collect(),
        ..Request::default()
    }
}

fn kept_agent() -> impl Strategy<Value = String> {
    any::<Index>().prop_map(|at| at.get(&CORPUS).user_agent.clone().unwrap_or_default())
}

fn halves(text: &str, at: Index) -> (&str, &str) {
    text.split_at(text.floor_char_boundary(at.index(text.len() + 1)))
}

/// A kept User-Agent, or something made of kept ones, or anything.
fn an_agent() -> impl Strategy<Value = String> {
    let spliced = (kept_agent(), kept_agent(), any::<Index>(), any::<Index>());
    let widened = (kept_agent(), any::<Index>(), "\\PC{0,12}|[();/.0-9]{1,6}|\\$[0-9]");
    prop_oneof![
        2 => kept_agent(),
        4 => spliced.prop_map(|(one, other, at, from)| [halves(&one, at).0, halves(&other, from).1].concat()),
        4 => widened.prop_map(|(one, at, more)| [halves(&one, at).0, &more, halves(&one, at).1].concat()),
        1 => (kept_agent(), 2usize..40).prop_map(|(one, times)| one.repeat(times)),
        1 => any::<String>(),
        1 => prop::collection::vec(any::<u8>(), 0..1500)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

/// Headers of a kept case, with some of them in the place of others.
fn a_request() -> impl Strategy<Value = Request> {
    let hint = "\"?[A-Za-z0-9 ._-]{0,12}\"?(;v=\"[0-9]{0,4}\")?|\\?[01x]|\\PC{0,20}";
    let more = prop::collection::vec((prop::sample::select(&KEPT_HEADERS[..]), hint), 0..4);
    (prop::option::weighted(0.9, an_agent()), any::<Index>(), more).prop_map(|(user_agent, at, more)| {
        let mut request = Request { user_agent, ..at.get(&CORPUS).clone() };
        for (name, value) in more {
            request.headers.retain(|(known, _)| known != name);
            request.headers.push((name.to_owned(), value));
        }
        request
    })
}

proptest! {
    #[test]
    fn what_is_told_of_an_agent_is_the_same_each_time_and_within_limits(request in a_request()) {
        let (device, automation) = LOOK_UP.tell(&request);

        let remembered = LOOK_UP.tell(&request);
        prop_assert_eq!(remembered.clone(), (device.clone(), automation.clone()));
        prop_assert_eq!(FORGETFUL.tell(&request), remembered);

        let sum: i32 = automation.reasons.iter().map(|reason| i32::from(reason.weight)).sum();
        prop_assert_eq!(i32::from(automation.score), sum.clamp(0, 100));
        prop_assert_eq!(automation.class.is_some(), automation.verdict == Verdict::Automated);
        let texts = [
            device.brand, device.model, device.model_name, device.os, device.os_version, device.browser,
            device.browser_version, device.in_app,
        ];
        for text in texts.into_iter().flatten() {
            prop_assert!(text.len() <= USER_AGENT_BYTES_MAX + HEADER_BYTES_MAX, "{text}");
        }
    }

    #[test]
    fn what_stands_behind_the_longest_agent_that_is_kept_is_not_looked_at(agent in an_agent(), behind in an_agent()) {
        let mut kept = agent.repeat(USER_AGENT_BYTES_MAX / agent.len().max(1) + 1);
        kept.truncate(kept.floor_char_boundary(USER_AGENT_BYTES_MAX));
        // so that the next character is one too many, however long it is
        let missing = USER_AGENT_BYTES_MAX - kept.len();
        kept.extend(std::iter::repeat_n('x', missing));
        let request = |agent: String| Request { user_agent: Some(agent), ..Request::default() };

        let told = FORGETFUL.tell(&request(kept.clone() + &behind));

        // by the other one, which does not remember it from there
        prop_assert_eq!(told, LOOK_UP.tell(&request(kept)));
    }
}
