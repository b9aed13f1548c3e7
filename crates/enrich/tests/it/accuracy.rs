//! How often enrichment is right, over the cases of `tests/data`; a bar for each field.
//!
//! `scripts/bench accuracy` prints the table, and what was wrong or missing in each field of each suite; with `--json`, the shares.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use chrono::Utc;
use enrich::look_up::LookUp;
use model::automation::Verdict;
use model::click::Request;
use model::{AddressTreatment, Click, EnrichedClick};
use serde_json::Value;

use crate::given;

/// Names another file of cases; the bars are those of the kept ones, and are not asked of it.
const OTHER_CASES: &str = "CLICKWIRE_ACCURACY_CASES";

/// Names the file that the shares of right answers are written to, as `accuracy.<suite>.<field>`.
const SHARES: &str = "CLICKWIRE_ACCURACY_JSON";

/// Least share of right answers, in per cent. Most cases come from the lists whose rules we use: these bars show that
/// everything is wired, not how it fares with strangers.
const BARS: [(&str, f64); 20] = [
    ("location.country", 100.0),
    ("location.region", 100.0),
    ("location.city", 100.0),
    ("device.type", 99.5),
    ("device.type.mobile", 99.5),
    ("device.type.tablet", 99.5),
    ("device.type.desktop", 99.5),
    ("device.type.tv", 99.0),
    ("device.type.bot", 99.5),
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

/// Wrong and missing answers that are printed of each field of a suite.
const SHOWN_MAX: usize = 50;

/// The files of each pass, and the `geo_db` of the cases whose place it is asked for.
const PASSES: [(&str, &[&str]); 3] = [
    ("mini-dbip", &[]),
    ("mini-dbip", &["dbip-nested-city.mmdb"]),
    ("maxmind-city-test", &["GeoIP2-City-Test.mmdb"]),
];

/// Answers by field, then by suite.
type Scores = BTreeMap<String, BTreeMap<String, Score>>;

#[derive(Default)]
struct Score {
    right: usize,
    /// Nothing was told.
    missing: Vec<String>,
    wrong: Vec<String>,
}

#[test]
fn enrichment_is_as_right_as_its_bars_demand() {
    let other = std::env::var_os(OTHER_CASES).map(PathBuf::from);
    let files = match &other {
        Some(other) => vec![other.clone()],
        None => vec![given::data("clicks.ndjson"), given::data("strangers.ndjson")],
    };
    let texts: Vec<_> = files.iter().map(|file| std::fs::read_to_string(file).expect("the cases")).collect();
    let cases: Vec<Value> = texts
        .iter()
        .flat_map(|text| text.lines())
        .map(|line| serde_json::from_str(line).expect("a case a line"))
        .collect();
    let vocabulary = std::fs::read_to_string(given::data("vocabulary.json")).expect("the vocabulary");
    let vocabulary: HashMap<String, HashMap<String, String>> =
        serde_json::from_str(&vocabulary).expect("maps of names");
    let mut scores = Scores::new();

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
    if let Some(file) = std::env::var_os(SHARES) {
        std::fs::write(file, shares(&scores)).expect("the file can be written");
    }
    if other.is_none() {
        for (field, bar) in BARS {
            let percent = percent(scores[field].values());
            assert!(percent >= bar, "{field}: {percent:.2} % is under its bar of {bar} %");
        }
    }
}

impl Score {
    fn cases(&self) -> usize {
        self.right + self.missing.len() + self.wrong.len()
    }
}

fn percent<'a>(scores: impl Iterator<Item = &'a Score>) -> f64 {
    let (right, cases) =
        scores.fold((0, 0), |(right, cases), score| (right + score.right, cases + score.cases()));
    100.0 * right as f64 / cases as f64
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

fn score_location(case: &Value, enriched: &EnrichedClick, scores: &mut Scores) {
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
            let is_told = got.is_some() || is_right;
            let shown = format!("{expected:?} {got:?} {}", case["ip"]);
            add(scores, case, field, is_right.then_some(true).or(is_told.then_some(false)), shown);
        }
    }
}

