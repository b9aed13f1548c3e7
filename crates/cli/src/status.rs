//! `clickwire status`: where everything is at this moment, for people without Grafana.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bus::{Bus, ConsumerName, StreamName};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clap::Args;
use redirect::Inspection;
use serde::Serialize;
use store::backlog::{self, EndpointInTrouble};
use store::deliveries;
use url::Url;

use crate::connections::{ConnectionOptions, Connections};
use crate::out;

/// How long NATS may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waiting deliveries that are counted, of one endpoint and of all.
const WAITING_MAX: i64 = 100_000;

/// Endpoints that are shown.
const ENDPOINTS_MAX: i64 = 50;

/// Say where everything is: what waits for which service, in the spool and for endpoints, and who fails
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    connections: ConnectionOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// All of it. What could not be asked is `null`, and its error says why.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    /// Messages that wait, by consumer.
    lag: Option<BTreeMap<&'static str, u64>>,
    /// How full each stream is.
    streams: Option<BTreeMap<&'static str, Stream>>,
    nats_error: Option<String>,
    spool: Option<Spool>,
    clicks: Option<Clicks>,
    deliveries: Option<Deliveries>,
    endpoints: Option<Vec<Endpoint>>,
    database_error: Option<String>,
}

#[derive(Serialize)]
struct Stream {
    bytes: u64,
    bytes_max: u64,
    percent: u64,
}

/// The spool on this machine, if it has one.
#[derive(Serialize)]
struct Spool {
    dir: PathBuf,
    unshipped_clicks: u64,
    unshipped_bytes: u64,
    shipped_clicks: u64,
    put_aside_files: usize,
}

