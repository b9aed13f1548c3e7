//! Why a private server does not run, and which command mends it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a private server does not run.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No PostgreSQL server programs on this machine.
    #[error(
        "found no PostgreSQL {min} or newer (looked at {looked_at}); install it with `apt-get install postgresql`, \
         or name its folder in CLICKWIRE_PG_BIN, or set database.url to a running one"
    )]
    NoPostgres {
        /// Oldest major version that serves.
        min: u32,
        /// What was tried, and why it did not serve.
        looked_at: String,
    },
    /// The data were written by a PostgreSQL that is not there.
    #[error(
        "{} was written by PostgreSQL {wanted}, but only {found} is here; \
         install it with `apt-get install postgresql-{wanted}`",
        dir.display()
    )]
    PostgresVersion {
        /// The cluster's directory.
        dir: PathBuf,
        /// Major version of the data.
        wanted: u32,
        /// Major versions that were found.
        found: String,
    },
    /// No nats-server on this machine.
    #[error(
        "found no nats-server {min} or newer (looked at {looked_at}); install it with `scripts/nats-server`, \
         or name it in CLICKWIRE_NATS_SERVER, or set nats.url to a running one"
    )]
    NoNats {
        /// Oldest version that serves.
        min: String,
        /// What was tried, and why it did not serve.
        looked_at: String,
    },
    /// Another process runs servers in this directory.
    #[error("{} is in use by another process; stop that one first, or choose another directory", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// PostgreSQL does not run as root, and the user it would run as cannot reach the directory.
    #[error(
        "user `{user}`, as which PostgreSQL runs, cannot reach {}; choose a directory outside private ones \
         such as /root, for example under /var/lib",
        dir.display()
    )]
    Unreachable {
        /// The directory.
        dir: PathBuf,
        /// Who cannot reach it.
        user: &'static str,
    },
    /// The port that was asked for is taken.
    #[error("port {port} of 127.0.0.1 is taken; choose another one, or leave it out")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The program ended before it was ready, or failed at its work.
    #[error("{program} ended with {status}: {log}")]
    Ended {
        /// Which program.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it wrote.
        log: String,
    },
    /// The program runs, but does not answer.
    #[error("{program} was not ready within {} seconds: {log}", limit.as_secs())]
    NotReady {
        /// Which program.
        program: &'static str,
        /// How long we waited.
        limit: Duration,
        /// The last lines it wrote.
        log: String,
    },
    /// A process of an earlier run does not end.
    #[error("process {pid} of an earlier run does not end; end it with `kill -9 {pid}`")]
    Leftover {
        /// Its id.
        pid: i32,
    },
    /// The program that ties children to us is missing.
    #[error(
        "found no `setpriv`, which ends servers with the process that started them; install it with `apt-get install util-linux`"
    )]
    NoSetpriv,
    /// A program cannot be started at all.
    #[error("failed to start {program}")]
    Start {
        /// Which program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file or directory of ours cannot be written or read.
    #[error("failed to use {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl EmbeddedError {
    /// For `map_err`: what went wrong with a file.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
