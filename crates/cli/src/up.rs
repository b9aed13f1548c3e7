//! `clickwire up`: Clickwire in one process, with a private PostgreSQL and nats-server unless settings name others.
//!
//! The order is: take the data directory, choose addresses, start the servers, make tables and streams, start the
//! services, and only then tell that everything is ready. What ends first ends everything else, in the reverse order.

mod addresses;
mod detach;
mod servers;
mod services;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use chrono::Utc;
use clap::Args;
use model::secret::ApiKey;
use serde::Deserialize;
use service::telemetry;
use store::api_keys::{self, NewKey};
use store::first_run::FirstRun;
use store::{AsyncConnection as _, QueryError};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::block::ACTOR;
use crate::data_dir::{DataDir, DataDirOption, Running, kept_secret, write_private};
use crate::layers::Layers;
use crate::{keys, out, setup};

use self::addresses::Addresses;
use self::servers::Servers;
use self::services::Services;

/// What the key of `up` is called in the list of keys.
const KEY_NAME: &str = "clickwire up";

/// Stand for every scope: all of a workspace, and what is the operator's.
const EVERY_SCOPE: [&str; 2] = ["*", "admin"];

/// Run everything on this machine: PostgreSQL, NATS, the five services, and the console
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
PostgreSQL and nats-server are private ones in the data directory, unless settings name others (database.url, nats.url). Their \
programs are looked for where systems have them, or as these variables say:
  CLICKWIRE_PG_BIN       the directory with PostgreSQL's programs
  CLICKWIRE_NATS_SERVER  the program nats-server")]
pub(crate) struct Options {
    #[command(flatten)]
    data_dir: DataDirOption,

    /// Settings file; otherwise CLICKWIRE_CONFIG, otherwise ./clickwire.toml if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// API key of workspace Default, with all scopes [default: one is generated and kept]
    #[arg(long, value_name = "KEY")]
    admin_key: Option<ApiKey>,

    /// Where tracked links are answered [default: 127.0.0.1:8080, or a free port]
    #[arg(long, value_name = "ADDR")]
    redirect_addr: Option<SocketAddr>,

    /// Where API and console are [default: 127.0.0.1:8081, or a free port]
    #[arg(long, value_name = "ADDR")]
    api_addr: Option<SocketAddr>,

    /// Where /readyz and /metrics of all services are [default: 127.0.0.1:9101, or a free port]
    #[arg(long, value_name = "ADDR")]
    ops_addr: Option<SocketAddr>,

    /// When ready, print one line of JSON
    #[arg(long)]
    json: bool,

    /// Return when everything is ready, and keep it running; `clickwire down` ends it
    #[arg(long)]
    detach: bool,

    /// We are what `--detach` started
    #[arg(long, hide = true)]
    detached: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let data_dir = options.data_dir.dir()?;
    data_dir.create()?;
    if options.detach {
        drop(data_dir.lock()?);
        return detach::run(&options, &data_dir).await;
    }
    if options.detached {
        // fails only for one who leads a group already, and then there is no need
        let _ = rustix::process::setsid();
    }
    let _lock = data_dir.lock()?;
    data_dir.retire();
    let mut layers = layers(&options);
    let _telemetry = begin_logs(&layers, options.detached)?;
    let stop = service::shutdown::on_signal()?;
    let addresses = Addresses::choose(&layers.named()?, options.ops_addr)?;
    for note in addresses.notes() {
        out::error(note);
    }
    layers.insist("CLICKWIRE__REDIRECT__ADDR", addresses.redirect.to_string());
    layers.insist("CLICKWIRE__API__ADDR", addresses.api.to_string());
    let Some(servers) = stop.run_until_cancelled(Servers::start(&layers.named()?, &data_dir)).await else {
        return Ok(ExitCode::FAILURE);
    };
    let servers = servers?;
    let result = serve(&options, &data_dir, layers, &addresses, &servers, stop).await;
    data_dir.retire();
    servers.stop().await;
    result.map(|()| ExitCode::SUCCESS)
}

/// Options are louder than file and variables.
fn layers(options: &Options) -> Layers {
    let mut layers = Layers::new(options.config.clone());
    if let Some(addr) = options.redirect_addr {
        layers.insist("CLICKWIRE__REDIRECT__ADDR", addr.to_string());
    }
    if let Some(addr) = options.api_addr {
        layers.insist("CLICKWIRE__API__ADDR", addr.to_string());
    }
    layers
}

