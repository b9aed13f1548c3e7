//! A private PostgreSQL.
//!
//! Its directory holds `data` (the cluster), `postgres.log`, the socket and, when durable, the superuser's
//! password. As root it runs as user `postgres`, else `nobody`. No system cluster is made or touched.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{self, SUPERUSER};
use crate::error::EmbeddedError;
use crate::leftover::{self, DirLock, Trace};
use crate::port;
use crate::process::{self, DeathSignal, Launch, Process};
use crate::programs::{self, PostgresPrograms};
use crate::ready::{LOOK_EVERY, until_ready};

/// Time for a fast shutdown with its checkpoint.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How often a start is tried again when the port was taken just then, or when children of a killed
/// postmaster still hold its memory.
const STARTS_MAX: u32 = 40;

/// Longest path of a Unix socket, in bytes (`sun_path` without its final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// How a private PostgreSQL is run.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Its directory; made when it is not there.
    pub dir: PathBuf,
    /// Its port on 127.0.0.1; `None` takes a free one.
    pub port: Option<u16>,
    /// Whether it must survive a power loss, and asks for a password. Off for tests: several times faster.
    pub durable: bool,
}

/// A running private PostgreSQL. Dropping it kills it; [`Postgres::stop`] ends it in order.
#[derive(Debug)]
pub struct Postgres {
    dir: PathBuf,
    port: u16,
    durable: bool,
    password: Option<String>,
    programs: PostgresPrograms,
    user: Option<(&'static str, &'static str)>,
    process: Process,
    _lock: DirLock,
}

impl Postgres {
    /// Starts it, making the cluster first when there is none, and waits until it answers.
    ///
    /// What an earlier run left running in the directory is stopped first.
    ///
    /// # Errors
    /// [`EmbeddedError`] says what is missing and which command mends it.
    pub async fn start(options: PostgresOptions) -> Result<Self, EmbeddedError> {
        let PostgresOptions { dir, port, durable } = options;
        fs::create_dir_all(&dir).map_err(EmbeddedError::file(&dir))?;
        let dir = fs::canonicalize(&dir).map_err(EmbeddedError::file(&dir))?;
        let data = dir.join("data");
        let programs = programs::find_postgres(&data)?;
        let lock = DirLock::take(&dir)?;
        let user = cluster::other_user()?;
        cluster::hand_over(&dir, user)?;
        leftover::stop_recorded(&dir.join("postgres.pid"), Signal::INT).await?;
        leftover::clear_postmaster(&data, Signal::INT).await?;

        let password = if durable { Some(cluster::password(&dir)?) } else { None };
        if !data.exists() {
            cluster::initialise(&dir, &programs, user, password.as_deref()).await?;
        }
        let (port, process) = launch(&dir, &programs, user, port, durable).await?;
        Ok(Self { dir, port, durable, password, programs, user, process, _lock: lock })
    }

    /// URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}")).unwrap_or_default();
        format!("postgres://{SUPERUSER}{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id of the postmaster.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        self.process.status()
    }

    /// Waits until it ends.
    pub async fn ended(&self) -> ExitStatus {
        self.process.ended().await
    }

    /// Makes an empty database, or a copy of `template`, which nobody may be connected to. One that is there is
    /// left as it is.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<(), EmbeddedError> {
        let mut command = tokio::process::Command::new(self.programs.program("createdb"));
        command.args(["--host=127.0.0.1", "--no-password"]);
        command.arg(format!("--port={}", self.port)).arg(format!("--username={SUPERUSER}"));
        command.args(template.map(|template| format!("--template={template}")));
        command.arg(name).current_dir("/").kill_on_drop(true);
        for (variable, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG"))
        {
            command.env_remove(variable);
        }
        command.envs(self.password.as_ref().map(|password| ("PGPASSWORD", password)));
        // messages in English: one of them is looked for below
        command.env("LC_ALL", "C.UTF-8");
        let failed = |source| EmbeddedError::Start { program: "createdb".to_owned(), source };
        let output = command.output().await.map_err(failed)?;
        let log = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // createdb tells this case by its text only
        if output.status.success() || log.ends_with(&format!("database \"{name}\" already exists")) {
            return Ok(());
        }
        Err(EmbeddedError::Ended { program: "createdb", status: output.status, log })
    }

    /// Ends it in order: clients are cut off, everything is written.
    pub async fn stop(&self) {
        self.process.interrupt();
        self.process.ended_within(STOP_LIMIT).await;
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&self) {
        self.process.kill();
        self.process.ended().await;
    }

