//! What is measured and what it is measured against; each alone busy on core 0 when its turn comes.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use embedded::{Launch, Process, free_port};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::LINKS;
use crate::load::{self, Seen};
use crate::process;
use crate::world::{Service, World};

/// Room for all links of the bench: the memory's parts fill unevenly.
const CACHED_LINKS_MAX: u64 = LINKS * 3 / 2;

/// What the spool may hold while nothing is shipped.
const SPOOL_BYTES_MAX: u64 = 64 << 30;

/// Nobody listens there.
const NO_BROKER: &str = "nats://127.0.0.1:1";

/// How long the broker is waited for. A redirect that does not find it within this time takes all links that it has for
/// stale, once.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// When the visitor gets the redirect, and what becomes of the click then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `spool.sync = "os"`, and the broker away.
    Os,
    /// `spool.sync = "os"`, and each click shipped to the broker.
    OsShipping,
    /// `spool.sync = "always"`, and the broker away.
    Always,
}

impl Mode {
    /// The word in the figures' names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Os => "os",
            Self::OsShipping => "os_shipping",
            Self::Always => "always",
        }
    }

    const fn sync(self) -> &'static str {
        match self {
            Self::Os | Self::OsShipping => "os",
            Self::Always => "always",
        }
    }

    /// The settings of a redirect with one worker. Links stay fresh for the whole run: what asking again costs is
    /// the cold figure.
    pub fn env(self, world: &World) -> Vec<(&'static str, String)> {
        let broker = if self == Self::OsShipping { world.nats.url() } else { NO_BROKER.to_owned() };
        vec![
            ("CLICKWIRE__REDIRECT__WORKERS", "1".into()),
            ("CLICKWIRE__REDIRECT__SPOOL__SYNC", self.sync().into()),
            ("CLICKWIRE__REDIRECT__SPOOL__BYTES_MAX", SPOOL_BYTES_MAX.to_string()),
            ("CLICKWIRE__REDIRECT__CACHED_LINKS_MAX", CACHED_LINKS_MAX.to_string()),
            ("CLICKWIRE__LINKS__REFRESH", "1h".into()),
            ("CLICKWIRE__NATS__URL", broker),
            ("CLICKWIRE__NATS__REQUEST_TIMEOUT", format!("{}s", REQUEST_TIMEOUT.as_secs())),
        ]
    }
}

/// Starts a redirect on core 0.
pub async fn redirect(world: &World, mode: Mode) -> anyhow::Result<Service> {
    let redirect = world.service("redirect", Some(0), &mode.env(world)).await?;
    if mode != Mode::OsShipping {
        tokio::time::sleep(2 * REQUEST_TIMEOUT).await;
    }
    Ok(redirect)
}

/// A server that is only there to be compared with.
pub struct Reference {
    process: Process,
    /// Where it answers.
    pub addr: SocketAddr,
}

impl Reference {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }
}

/// actix-web with one worker that answers a constant 302.
pub async fn bare(world: &World) -> anyhow::Result<Reference> {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let launch = Launch::new(std::env::current_exe()?, world.file("."), world.file("bare.log"))
        .arg("bare-actix")
        .arg(addr.to_string());
    reference(&launch, addr).await
}

/// nginx that looks the path up in a map and writes a line for each request; `None` when it is not installed.
pub async fn nginx(world: &World) -> anyhow::Result<Option<Reference>> {
    // where Debian has it, which is not on everyone's path
    let program = ["nginx", "/usr/sbin/nginx"].into_iter().find(|program| runs(program, "-v"));
    let Some(program) = program else {
        eprintln!("  no nginx (Debian package nginx-light): left out");
        return Ok(None);
    };
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let dir = world.file("nginx");
    std::fs::create_dir(&dir)?;
    let config = dir.join("nginx.conf");
    std::fs::write(&config, nginx_config(&dir, addr)?)?;
    let launch =
        Launch::new(program, &dir, world.file("nginx.log")).arg("-p").arg(&dir).arg("-c").arg(&config);
    reference(&launch, addr).await.map(Some)
}

/// Whether a program is there.
pub fn runs(program: &str, harmless: &str) -> bool {
    std::process::Command::new(program).arg(harmless).output().is_ok()
}

fn nginx_config(dir: &Path, addr: SocketAddr) -> anyhow::Result<String> {
    let mut map = String::new();
    for number in 0..LINKS {
        writeln!(map, "{} https://example.com/offer/{number};", load::path(number))?;
    }
    std::fs::write(dir.join("links.map"), map)?;
    let dir = dir.display();
    Ok(format!(
        "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
         events {{ worker_connections 1024; }}
         http {{
             keepalive_requests 100000000;
             client_body_temp_path {dir}/1; proxy_temp_path {dir}/2; fastcgi_temp_path {dir}/3;
             uwsgi_temp_path {dir}/4; scgi_temp_path {dir}/5;
             map_hash_max_size 262144;
             map_hash_bucket_size 128;
             map $uri $target {{ include {dir}/links.map; default ''; }}
             log_format click '$msec $remote_addr $uri $http_user_agent $http_accept_language $http_referer';
             access_log {dir}/access.log click;
             server {{ listen {addr}; location / {{ return 302 $target; }} }}
         }}"
    ))
}

async fn reference(launch: &Launch, addr: SocketAddr) -> anyhow::Result<Reference> {
    let process = Process::start(launch)?;
    process::pin(process.pid(), 0);
    for _ in 0..1000 {
        if TcpStream::connect(addr).await.is_ok() {
            return Ok(Reference { process, addr });
        }
        anyhow::ensure!(process.status().is_none(), "a server to compare with ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("a server to compare with does not listen")
}

/// Runs one of our generators on core 1.
pub async fn generate(arguments: &[String]) -> anyhow::Result<Seen> {
    let output = Command::new("taskset")
        .args(["-c", "1"])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .output()
        .await
        .context("failed to run taskset")?;
    anyhow::ensure!(output.status.success(), "the load failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Asks once for each link.
pub async fn touch(addr: SocketAddr, first: u64, end: u64) -> anyhow::Result<Seen> {
    generate(&["touch".into(), addr.to_string(), first.to_string(), end.to_string()]).await
}
