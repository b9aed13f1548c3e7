//! How often enrichment is right, over the cases of `tests/data/clicks.ndjson`; a bar for each field.

use std::collections::{BTreeMap, HashMap};

use chrono::Utc;
use enrich::look_up::LookUp;
use model::automation::Verdict;
use model::click::Request;
use model::{AddressTreatment, Click, EnrichedClick};
use serde_json::Value;

use crate::given;

/// Least share of right answers, in per cent. Most cases come from the lists whose rules we use: these bars show that
/// everything is wired, not how it fares with strangers.
const BARS: [(&str, f64); 15] = [
    ("location.country", 100.0),
    ("location.region", 100.0),
    ("location.city", 100.0),
    ("device.type", 99.5),
    ("device.brand", 99.5),
    ("device.model", 99.0),
    ("device.no_model", 100.0),
    ("os.name", 99.9),
    ("os.major", 99.4),
    ("browser.name", 99.5),
    ("browser.major", 99.5),
    ("app", 97.0),
    ("bot.recall", 99.5),
    ("bot.spared", 99.8),
    ("bot.spared.real", 100.0),
];

/// Wrong answers that are printed of each field.
const SHOWN_MAX: usize = 12;

/// The files of each pass, and the `geo_db` of the cases whose place it is asked for.
const PASSES: [(&str, &[&str]); 3] = [
    ("mini-dbip", &[]),
    ("mini-dbip", &["dbip-nested-city.mmdb"]),
    ("maxmind-city-test", &["GeoIP2-City-Test.mmdb"]),
];

#[derive(Default)]
struct Score {
    right: usize,
    wrong: Vec<String>,
}

#[test]
fn enrichment_is_as_right_as_its_bars_demand() {
    let text = std::fs::read_to_string(given::data("clicks.ndjson")).expect("the cases");
    let cases: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a case a line")).collect();
    let vocabulary = std::fs::read_to_string(given::data("vocabulary.json")).expect("the vocabulary");
    let vocabulary: HashMap<String, HashMap<String, String>> =
        serde_json::from_str(&vocabulary).expect("maps of names");
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();

    for (pass, (geo_db, files)) in PASSES.into_iter().enumerate() {
        let (look_up, _dir) = given::look_up(files);
        for case in &cases {
            let enriched = enrich(&look_up, case);
            if [Some(geo_db), Some("any")].contains(&case["geo_db"].as_str()) {
                score_location(case, &enriched, &mut scores);
            }
            if pass == 0 {
                score_device(case, &enriched, &vocabulary, &mut scores);
                score_verdict(case, &enriched, &mut scores);
            }
        }
    }

    print(&scores);
    for (field, bar) in BARS {
        let score = &scores[field];
        assert!(score.percent() >= bar, "{field}: {:.2} % is under its bar of {bar} %", score.percent());
    }
}

impl Score {
    fn percent(&self) -> f64 {
        100.0 * self.right as f64 / (self.right + self.wrong.len()) as f64
    }
}

fn enrich(look_up: &LookUp, case: &Value) -> EnrichedClick {
    let headers = case["headers"].as_object().into_iter().flatten();
    let request = Request {
        method: "GET".into(),
        ip: case["ip"].as_str().and_then(|ip| ip.parse().ok()),
        user_agent: case["user_agent"].as_str().map(str::to_owned),
        headers: headers
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or("").to_owned()))
            .collect(),
        ..Request::default()
    };
    let click = Click { request, address_treatment: AddressTreatment::Keep, ..given::click() };
    look_up.enrich(&click, Utc::now())
}

fn score_location(case: &Value, enriched: &EnrichedClick, scores: &mut BTreeMap<&str, Score>) {
    let expected = &case["expect"]["location"];
    let got = &enriched.location;
    for (field, key, got) in [
        ("location.country", "country", &got.country),
        ("location.region", "region", &got.region),
        ("location.city", "city", &got.city),
    ] {
        if let Some(expected) = expected.get(key) {
            // districts are cut off, of cities alone
            let cut = |text: &str| match key {
                "city" => text.split(" (").next().unwrap_or(text).to_owned(),
                _ => text.to_owned(),
            };
            let expected = expected.as_str().map(cut);
            let is_right = folded(expected.as_deref()) == folded(got.as_deref());
            add(scores, field, is_right, || format!("{expected:?} {got:?} {}", case["ip"]));
        }
    }
}

