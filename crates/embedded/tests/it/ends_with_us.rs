//! What becomes of the servers when the process that started them is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use embedded::{Nats, NatsOptions, Postgres, PostgresOptions, SyncInterval};

/// Set for a copy of this test program that only starts servers in the directory it names, and waits.
const ROLE: &str = "CLICKWIRE_TEST_STARTS_SERVERS_IN";

/// Long enough for a start on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn postgres_options(dir: &Path) -> PostgresOptions {
    PostgresOptions { dir: dir.join("postgres"), port: None, durable: true }
}

fn nats_options(dir: &Path) -> NatsOptions {
    NatsOptions::durable(dir.join("nats"), SyncInterval::Usual)
}

/// Not a test of its own: what the copies do.
#[tokio::test]
async fn a_copy_of_this_program_starts_servers() {
    let Some(dir) = std::env::var_os(ROLE).map(PathBuf::from) else { return };
    let postgres = Postgres::start(postgres_options(&dir)).await.unwrap();
    let nats = Nats::start(nats_options(&dir)).await.unwrap();
    fs::write(dir.join("pids.new"), format!("{} {}", postgres.pid(), nats.pid())).unwrap();
    fs::rename(dir.join("pids.new"), dir.join("pids")).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn servers_end_with_a_killed_parent_and_their_data_start_again() {
    let (dir, mut parent, pids) = servers_of_another_process().await;

    parent.kill().unwrap();
    parent.wait().unwrap();

    until(|| pids.iter().all(|pid| !is_running(pid)).then_some(())).await;
    let postgres = Postgres::start(postgres_options(dir.path())).await.unwrap();
    postgres.create_database("after", None).await.unwrap();
    Nats::start(nats_options(dir.path())).await.unwrap();
}

#[tokio::test]
async fn servers_that_outlived_their_parent_are_stopped_before_new_ones_start() {
    // with init for a parent, a frozen process would be the system's to wake
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let (dir, mut parent, pids) = servers_of_another_process().await;
    // what is frozen does not hear its death signal
    Command::new("kill").arg("-STOP").args(&pids).status().unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(pids.iter().all(|pid| is_running(pid)));

    let postgres = Postgres::start(postgres_options(dir.path())).await.unwrap();
    Nats::start(nats_options(dir.path())).await.unwrap();

    assert!(pids.iter().all(|pid| !is_running(pid)));
    postgres.create_database("after", None).await.unwrap();
}

async fn servers_of_another_process() -> (tempfile::TempDir, Child, Vec<String>) {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("a directory of ours");
    let parent = copy(dir.path());
    let pids = until(|| fs::read_to_string(dir.path().join("pids")).ok()).await;
    let pids: Vec<String> = pids.split(' ').map(str::to_owned).collect();
    assert!(pids.iter().all(|pid| is_running(pid)));
    (dir, parent, pids)
}

fn copy(dir: &Path) -> Child {
    Command::new(std::env::current_exe().expect("the program knows its path"))
        .args(["--exact", "ends_with_us::a_copy_of_this_program_starts_servers"])
        .env(ROLE, dir)
        .stdout(Stdio::null())
        .spawn()
        .expect("the program that runs can be started")
}

fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

async fn until<T>(probe: impl Fn() -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(found) = probe() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, look).await.expect("in time")
}
