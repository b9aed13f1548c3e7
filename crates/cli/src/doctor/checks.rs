//! The looks themselves, each at one part.

use std::borrow::Cow;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bus::{Bus, ConsumerName, StreamName};
use chrono::Utc;
use enrich::geo::GeoFile;
use service::ops::Readiness;
use store::first_run::WORKSPACE_NAME;
use store::{domains, workspaces};

use crate::connections::{ConnectionOptions, Connections};
use crate::data_dir::{DataDir, Running};
use crate::setup::Moved;

use super::Diagnosis;

/// How long NATS and a running `up` may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Location files that are older are said to be old: networks change hands all the time.
const GEO_DAYS_MAX: i64 = 60;

/// More clicks than that are more than a moment's work.
const PENDING_MAX: u64 = 10_000;

/// From three quarters on `record` lets go of what `enrich` has done: who is fuller holds what nobody has worked off.
const CLICKS_PERCENT_MAX: u64 = 80;

/// What to do when something is missing on the broker.
const SET_UP: &str = "run `clickwire setup` with the same settings";

/// Everything, in the order of dependence.
pub(super) async fn all(
    connections: &Connections,
    options: &ConnectionOptions,
) -> anyhow::Result<Vec<Diagnosis>> {
    let data_dir = options.data_dir.dir()?;
    let settings = Settings::load(connections);
    let mut diagnoses =
        vec![run_of(connections.running.as_ref(), &data_dir), of_settings(connections, &settings)];
    diagnoses.push(database(connections).await);
    diagnoses.extend(domain(connections).await);
    diagnoses.extend(nats(connections).await);
    if let Ok(settings) = &settings {
        diagnoses.push(geo(settings.geo_dir.as_deref()));
        diagnoses.push(spool(&settings.spool_dir));
        diagnoses.push(sealing(settings, connections.is_elsewhere));
        diagnoses.push(match &connections.running {
            Some(running) => readiness(running).await,
            None => ports(&[("redirect.addr", settings.redirect_addr), ("api.addr", settings.api_addr)]),
        });
    }
    Ok(diagnoses)
}

/// What the looks need of the settings of all services.
struct Settings {
    geo_dir: Option<PathBuf>,
    spool_dir: PathBuf,
    redirect_addr: SocketAddr,
    api_addr: SocketAddr,
    sealing: webhook::sealing::Settings,
}

impl Settings {
    /// Loads and checks the settings of every service, as each would at its start.
    fn load(connections: &Connections) -> anyhow::Result<Self> {
        let ours = connections.ours_of_up();
        macro_rules! load {
            ($service:ident) => {{
                let settings: $service::Settings =
                    connections.layers.load($service::Settings::DEFAULTS, &ours)?;
                settings.validate()?;
                settings
            }};
        }
        let (redirect, enrich, api) = (load!(redirect), load!(enrich), load!(api));
        load!(deliver);
        load!(record);
        Ok(Self {
            geo_dir: enrich.enrich.geo_dir,
            spool_dir: redirect.redirect.spool.dir,
            redirect_addr: redirect.redirect.addr,
            api_addr: api.api.addr,
            sealing: api.sealing,
        })
    }
}

fn run_of(running: Option<&Running>, data_dir: &DataDir) -> Diagnosis {
    match running {
        Some(running) => {
            Diagnosis::ok("up", format!("runs as process {} on {}", running.pid, running.data_dir.display()))
        }
        None => Diagnosis::ok(
            "up",
            format!("does not run on {}; settings are looked at", data_dir.path().display()),
        ),
    }
}

fn of_settings(connections: &Connections, settings: &anyhow::Result<Settings>) -> Diagnosis {
    let file =
        connections.layers.file().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    match settings {
        Ok(_) => Diagnosis::ok("settings", format!("of all services are usable ({file})")),
        Err(error) => Diagnosis::fail(
            "settings",
            format!("{error:#}"),
            "correct the setting; each is explained in the `defaults.toml` of its service",
        ),
    }
}

async fn database(connections: &Connections) -> Diagnosis {
    const PART: &str = "postgresql";
    let mut conn = match store::connect(&connections.database).await {
        Ok(conn) => conn,
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            return Diagnosis::fail(
                PART,
                error,
                "start it, or set database.url; `clickwire up` brings its own",
            );
        }
    };
    match store::verify(&mut conn).await {
        Ok(()) => Diagnosis::ok(PART, "answers, and its tables are those of this version"),
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            Diagnosis::fail(PART, error, SET_UP)
        }
    }
}