#[derive(Serialize)]
struct Clicks {
    recorded_last_hour: i64,
    newest_at: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct Deliveries {
    waiting: i64,
    /// How long the one has been due that has been due the longest.
    oldest_due_seconds: i64,
}

#[derive(Serialize)]
struct Endpoint {
    id: String,
    workspace_id: String,
    host: String,
    state: String,
    reason: Option<String>,
    waiting: i64,
    due_at: Option<DateTime<Utc>>,
    failing_since: Option<DateTime<Utc>>,
    failed_attempts: i64,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let connections = options.connections.find()?;
    let now = Utc::now();
    let (broker, database) = tokio::join!(broker(&connections), database(&connections, now));
    let (broker, nats_error) = told(broker);
    let (lag, streams) = broker.unzip();
    let (rows, database_error) = told(database);
    let (clicks, deliveries, endpoints) =
        rows.map_or((None, None, None), |(c, d, e)| (Some(c), Some(d), Some(e)));
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        lag,
        streams,
        nats_error,
        spool: spool(&connections),
        clicks,
        deliveries,
        endpoints,
        database_error,
    };
    if options.json {
        out::json(&status);
    } else {
        print(&status);
    }
    let is_known = status.nats_error.is_none() && status.database_error.is_none();
    Ok(if is_known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told<T>(result: anyhow::Result<T>) -> (Option<T>, Option<String>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    }
}

/// What waits for each consumer, and how full each stream is.
async fn broker(
    connections: &Connections,
) -> anyhow::Result<(BTreeMap<&'static str, u64>, BTreeMap<&'static str, Stream>)> {
    let bus = Bus::connect(&connections.nats, "status").await?;
    bus.wait_connected(PATIENCE).await?;
    let mut lag = BTreeMap::new();
    for consumer in ConsumerName::ALL {
        let pending =
            bus.pending(consumer).await.map_err(|error| anyhow!(error)).context("run `clickwire setup`")?;
        lag.insert(consumer.as_str(), pending);
    }
    let mut streams = BTreeMap::new();
    for stream in StreamName::ALL {
        let fill = bus.fill(stream).await.context("run `clickwire setup`")?;
        let told = Stream { bytes: fill.bytes, bytes_max: fill.bytes_max, percent: fill.percent() };
        streams.insert(stream.as_str(), told);
    }
    Ok((lag, streams))
}

async fn database(
    connections: &Connections,
    now: DateTime<Utc>,
) -> anyhow::Result<(Clicks, Deliveries, Vec<Endpoint>)> {
    let mut conn = connections.database().await?;
    let (recorded_last_hour, newest_at) =
        backlog::recorded_since(&mut conn, now - TimeDelta::hours(1)).await?;
    let waiting = deliveries::count_waiting(&mut conn, WAITING_MAX).await?;
    let found = backlog::endpoints_in_trouble(&mut conn, ENDPOINTS_MAX, WAITING_MAX).await?;
    let oldest = found.iter().filter_map(|endpoint| endpoint.due_at).min();
    let deliveries = Deliveries {
        waiting,
        oldest_due_seconds: oldest.map_or(0, |due_at| (now - due_at).num_seconds().max(0)),
    };
    Ok((Clicks { recorded_last_hour, newest_at }, deliveries, found.into_iter().map(shown).collect()))
}

/// Of the URL the host alone: its path may be a secret.
fn shown(endpoint: EndpointInTrouble) -> Endpoint {
    let host = endpoint.url.parse::<Url>().ok().and_then(|url| url.host_str().map(ToOwned::to_owned));
    Endpoint {
        id: endpoint.endpoint_id.to_string(),
        workspace_id: endpoint.workspace_id.to_string(),
        host: host.unwrap_or_default(),
        state: endpoint.state,
        reason: endpoint.state_reason,
        waiting: endpoint.waiting,
        due_at: endpoint.due_at,
        failing_since: endpoint.first_failure_at,
        failed_attempts: endpoint.failed,
    }
}

/// The spool of the redirect whose settings these are; none when it is on another machine.
fn spool(connections: &Connections) -> Option<Spool> {
    let settings: redirect::Settings =
        connections.layers.load(redirect::Settings::DEFAULTS, &connections.ours_of_up()).ok()?;
    let dir = settings.redirect.spool.dir;
    let Inspection { shipped, unshipped, put_aside, .. } = redirect::inspect(&dir).ok()?;
    Some(Spool {
        dir,
        unshipped_clicks: unshipped.clicks,
        unshipped_bytes: unshipped.bytes,
        shipped_clicks: shipped.clicks,
        put_aside_files: put_aside.len(),
    })
}

fn print(status: &Status) {
    out::line(&format!("clickwire          {}", status.version));
    match &status.spool {
        Some(spool) => out::line(&format!(
            "spool              {} clicks not yet on the stream, {} kept until recorded, {} files put aside ({})",
            spool.unshipped_clicks,
            spool.shipped_clicks,
            spool.put_aside_files,
            spool.dir.display()
        )),
        None => out::line("spool              none on this machine"),
    }
    for (consumer, pending) in status.lag.iter().flatten() {
        out::line(&format!("{consumer:<19}{pending} messages wait"));
    }
    for (stream, Stream { percent, .. }) in status.streams.iter().flatten() {
        out::line(&format!("{stream:<19}{percent} % full"));
    }
    if let Some(error) = &status.nats_error {
        out::line(&format!("nats               {error}"));
    }
    if let Some(clicks) = &status.clicks {
        let newest =
            clicks.newest_at.map_or_else(String::new, |at| format!(", the newest made {}", moment(at)));
        out::line(&format!(
            "clicks             {} recorded in the last hour{newest}",
            clicks.recorded_last_hour
        ));
    }
    if let Some(deliveries) = &status.deliveries {
        out::line(&format!(
            "deliveries         {} wait, the oldest has been due for {} s",
            deliveries.waiting, deliveries.oldest_due_seconds
        ));
    }
    match status.endpoints.as_deref() {
        Some([]) => out::line("endpoints          no endpoint fails, and none waits"),
        Some(endpoints) => endpoints.iter().for_each(|endpoint| out::line(&line(endpoint))),
        None => {}
    }
    if let Some(error) = &status.database_error {
        out::line(&format!("postgresql         {error}"));
    }
}

fn line(endpoint: &Endpoint) -> String {
    let reason = endpoint.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let failing = endpoint.failing_since.map_or_else(String::new, |since| {
        format!(", {} failed attempts since {}", endpoint.failed_attempts, moment(since))
    });
    let Endpoint { id, host, state, waiting, .. } = endpoint;
    format!("endpoint           {id} {host}: {state}{reason}, {waiting} deliveries wait{failing}")
}

fn moment(at: DateTime<Utc>) -> String {
    at.trunc_subsecs(0).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
