//! `clickwire setup`: tables, streams and the first workspace; services only check that they are there.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use clap::Args;
use model::Host;
use serde::Serialize;

use bus::Bus;
use service::settings::SettingsError;
use store::first_run::{self, FirstRun};

use crate::connections::ConnectionOptions;
use crate::out;

/// How long NATS may take to be reached.
const NATS_PATIENCE: Duration = Duration::from_secs(30);

/// The host of links when no public URL is set.
const HOST_DEFAULT: &str = "localhost";

/// Make what is missing of tables, streams, the first workspace and its domain; safe to run again
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    connections: ConnectionOptions,

    /// Host of tracked links in workspace Default, unless it has one [default: that of links.public_url]
    #[arg(long, value_name = "HOST")]
    domain: Option<Host>,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Done {
    workspace_id: String,
    domain: Option<String>,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let connections = options.connections.find()?;
    let public_url = connections.layers.named()?.links.public_url;
    let host = options.domain.clone().or_else(|| host_of(public_url.as_ref()?)).unwrap_or_else(host_default);
    let first_run = tables(&connections.database, &host).await?;
    streams(&connections.nats).await?;
    let domain = first_run.domain.as_ref().map(|domain| &domain.host);
    // who names a domain here means it
    if options.domain.is_none()
        && let Some(note) = domain.zip(public_url.as_ref()).and_then(|(host, url)| Moved::of(host, url))
    {
        out::error(&note.to_string());
    }
    let domain = domain.map(ToString::to_string);
    if options.json {
        out::json(&Done { workspace_id: first_run.workspace.id.to_string(), domain });
    } else {
        out::line("database  tables and partitions are there");
        out::line("nats      streams and consumers are there");
        let domain = domain.as_deref().unwrap_or("none");
        out::line(&format!(
            "workspace {} ({}), domain {domain}",
            first_run.workspace.name, first_run.workspace.id
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// `links.public_url` leads elsewhere than to the default domain, as it does when it was changed after the first start: new links
/// begin with the domain all the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// What is so.
    pub found: String,
    /// What to do.
    pub mend: String,
}

impl Moved {
    /// What there is to say of the default domain `host`; `None` when all is well.
    pub(crate) fn of(host: &Host, public_url: &url::Url) -> Option<Self> {
        let public_host = host_of(public_url).filter(|public_host| public_host != host)?;
        Some(Self {
            found: format!("new links begin with {host}, and links.public_url leads to {public_host}"),
            mend: format!(
                "if {public_host} is meant: add it (`POST /v1/domains`), have it verified, and make it the default \
                 (`PATCH /v1/domains/ID` with {{\"default\": true}}); in the console under Link settings"
            ),
        })
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.found, self.mend)
    }
}

/// The host in a public URL, if it is one that links can have.
pub(crate) fn host_of(public_url: &url::Url) -> Option<Host> {
    public_url.host_str()?.parse().ok()
}

/// The host of links when nobody has said one.
pub(crate) fn host_default() -> Host {
    HOST_DEFAULT.parse().expect("localhost is a host")
}

/// Makes tables, partitions, workspace Default and its domain.
pub(crate) async fn tables(settings: &store::Settings, host: &Host) -> anyhow::Result<FirstRun> {
    let now = Utc::now();
    store::setup(settings, now).await.context("failed to set up the database (database.url)")?;
    let mut conn = store::connect(settings).await?;
    first_run::ensure(&mut conn, host, now).await.context("failed to make workspace Default")
}

/// Makes streams and consumers.
pub(crate) async fn streams(settings: &bus::Settings) -> anyhow::Result<()> {
    settings.validate().map_err(|(key, rule)| SettingsError::contradiction(key, rule))?;
    let bus = Bus::connect(settings, "setup").await?;
    bus.wait_connected(NATS_PATIENCE).await.context("NATS cannot be reached (nats.url)")?;
    bus.setup().await.context("failed to set up the streams")
}
