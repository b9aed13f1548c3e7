//! Which database and broker a command works on: those that settings name, else those of a running `up`, else the
//! defaults.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Deserialize;

use crate::data_dir::{DataDir, DataDirOption, Running};
use crate::layers::{Layers, Named};

/// Options of the commands that work on a database or broker.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConnectionOptions {
    /// Settings file; otherwise CLICKWIRE_CONFIG, otherwise ./clickwire.toml if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    pub data_dir: DataDirOption,
}

/// What the options lead to.
#[derive(Debug)]
pub(crate) struct Connections {
    pub database: store::Settings,
    pub nats: bus::Settings,
    /// The `up` that was found, unless settings name a database and a broker that are not the ones it works on.
    pub running: Option<Running>,
    /// Settings name both, and no `up` was found that works on them: services run apart, and `up` has no part in it.
    pub is_elsewhere: bool,
    /// Where `up` keeps everything, unless services run apart.
    data_dir: Option<DataDir>,
    pub layers: Layers,
    /// What stands in for settings that nobody made.
    pub ours: toml::Table,
}

impl ConnectionOptions {
    /// Reads settings and looks for a running `up`.
    pub(crate) fn find(&self) -> anyhow::Result<Connections> {
        #[derive(Deserialize)]
        struct Settings {
            database: store::Settings,
            nats: bus::Settings,
        }

        let layers = Layers::new(self.config.clone());
        let named = layers.named()?;
        let names_both = named.nats.url.is_some() && named.database.url.is_some();
        let data_dir = match self.data_dir.dir() {
            // services that run apart need none
            Err(_) if names_both => None,
            dir => Some(dir?),
        };
        let running = data_dir.as_ref().and_then(DataDir::running);
        let running = running.filter(|running| !names_both || works_on(running, &named));
        let is_elsewhere = names_both && running.is_none();
        let ours = running.as_ref().map(urls).unwrap_or_default();
        let settings: Settings = layers.load(&[store::DEFAULTS, bus::DEFAULTS], &ours)?;
        Ok(Connections {
            database: settings.database,
            nats: settings.nats,
            running,
            is_elsewhere,
            data_dir: data_dir.filter(|_| !is_elsewhere),
            layers,
            ours,
        })
    }
}

impl Connections {
    /// A connection to the database, whose tables are the ones this program knows.
    pub(crate) async fn database(&self) -> anyhow::Result<store::Connection> {
        let advice = "the database cannot be reached: run `clickwire up`, or set database.url (`clickwire doctor` looks closer)";
        let mut conn = store::connect(&self.database).await.context(advice)?;
        store::verify(&mut conn).await?;
        Ok(conn)
    }

    /// Whether a host that no domain has stands for the default one: as settings say, else as the `up` that runs has it.
    pub(crate) fn any_host(&self) -> anyhow::Result<bool> {
        Ok(self.layers.named()?.links.any_host.unwrap_or(self.running.is_some()))
    }

    /// `ours`, and where `up` keeps what it is told no other place for; as it is when services run apart.
    pub(crate) fn ours_of_up(&self) -> toml::Table {
        let mut ours = self.ours.clone();
        let Some(data_dir) = &self.data_dir else { return ours };
        let path = |path: PathBuf| toml::Value::from(path.to_string_lossy().into_owned());
        let table = |key: &str, value: toml::Value| {
            toml::Value::from(toml::Table::from_iter([(key.to_owned(), value)]))
        };
        ours.insert("enrich".to_owned(), table("geo_dir", path(data_dir.geo())));
        ours.insert("redirect".to_owned(), table("spool", table("dir", path(data_dir.spool()))));
        let named = self.layers.named().unwrap_or_default();
        if named.sealing.key.is_none() && named.sealing.key_file.is_none() {
            ours.insert("sealing".to_owned(), table("key_file", path(data_dir.sealing_key())));
        }
        if named.minting.key.is_none() && named.minting.key_file.is_none() {
            ours.insert("minting".to_owned(), table("key_file", path(data_dir.minting_key())));
        }
        ours
    }
}

/// Whether an `up` has the database and the broker that settings name.
fn works_on(running: &Running, named: &Named) -> bool {
    named.database.url.as_deref() == Some(running.database_url.as_str())
        && named.nats.url.as_deref() == Some(running.nats_url.as_str())
}

fn urls(running: &Running) -> toml::Table {
    let url = |url: &str| toml::Table::from_iter([("url".to_owned(), url.into())]);
    toml::Table::from_iter([
        ("database".to_owned(), url(&running.database_url).into()),
        ("nats".to_owned(), url(&running.nats_url).into()),
    ])
}
