//! The five processes, as an operator would start them: the programs that cargo built, each with its settings
//! in the environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use embedded::{Launch, Process, free_port};
use serde_json::Value;
use testkit::{ScratchDir, until};

/// Generous: it only ends a test that fails.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How much of a log is shown when a test fails.
const LOG_LINES_SHOWN: usize = 30;

/// One of the five processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Redirect,
    Enrich,
    Deliver,
    Record,
    Api,
}

impl Service {
    /// In the order a click passes.
    pub const ALL: [Self; 5] = [Self::Redirect, Self::Enrich, Self::Deliver, Self::Record, Self::Api];

    pub fn name(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Enrich => "enrich",
            Self::Deliver => "deliver",
            Self::Record => "record",
            Self::Api => "api",
        }
    }

    fn program(self) -> String {
        format!("clickwire-{}", self.name())
    }
}

/// Processes with one set of settings. All end when it is dropped.
pub struct Services {
    dir: ScratchDir,
    env: Vec<(String, String)>,
    own_env: Vec<(Service, String, String)>,
    ops_ports: BTreeMap<Service, u16>,
    /// Where visitors go.
    pub redirect_port: u16,
    /// Where customers' programs go.
    pub api_port: u16,
    running: BTreeMap<Service, Process>,
    outlive_full_disks: bool,
    client: reqwest::Client,
}

impl Services {
    /// Chooses ports and writes settings; starts nothing.
    pub fn new(database_url: &str, nats_url: &str) -> Self {
        build_once();
        let dir = ScratchDir::new("services");
        let ops_ports: BTreeMap<Service, u16> =
            Service::ALL.into_iter().map(|service| (service, free_port())).collect();
        let (redirect_port, api_port) = (free_port(), free_port());
        let spool = dir.path().join("spool");
        let mut env = vec![
            ("DATABASE__URL".to_owned(), database_url.to_owned()),
            ("DATABASE__POOL_MAX".to_owned(), "6".to_owned()),
            ("NATS__URL".to_owned(), nats_url.to_owned()),
            ("SEALING__KEY".to_owned(), webhook::sealing::generate_key()),
            ("MINTING__KEY".to_owned(), webhook::sealing::generate_key()),
            ("LINKS__PUBLIC_URL".to_owned(), "https://go.example.com".to_owned()),
            ("REDIRECT__ADDR".to_owned(), format!("127.0.0.1:{redirect_port}")),
            ("REDIRECT__WORKERS".to_owned(), "1".to_owned()),
            ("REDIRECT__TRUSTED_PROXIES".to_owned(), "127.0.0.1/32".to_owned()),
            ("REDIRECT__SPOOL__DIR".to_owned(), spool.display().to_string()),
            ("DELIVER__ALLOWED_NETWORKS".to_owned(), "127.0.0.0/8".to_owned()),
            ("API__ADDR".to_owned(), format!("127.0.0.1:{api_port}")),
        ];
        for (service, port) in &ops_ports {
            let variable = format!("{}__OPS_ADDR", service.name().to_uppercase());
            env.push((variable, format!("127.0.0.1:{port}")));
        }
        let env = env.into_iter().map(|(name, value)| (format!("CLICKWIRE__{name}"), value)).collect();
        service::tls::install_provider();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self {
            dir,
            env,
            own_env: Vec::new(),
            ops_ports,
            redirect_port,
            api_port,
            running: BTreeMap::new(),
            outlive_full_disks: false,
            client,
        }
    }

