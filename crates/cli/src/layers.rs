//! The settings of all services, read by one command: the same file and variables, other defaults where `up` has them.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use model::ownership::OwnershipCheck;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use service::settings::{self, SettingsError};
use url::Url;

/// What a person or a file has said; the defaults come from each service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    file: Option<PathBuf>,
    variables: Vec<(String, String)>,
}

/// The settings that `up` decides itself unless they are named, and that commands ask for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Named {
    pub nats: Broker,
    pub database: Database,
    pub redirect: Service,
    pub api: Service,
    pub sealing: Sealing,
    pub minting: Sealing,
    pub links: Links,
    pub deliver: Deliver,
}

/// Section `[nats]`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Broker {
    pub url: Option<String>,
}

/// Section `[database]`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Database {
    pub url: Option<String>,
}

/// Sections `[redirect]` and `[api]`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Service {
    pub addr: Option<SocketAddr>,
}

/// Sections `[sealing]` and `[minting]`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Sealing {
    pub key: Option<String>,
    pub key_file: Option<PathBuf>,
}

/// Section `[links]`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Links {
    pub public_url: Option<Url>,
    pub any_host: Option<bool>,
}

/// Section `[deliver]`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Deliver {
    pub ownership: Option<OwnershipCheck>,
}

impl Layers {
    /// `--config`, else what the services would read; and the variables of this process.
    pub(crate) fn new(config: Option<PathBuf>) -> Self {
        // a name or value that is not UTF-8 cannot be one of ours
        let variables =
            env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self { file: config.or_else(settings::file_of_environment), variables: variables.collect() }
    }

    /// The settings file, if there is one.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// Says something louder than file and variables: an option of the command line.
    pub(crate) fn insist(&mut self, variable: &str, value: String) {
        self.variables.push((variable.to_owned(), value));
    }

    /// Loads the settings `S` over `defaults`, where `ours` stands in for what nobody has said.
    pub(crate) fn load<S: DeserializeOwned>(
        &self,
        defaults: &[&str],
        ours: &toml::Table,
    ) -> Result<S, SettingsError> {
        let read: Vec<toml::Table> =
            defaults.iter().map(|text| text.parse().expect("compiled-in defaults are TOML")).collect();
        // only sections that the service reads: the loader takes the defaults' word for which those are
        let ours = ours.iter().filter(|(section, _)| read.iter().any(|table| table.contains_key(*section)));
        let ours: toml::Table = ours.map(|(section, value)| (section.clone(), value.clone())).collect();
        let ours = toml::to_string(&ours).expect("a table is TOML");
        let defaults: Vec<&str> = defaults.iter().copied().chain([ours.as_str()]).collect();
        settings::load_from(&defaults, self.file.as_deref(), self.variables.iter().cloned())
    }

    /// What file and variables say of the settings that `up` would decide.
    pub(crate) fn named(&self) -> anyhow::Result<Named> {
        let sections = "[nats]\n[database]\n[redirect]\n[api]\n[sealing]\n[minting]\n[links]\n[deliver]\n";
        settings::load_from(&[sections], self.file.as_deref(), self.variables.iter().cloned())
            .context("settings cannot be used")
    }
}