    /// Stops it if it runs, and starts it with the same port and data.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.stop().await;
        let (_, process) =
            launch(&self.dir, &self.programs, self.user, Some(self.port), self.durable).await?;
        self.process = process;
        Ok(())
    }

    /// Freezes the postmaster: no new connection is answered; those that are open go on.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on after [`Postgres::pause`].
    pub fn resume(&self) {
        self.process.resume();
    }
}

/// Starts the postmaster and waits until it answers; tries again what a moment later may work.
async fn launch(
    dir: &Path,
    programs: &PostgresPrograms,
    user: Option<(&'static str, &'static str)>,
    wanted_port: Option<u16>,
    durable: bool,
) -> Result<(u16, Process), EmbeddedError> {
    let (log, postmaster_pid) = (dir.join("postgres.log"), dir.join("data/postmaster.pid"));
    let mut tries = 0;
    loop {
        tries += 1;
        let port = wanted_port.unwrap_or_else(port::free_port);
        process::rotate(&log).map_err(EmbeddedError::file(&log))?;
        let log_starts_at = fs::metadata(&log).map_or(0, |metadata| metadata.len());
        let process = Process::start(&arguments(dir, programs, user, port, durable, &log))?;
        if let Some(trace) = Trace::of(process.pid()) {
            trace.save(&dir.join("postgres.pid"))?;
        }
        let probe = || is_ready(&postmaster_pid, process.pid(), port);
        let Some(status) = until_ready("postgres", &process, &log, probe).await? else {
            return Ok((port, process));
        };
        let written = fs::read(&log).unwrap_or_default();
        let written =
            String::from_utf8_lossy(&written[written.len().min(log_starts_at as usize)..]).into_owned();
        let port_was_taken = written.contains("could not create any TCP/IP sockets");
        let memory_is_held = written.contains("pre-existing shared memory block");
        if port_was_taken && wanted_port.is_some() {
            return Err(EmbeddedError::PortTaken { port });
        }
        if !(port_was_taken || memory_is_held) || tries == STARTS_MAX {
            return Err(EmbeddedError::Ended { program: "postgres", status, log: process::tail(&log) });
        }
        tokio::time::sleep(LOOK_EVERY * tries).await;
    }
}

fn arguments(
    dir: &Path,
    programs: &PostgresPrograms,
    user: Option<(&'static str, &'static str)>,
    port: u16,
    durable: bool,
    log: &Path,
) -> Launch {
    let socket = dir.join(format!(".s.PGSQL.{port}"));
    let has_socket = socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX;
    let sockets = if has_socket { dir.display().to_string() } else { String::new() };
    let mut settings = vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        format!("unix_socket_directories={sockets}"),
        "max_connections=300".to_owned(),
        "synchronous_commit=on".to_owned(),
        "logging_collector=off".to_owned(),
        "log_checkpoints=off".to_owned(),
        // messages in English: two of them are looked for when a start fails
        "lc_messages=C".to_owned(),
        "log_timezone=UTC".to_owned(),
        "timezone=UTC".to_owned(),
    ];
    // a crash of PostgreSQL alone loses nothing that was committed in either case
    let speed: &[&str] = if durable {
        &["fsync=on", "full_page_writes=on", "shared_buffers=256MB", "max_wal_size=1GB"]
    } else {
        &["fsync=off", "full_page_writes=off", "shared_buffers=64MB", "max_wal_size=256MB"]
    };
    settings.extend(speed.iter().map(ToString::to_string));
    let death_signal = if durable { DeathSignal::Interrupt } else { DeathSignal::Kill };
    let launch = Launch::new(programs.program("postgres"), dir, log)
        .user(user)
        .death_signal(death_signal)
        .env("LC_ALL", "C.UTF-8")
        .arg("-D")
        .arg(dir.join("data"));
    settings.iter().fold(launch, |launch, setting| launch.arg("-c").arg(setting))
}

/// Asks as `pg_ctl --wait` does, for the word in `postmaster.pid`, and then for an answer on the port.
async fn is_ready(postmaster_pid: &Path, pid: i32, port: u16) -> bool {
    says_ready(postmaster_pid, pid) && answers(port).await
}

/// First line: the process id, so that a file of an earlier run does not count; eighth line: the state.
fn says_ready(postmaster_pid: &Path, pid: i32) -> bool {
    let text = fs::read_to_string(postmaster_pid).unwrap_or_default();
    let mut lines = text.lines().map(str::trim);
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6) == Some("ready")
}

/// Whether PostgreSQL answers the request for encryption with one letter, as it does before any login.
async fn answers(port: u16) -> bool {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(&SSL_REQUEST).await?;
        stream.read_u8().await
    };
    matches!(tokio::time::timeout(Duration::from_secs(1), ask).await, Ok(Ok(b'N' | b'S')))
}
