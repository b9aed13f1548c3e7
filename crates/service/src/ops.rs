//! The ops port: `/livez`, `/readyz` and `/metrics`, away from what visitors and customers reach.

mod process;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use anyhow::{Context, bail};
use prometheus::{Encoder, Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::expiry::{Expirings, Watched};

/// The answer of `/livez`: that the process answers, and which version it is.
const LIVE: &str = concat!("ok ", env!("CARGO_PKG_VERSION"), "\n");

/// How long answers in hand may take when the process stops.
const DRAIN_SECONDS: u64 = 1;

/// How long a health check waits for the connection, and for the answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// More of an answer than a health check shows.
const PROBE_BYTES_MAX: u64 = 16 * 1024;

type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What a process shows to its operators: metrics and named readiness checks. Clones share both.
#[derive(Clone)]
pub struct Ops {
    registry: Registry,
    checks: Arc<RwLock<Vec<Probed>>>,
    expiring: Expirings,
}

/// A check that was added.
struct Probed {
    name: &'static str,
    /// Whether the process is not ready while it fails.
    is_required: bool,
    probe: Probe,
}

/// The body of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Readiness {
    /// Whether every check passes that must.
    pub ready: bool,
    /// Every check, in the order in which they were added.
    pub checks: Vec<Check>,
}

/// One line of [`Readiness`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// What is wrong; `None` when nothing is.
    pub error: Option<String>,
}

impl Readiness {
    /// What fails, for people; empty when nothing does.
    pub fn failing(&self) -> String {
        let failing =
            self.checks.iter().filter_map(|check| Some(format!("{}: {}", check.name, check.error.as_ref()?)));
        failing.collect::<Vec<_>>().join("; ")
    }
}

impl Ops {
    /// Metrics of the process itself, and no check yet.
    pub fn new() -> Self {
        let registry = Registry::new();
        process::register(&registry);
        Self { registry, checks: Arc::default(), expiring: Expirings::default() }
    }

    /// Where metrics are registered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Adds a readiness check. The probe must answer at once: it looks at state, it does not ask others.
    pub fn check(&self, name: &'static str, probe: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.add(Probed { name, is_required: true, probe: Box::new(probe) });
    }

    /// Adds a check that is told of like the others, and leaves the process ready when it fails: what it does for those who come
    /// does not hang on it. The probe must answer at once.
    pub fn mention(
        &self,
        name: &'static str,
        probe: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.add(Probed { name, is_required: false, probe: Box::new(probe) });
    }

    fn add(&self, check: Probed) {
        self.checks.write().expect("no probe panics while checks are added").push(check);
    }

    /// Tells in a metric of `service` until when it can go on with what it lives on; it is looked at while the port is served.
    ///
    /// # Errors
    /// When the service has said so before.
    pub fn watch_expiry(&self, service: &str, watched: Watched) -> anyhow::Result<()> {
        self.expiring.add(service, watched, &self.registry).context("failed to register metrics")
    }

    /// Runs every check.
    pub fn readiness(&self) -> Readiness {
        let checks = self.checks.read().expect("no probe panics while checks are added");
        let mut readiness = Readiness { ready: true, checks: Vec::with_capacity(checks.len()) };
        for Probed { name, is_required, probe } in checks.iter() {
            let error = probe().err();
            readiness.ready &= error.is_none() || !is_required;
            readiness.checks.push(Check { name: (*name).to_owned(), error });
        }
        readiness
    }

    /// Serves the ops port until `stop`.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let looking = tokio::spawn(self.expiring.clone().keep_looking(stop.clone()));
        let ops = Data::new(self);
        let app = move || {
            App::new()
                .app_data(ops.clone())
                .route("/livez", web::get().to(|| async { HttpResponse::Ok().body(LIVE) }))
                .route("/readyz", web::get().to(readyz))
                .route("/metrics", web::get().to(metrics))
        };
        let server = HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .shutdown_timeout(DRAIN_SECONDS)
            .listen(listener)?
            .run();
        let handle = server.handle();
        let stopped = async {
            stop.cancelled().await;
            handle.stop(true).await;
        };
        tokio::pin!(server);
        let ended = tokio::select! {
            result = &mut server => result,
            () = stopped => server.await,
        };
        looking.abort();
        ended
    }
}

impl Default for Ops {
    fn default() -> Self {
        Self::new()
    }
}

async fn readyz(ops: Data<Ops>) -> HttpResponse {
    let readiness = ops.readiness();
    let mut answer = if readiness.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.insert_header((header::CACHE_CONTROL, "no-store")).json(readiness)
}

async fn metrics(ops: Data<Ops>) -> HttpResponse {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&ops.registry.gather(), &mut text) {
        Ok(()) => HttpResponse::Ok().content_type(encoder.format_type()).body(text),
        Err(error) => HttpResponse::InternalServerError().body(format!("{error}\n")),
    }
}

/// Asks the process whose ops port is `addr` whether it is ready: for `--healthcheck` in containers.
///
/// # Errors
/// When nothing answers within 2 seconds, or the answer names failing checks.
pub fn probe(addr: SocketAddr) -> anyhow::Result<()> {
    let addr = SocketAddr::new(reachable(addr.ip()), addr.port());
    let mut stream = TcpStream::connect_timeout(&addr, PROBE_TIMEOUT)
        .with_context(|| format!("nothing listens on {addr}"))?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    stream.set_write_timeout(Some(PROBE_TIMEOUT))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")
        .with_context(|| format!("{addr} takes no request"))?;
    let mut answer = Vec::new();
    stream
        .take(PROBE_BYTES_MAX)
        .read_to_end(&mut answer)
        .with_context(|| format!("{addr} does not answer"))?;
    let answer = String::from_utf8_lossy(&answer);
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match serde_json::from_str::<Readiness>(body) {
        Ok(readiness) => bail!("not ready: {}", readiness.failing()),
        Err(_) => bail!("not ready: {}", answer.lines().next().unwrap_or("an empty answer")),
    }
}

/// A listener's "any address" is not one to connect to.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}
