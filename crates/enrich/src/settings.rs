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
        let batch_rule = format!("must be 1 to {}", bus::topology::PULL_MESSAGES_MAX);
        let is_long_enough = |secret: &VisitorSecret| secret.0.len() >= SECRET_CHARS_MIN;
        // two confirmations in a row is what publishing may wait for
        let needed = enrich.first_click_timeout.saturating_add(self.nats.request_timeout.saturating_mul(2));
        service::settings::check(&[
            (
                "enrich.batch_max",
                (1..=bus::topology::PULL_MESSAGES_MAX).contains(&enrich.batch_max),
                &batch_rule,
            ),
            ("enrich.batches_max", enrich.batches_max > 0, "must be at least 1"),
            (
                "enrich.coordinate_decimals",
                enrich.coordinate_decimals <= COORDINATE_DECIMALS_MAX,
                "must be 0 to 5",
            ),
            ("enrich.geo_poll", !enrich.geo_poll.is_zero(), "must be more than nothing"),
            ("enrich.agents_poll", !enrich.agents_poll.is_zero(), "must be more than nothing"),
            (
                "enrich.visitor_secret",
                enrich.visitor_secret.as_ref().is_none_or(is_long_enough),
                "must have at least 16 characters",
            ),
            (
                "enrich.batch_timeout",
                enrich.batch_timeout > needed,
                "must be longer than enrich.first_click_timeout and twice nats.request_timeout together",
            ),
        ])
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