/// With what new links begin; nothing when the database cannot say so, which [`database`] tells.
async fn domain(connections: &Connections) -> Option<Diagnosis> {
    const PART: &str = "domain";
    let mut conn = connections.database().await.ok()?;
    let workspace = workspaces::find_by_name(&mut conn, WORKSPACE_NAME).await.ok()??;
    let host = domains::default(&mut conn, workspace.id).await.ok()??.host;
    let named = connections.layers.named().ok()?.links.public_url;
    // as `up` says it
    let public_url = named.or_else(|| connections.running.as_ref()?.redirect_url.parse().ok());
    Some(match public_url.and_then(|public_url| Moved::of(&host, &public_url)) {
        Some(Moved { found, mend }) => Diagnosis::warn(PART, found, mend),
        None => Diagnosis::ok(PART, format!("of new links is {host}")),
    })
}

async fn nats(connections: &Connections) -> Vec<Diagnosis> {
    const PART: &str = "nats";
    let away = "start it, or set nats.url; `clickwire up` brings its own";
    let failed = |error: anyhow::Error, mend: &str| vec![Diagnosis::fail(PART, format!("{error:#}"), mend)];
    let bus = match Bus::connect(&connections.nats, "doctor").await {
        Ok(bus) => bus,
        Err(error) => return failed(anyhow::Error::from(error), away),
    };
    if let Err(error) = bus.wait_connected(PATIENCE).await {
        return failed(error.into(), away);
    }
    if let Err(error) = bus.verify().await {
        return failed(error.into(), SET_UP);
    }
    vec![consumers(PART, &bus).await, room(&bus).await]
}

async fn consumers(part: &'static str, bus: &Bus) -> Diagnosis {
    let mut waiting = Vec::new();
    for consumer in [ConsumerName::Enrich, ConsumerName::Deliver, ConsumerName::Record] {
        match bus.pending(consumer).await {
            Ok(pending) if pending > PENDING_MAX => {
                waiting.push(format!("{pending} for {}", consumer.as_str()))
            }
            Ok(_) => {}
            Err(error) => return Diagnosis::fail(part, format!("{:#}", anyhow::Error::from(error)), SET_UP),
        }
    }
    if waiting.is_empty() {
        return Diagnosis::ok(part, "answers, its streams are there, and no consumer is behind");
    }
    let mend = "look whether those services run; more replicas share the work";
    Diagnosis::warn(part, format!("messages wait: {}", waiting.join(", ")), mend)
}

/// How full the streams are. Only CLICKS refuses what is too much; the others let go of what is old, and are full at times.
async fn room(bus: &Bus) -> Diagnosis {
    const PART: &str = "streams";
    let (mut found, mut is_almost_full) = (Vec::new(), false);
    for stream in StreamName::ALL {
        match bus.fill(stream).await {
            Ok(fill) => {
                found.push(format!("{stream} {} %", fill.percent()));
                is_almost_full |= stream == StreamName::Clicks && fill.percent() >= CLICKS_PERCENT_MAX;
            }
            Err(error) => return Diagnosis::fail(PART, format!("{:#}", anyhow::Error::from(error)), SET_UP),
        }
    }
    let found = format!("are full to: {}", found.join(", "));
    if !is_almost_full {
        return Diagnosis::ok(PART, found);
    }
    let mend = "look whether `enrich` and `record` run: when CLICKS is full, clicks stay in the spools. For more room raise \
                nats.clicks_max_bytes and run `clickwire setup`";
    Diagnosis::warn(PART, found, mend)
}

fn geo(dir: Option<&Path>) -> Diagnosis {
    const PART: &str = "geo data";
    let fetch = "fetch files of the whole world with `scripts/geo-data`, into enrich.geo_dir";
    let files = dir.map(geo_files).unwrap_or_default();
    let (mut newest, mut has_places) = (None, false);
    for path in &files {
        let opened = fs::read(path).map_err(anyhow::Error::from);
        match opened.and_then(|bytes| Ok(GeoFile::open(Cow::Owned(bytes))?)) {
            Ok(file) => {
                newest = newest.max(Some(file.built_at()));
                has_places |= file.tells_places();
            }
            Err(error) => {
                let found = format!("{} cannot serve: {error:#}", path.display());
                return Diagnosis::warn(PART, found, fetch);
            }
        }
    }
    let Some(built_at) = newest.filter(|_| has_places) else {
        let extract = "a small extract serves: most addresses have no city";
        let found = match files.len() {
            0 => extract.to_owned(),
            count => format!("{count} files, none of which tells places; {extract}"),
        };
        return Diagnosis::warn(PART, found, fetch);
    };
    let days = (Utc::now() - built_at).num_days();
    let built_on = built_at.date_naive();
    let found = format!("{} files, the newest built on {built_on}, {days} days ago", files.len());
    if days > GEO_DAYS_MAX { Diagnosis::warn(PART, found, fetch) } else { Diagnosis::ok(PART, found) }
}

fn geo_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "mmdb")).collect()
}

