//! What an operator can set; `defaults.toml` explains each key.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use service::settings::SettingsError;

/// Most digits of a coordinate after the point: a metre.
const COORDINATE_DECIMALS_MAX: u8 = 5;

/// Fewest characters of a secret that cannot be found by trying.
const SECRET_CHARS_MIN: usize = 16;

/// The settings of this process.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// The broker.
    pub nats: bus::Settings,
    /// The database.
    pub database: store::Settings,
    /// Logs and traces.
    pub telemetry: service::telemetry::Settings,
    /// Enrichment itself.
    pub enrich: EnrichSettings,
}

/// Section `[enrich]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrichSettings {
    /// Where metrics and health are served.
    pub ops_addr: SocketAddr,
    /// Folder of location files.
    #[serde(default)]
    pub geo_dir: Option<PathBuf>,
    /// How often the folder is looked at.
    #[serde(with = "humantime_serde")]
    pub geo_poll: Duration,
    /// Digits of a coordinate after the point.
    pub coordinate_decimals: u8,
    /// Folder of newer data about User-Agents.
    #[serde(default)]
    pub agents_dir: Option<PathBuf>,
    /// How often that folder is looked at.
    #[serde(with = "humantime_serde")]
    pub agents_poll: Duration,
    /// User-Agents that are remembered.
    pub agents_max: usize,
    /// Mixed into the hashes that tell visitors apart.
    #[serde(default)]
    pub visitor_secret: Option<VisitorSecret>,
    /// How long the answer to "first click?" may take.
    #[serde(with = "humantime_serde")]
    pub first_click_timeout: Duration,
    /// How long nothing is asked after a failure.
    #[serde(with = "humantime_serde")]
    pub first_click_pause: Duration,
    /// Clicks of one batch.
    pub batch_max: usize,
    /// Batches in hand at once.
    pub batches_max: usize,
    /// A batch that takes longer comes again.
    #[serde(with = "humantime_serde")]
    pub batch_timeout: Duration,
    /// How long stopping waits for what is in hand.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
}

/// A secret that does not print itself.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct VisitorSecret(String);

impl VisitorSecret {
    /// Its bytes, to make a key of.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for VisitorSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VisitorSecret")
    }
}

impl Settings {
    /// The defaults of every section that is read.
    pub const DEFAULTS: &[&str] =
        &[include_str!("../defaults.toml"), bus::DEFAULTS, store::DEFAULTS, service::DEFAULTS];

    /// Defaults, then `file`, then the environment.
    ///
    /// # Errors
    /// When a key is unknown or a value cannot be used; the error names it.
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        let settings: Self = service::settings::load(Self::DEFAULTS, file)?;
        settings.validate()?;
        Ok(settings)
    }

    /// Refuses what cannot work, before anything is opened.
    ///
    /// # Errors
    /// The setting and what it must be.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.nats.validate().map_err(|(key, rule)| SettingsError::contradiction(key, rule))?;
        let enrich = &self.enrich;
        let wrong = |key: &str, rule: &str| Err(SettingsError::contradiction(&format!("enrich.{key}"), rule));
        if !(1..=bus::topology::PULL_MESSAGES_MAX).contains(&enrich.batch_max) {
            let rule = format!("must be 1 to {}", bus::topology::PULL_MESSAGES_MAX);
            return wrong("batch_max", &rule);
        }
        if enrich.batches_max == 0 {
            return wrong("batches_max", "must be at least 1");
        }
        if enrich.coordinate_decimals > COORDINATE_DECIMALS_MAX {
            return wrong("coordinate_decimals", "must be 0 to 5");
        }
        if enrich.geo_poll.is_zero() {
            return wrong("geo_poll", "must be more than nothing");
        }
        if enrich.agents_poll.is_zero() {
            return wrong("agents_poll", "must be more than nothing");
        }
        if enrich.visitor_secret.as_ref().is_some_and(|secret| secret.0.len() < SECRET_CHARS_MIN) {
            return wrong("visitor_secret", "must have at least 16 characters");
        }
        // two confirmations in a row is what publishing may wait for
        let needed = enrich.first_click_timeout + 2 * self.nats.request_timeout;
        if enrich.batch_timeout <= needed {
            let rule =
                "must be longer than enrich.first_click_timeout and twice nats.request_timeout together";
            return wrong("batch_timeout", rule);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let settings: Settings = service::settings::load_from(Settings::DEFAULTS, None, variables)?;
        settings.validate()?;
        Ok(settings)
    }

    #[test]
    fn the_defaults_work() {
        let settings = load(&[]).expect("defaults");

        assert_eq!(settings.enrich.ops_addr.port(), 9102);
        assert_eq!(settings.enrich.geo_dir, None);
    }

    #[test]
    fn a_setting_that_cannot_work_is_refused_by_name() {
        for (key, value) in [
            ("BATCH_MAX", "0"),
            ("BATCH_MAX", "100000"),
            ("BATCHES_MAX", "0"),
            ("COORDINATE_DECIMALS", "6"),
            ("GEO_POLL", "0s"),
            ("AGENTS_POLL", "0s"),
            ("VISITOR_SECRET", "short"),
            ("BATCH_TIMEOUT", "100ms"),
            ("NO_SUCH_KEY", "1"),
        ] {
            let error = load(&[(&format!("CLICKWIRE__ENRICH__{key}"), value)]).expect_err(key);

            assert!(error.to_string().contains(&key.to_lowercase()), "{error}");
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        let settings = load(&[("CLICKWIRE__ENRICH__VISITOR_SECRET", "0123456789abcdef")]).expect("a secret");

        assert!(!format!("{settings:?}").contains("0123456789abcdef"));
    }
}