/// A person in front of a terminal gets warnings; a log file gets the life of the process too.
fn begin_logs(layers: &Layers, is_detached: bool) -> anyhow::Result<telemetry::Telemetry> {
    #[derive(Deserialize)]
    struct Settings {
        telemetry: telemetry::Settings,
    }
    let mut ours = toml::Table::new();
    if !is_detached {
        let quiet = toml::Table::from_iter([("log_filter".to_owned(), "warn".into())]);
        ours.insert("telemetry".to_owned(), quiet.into());
    }
    let settings: Settings = layers.load(&[service::DEFAULTS], &ours)?;
    Ok(telemetry::init("up", &settings.telemetry)?)
}

/// Makes what is missing, runs the services until `stop`, and says in between that all is ready.
async fn serve(
    options: &Options,
    data_dir: &DataDir,
    layers: Layers,
    addresses: &Addresses,
    servers: &Servers,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let ours = ours(&layers, data_dir, addresses, servers)?;
    let prepare = async {
        let database: DatabaseSettings = layers.load(&[store::DEFAULTS], &ours)?;
        let broker: BrokerSettings = layers.load(&[bus::DEFAULTS], &ours)?;
        let public_url =
            layers.named()?.links.public_url.map_or_else(|| addresses.redirect_url().parse(), Ok)?;
        let host = setup::host_of(&public_url).unwrap_or_else(setup::host_default);
        let (first_run, ()) =
            tokio::try_join!(setup::tables(&database.database, &host), setup::streams(&broker.nats))?;
        let domain = first_run.domain.as_ref();
        if let Some(note) = domain.and_then(|domain| setup::Moved::of(&domain.host, &public_url)) {
            out::error(&note.to_string());
        }
        let key = admin_key(options, data_dir)?;
        keep_key(&database.database, &first_run, &key).await?;
        let running = running(addresses, &key, &database.database, &broker.nats, data_dir);
        let services = Services::start(&layers, &ours, addresses, stop.clone()).await?;
        anyhow::Ok((services, running))
    };
    let Some(prepared) = stop.run_until_cancelled(prepare).await else { return Ok(()) };
    let (services, running) = prepared?;

    let ready = async {
        services.ready().await;
        data_dir.announce(&running)?;
        tell(options, &running, servers);
        info!(redirect = running.redirect_url, api = running.api_url, "ready");
        std::future::pending::<anyhow::Result<()>>().await
    };
    let result = tokio::select! {
        // first: told to stop, everything ends, and none of it is a fault
        biased;
        () = stop.cancelled() => Ok(()),
        ended = services.ended() => ended,
        ended = servers.ended() => Err(ended),
        result = ready => result,
    };
    stop.cancel();
    let drained = services.drain().await;
    result.and(drained)
}

#[derive(Deserialize)]
struct DatabaseSettings {
    database: store::Settings,
}

#[derive(Deserialize)]
struct BrokerSettings {
    nats: bus::Settings,
}

/// This machine: `up` takes its word about visitors' addresses, and lets webhooks go there.
pub(crate) fn loopback() -> toml::Value {
    toml::Value::from(vec!["127.0.0.0/8", "::1/128"])
}

/// The settings that `up` makes where nobody else has.
fn ours(
    layers: &Layers,
    data_dir: &DataDir,
    addresses: &Addresses,
    servers: &Servers,
) -> anyhow::Result<toml::Table> {
    let named = layers.named()?;
    let mut ours = toml::Table::new();
    let mut set = |section: &str, key: &str, value: toml::Value| {
        let section = ours.entry(section).or_insert_with(|| toml::Table::new().into());
        section.as_table_mut().expect("sections are tables").insert(key.to_owned(), value);
    };
    let path = |path: PathBuf| toml::Value::from(path.to_string_lossy().into_owned());
    if let Some(url) = servers.database_url() {
        set("database", "url", url.into());
    }
    if let Some(url) = servers.nats_url() {
        set("nats", "url", url.into());
    }
    set("links", "public_url", addresses.redirect_url().into());
    set("links", "any_host", true.into());
    set("redirect", "trusted_proxies", loopback());
    let spool = toml::Table::from_iter([("dir".to_owned(), path(data_dir.spool()))]);
    set("redirect", "spool", spool.into());
    set("deliver", "allowed_networks", loopback());
    set("enrich", "geo_dir", path(data_dir.geo()));
    let secret = || webhook::sealing::generate_key();
    set("enrich", "visitor_secret", kept_secret(&data_dir.visitor_secret(), secret)?.into());
    if named.sealing.key.is_none() && named.sealing.key_file.is_none() {
        kept_secret(&data_dir.sealing_key(), webhook::sealing::generate_key)?;
        set("sealing", "key_file", path(data_dir.sealing_key()));
    }
    if named.minting.key.is_none() && named.minting.key_file.is_none() {
        kept_secret(&data_dir.minting_key(), webhook::sealing::generate_key)?;
        set("minting", "key_file", path(data_dir.minting_key()));
    }
    Ok(ours)
}

