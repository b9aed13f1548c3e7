//! The description drives the API: Schemathesis makes requests from it, sound ones and unsound ones, and looks at the answers.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use testkit::ScratchDir;
use tokio::process::Command;

use crate::tour::World;

/// The program `schemathesis`, where it is there: it comes from PyPI, which the ordinary tests do not need.
const PROGRAM: &str = "CLICKWIRE_TEST_SCHEMATHESIS";

/// Requests for each operation.
const EXAMPLES_MAX: &str = "25";

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(240);

/// What is asked of each answer: it is not our fault, and is as described, by status, media type, headers and body.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance";

/// It writes no newline-delimited JSON, and a live stream does not end: bulk.rs and others look at those.
const NOT_DRIVEN: &str = "/(bulk|live)$";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_drives_the_api_and_no_answer_is_other_than_described() {
    let Some(program) = std::env::var_os(PROGRAM) else {
        eprintln!("{PROGRAM} names no program: not run");
        return;
    };
    let world = World::begin().await;
    let dir = ScratchDir::new("schemathesis");
    let config = dir.path().join("schemathesis.toml");
    std::fs::write(&config, real_ids(&world)).expect("a file");
    let mut command = Command::new(program);
    command.arg("--config-file").arg(config).arg("run").arg(format!("{}/openapi.json", world.api.url));
    command.args(["--header", &format!("Authorization: Bearer {}", world.key)]);
    // deterministic: each run asks the same
    command.args(["--checks", CHECKS, "--max-examples", EXAMPLES_MAX, "--generation-deterministic"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--workers", "2", "--no-color"]);
    command.args(["--request-timeout", "10", "--suppress-health-check", "all"]);
    command.args(["--exclude-path-regex", NOT_DRIVEN]);
    command.current_dir(dir.path());
    command.stdin(Stdio::null()).kill_on_drop(true);

    let ended = tokio::time::timeout(LIMIT, command.status()).await.expect("in time").expect("it runs");

    assert!(ended.success(), "see above");
}

/// Has each operation asked about something that is there, but for what takes it away.
fn real_ids(world: &World) -> String {
    let mut config = String::new();
    for operation in world.operations.iter().filter(|operation| operation.method != Method::DELETE) {
        let filled = world.path(&operation.pattern);
        let ids =
            operation.pattern.split('/').zip(filled.split('/')).filter(|(name, _)| name.starts_with('{'));
        let ids: Vec<String> =
            ids.map(|(name, id)| format!("\"path.{}\" = \"{id}\"", name.trim_matches(['{', '}']))).collect();
        if !ids.is_empty() {
            let name = operation.name();
            let _ = writeln!(
                config,
                "[[operations]]\ninclude-name = \"{name}\"\nparameters = {{ {} }}\n",
                ids.join(", ")
            );
        }
    }
    config
}
