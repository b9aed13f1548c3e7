//! Everything a measurement needs around the service it measures: brokers, tables, a workspace, an API.

mod api;
mod rows;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::Utc;
use embedded::{Launch, Nats, NatsOptions, Postgres, PostgresOptions, Process, SyncInterval, free_port};
use model::{Host, WorkspaceId};
use store::api_keys::NewKey;
use tempfile::TempDir;

use crate::process;

pub use api::BenchLink;

/// Time for a service to become ready.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// When the broker flushes its streams to disk.
const SYNC_INTERVAL: SyncInterval = SyncInterval::Usual;

/// PostgreSQL with fsync, nats-server with its usual sync interval, tables, streams and one workspace.
pub struct World {
    pub postgres: Postgres,
    pub nats: Nats,
    pub bus: bus::Bus,
    pub workspace_id: WorkspaceId,
    http: reqwest::Client,
    api_key: String,
    api: Option<Service>,
    sealing_key: String,
    dir: TempDir,
}

/// A running service.
pub struct Service {
    process: Process,
    /// Where it serves, if it does.
    pub addr: SocketAddr,
    ops_addr: SocketAddr,
}

impl World {
    /// Starts the brokers and makes tables, streams, a workspace and a key.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_as(false).await
    }

    /// Like [`World::start`], with a PostgreSQL that counts statements ([`World::statements`]): that costs it a little.
    pub async fn start_counting() -> anyhow::Result<Self> {
        Self::start_as(true).await
    }

    async fn start_as(counts: bool) -> anyhow::Result<Self> {
        service::tls::install_provider();
        let dir = TempDir::with_prefix("clickwire-bench-")?;
        // as root, PostgreSQL runs as another user
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        let mut postgres =
            Postgres::start(PostgresOptions { dir: dir.path().join("postgres"), port: None, durable: true })
                .await?;
        let nats = Nats::start(NatsOptions::durable(dir.path().join("nats"), SYNC_INTERVAL)).await?;
        postgres.create_database("bench", None).await?;
        if counts {
            let url = postgres.url("bench");
            psql(&url, "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'").await?;
            postgres.restart().await?;
            psql(&url, "CREATE EXTENSION pg_stat_statements").await?;
        }

        let database = store::Settings::at(postgres.url("bench"));
        store::setup(&database, Utc::now()).await?;
        let api_key = model::secret::ApiKey::generate();
        let workspace_id = make_workspace(&database, &api_key).await?;

        let defaults: NatsSection = service::settings::load_from(&[bus::DEFAULTS], None, [])?;
        let nats_settings = bus::Settings { url: nats.url(), ..defaults.nats };
        let bus = bus::Bus::connect(&nats_settings, "bench").await?;
        bus.wait_connected(READY_LIMIT).await?;
        bus.setup().await?;

        let mut world = Self {
            postgres,
            nats,
            bus,
            workspace_id,
            http: reqwest::Client::new(),
            api_key: api_key.reveal().to_owned(),
            api: None,
            sealing_key: webhook::sealing::generate_key(),
            dir,
        };
        world.api = Some(world.service("api", None, &[]).await?);
        Ok(world)
    }

    /// Starts a service as it is shipped, on one core if asked, and waits until it is ready.
    pub async fn service(
        &self,
        name: &str,
        core: Option<usize>,
        env: &[(&str, String)],
    ) -> anyhow::Result<Service> {
        let service = self.launch(name, env)?;
        if let Some(core) = core {
            process::pin(service.pid(), core);
        }
        self.ready(&service).await?;
        Ok(service)
    }

    /// Waits until a service is ready.
    pub async fn ready(&self, service: &Service) -> anyhow::Result<()> {
        service.ready(&self.http).await.context("a service did not become ready")
    }

    /// Starts a service without waiting.
    pub fn launch(&self, name: &str, env: &[(&str, String)]) -> anyhow::Result<Service> {
        self.launch_under(None, name, env)
    }

    /// Starts a service without waiting, under a program that runs it (valgrind with its options).
    pub fn launch_under(
        &self,
        wrapper: Option<&[String]>,
        name: &str,
        env: &[(&str, String)],
    ) -> anyhow::Result<Service> {
        let localhost = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (addr, ops_addr) = (localhost(free_port()), localhost(free_port()));
        let section = name.to_uppercase();
        let program = binary(&format!("clickwire-{name}"))?;
        let log = self.dir.path().join(format!("{name}-{}.log", addr.port()));
        let launch = match wrapper {
            None | Some([]) => Launch::new(program, self.dir.path(), log),
            Some([wrapper, options @ ..]) => options
                .iter()
                .fold(Launch::new(wrapper, self.dir.path(), log), Launch::arg)
                .arg(program.as_os_str()),
        };
        let mut launch = launch
            .env("CLICKWIRE__NATS__URL", self.nats.url())
            .env("CLICKWIRE__DATABASE__URL", self.postgres.url("bench"))
            .env(format!("CLICKWIRE__{section}__OPS_ADDR"), ops_addr.to_string());
        if matches!(name, "redirect" | "api") {
            launch = launch
                .env(format!("CLICKWIRE__{section}__ADDR"), addr.to_string())
                .env("CLICKWIRE__LINKS__PUBLIC_URL", "http://127.0.0.1");
        }
        if matches!(name, "deliver" | "api") {
            launch = launch
                .env("CLICKWIRE__SEALING__KEY", &self.sealing_key)
                .env("CLICKWIRE__DELIVER__ALLOWED_NETWORKS", "127.0.0.0/8");
        }
        if name == "redirect" {
            launch = launch
                .env(
                    "CLICKWIRE__REDIRECT__SPOOL__DIR",
                    self.dir.path().join(format!("spool-{}", addr.port())).as_os_str(),
                )
                .env("CLICKWIRE__REDIRECT__TRUSTED_PROXIES", "127.0.0.0/8");
        }
        let launch = env.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
        Ok(Service { process: Process::start(&launch)?, addr, ops_addr })
    }

    /// A file in the directory of this measurement.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Statements that the services have had PostgreSQL execute, BEGIN and COMMIT among them, as pg_stat_statements
    /// counts them. Needs [`World::start_counting`].
    pub async fn statements(&self) -> anyhow::Result<f64> {
        let sum = "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'";
        Ok(psql(&self.postgres.url("bench"), sum).await?.trim().parse()?)
    }

    /// A number that a service shows to Prometheus.
    pub async fn metric(&self, service: &Service, name: &str) -> anyhow::Result<f64> {
        let url = format!("http://{}/metrics", service.ops_addr);
        let text = self.http.get(url).send().await?.error_for_status()?.text().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.with_context(|| format!("there is no metric {name}"))
    }
}