fn score_device(
    case: &Value,
    enriched: &EnrichedClick,
    vocabulary: &HashMap<String, HashMap<String, String>>,
    scores: &mut Scores,
) {
    let expect = &case["expect"];
    let got = &enriched.device;
    let named = |list: &str, name: &Option<String>| {
        let name = name.clone()?;
        Some(vocabulary[list].get(&name).cloned().unwrap_or(name))
    };
    let agent = &case["user_agent"];
    let mut check = |field: &str, expected: &Value, got: Option<String>| {
        if let Some(expected) = expected.as_str() {
            let is_right = got.as_deref().map(|got| folded(Some(expected)) == folded(Some(got)));
            add(scores, case, field, is_right, format!("{expected:?} {got:?} {agent}"));
        }
    };
    let kind = &expect["device"]["type"];
    check("device.type", kind, Some(got.kind.as_str().to_owned()));
    if let Some(expected) = kind.as_str() {
        check(&format!("device.type.{expected}"), kind, Some(got.kind.as_str().to_owned()));
    }
    check("os.name", &expect["os"]["name"], named("os", &got.os));
    check("app", &expect["app"]["name"], named("app", &got.in_app));
    if expect["app"].is_null() {
        check("browser.name", &expect["browser"]["name"], named("browser", &got.browser));
    }
    for (field, expected, got) in [
        ("os.major", &expect["os"]["version"], &got.os_version),
        ("browser.major", &expect["browser"]["version"], &got.browser_version),
    ] {
        let major = |version: &str| version.split('.').next().map(str::to_owned);
        check(field, &Value::from(expected.as_str().and_then(major)), got.as_deref().and_then(major));
    }
    let squeezed = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let expected = expect["device"]["brand"].as_str().map(squeezed);
    check("device.brand", &Value::from(expected), got.brand.as_deref().map(squeezed));
    if let Some(any) = expect["device"]["model_any"].as_array() {
        let is_one = |model: &Value| folded(model.as_str()) == folded(got.model.as_deref());
        let is_right = got.model.is_some().then(|| any.iter().any(is_one));
        add(scores, case, "device.model", is_right, format!("{any:?} {:?} {agent}", got.model));
    }
    if expect["device"].get("model").is_some_and(Value::is_null) {
        let shown = format!("{:?} {agent}", got.model);
        add(scores, case, "device.no_model", Some(got.model.is_none()), shown);
    }
}

fn score_verdict(case: &Value, enriched: &EnrichedClick, scores: &mut Scores) {
    let is_automated = enriched.automation.verdict == Verdict::Automated;
    let shown = || format!("{:?} {}", enriched.automation.reasons, case["user_agent"]);
    match case["expect"]["bot"].as_bool() {
        Some(true) => add(scores, case, "bot.recall", Some(is_automated), shown()),
        Some(false) => {
            add(scores, case, "bot.spared", Some(!is_automated), shown());
            if case["suite"] == "real" {
                add(scores, case, "bot.spared.real", Some(!is_automated), shown());
            }
        }
        None => {}
    }
}

/// Counts an answer: right, wrong, or none at all.
fn add(scores: &mut Scores, case: &Value, field: &str, is_right: Option<bool>, shown: String) {
    let suite = case["suite"].as_str().unwrap_or("?").to_owned();
    let score = scores.entry(field.to_owned()).or_default().entry(suite).or_default();
    match is_right {
        Some(true) => score.right += 1,
        Some(false) => score.wrong.push(shown),
        None => score.missing.push(shown),
    }
}

fn folded(text: Option<&str>) -> Option<String> {
    text.map(|text| text.trim().to_lowercase())
}

/// A JSON object of shares, 0 to 1; of all suites together too, as the suite `all`.
fn shares(scores: &Scores) -> String {
    let mut shares = BTreeMap::new();
    for (field, suites) in scores {
        shares.insert(format!("accuracy.all.{field}"), percent(suites.values()) / 100.0);
        for (suite, score) in suites {
            shares.insert(format!("accuracy.{suite}.{field}"), percent(std::iter::once(score)) / 100.0);
        }
    }
    serde_json::to_string_pretty(&shares).expect("numbers by name") + "\n"
}

fn print(scores: &Scores) {
    let all = || {
        scores
            .iter()
            .flat_map(|(field, suites)| suites.iter().map(move |(suite, score)| (field, suite, score)))
    };
    for (field, suite, score) in all() {
        for missed in score.wrong.iter().chain(&score.missing).take(SHOWN_MAX) {
            println!("{field} ({suite}): {missed}");
        }
    }
    println!(
        "{:<20} {:<11} {:>6} {:>6} {:>8} {:>8}",
        "field", "suite", "cases", "wrong", "missing", "right %"
    );
    for (field, suite, score) in all() {
        let right = percent(std::iter::once(score));
        let (cases, wrong, missing) = (score.cases(), score.wrong.len(), score.missing.len());
        println!("{field:<20} {suite:<11} {cases:>6} {wrong:>6} {missing:>8} {right:>8.2}");
    }
    println!("{:<20} {:>8} {:>8}", "field", "right %", "bar %");
    for (field, bar) in BARS {
        if let Some(suites) = scores.get(field) {
            println!("{field:<20} {:>8.2} {bar:>8.1}", percent(suites.values()));
        }
    }
}
