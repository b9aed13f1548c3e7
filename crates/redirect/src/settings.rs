//! What an operator decides about the redirect; each key is explained in `defaults.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::IgnoredAny;
use service::settings::SettingsError;
use url::Url;

use crate::proxies::{AddressHeader, HOPS_MAX};

/// Most links that may be kept in memory: the table that finds so many takes 2 to 3 GiB.
const CACHED_LINKS_MAX: usize = 100_000_000;

/// The spool needs this many files to turn over.
const SEGMENTS_MIN: u64 = 4;

/// The settings of the process.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// The broker.
    pub nats: bus::Settings,
    /// Where links are kept.
    pub database: store::Settings,
    /// Logs and traces.
    pub telemetry: service::telemetry::Settings,
    /// The key that opens those of recipients' links.
    pub minting: webhook::sealing::Settings,
    /// What the redirect shares with the API.
    pub links: LinksSettings,
    /// The redirect's own.
    pub redirect: RedirectSettings,
}

/// Section `[links]`, which the API reads as well.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinksSettings {
    /// Where visitors reach the redirect: scheme, host and port.
    pub public_url: Url,
    /// Whether a host that no domain has leads to the default domain.
    pub any_host: bool,
    /// Of the API alone: what it has let in is in the database.
    #[serde(default)]
    pub domain_verification: IgnoredAny,
    /// Age at which a link in memory is asked for again.
    #[serde(with = "humantime_serde")]
    pub refresh: Duration,
    /// Age at which a link in memory is no longer served while the database is away; 0: never.
    #[serde(with = "humantime_serde")]
    pub stale_max: Duration,
}

/// Section `[redirect]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedirectSettings {
    /// Where visitors are answered.
    pub addr: SocketAddr,
    /// Where operators look.
    pub ops_addr: SocketAddr,
    /// Threads that answer; 0: one a core.
    pub workers: usize,
    /// Connections that are open at once, for each worker.
    pub connections_max: usize,
    /// How long an idle connection stays open.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
    /// How long a client may take to send its request's head.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Longest path and query, in bytes.
    pub url_bytes_max: usize,
    /// Links that are kept in memory.
    pub cached_links_max: usize,
    /// How long a visitor waits for the database.
    #[serde(with = "humantime_serde")]
    pub lookup_timeout: Duration,
    /// Proxies whose word about the client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// The one header in which they say it.
    pub address_header: AddressHeader,
    /// File of the address ranges whose word is taken as well, in a provider's own header; empty: none.
    pub provider_ranges: PathBuf,
    /// How many proxies append to the list, when they are counted and not known by address; 0: they are known.
    pub trusted_hops: usize,
    /// Whether connections of trusted proxies begin with a PROXY preamble.
    pub proxy_protocol: bool,
    /// `Referrer-Policy` of a redirect.
    pub referrer_policy: ReferrerPolicy,
    /// How long browsers are to reach us over https alone; 0: they are not told.
    #[serde(with = "humantime_serde")]
    pub hsts: Duration,
    /// What becomes of browsers that ask ahead.
    pub prefetch: Prefetch,
    /// How often a network may ask for what is not there, a minute; 0: as often as it likes.
    pub not_found_per_minute: u32,
    /// How often a network may try the password of one link, a minute.
    pub password_attempts_per_minute: u32,
    /// How long answers in hand and the spool's rest may take when the process stops.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    /// Visits that led nowhere.
    pub orphans: OrphanSettings,
    /// Clicks on disk.
    pub spool: SpoolSettings,
}

/// Section `[redirect.orphans]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrphanSettings {
    /// Visits of one network that are told of, a minute.
    pub per_source: u32,
    /// Visits that are told of, a minute.
    pub per_minute: u32,
}

/// What becomes of browsers that ask ahead of their person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefetch {
    /// They are answered like everyone, and enrichment tells them apart.
    Serve,
    /// They are asked to come when their person does.
    Refuse,
}

/// Section `[redirect.spool]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolSettings {
    /// The directory, of this process alone.
    pub dir: PathBuf,
    /// When what was written is flushed.
    pub sync: SyncMode,
    /// How often, with `sync = "interval"`.
    #[serde(with = "humantime_serde")]
    pub sync_interval: Duration,
    /// Size of a file.
    pub segment_bytes_max: u64,
    /// Age at which a file that has clicks is closed.
    #[serde(with = "humantime_serde")]
    pub segment_age_max: Duration,
    /// Size of all files.
    pub bytes_max: u64,
    /// Clicks that are published before the stream has taken the first.
    pub window_max: usize,
    /// How long a click that was shipped may take into the database before it is published again.
    #[serde(with = "humantime_serde")]
    pub confirm_after: Duration,
    /// Age at which a file is put aside whose clicks do not get into the database.
    #[serde(with = "humantime_serde")]
    pub unconfirmed_age_max: Duration,
    /// Clicks in memory that the spool could not take.
    pub direct_max: usize,
}