impl Service {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Freezes it.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Ends it in order and waits for that.
    pub async fn stop(self, limit: Duration) {
        self.process.terminate();
        self.process.ended_within(limit).await;
    }

    async fn ready(&self, http: &reqwest::Client) -> anyhow::Result<()> {
        let url = format!("http://{}/readyz", self.ops_addr);
        let begun = Instant::now();
        loop {
            if http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            anyhow::ensure!(self.process.status().is_none(), "it ended");
            anyhow::ensure!(begun.elapsed() < READY_LIMIT, "it is not ready after {READY_LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[derive(serde::Deserialize)]
struct NatsSection {
    nats: bus::Settings,
}

/// What PostgreSQL answers, without headings.
pub async fn psql(url: &str, statement: &str) -> anyhow::Result<String> {
    let output = tokio::process::Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"])
        .args(["--command", statement, url])
        .output()
        .await
        .context("failed to run psql (Debian package postgresql-client)")?;
    anyhow::ensure!(output.status.success(), "psql failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Prints the versions of Clickwire, PostgreSQL and nats-server, and when the last flushes to disk: figures mean nothing
/// without them.
pub fn describe_programs() -> anyhow::Result<()> {
    let ours = env!("CARGO_PKG_VERSION");
    let commit = commit().map_or_else(String::new, |commit| format!(" ({commit})"));
    let (postgres, nats_server) = embedded::versions()?;
    println!(
        "Clickwire {ours}{commit}, PostgreSQL {postgres}, nats-server {nats_server} with sync_interval {SYNC_INTERVAL}\n"
    );
    Ok(())
}

/// What the checkout is at, with `-dirty` when something in it is not committed; `None` where git does not tell.
fn commit() -> Option<String> {
    let told = std::process::Command::new("git")
        .args(["describe", "--tags", "--always", "--dirty"])
        .output()
        .ok()?;
    let commit = String::from_utf8(told.stdout).ok()?;
    told.status.success().then(|| commit.trim().to_owned())
}

async fn make_workspace(
    database: &store::Settings,
    api_key: &model::secret::ApiKey,
) -> anyhow::Result<WorkspaceId> {
    let now = Utc::now();
    let pool = store::Pool::connect(database)?;
    let mut conn = pool.get().await?;
    let workspace = store::workspaces::insert(&mut conn, "Bench", now).await?;
    let host: Host = "127.0.0.1".parse()?;
    store::domains::insert(&mut conn, workspace.id, &host, now).await?;
    let key = NewKey {
        workspace_id: workspace.id,
        name: "bench",
        key: api_key,
        scopes: &["*".to_owned()],
        expires_at: None,
        created_by: "operator",
    };
    store::api_keys::insert(&mut conn, key, now).await?;
    Ok(workspace.id)
}

/// The services lie beside this program.
fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().unwrap_or(Path::new(".")).join(name);
    anyhow::ensure!(path.exists(), "{} is missing: scripts/bench builds it", path.display());
    Ok(path)
}
