//! The description drives the API: Schemathesis makes requests from it, sound ones and unsound ones, and looks at the answers.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::tour::World;

/// The program `schemathesis`, where it is there: it comes from PyPI, which the ordinary tests do not need.
const PROGRAM: &str = "CLICKWIRE_TEST_SCHEMATHESIS";

/// Requests for each operation.
const EXAMPLES_MAX: &str = "25";

/// So that each run asks the same.
const SEED: &str = "20261123";

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(240);

/// What is asked of each answer: it is not our fault, and is as described, by status, media type, headers and body.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_drives_the_api_and_no_answer_is_other_than_described() {
    let Some(program) = std::env::var_os(PROGRAM) else {
        eprintln!("{PROGRAM} names no program: not run");
        return;
    };
    let world = World::begin().await;
    let mut command = Command::new(program);
    command.arg("run").arg(format!("{}/openapi.json", world.api.url));
    command.args(["--header", &format!("Authorization: Bearer {}", world.key)]);
    command.args([
        "--checks",
        CHECKS,
        "--max-examples",
        EXAMPLES_MAX,
        "--seed",
        SEED,
        "--generation-deterministic",
    ]);
    command.args([
        "--phases",
        "examples,coverage,fuzzing",
        "--workers",
        "2",
        "--no-color",
        "--request-timeout",
        "10",
    ]);
    // a live stream does not end
    command.args(["--exclude-path", "/v1/clicks/live"]);
    command.args(["--generation-database", "none", "--suppress-health-check", "all"]);
    command.stdin(Stdio::null()).kill_on_drop(true);

    let ended = tokio::time::timeout(LIMIT, command.status()).await.expect("in time").expect("it runs");

    assert!(ended.success(), "see above");
}