    /// Makes a setting for the processes that are started from now on: `REDIRECT__WORKERS`.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.push((format!("CLICKWIRE__{name}"), value.to_owned()));
    }

    /// Makes a setting for one of the processes.
    pub fn set_for(&mut self, service: Service, name: &str, value: String) {
        self.own_env.push((service, format!("CLICKWIRE__{name}"), value));
    }

    /// Gives one of the processes a variable of the environment.
    pub fn export_for(&mut self, service: Service, name: &str, value: String) {
        self.own_env.push((service, name.to_owned(), value));
    }

    /// Prepares the processes that are started from now on for [`Services::fill_disk`].
    pub fn outlive_full_disks(&mut self) {
        self.outlive_full_disks = true;
    }

    /// Starts a process that does not run.
    pub fn launch(&mut self, service: Service) {
        let program = program_dir().join(service.program());
        let launch = if self.outlive_full_disks {
            // a limit that is reached ends a process by a signal, a full disk does not; what ignores it starts what ignores it
            let shell = Launch::new("/bin/sh", self.dir.path(), self.log(service));
            shell.args(&["-c", "trap '' XFSZ; exec \"$0\""]).arg(program)
        } else {
            Launch::new(program, self.dir.path(), self.log(service))
        };
        let launch = self.env.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
        let own = self.own_env.iter().filter(|(of, ..)| *of == service);
        let launch = own.fold(launch, |launch, (_, name, value)| launch.env(name, value));
        let process = Process::start(&launch).expect("a program that cargo built");
        self.running.insert(service, process);
    }

    /// Starts all and waits until all are ready.
    pub async fn start_all(&mut self) {
        for service in Service::ALL {
            self.launch(service);
        }
        for service in Service::ALL {
            self.wait_ready(service).await;
        }
    }

    /// What the command of that name says, with the settings of the processes.
    pub async fn clickwire(&self, args: &[&str]) -> Output {
        build_command_once();
        let mut command = tokio::process::Command::new(program_dir().join("clickwire"));
        command.args(args).envs(self.env.iter().cloned()).current_dir(self.dir.path()).kill_on_drop(true);
        command.output().await.expect("a program that cargo built")
    }

    /// Ends a process as a crash would.
    pub async fn kill(&mut self, service: Service) {
        let process = self.running.remove(&service).expect("it runs");
        process.kill();
        process.ended().await;
    }

    /// Asks a process to finish, and tells whether it did so properly.
    pub async fn stop(&mut self, service: Service) -> bool {
        let process = self.running.remove(&service).expect("it runs");
        process.terminate();
        process.ended_within(LIMIT).await.success()
    }

    /// Freezes a process: its connections stay open, nothing is answered.
    pub fn pause(&self, service: Service) {
        self.running[&service].pause();
    }

    /// Lets a process go on after [`Services::pause`].
    pub fn resume(&self, service: Service) {
        self.running[&service].resume();
    }

    /// Lets nothing find room that a process writes to disk; it was started after [`Services::outlive_full_disks`].
    pub fn fill_disk(&self, service: Service) {
        assert!(self.outlive_full_disks, "{service:?} would end");
        self.running[&service].limit_files(Some(0));
    }

    /// Ends [`Services::fill_disk`].
    pub fn empty_disk(&self, service: Service) {
        self.running[&service].limit_files(None);
    }

    /// How many bytes of memory a process has resident; `None` when it does not run.
    pub fn resident_bytes(&self, service: Service) -> Option<u64> {
        let pid = self.running.get(&service)?.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024)
    }

    /// How a process ended, if it did.
    pub fn status(&self, service: Service) -> Option<std::process::ExitStatus> {
        self.running.get(&service).and_then(Process::status)
    }

    /// Waits until a process says that it is ready.
    pub async fn wait_ready(&self, service: Service) {
        until(LIMIT, || async {
            assert_eq!(self.status(service), None, "{service:?} ended:\n{}", self.log_end(service));
            let (status, _) = self.readiness(service).await?;
            (status == 200).then_some(())
        })
        .await;
    }

    /// What a process says of its readiness; `None` when it does not answer.
    pub async fn readiness(&self, service: Service) -> Option<(u16, Value)> {
        let url = format!("http://127.0.0.1:{}/readyz", self.ops_ports[&service]);
        let response = self.client.get(url).send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.ok()?))
    }

    /// The metrics of a process; `None` when it does not answer.
    pub async fn metrics(&self, service: Service) -> Option<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.ops_ports[&service]);
        self.client.get(url).send().await.ok()?.text().await.ok()
    }

    /// What keeps a process from working: the checks that fail, or, if it has ended, the last it said. `None` when
    /// it does not answer yet, or works.
    pub async fn complaint(&self, service: Service) -> Option<String> {
        if self.status(service).is_some() {
            return Some(self.log_end(service));
        }
        let (status, told) = self.readiness(service).await?;
        (status == 503).then(|| told["checks"].to_string())
    }

    /// All that a process has said.
    pub fn said(&self, service: Service) -> String {
        fs::read_to_string(self.log(service)).unwrap_or_default()
    }

    fn log(&self, service: Service) -> PathBuf {
        self.dir.path().join(format!("{}.log", service.name()))
    }

    fn log_end(&self, service: Service) -> String {
        let log = fs::read_to_string(self.log(service)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for service in Service::ALL {
                eprintln!("--- {service:?}\n{}", self.log_end(service));
            }
        }
    }
}

/// The folder of the programs: the test program stands in its `deps`.
fn program_dir() -> PathBuf {
    let test_program = std::env::current_exe().expect("the program knows its path");
    let dir = test_program.parent().and_then(Path::parent).expect("target/debug/deps/it-…");
    dir.to_owned()
}

/// `cargo test` for the whole workspace builds the programs; for this crate alone it does not.
fn build_once() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let dir = program_dir();
        let changed_at = changed_at();
        let is_stale =
            |program: &String| modified(&dir.join(program)).is_none_or(|built_at| built_at < changed_at);
        let stale: Vec<String> = Service::ALL.map(Service::program).into_iter().filter(is_stale).collect();
        if stale.is_empty() {
            return;
        }
        eprintln!("building {}: not there, or older than some source", stale.join(", "));
        let mut cargo = cargo();
        // of the whole workspace, as the tests are: with the features of some of it, libraries would be built again
        cargo.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if dir.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo").success(), "the programs cannot be built");
    });
}

/// The same for the command `clickwire`. `cargo build` knows by itself whether there is anything to do.
fn build_command_once() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let mut cargo = cargo();
        cargo.args(["build", "--quiet", "--workspace", "--bin", "clickwire"]);
        if program_dir().ends_with("release") {
            cargo.arg("--release");
        }
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo");
        assert!(built.success(), "clickwire cannot be built");
    });
}

/// Cargo as whoever runs the tests started it. What it tells a test about its package is left out: build scripts that ask
/// for that would run again, and with them half of the workspace would be built again, now and once more afterwards.
fn cargo() -> Command {
    const OF_PACKAGE: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "OUT_DIR"];
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if OF_PACKAGE.iter().any(|of_package| name.to_string_lossy().starts_with(of_package)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// When the newest source of the programs was changed.
fn changed_at() -> SystemTime {
    const NOT_IN_THEM: [&str; 4] = ["cli", "e2e", "embedded", "testkit"];
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/e2e stands in crates/");
    let folders = entries(crates).filter(|dir| !NOT_IN_THEM.iter().any(|name| dir.ends_with(name)));
    let parts = folders.flat_map(|dir| {
        ["Cargo.toml", "defaults.toml", "minting.toml", "src", "migrations", "templates"]
            .map(|part| dir.join(part))
    });
    parts.filter_map(|part| newest(&part)).max().expect("there are sources")
}

fn newest(path: &Path) -> Option<SystemTime> {
    if path.is_dir() { entries(path).filter_map(|entry| newest(&entry)).max() } else { modified(path) }
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
