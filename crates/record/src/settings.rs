//! What an operator can set; `defaults.toml` explains each key.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bus::Limits;
use serde::Deserialize;
use service::settings::SettingsError;

/// ENRICHED is kept for 7 days: what comes again must meet the delivery that it has.
const DELIVERIES_KEPT_DAYS_MIN: u32 = 8;

/// What was clicked is in the reports within a minute, at that pause and with some time to count.
const ROLLUP_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Longer nobody shall look for a click in vain.
const GATHER_MAX: Duration = Duration::from_millis(500);

/// The settings of this process.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// The broker.
    pub nats: bus::Settings,
    /// The database.
    pub database: store::Settings,
    /// Logs and traces.
    pub telemetry: service::telemetry::Settings,
    /// Recording itself.
    pub record: RecordSettings,
}

/// Section `[record]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordSettings {
    /// Where metrics and health are served.
    pub ops_addr: SocketAddr,
    /// Clicks of one batch.
    pub batch_max: usize,
    /// Batches in hand at once.
    pub batches_max: usize,
    /// After a batch the next is asked for so much later.
    #[serde(with = "humantime_serde")]
    pub gather: Duration,
    /// A batch that takes longer comes again.
    #[serde(with = "humantime_serde")]
    pub batch_timeout: Duration,
    /// How long clicks wait that the database could not take.
    #[serde(with = "humantime_serde")]
    pub retry_delay: Duration,
    /// How often an empty outbox is looked at.
    #[serde(with = "humantime_serde")]
    pub outbox_poll: Duration,
    /// Events that are published at a time.
    pub outbox_batch_max: u32,
    /// How often partitions are made.
    #[serde(with = "humantime_serde")]
    pub partitions_every: Duration,
    /// For how many days ahead.
    pub partitions_days_ahead: u32,
    /// Days of the delivery log that are kept; 0: for ever.
    pub deliveries_kept_days: u32,
    /// Days of their attempts that are kept, if those are fewer; 0: as many.
    pub attempts_kept_days: u32,
    /// Days of clicks that are kept; 0: for ever.
    pub clicks_kept_days: u32,
    /// Days of counts that are kept; 0: for ever.
    pub rollups_kept_days: u32,
    /// How long a quarter of an hour rests before it is counted again.
    #[serde(with = "humantime_serde")]
    pub rollup_pause: Duration,
    /// How often it is looked whether CLICKS needs room.
    #[serde(with = "humantime_serde")]
    pub room_every: Duration,
    /// How long stopping waits for what is in hand.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
}

impl RecordSettings {
    /// The limits of the consumers.
    pub fn limits(&self) -> Limits {
        Limits {
            batch_max: self.batch_max,
            batches_max: self.batches_max,
            gather: self.gather,
            handle_timeout: self.batch_timeout,
            drain_timeout: self.drain_timeout,
        }
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
        let record = &self.record;
        let batch_rule = format!("must be 1 to {}", bus::topology::PULL_MESSAGES_MAX);
        let needed = self.database.connect_timeout.saturating_add(self.database.statement_timeout);
        let (clicks, deliveries) = (record.clicks_kept_days, record.deliveries_kept_days);
        service::settings::check(&[
            (
                "record.batch_max",
                (1..=bus::topology::PULL_MESSAGES_MAX).contains(&record.batch_max),
                &batch_rule,
            ),
            (
                "record.batches_max",
                (1..=self.database.pool_max).contains(&record.batches_max),
                "must be at least 1 and at most database.pool_max",
            ),
            (
                "record.gather",
                record.gather <= GATHER_MAX,
                "must be at most 500ms: what was clicked is to be found soon, and counted against max_clicks",
            ),
            (
                "record.batch_timeout",
                record.batch_timeout > needed,
                "must be longer than database.connect_timeout and database.statement_timeout together",
            ),
            ("record.outbox_poll", !record.outbox_poll.is_zero(), "must be more than nothing"),
            ("record.partitions_every", !record.partitions_every.is_zero(), "must be more than nothing"),
            ("record.room_every", !record.room_every.is_zero(), "must be more than nothing"),
            (
                "record.deliveries_kept_days",
                !(1..DELIVERIES_KEPT_DAYS_MIN).contains(&deliveries),
                "must be 0, or at least 8: longer than the stream they are made from",
            ),
            (
                "record.clicks_kept_days",
                clicks == 0 || (deliveries > 0 && clicks >= deliveries),
                "must be 0, or at least record.deliveries_kept_days: bodies are rendered from clicks",
            ),
            (
                "record.rollups_kept_days",
                !(1..clicks.max(1)).contains(&record.rollups_kept_days),
                "must be 0, or at least record.clicks_kept_days",
            ),
            (
                "record.rollup_pause",
                record.rollup_pause <= ROLLUP_PAUSE_MAX,
                "must be at most 30s: reports are to be right within a minute",
            ),
            ("record.outbox_batch_max", record.outbox_batch_max > 0, "must be at least 1"),
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
        assert_eq!(load(&[]).expect("defaults").record.ops_addr.port(), 9104);
    }

    #[test]
    fn a_setting_that_cannot_work_is_refused_by_name() {
        for (key, value) in [
            ("BATCH_MAX", "0"),
            ("BATCHES_MAX", "0"),
            ("BATCHES_MAX", "1000"),
            ("GATHER", "501ms"),
            ("BATCH_TIMEOUT", "10s"),
            ("OUTBOX_POLL", "0s"),
            ("PARTITIONS_EVERY", "0s"),
            ("ROOM_EVERY", "0s"),
            ("OUTBOX_BATCH_MAX", "0"),
            ("DELIVERIES_KEPT_DAYS", "7"),
            ("CLICKS_KEPT_DAYS", "89"),
            ("ROLLUP_PAUSE", "31s"),
            ("NO_SUCH_KEY", "1"),
        ] {
            let error = load(&[(&format!("CLICKWIRE__RECORD__{key}"), value)]).expect_err(key);

            assert!(error.to_string().contains(&key.to_lowercase()), "{error}");
        }
    }

    #[test]
    fn counts_outlive_their_clicks_and_clicks_their_deliveries() {
        let kept = |deliveries: &str, clicks: &str, rollups: &str| {
            load(&[
                ("CLICKWIRE__RECORD__DELIVERIES_KEPT_DAYS", deliveries),
                ("CLICKWIRE__RECORD__CLICKS_KEPT_DAYS", clicks),
                ("CLICKWIRE__RECORD__ROLLUPS_KEPT_DAYS", rollups),
            ])
        };

        for (deliveries, clicks, rollups) in [("30", "60", "90"), ("30", "30", "0"), ("0", "0", "400")] {
            kept(deliveries, clicks, rollups).expect("days that work");
        }
        for (deliveries, clicks, rollups) in [("30", "29", "0"), ("0", "90", "0"), ("30", "60", "59")] {
            kept(deliveries, clicks, rollups).expect_err("days that do not");
        }
    }
}
