//! Runs the program, without settings of the machine it runs on.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::ScratchDir;
use tokio::process::Command;

/// The first start makes a database cluster, and the machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A directory of one test, and the program in it.
pub struct Clickwire {
    pub dir: ScratchDir,
    variables: Vec<(String, String)>,
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Clickwire {
    pub fn new() -> Self {
        Self { dir: ScratchDir::new("cli"), variables: Vec::new() }
    }

    /// Sets a variable for every run.
    pub fn with(mut self, variable: &str, value: impl Into<String>) -> Self {
        self.variables.push((variable.to_owned(), value.into()));
        self
    }

    /// The program with these arguments, to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clickwire"));
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("CLICKWIRE__")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env_remove("CLICKWIRE_CONFIG")
            .env("CLICKWIRE_DATA_DIR", self.dir.path().join("data"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        let output = tokio::time::timeout(LIMIT, self.command(arguments).output()).await;
        let Output { status, stdout, stderr } = output.expect("it ends").expect("it starts");
        let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
        Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs what must succeed.
    pub async fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments).await;
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:#?}");
        ran
    }

    /// Runs what must fail.
    pub async fn fails(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments).await;
        assert_eq!(ran.code, Some(1), "{arguments:?}: {ran:#?}");
        ran
    }

    /// Starts everything on free ports and returns what it says when it is ready.
    pub async fn up(&self, more: &[&str]) -> Value {
        let free =
            ["--redirect-addr", "127.0.0.1:0", "--api-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0"];
        let arguments = [&["up", "--detach", "--json"], &free[..], more].concat();
        self.ok(&arguments).await.json()
    }
}

/// A detached `up` must not outlive its test, not even a test that fails.
impl Drop for Clickwire {
    fn drop(&mut self) {
        let mut down = std::process::Command::new(env!("CARGO_BIN_EXE_clickwire"));
        down.arg("down").arg("--data-dir").arg(self.dir.path().join("data"));
        let _ = down.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

impl Ran {
    /// Its one line of JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:#?}");
        serde_json::from_str(&self.stdout).expect("a line of JSON")
    }
}

/// A text field.
#[track_caller]
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value}"))
}
