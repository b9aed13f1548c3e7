//! A private nats-server with JetStream.
//!
//! Its directory holds `store` (the streams), `nats.conf` (written anew at each start) and `nats-server.log`.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rand::RngExt;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

use crate::error::EmbeddedError;
use crate::leftover::{self, DirLock, Trace};
use crate::port;
use crate::process::{self, DeathSignal, Launch, Process};
use crate::programs;
use crate::ready::until_ready;

/// Time for an orderly end.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How often a start is tried with another port when the one we chose was taken just then.
const STARTS_MAX: u32 = 5;

/// How a private nats-server is run.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// Its directory; made when it is not there.
    pub dir: PathBuf,
    /// Its port on 127.0.0.1; `None` takes a free one.
    pub port: Option<u16>,
    /// Whether its streams are wanted again: it is then asked to finish when we end, not killed.
    pub durable: bool,
    /// Its name, by which nodes of a cluster know each other, and which no other server on this machine has; `None` makes one
    /// up at each start.
    pub name: Option<String>,
    /// When its streams are flushed to disk.
    pub sync_interval: SyncInterval,
    /// Lines of nats-server's configuration beside our own: users, for one, or a cluster.
    pub more: String,
}

/// When nats-server flushes its streams to disk; what it acknowledged before is lost with the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncInterval {
    /// Before each acknowledgement: slow, and safe.
    Always,
    /// Every two minutes, nats-server's own default.
    #[default]
    Usual,
    /// As often as this.
    Every(Duration),
}

/// As nats-server's configuration says it.
impl fmt::Display for SyncInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Usual => f.write_str("2m"),
            Self::Every(interval) => write!(f, "{}ms", interval.as_millis().max(1)),
        }
    }
}

/// A running private nats-server. Dropping it kills it; [`Nats::stop`] ends it in order.
#[derive(Debug)]
pub struct Nats {
    options: NatsOptions,
    program: PathBuf,
    ports: Ports,
    process: Process,
    _lock: DirLock,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    clients: u16,
    monitor: u16,
}

impl NatsOptions {
    /// For tests: nothing needs to survive.
    pub fn throwaway(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            port: None,
            durable: false,
            name: None,
            sync_interval: SyncInterval::Usual,
            more: String::new(),
        }
    }

    /// For work.
    pub fn durable(dir: impl Into<PathBuf>, sync_interval: SyncInterval) -> Self {
        Self { durable: true, sync_interval, ..Self::throwaway(dir) }
    }
}

impl Nats {
    /// Starts it and waits until it answers.
    ///
    /// What an earlier run left running in the directory is stopped first.
    ///
    /// # Errors
    /// [`EmbeddedError`] says what is missing and which command mends it.
    pub async fn start(mut options: NatsOptions) -> Result<Self, EmbeddedError> {
        fs::create_dir_all(&options.dir).map_err(EmbeddedError::file(&options.dir))?;
        options.dir = fs::canonicalize(&options.dir).map_err(EmbeddedError::file(&options.dir))?;
        let data_dir = options.dir.parent().unwrap_or(&options.dir);
        let program = programs::find_nats_server(data_dir)?;
        let lock = DirLock::take(&options.dir)?;
        leftover::stop_recorded(&options.dir.join("nats-server.pid"), Signal::TERM).await?;
        let (ports, process) = launch(&program, &options, None).await?;
        Ok(Self { options, program, ports, process, _lock: lock })
    }

    /// URL for clients.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.ports.clients)
    }

    /// URL of its monitoring pages (`/healthz`, `/varz`, `/jsz`).
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.monitor)
    }

    /// When it flushes its streams to disk.
    pub fn sync_interval(&self) -> SyncInterval {
        self.options.sync_interval
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports.clients
    }

    /// Its process id.
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

    /// Ends it in order.
    pub async fn stop(&self) {
        self.process.terminate();
        self.process.ended_within(STOP_LIMIT).await;
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&self) {
        self.process.kill();
        self.process.ended().await;
    }

    /// Stops it if it runs, and starts it with the same ports and streams.
    ///
    /// # Errors
    /// As [`Nats::start`].
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.stop().await;
        let (_, process) = launch(&self.program, &self.options, Some(self.ports)).await?;
        self.process = process;
        Ok(())
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on after [`Nats::pause`].
    pub fn resume(&self) {
        self.process.resume();
    }
}

/// Starts the server and waits until it answers; with another port when ours was taken just then.
async fn launch(
    program: &Path,
    options: &NatsOptions,
    same_ports: Option<Ports>,
) -> Result<(Ports, Process), EmbeddedError> {
    let dir = &options.dir;
    let log = dir.join("nats-server.log");
    let mut tries = 0;
    loop {
        tries += 1;
        let ports = same_ports.unwrap_or_else(|| Ports {
            clients: options.port.unwrap_or_else(port::free_port),
            monitor: port::free_port(),
        });
        // tells our server from one that was quicker to take the port
        let name = options.name.clone().unwrap_or_else(unique_name);
        let file = dir.join("nats.conf");
        fs::write(&file, configuration(&name, options, ports)).map_err(EmbeddedError::file(&file))?;
        process::rotate(&log).map_err(EmbeddedError::file(&log))?;
        let death_signal = if options.durable { DeathSignal::Term } else { DeathSignal::Kill };
        let launch = Launch::new(program, dir, &log).death_signal(death_signal).arg("--config").arg(&file);
        let process = Process::start(&launch)?;
        if let Some(trace) = Trace::of(process.pid()) {
            trace.save(&dir.join("nats-server.pid"))?;
        }
        let probe = || answers(&name, ports.clients);
        let Some(status) = until_ready("nats-server", &process, &log, probe).await? else {
            return Ok((ports, process));
        };
        let is_taken = !port::is_free(ports.clients);
        if is_taken && (options.port.is_some() || same_ports.is_some()) {
            return Err(EmbeddedError::PortTaken { port: ports.clients });
        }
        let monitor_is_taken = !port::is_free(ports.monitor);
        if !(is_taken || monitor_is_taken) || tries == STARTS_MAX {
            return Err(EmbeddedError::Ended { program: "nats-server", status, log: process::tail(&log) });
        }
    }
}

fn unique_name() -> String {
    format!("clickwire-{:016x}", rand::rng().random::<u64>())
}

fn configuration(name: &str, options: &NatsOptions, ports: Ports) -> String {
    let Ports { clients, monitor } = ports;
    // quoted as JSON, which nats-server's format contains
    let store_dir = serde_json::Value::from(options.dir.join("store").display().to_string());
    let sync_interval = match options.sync_interval {
        SyncInterval::Always => options.sync_interval.to_string(),
        timed => format!("\"{timed}\""),
    };
    format!(
        "# Written at each start; changes are lost.\n\
         server_name: \"{name}\"\n\
         listen: \"127.0.0.1:{clients}\"\n\
         http: \"127.0.0.1:{monitor}\"\n\
         write_deadline: \"10s\"\n\
         ping_interval: \"20s\"\n\
         jetstream {{\n  store_dir: {store_dir}\n  sync_interval: {sync_interval}\n}}\n\
         {more}",
        more = options.more,
    )
}

/// Whether the server of this name greets a client. It does so after its streams are recovered.
async fn answers(name: &str, port: u16) -> bool {
    let greet = async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        std::io::Result::Ok(line)
    };
    let Ok(Ok(line)) = tokio::time::timeout(Duration::from_secs(1), greet).await else { return false };
    let info =
        line.strip_prefix("INFO ").and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok());
    info.is_some_and(|info| info["server_name"] == name && info["jetstream"] == true)
}