/// The key that was asked for, else the one that is kept, else a new one.
fn admin_key(options: &Options, data_dir: &DataDir) -> anyhow::Result<ApiKey> {
    let path = data_dir.api_key();
    if let Some(key) = &options.admin_key {
        write_private(&path, key.reveal().as_bytes())
            .with_context(|| format!("failed to keep the key in {}", path.display()))?;
        return Ok(key.clone());
    }
    let text = kept_secret(&path, || ApiKey::generate().reveal().to_owned())?;
    text.parse().with_context(|| format!("{} holds no API key: remove it to get a new one", path.display()))
}

async fn keep_key(database: &store::Settings, first_run: &FirstRun, key: &ApiKey) -> anyhow::Result<()> {
    let mut conn = store::connect(database).await?;
    let now = Utc::now();
    let scopes = EVERY_SCOPE.map(str::to_owned);
    let kept = conn
        .transaction::<_, QueryError, _>(async |conn| {
            let new = NewKey {
                workspace_id: first_run.workspace.id,
                name: KEY_NAME,
                key,
                scopes: &scopes,
                expires_at: None,
                created_by: ACTOR,
            };
            keys::keep(conn, new, now).await
        })
        .await;
    if kept.context("failed to keep the API key")?.is_some() {
        return Ok(());
    }
    let stored = api_keys::find_by_hash(&mut conn, &key.hash()).await?;
    let live = stored.filter(|key| key.is_live(now));
    let live = live
        .context("the API key was revoked: say another one with --admin-key, or remove the file api.key")?;
    // a release may know scopes that were not there when the key was made; one that was narrowed stays so
    if live.scopes.iter().any(|scope| scope == "*") {
        api_keys::set_scopes(&mut conn, live.id, &scopes).await.context("failed to widen the API key")?;
    }
    Ok(())
}

fn running(
    addresses: &Addresses,
    key: &ApiKey,
    database: &store::Settings,
    nats: &bus::Settings,
    data_dir: &DataDir,
) -> Running {
    let api_url = addresses.api_url();
    Running {
        pid: std::process::id(),
        redirect_url: addresses.redirect_url(),
        console_url: format!("{api_url}/"),
        api_url,
        ops_url: addresses.ops_url(),
        key: key.reveal().to_owned(),
        nats_url: nats.url.clone(),
        database_url: database.url.clone(),
        data_dir: data_dir.path().to_owned(),
    }
}

/// What people and scripts wait for.
fn tell(options: &Options, running: &Running, servers: &Servers) {
    if options.json || options.detached {
        out::json(running);
        return;
    }
    summary(running, servers.describe().as_deref());
    out::line("\nCtrl-C ends it.");
}

fn summary(running: &Running, servers: Option<&str>) {
    let bold =
        |text: &str| if out::is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() };
    out::line(&bold("Clickwire is ready"));
    out::line(&format!("  console   {}   (sign in with the key)", running.console_url));
    out::line("  people    clickwire people invite --role owner EMAIL");
    out::line(&format!("  API       {}/v1   (readable at {}/docs)", running.api_url, running.api_url));
    out::line(&format!("  key       {}", running.key));
    out::line(&format!("  links     {}/…", running.redirect_url));
    out::line(&format!("  metrics   {}/metrics", running.ops_url));
    out::line(&format!("  data      {}", running.data_dir.display()));
    if let Some(servers) = servers {
        out::line(&format!("  {servers}"));
    }
}
