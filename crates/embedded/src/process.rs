//! A child process that ends with us.
//!
//! The system sends a child its death signal when the *thread* that forked it ends. Each child has a thread
//! of its own, therefore, which forks it and waits for it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions};
use tokio::sync::watch;

use crate::error::EmbeddedError;

/// What to start, and how.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment; nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub dir: PathBuf,
    /// File that its output is appended to.
    pub log: PathBuf,
    /// The user and group that it runs as, when we are root.
    pub user: Option<(&'static str, &'static str)>,
    /// What it is sent when we end.
    pub death_signal: DeathSignal,
}

/// What a child is sent when its parent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeathSignal {
    /// SIGKILL: nothing of it is needed any more.
    Kill,
    /// SIGTERM: it is to finish properly.
    Term,
    /// SIGINT: for PostgreSQL, whose SIGTERM waits until all clients have gone.
    Interrupt,
}

/// A running child process. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    /// `None` once it has been waited for: from then on the id may belong to somebody else.
    child: Arc<Mutex<Option<Child>>>,
    ended: watch::Receiver<Option<ExitStatus>>,
    keeper: Option<JoinHandle<()>>,
}

impl Launch {
    /// A program that writes to `log`, runs in `dir` and is killed when we end.
    pub fn new(program: impl Into<PathBuf>, dir: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            dir: dir.into(),
            log: log.into(),
            user: None,
            death_signal: DeathSignal::Kill,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(self, args: &[&str]) -> Self {
        args.iter().fold(self, Self::arg)
    }

    /// Adds a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// As which user and group it runs.
    pub fn user(mut self, user: Option<(&'static str, &'static str)>) -> Self {
        self.user = user;
        self
    }

    /// What it is sent when we end.
    pub fn death_signal(mut self, signal: DeathSignal) -> Self {
        self.death_signal = signal;
        self
    }

    fn command(&self) -> Result<Command, EmbeddedError> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(EmbeddedError::file(&self.log))?;
        let log_too = log.try_clone().map_err(EmbeddedError::file(&self.log))?;

        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig").arg(self.death_signal.name());
        if let Some((user, group)) = self.user {
            command.args(["--reuid", user, "--regid", group, "--clear-groups"]);
        }
        command.arg("--").arg(&self.program).args(&self.args);
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        command.current_dir(&self.dir);
        // out of the terminal's foreground group: Ctrl-C is for us alone, we end our children in order
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(log).stderr(log_too);
        Ok(command)
    }
}

impl DeathSignal {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Term => "TERM",
            Self::Interrupt => "INT",
        }
    }
}

impl Process {
    /// Starts it. It is not ready yet, and may not even be able to run: watch [`Process::status`].
    ///
    /// # Errors
    /// When `setpriv` is not there or cannot be started, or the log cannot be opened.
    pub fn start(launch: &Launch) -> Result<Self, EmbeddedError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound if launch.dir.is_dir() => EmbeddedError::NoSetpriv,
            _ => EmbeddedError::Start { program: launch.program.display().to_string(), source },
        };
        let mut command = launch.command()?;
        let (started, start) = mpsc::sync_channel(1);
        let (end, ended) = watch::channel(None);
        let keeper = thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || match command.spawn() {
                Ok(child) => {
                    let pid = Pid::from_child(&child);
                    let child = Arc::new(Mutex::new(Some(child)));
                    if started.send(Ok((pid, child.clone()))).is_ok() {
                        end.send_replace(Some(keep(pid, &child)));
                    }
                }
                Err(error) => drop(started.send(Err(error))),
            })
            .map_err(failed)?;
        let (pid, child) = start.recv().expect("the thread answers before it ends").map_err(failed)?;
        Ok(Self { pid, child, ended, keeper: Some(keeper) })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        let status = ended.wait_for(Option::is_some).await.expect("the keeper tells the end before it goes");
        status.expect("waited for")
    }

    /// Asks it to finish with SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to finish with SIGINT.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Process::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Limits how long its files may become; `None`: as ours may. What it writes beyond fails, as on a full disk; a program that
    /// does not ignore SIGXFSZ ends by it.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let ours = rustix::process::getrlimit(Resource::Fsize);
        let limit = Rlimit { current: bytes.or(ours.current), maximum: ours.maximum };
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.is_some() {
            // fails only when the process has just ended
            let _ = rustix::process::prlimit(Some(self.pid), Resource::Fsize, limit);
        }
    }

    /// Waits until it has ended, and kills it after `limit`.
    pub async fn ended_within(&self, limit: Duration) -> ExitStatus {
        if let Ok(status) = tokio::time::timeout(limit, self.ended()).await {
            return status;
        }
        self.kill();
        self.ended().await
    }

    fn signal(&self, signal: Signal) {
        // the lock keeps the id ours: it is given back only under it
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.is_some() {
            // fails only when the process has just ended, which is what most signals are for
            let _ = rustix::process::kill_process(self.pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let Some(keeper) = self.keeper.take() {
            // a keeper that panicked has nothing more to wait for
            let _ = keeper.join();
        }
    }
}

/// Waits for the end of a child, and only then, under the lock, gives its id back to the system.
fn keep(pid: Pid, child: &Mutex<Option<Child>>) -> ExitStatus {
    let until_ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    // a signal to us may interrupt the waiting
    while matches!(rustix::process::waitid(WaitId::Pid(pid), until_ended), Err(rustix::io::Errno::INTR)) {}
    let mut child =
        child.lock().unwrap_or_else(PoisonError::into_inner).take().expect("only the keeper takes it");
    child.wait().expect("a child that was not waited for can be waited for")
}

/// The last lines of a log, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    const LINES_MAX: usize = 12;
    match std::fs::read(log) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
        }
        Err(error) => format!("no log: {error}"),
    }
}

/// Moves a log that has grown too long aside; one older log is kept.
pub(crate) fn rotate(log: &Path) -> io::Result<()> {
    const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
    match std::fs::metadata(log) {
        Ok(metadata) if metadata.len() > LOG_BYTES_MAX => std::fs::rename(log, log.with_extension("log.old")),
        _ => Ok(()),
    }
}