/// When the spool is flushed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// When the operating system pleases.
    Os,
    /// Every `sync_interval`.
    Interval,
    /// Before each answer; answers that wait at the same time share a flush.
    Always,
}

/// What a destination learns of the page that a visitor comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReferrerPolicy {
    /// Its origin, unless that would leave encryption.
    StrictOriginWhenCrossOrigin,
    /// Nothing.
    NoReferrer,
}

impl ReferrerPolicy {
    /// The header's value.
    pub const fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StrictOriginWhenCrossOrigin => "strict-origin-when-cross-origin",
            Self::NoReferrer => "no-referrer",
        }
    }
}

impl Settings {
    /// Every setting this process reads, with its default.
    pub const DEFAULTS: &[&str] = &[
        bus::DEFAULTS,
        store::DEFAULTS,
        service::DEFAULTS,
        webhook::sealing::MINTING_DEFAULTS,
        include_str!("../defaults.toml"),
    ];

    /// Loads and checks the settings.
    ///
    /// # Errors
    /// [`SettingsError`] names the key, the rule and the source.
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        let settings: Self = service::settings::load(Self::DEFAULTS, file)?;
        settings.validate()?;
        Ok(settings)
    }

    /// Refuses settings that contradict each other.
    ///
    /// # Errors
    /// [`SettingsError`] names the key and the rule.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.nats.validate().map_err(|(key, rule)| SettingsError::contradiction(key, rule))?;
        service::settings::check(&[(
            "redirect.spool.confirm_after",
            self.redirect.spool.confirm_after > self.nats.duplicate_window,
            "must be longer than nats.duplicate_window: within that the broker takes a click that is published again \
             for the one that it has lost",
        )])?;
        self.links.validate()?;
        self.redirect.validate()
    }
}

impl LinksSettings {
    fn validate(&self) -> Result<(), SettingsError> {
        let url = &self.public_url;
        let is_origin = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty();
        service::settings::check(&[
            (
                "links.public_url",
                is_origin,
                "must be scheme, host and port only, like https://go.example.com",
            ),
            ("links.refresh", !self.refresh.is_zero(), "must be longer than 0"),
            (
                "links.stale_max",
                self.stale_max.is_zero() || self.stale_max >= self.refresh,
                "must not be shorter than links.refresh, or 0 for no limit",
            ),
        ])
    }
}

