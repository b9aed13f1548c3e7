//! Layers of settings, and what is refused.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;
use service::settings::{SettingsError, check, load_from};
use tempfile::NamedTempFile;

const DEFAULTS: &str = r#"
[redirect]
addr = "0.0.0.0:8080"
trusted_proxies = []
workers_max = 4
[redirect.spool]
sync = "interval"
"#;

#[derive(Debug, PartialEq, Deserialize)]
struct Settings {
    redirect: Redirect,
    telemetry: service::telemetry::Settings,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Redirect {
    addr: SocketAddr,
    trusted_proxies: Vec<String>,
    workers_max: u16,
    fallback: Option<String>,
    spool: Spool,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spool {
    sync: String,
}

fn load(file: Option<&str>, variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let file = file.map(|text| {
        let mut file = NamedTempFile::with_suffix(".toml").unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    });
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_from(&[DEFAULTS, service::DEFAULTS], file.as_ref().map(NamedTempFile::path), variables)
}

/// The error's text, with the name of the temporary file replaced.
fn refusal(file: Option<&str>, variables: &[(&str, &str)]) -> String {
    let text = load(file, variables).unwrap_err().to_string();
    let Some((before, rest)) = text.split_once("/tmp/") else { return text };
    let (_, after) = rest.split_once(".toml").unwrap();
    format!("{before}FILE{after}")
}

#[test]
fn defaults_hold_when_nothing_else_is_said() {
    let settings = load(None, &[]).unwrap();

    assert_eq!(settings.redirect.addr, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(settings.redirect.fallback, None);
    assert_eq!(settings.telemetry.otlp_endpoint, None);
}

#[test]
fn a_variable_wins_over_the_file_and_the_file_over_defaults() {
    let file = "[redirect]\naddr = \"127.0.0.1:1\"\nworkers_max = 7\n[redirect.spool]\nsync = \"os\"\n";

    let settings =
        load(Some(file), &[("CLICKWIRE__REDIRECT__ADDR", "127.0.0.1:2"), ("OTHER__ADDR", "x")]).unwrap();

    assert_eq!(settings.redirect.addr, "127.0.0.1:2".parse().unwrap());
    assert_eq!(settings.redirect.workers_max, 7);
    assert_eq!(settings.redirect.spool.sync, "os");
}

#[test]
fn variables_set_numbers_lists_and_keys_without_a_default() {
    let settings = load(
        None,
        &[
            ("CLICKWIRE__REDIRECT__WORKERS_MAX", "2"),
            ("CLICKWIRE__REDIRECT__TRUSTED_PROXIES", "127.0.0.1/32, ::1/128,"),
            ("CLICKWIRE__REDIRECT__FALLBACK", "12"),
            ("CLICKWIRE__REDIRECT__SPOOL__SYNC", "always"),
        ],
    )
    .unwrap();

    assert_eq!(settings.redirect.workers_max, 2);
    assert_eq!(settings.redirect.trusted_proxies, ["127.0.0.1/32", "::1/128"]);
    assert_eq!(settings.redirect.fallback.as_deref(), Some("12"));
    assert_eq!(settings.redirect.spool.sync, "always");
}

#[test]
fn sections_of_other_services_are_skipped() {
    let settings = load(Some("[deliver]\nwhatever = 1\n"), &[("CLICKWIRE__NATS__URL", "nats://h")]).unwrap();

    assert_eq!(settings.redirect.workers_max, 4);
}

#[test]
fn an_unknown_section_is_refused_with_its_source() {
    let sections = "sections are: redirect, enrich, deliver, record, api, links, nats, database, sealing, minting, telemetry";

    assert_eq!(
        refusal(Some("[redirct]\naddr = 1\n"), &[]),
        format!("unknown section `redirct` in FILE; {sections}")
    );
    assert_eq!(
        refusal(None, &[("CLICKWIRE__REDIRCT__ADDR", "1")]),
        format!("unknown section `redirct` in CLICKWIRE__REDIRCT__ADDR; {sections}")
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_source() {
    assert_eq!(
        refusal(Some("[redirect]\nadress = 1\n"), &[]),
        "redirect: unknown field `adress`, expected one of `addr`, `trusted_proxies`, `workers_max`, `fallback`, \
         `spool` (from FILE)"
    );
    assert_eq!(
        refusal(None, &[("CLICKWIRE__REDIRECT__SPOOL__SINK", "1")]),
        "redirect.spool: unknown field `sink`, expected `sync` (from CLICKWIRE__REDIRECT__SPOOL__SINK)"
    );
}

#[test]
fn a_wrong_value_is_refused_with_key_rule_and_source() {
    assert_eq!(
        refusal(Some("[redirect]\nworkers_max = \"many\"\n"), &[]),
        "redirect.workers_max: string \"many\" must be an integer (from FILE)"
    );
    assert_eq!(
        refusal(None, &[("CLICKWIRE__REDIRECT__ADDR", "localhost")]),
        "redirect.addr: invalid socket address syntax (from CLICKWIRE__REDIRECT__ADDR)"
    );
    assert_eq!(
        refusal(None, &[("CLICKWIRE__TELEMETRY__LOG_FORMAT", "xml")]),
        "telemetry.log_format: enum Format does not have variant constructor xml (from CLICKWIRE__TELEMETRY__LOG_FORMAT)"
    );
}

#[test]
fn a_variable_without_section_and_key_is_refused() {
    assert_eq!(
        refusal(None, &[("CLICKWIRE__NATS", "x")]),
        "CLICKWIRE__NATS must be named CLICKWIRE__SECTION__KEY"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error =
        load_from::<Settings>(&[DEFAULTS], Some(Path::new("/nowhere/clickwire.toml")), []).unwrap_err();

    assert_eq!(error.to_string(), "failed to read settings from /nowhere/clickwire.toml");
}

#[test]
fn of_rules_that_do_not_hold_the_first_is_told() {
    let rules =
        [("nats.replicas", true, "must be odd"), ("a.b", false, "must be 1"), ("a.c", false, "must be 2")];

    assert_eq!(check(&rules).unwrap_err().to_string(), "a.b: must be 1 (from settings that contradict)");
    assert!(check(&rules[..1]).is_ok());
}
