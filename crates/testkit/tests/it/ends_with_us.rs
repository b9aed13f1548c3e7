//! What is left when the test process is killed: nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{ScratchDir, TestDatabase, TestNats, until};

/// Set for a copy of this test program that only starts servers, tells the file of this name, and waits.
const ROLE: &str = "CLICKWIRE_TEST_TELLS";

const LIMIT: Duration = Duration::from_secs(60);

/// Not a test of its own: what the copy does.
#[tokio::test]
async fn a_copy_of_this_program_starts_servers() {
    let Some(tell) = std::env::var_os(ROLE).map(PathBuf::from) else { return };
    let (_database, _nats, dir) = (TestDatabase::new().await, TestNats::start().await, ScratchDir::new("x"));
    fs::write(tell.with_extension("new"), dir.path().parent().unwrap().as_os_str().as_encoded_bytes())
        .unwrap();
    fs::rename(tell.with_extension("new"), tell).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn nothing_outlives_a_killed_test_process() {
    let here = ScratchDir::new("here");
    let tell = here.path().join("tell");
    let mut copy = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ends_with_us::a_copy_of_this_program_starts_servers"])
        .env(ROLE, &tell)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let dir = until(LIMIT, || async { fs::read_to_string(&tell).ok() }).await;
    assert_eq!(servers_in(&dir).len(), 2);

    copy.kill().unwrap();
    copy.wait().unwrap();

    until(LIMIT, || async { (!Path::new(&dir).exists() && servers_in(&dir).is_empty()).then_some(()) }).await;
}

/// Processes whose command line names this directory, but for the one that sweeps it.
fn servers_in(dir: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("a system with /proc").flatten();
    processes
        .filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok())
        .filter(|line| line.contains(dir) && !line.starts_with("sh\0"))
        .collect()
}