fn score_device<'a>(
    case: &Value,
    enriched: &EnrichedClick,
    vocabulary: &HashMap<String, HashMap<String, String>>,
    scores: &mut BTreeMap<&'a str, Score>,
) {
    let expect = &case["expect"];
    let got = &enriched.device;
    let named = |list: &str, name: &Option<String>| {
        let name = name.clone()?;
        Some(vocabulary[list].get(&name).cloned().unwrap_or(name))
    };
    let agent = &case["user_agent"];
    let mut check = |field: &'a str, expected: &Value, got: Option<String>| {
        if let Some(expected) = expected.as_str() {
            let is_right = folded(Some(expected)) == folded(got.as_deref());
            add(scores, field, is_right, || format!("{expected:?} {got:?} {agent}"));
        }
    };
    check("device.type", &expect["device"]["type"], Some(got.kind.as_str().to_owned()));
    check("os.name", &expect["os"]["name"], named("os", &got.os));
    check("app", &expect["app"]["name"], named("app", &got.in_app));
    if expect["app"].is_null() {
        check("browser.name", &expect["browser"]["name"], named("browser", &got.browser));
    }
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    if let (Some(expected), Some(got)) = (expect["os"]["version"].as_str(), &got.os_version) {
        check("os.major", &Value::from(major(expected)), major(got));
    }
    if let Some(expected) = expect["browser"]["version"].as_str() {
        check("browser.major", &Value::from(major(expected)), got.browser_version.as_deref().and_then(major));
    }
    let squeezed = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    if let Some(expected) = expect["device"]["brand"].as_str() {
        check("device.brand", &Value::from(squeezed(expected)), got.brand.as_deref().map(squeezed));
    }
    if let Some(any) = expect["device"]["model_any"].as_array() {
        let is_right = any.iter().any(|model| folded(model.as_str()) == folded(got.model.as_deref()));
        add(scores, "device.model", is_right, || format!("{any:?} {:?} {agent}", got.model));
    }
    if expect["device"].get("model").is_some_and(Value::is_null) {
        add(scores, "device.no_model", got.model.is_none(), || format!("{:?} {agent}", got.model));
    }
}

fn score_verdict(case: &Value, enriched: &EnrichedClick, scores: &mut BTreeMap<&str, Score>) {
    let is_automated = enriched.automation.verdict == Verdict::Automated;
    let shown = || format!("{:?} {}", enriched.automation.reasons, case["user_agent"]);
    match case["expect"]["bot"].as_bool() {
        Some(true) => add(scores, "bot.recall", is_automated, shown),
        Some(false) => {
            add(scores, "bot.spared", !is_automated, shown);
            if case["suite"] == "real" {
                add(scores, "bot.spared.real", !is_automated, shown);
            }
        }
        None => {}
    }
}

fn add<'a>(
    scores: &mut BTreeMap<&'a str, Score>,
    field: &'a str,
    is_right: bool,
    shown: impl Fn() -> String,
) {
    let score = scores.entry(field).or_default();
    if is_right {
        score.right += 1;
    } else {
        score.wrong.push(shown());
    }
}

fn folded(text: Option<&str>) -> Option<String> {
    text.map(|text| text.trim().to_lowercase())
}

fn print(scores: &BTreeMap<&str, Score>) {
    for (field, score) in scores {
        for wrong in score.wrong.iter().take(SHOWN_MAX) {
            println!("{field}: {wrong}");
        }
    }
    println!("{:<18} {:>6} {:>6} {:>8} {:>8}", "field", "cases", "wrong", "right %", "bar %");
    for (field, bar) in BARS {
        let score = &scores[field];
        let (cases, wrong) = (score.right + score.wrong.len(), score.wrong.len());
        println!("{field:<18} {cases:>6} {wrong:>6} {:>8.2} {bar:>8.1}", score.percent());
    }
}