impl RedirectSettings {
    /// The file of [`Self::provider_ranges`], if there is to be one.
    pub fn provider_ranges(&self) -> Option<&Path> {
        Some(self.provider_ranges.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    fn validate(&self) -> Result<(), SettingsError> {
        let spool = &self.spool;
        service::settings::check(&[
            (
                "redirect.provider_ranges",
                self.provider_ranges().is_none() || self.address_header.is_of_provider(),
                "is for cf-connecting-ip or true-client-ip: a visitor's own x-real-ip passes a provider",
            ),
            (
                "redirect.trusted_hops",
                self.trusted_hops == 0 || (self.address_header.is_list() && self.trusted_hops <= HOPS_MAX),
                "must be at most 32, and counts in a list: address_header x-forwarded-for or forwarded",
            ),
            (
                "redirect.proxy_protocol",
                !self.proxy_protocol || !self.trusted_proxies.is_empty(),
                "needs trusted_proxies: nobody else's preamble is read",
            ),
            ("redirect.connections_max", self.connections_max > 0, "must be at least 1"),
            (
                "redirect.cached_links_max",
                (1..=CACHED_LINKS_MAX).contains(&self.cached_links_max),
                "must be 1 to 100000000",
            ),
            ("redirect.lookup_timeout", !self.lookup_timeout.is_zero(), "must be longer than 0"),
            ("redirect.request_timeout", !self.request_timeout.is_zero(), "must be longer than 0"),
            (
                "redirect.password_attempts_per_minute",
                self.password_attempts_per_minute > 0,
                "must be at least 1: nobody could follow a link with a password",
            ),
            ("redirect.url_bytes_max", self.url_bytes_max >= 1024, "must be at least 1024"),
            (
                "redirect.ops_addr",
                self.ops_addr.port() == 0 || self.ops_addr != self.addr,
                "must not be redirect.addr: visitors would reach the metrics",
            ),
            ("redirect.spool.window_max", spool.window_max > 0, "must be at least 1"),
            ("redirect.spool.direct_max", spool.direct_max > 0, "must be at least 1"),
            ("redirect.spool.segment_age_max", !spool.segment_age_max.is_zero(), "must be longer than 0"),
            (
                "redirect.spool.unconfirmed_age_max",
                spool.unconfirmed_age_max >= spool.confirm_after,
                "must not be shorter than redirect.spool.confirm_after",
            ),
            (
                "redirect.spool.sync_interval",
                spool.sync != SyncMode::Interval || !spool.sync_interval.is_zero(),
                "must be longer than 0",
            ),
            (
                "redirect.spool.bytes_max",
                spool.segment_bytes_max >= 64 * 1024
                    && spool.bytes_max / SEGMENTS_MIN >= spool.segment_bytes_max,
                "must hold at least 4 files of redirect.spool.segment_bytes_max, which must be at least 65536",
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let settings: Settings = service::settings::load_from(Settings::DEFAULTS, None, variables)?;
        settings.validate()?;
        Ok(settings)
    }

    #[test]
    fn the_defaults_do_not_contradict_each_other() {
        let settings = with(&[]).expect("valid");

        assert_eq!(settings.redirect.trusted_proxies, []);
        assert_eq!(settings.redirect.spool.sync, SyncMode::Interval);
        assert!(!settings.links.any_host);
    }

    #[test]
    fn what_contradicts_is_refused_with_its_key() {
        let cases = [
            ("CLICKWIRE__REDIRECT__SPOOL__BYTES_MAX", "1000", "redirect.spool.bytes_max"),
            ("CLICKWIRE__REDIRECT__OPS_ADDR", "0.0.0.0:8080", "redirect.ops_addr"),
            ("CLICKWIRE__REDIRECT__SPOOL__SYNC_INTERVAL", "0s", "redirect.spool.sync_interval"),
            ("CLICKWIRE__REDIRECT__SPOOL__SYNC", "sometimes", "redirect.spool.sync"),
            ("CLICKWIRE__REDIRECT__SPOOL__SEGMENT_AGE_MAX", "0s", "redirect.spool.segment_age_max"),
            ("CLICKWIRE__REDIRECT__SPOOL__CONFIRM_AFTER", "0s", "redirect.spool.confirm_after"),
            ("CLICKWIRE__NATS__DUPLICATE_WINDOW", "5m", "redirect.spool.confirm_after"),
            ("CLICKWIRE__REDIRECT__SPOOL__UNCONFIRMED_AGE_MAX", "1m", "redirect.spool.unconfirmed_age_max"),
            ("CLICKWIRE__LINKS__PUBLIC_URL", "https://go.example.com/x", "links.public_url"),
            ("CLICKWIRE__LINKS__STALE_MAX", "1s", "links.stale_max"),
            ("CLICKWIRE__REDIRECT__PREFETCH", "sometimes", "redirect.prefetch"),
            ("CLICKWIRE__REDIRECT__PASSWORD_ATTEMPTS_PER_MINUTE", "0", "password_attempts_per_minute"),
            ("CLICKWIRE__REDIRECT__ADDRESS_HEADER", "x-client", "redirect.address_header"),
            ("CLICKWIRE__REDIRECT__PROVIDER_RANGES", "cloudflare.txt", "redirect.provider_ranges"),
            ("CLICKWIRE__REDIRECT__TRUSTED_HOPS", "33", "redirect.trusted_hops"),
            ("CLICKWIRE__REDIRECT__PROXY_PROTOCOL", "true", "redirect.proxy_protocol"),
            ("CLICKWIRE__REDIRECT__TRUSTED_PROXIES", "10.0.0.0/8,proxy", "redirect.trusted_proxies"),
        ];
        for (variable, value, key) in cases {
            let error = with(&[(variable, value)]).expect_err(variable).to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn a_provider_is_believed_in_a_header_that_it_writes_itself() {
        let with_ranges = |header| {
            with(&[
                ("CLICKWIRE__REDIRECT__PROVIDER_RANGES", "ranges.txt"),
                ("CLICKWIRE__REDIRECT__ADDRESS_HEADER", header),
            ])
        };
        for header in ["cf-connecting-ip", "true-client-ip"] {
            assert!(with_ranges(header).is_ok(), "{header}");
        }
        for header in ["x-real-ip", "x-forwarded-for", "forwarded"] {
            let error = with_ranges(header).expect_err(header).to_string();
            assert!(error.contains("redirect.provider_ranges") && error.contains("x-real-ip"), "{error}");
        }
    }

    #[test]
    fn proxies_are_given_as_networks() {
        let settings = with(&[("CLICKWIRE__REDIRECT__TRUSTED_PROXIES", "127.0.0.0/8, ::1/128")]);

        assert_eq!(settings.expect("valid").redirect.trusted_proxies.len(), 2);
    }
}
