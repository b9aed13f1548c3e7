//! Who may import whom: a service never another service, and each outside library has one owner.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SERVICES: [&str; 5] = ["redirect", "enrich", "deliver", "record", "api"];

/// Crates of others, by the name they have in code, and ours that may use them.
const OWNERS: [(&str, &[&str], In); 6] = [
    ("async_nats", &["bus", "testkit", "e2e"], In::AllCode),
    ("diesel", &["store"], In::AllCode),
    ("actix_http", &["redirect"], In::AllCode),
    ("actix_service", &["redirect"], In::AllCode),
    ("actix_web", &["redirect", "api", "service", "cli", "testkit", "e2e"], In::AllCode),
    // `service` exports traces with it, `deliver` alone posts to addresses that customers gave
    ("reqwest", &["deliver", "service", "cli", "testkit", "e2e"], In::ShippedCode),
];

/// Where a rule holds.
#[derive(PartialEq, Eq)]
enum In {
    /// Also in tests.
    AllCode,
    /// Tests of a server may be its client.
    ShippedCode,
}

/// Ours that must do without I/O, and what else of ours they may use.
const PURE: [(&str, &[&str]); 2] = [("model", &[]), ("webhook", &["model"])];

/// Manifests and sources of one crate.
struct Crate {
    /// Dependencies that are shipped, as they are named in code.
    dependencies: Vec<String>,
    /// Also those of tests and build scripts.
    all_dependencies: Vec<String>,
    sources: Vec<(PathBuf, String)>,
}

#[test]
fn services_do_not_import_each_other() {
    for (name, one) in crates() {
        let is_service = SERVICES.contains(&name.as_str());
        let others: Vec<&String> =
            one.all_dependencies.iter().filter(|other| SERVICES.contains(&other.as_str())).collect();

        let may = ["cli", "e2e"].contains(&name.as_str());
        assert!(others.is_empty() || may, "{name} imports {others:?}; is it a service: {is_service}");
    }
}

#[test]
fn each_outside_library_has_its_owners() {
    for (name, one) in crates() {
        for (library, owners, place) in OWNERS {
            if owners.contains(&name.as_str()) {
                continue;
            }
            let everywhere = place == In::AllCode;
            let dependencies = if everywhere { &one.all_dependencies } else { &one.dependencies };
            let declared = dependencies.iter().find(|dependency| dependency.starts_with(library));
            assert_eq!(declared, None, "{name} depends on {library}, which belongs to {owners:?}");
            let is_test = |path: &Path| path.components().any(|part| part.as_os_str() == "tests");
            for (path, text) in one.sources.iter().filter(|(path, _)| everywhere || !is_test(path)) {
                let line = text.lines().position(|line| names(line, library)).map(|index| index + 1);
                assert_eq!(line, None, "{} names {library}, which belongs to {owners:?}", path.display());
            }
        }
    }
}

#[test]
fn the_pure_crates_reach_nothing() {
    let crates = crates();
    for (name, allowed) in PURE {
        let ours: Vec<&String> =
            crates[name].dependencies.iter().filter(|other| crates.contains_key(other.as_str())).collect();
        assert!(ours.iter().all(|other| allowed.contains(&other.as_str())), "{name} imports {ours:?}");

        for runtime in ["tokio", "actix_web", "reqwest", "diesel", "async_nats"] {
            assert!(!crates[name].dependencies.contains(&runtime.to_owned()), "{name} depends on {runtime}");
        }
    }
}

#[test]
fn libraries_do_not_know_what_is_built_on_them() {
    let above = ["cli", "e2e", "testkit", "redirect", "enrich", "deliver", "record", "api"];
    for (name, one) in crates() {
        let wrong = one.dependencies.iter().find(|other| above.contains(&other.as_str()));
        let may = ["cli", "e2e"].contains(&name.as_str());
        assert!(may || wrong.is_none(), "{name} imports {wrong:?}");
    }
}

fn crates() -> BTreeMap<String, Crate> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/e2e stands in crates/");
    let entries = fs::read_dir(dir).expect("crates/ can be read").flatten();
    let crates: BTreeMap<String, Crate> = entries
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(&entry.path())))
        .collect();
    assert!(SERVICES.iter().all(|service| crates.contains_key(*service)), "looked in the wrong place");
    crates
}

fn read(dir: &Path) -> Crate {
    let manifest = fs::read_to_string(dir.join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let named = |section: &str| -> Vec<String> {
        let table = manifest.get(section).and_then(toml::Value::as_table);
        table.into_iter().flatten().map(|(name, _)| name.replace('-', "_")).collect()
    };
    let dependencies = named("dependencies");
    let all_dependencies =
        [dependencies.clone(), named("dev-dependencies"), named("build-dependencies")].concat();
    let mut sources = Vec::new();
    collect(dir, &mut sources);
    Crate { dependencies, all_dependencies, sources }
}

fn collect(dir: &Path, sources: &mut Vec<(PathBuf, String)>) {
    for path in fs::read_dir(dir).expect("a folder of ours").flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source of ours");
            sources.push((path, text));
        }
    }
}

/// Whether a line of code, comments aside, names a library.
fn names(line: &str, library: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices(library).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + library.len()..].chars().next();
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"');
        !is_word(before) && !is_word(after)
    })
}