fn spool(dir: &Path) -> Diagnosis {
    const PART: &str = "spool";
    if !dir.exists() {
        let found = format!("{} is not there yet; the redirect makes it", dir.display());
        return Diagnosis::ok(PART, found);
    }
    let probe = dir.join(format!(".doctor-{}", std::process::id()));
    if let Err(error) = fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)) {
        let mend = "let the redirect's user write there, or set redirect.spool.dir to a disk with room";
        return Diagnosis::fail(PART, format!("{} cannot be written: {error}", dir.display()), mend);
    }
    let sizes = fs::read_dir(dir).into_iter().flatten().filter_map(|entry| entry.ok()?.metadata().ok());
    let bytes: u64 = sizes.map(|metadata| metadata.len()).sum();
    Diagnosis::ok(PART, format!("{} can be written and holds {} KiB", dir.display(), bytes / 1024))
}

fn sealing(settings: &Settings, is_elsewhere: bool) -> Diagnosis {
    const PART: &str = "sealing key";
    let key_file = settings.sealing.key_file.as_deref();
    if !is_elsewhere && key_file.is_some_and(|path| !path.exists()) {
        return Diagnosis::ok(PART, "is not there yet; `clickwire up` makes it");
    }
    match settings.sealing.resolve(|path| fs::read_to_string(path)) {
        Ok(_) => Diagnosis::ok(PART, "is there"),
        Err(error) => {
            let mend = "set sealing.key_file to a file with the base64 of 32 random bytes: `openssl rand -base64 32`";
            Diagnosis::fail(PART, format!("{:#}", anyhow::Error::from(error)), mend)
        }
    }
}

async fn readiness(running: &Running) -> Diagnosis {
    const PART: &str = "services";
    let asked = async {
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
        let answer = client.get(format!("{}/readyz", running.ops_url)).send().await?;
        answer.json::<Readiness>().await
    };
    match asked.await {
        Ok(readiness) if readiness.ready && readiness.failing().is_empty() => Diagnosis::ok(
            PART,
            format!("are ready: links on {}, API on {}", running.redirect_url, running.api_url),
        ),
        Ok(readiness) => {
            let mend = "the log says more; with --detach it is clickwire.log in the data directory";
            if readiness.ready {
                Diagnosis::warn(PART, readiness.failing(), mend)
            } else {
                Diagnosis::fail(PART, readiness.failing(), mend)
            }
        }
        Err(error) => {
            let mend = "restart it: `clickwire down`, then `clickwire up`";
            Diagnosis::fail(PART, format!("{} does not answer: {error}", running.ops_url), mend)
        }
    }
}

/// Nothing runs that we know of: whether the services could listen.
fn ports(addresses: &[(&str, SocketAddr)]) -> Diagnosis {
    const PART: &str = "ports";
    let taken = addresses.iter().filter(|(_, addr)| TcpListener::bind(addr).is_err());
    let taken: Vec<String> = taken.map(|(setting, addr)| format!("{addr} ({setting})")).collect();
    if taken.is_empty() {
        return Diagnosis::ok(PART, "of redirect and API are free");
    }
    let mend = "if that is not Clickwire itself, stop what listens there or choose another address";
    Diagnosis::warn(PART, format!("taken: {}", taken.join(", ")), mend)
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    #[test]
    fn a_spool_that_is_a_file_fails() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("spool");
        fs::write(&file, "").unwrap();

        assert_eq!(spool(&file).health, Health::Fail);
        assert_eq!(spool(dir.path()).health, Health::Ok);
        assert_eq!(spool(&dir.path().join("none")).health, Health::Ok);
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();

        let diagnosis = ports(&[("api.addr", addr)]);

        assert_eq!(diagnosis.found, format!("taken: {addr} (api.addr)"));
        assert_eq!(diagnosis.health, Health::Warn);
    }

    #[test]
    fn without_location_files_the_extract_serves() {
        let dir = tempfile::tempdir().unwrap();

        assert_eq!(geo(Some(dir.path())).health, Health::Warn);
        fs::write(dir.path().join("broken.mmdb"), "x").unwrap();
        assert!(geo(Some(dir.path())).found.contains("broken.mmdb cannot serve"));
    }

    #[test]
    fn a_file_of_networks_alone_leaves_places_to_the_extract() {
        let dir = tempfile::tempdir().unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../enrich/tests/data/GeoLite2-ASN-Test.mmdb");
        fs::copy(file, dir.path().join("asn.mmdb")).unwrap();

        let diagnosis = geo(Some(dir.path()));

        let found =
            "1 files, none of which tells places; a small extract serves: most addresses have no city";
        assert_eq!((diagnosis.health, diagnosis.found.as_str()), (Health::Warn, found));
    }

    #[test]
    fn when_location_files_were_built_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../enrich/tests/data/GeoIP2-City-Test.mmdb");
        fs::copy(&file, dir.path().join("city.mmdb")).unwrap();
        let built_at = GeoFile::open(Cow::Owned(fs::read(&file).unwrap())).unwrap().built_at();

        let found = geo(Some(dir.path())).found;

        let built_on = format!("1 files, the newest built on {}, ", built_at.date_naive());
        assert!(found.starts_with(&built_on), "{found}");
    }
}
