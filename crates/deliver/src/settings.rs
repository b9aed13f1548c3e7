//! The settings of `deliver`, and the checks between them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use model::ownership::OwnershipCheck;
use serde::Deserialize;
use service::names;
use service::settings::SettingsError;

use crate::failing::Rule;
use crate::proxy::Proxy;

/// Leases shorter than this would be lost to a busy moment.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// All that `deliver` reads.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `[nats]`
    pub nats: bus::Settings,
    /// `[database]`
    pub database: store::Settings,
    /// `[sealing]`
    pub sealing: webhook::sealing::Settings,
    /// `[telemetry]`
    pub telemetry: service::telemetry::Settings,
    /// `[deliver]`
    pub deliver: DeliverSettings,
    /// `[api]`
    pub api: ApiSettings,
}

/// The part of `[api]` that bodies tell of; `api` reads the rest.
#[derive(Debug, Clone, Deserialize)]
pub struct ApiSettings {
    /// Where the API and the console are reached; empty: nobody knows.
    pub public_url: String,
}

/// `[deliver]`: see `defaults.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverSettings {
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub ops_addr: SocketAddr,
    /// Networks that are posted to although they are not public.
    pub allowed_networks: Vec<IpNet>,
    /// Refuse `http://`.
    pub https_only: bool,
    /// Ports that are posted to although another protocol owns them.
    pub allowed_ports: Vec<u16>,
    /// Name servers that are asked instead of the machine's resolver.
    pub dns_servers: Vec<SocketAddr>,
    /// What everything is sent through, if anything.
    #[serde(default)]
    pub proxy: Option<Proxy>,
    /// Longest look-up of a name.
    #[serde(with = "humantime_serde")]
    pub dns_timeout: Duration,
    /// Longest wait for a connection, look-up included.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Longest request, from the look-up to the last byte; endpoints may have their own.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Requests in flight to one endpoint; endpoints may have their own.
    pub max_in_flight: usize,
    /// Requests in flight, all endpoints together.
    pub in_flight_max: usize,
    /// How long the fast lane waits for a slot, and for an answer.
    #[serde(with = "humantime_serde")]
    pub patience: Duration,
    /// Longest pause that a subscriber may ask for.
    #[serde(with = "humantime_serde")]
    pub retry_after_max: Duration,
    /// How long a delivery is ours without a sign of life.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How often the slow lane looks for due deliveries.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// How old the endpoints in memory may become.
    #[serde(with = "humantime_serde")]
    pub endpoints_refresh: Duration,
    /// Most endpoints that are held in memory.
    pub endpoints_max: usize,
    /// Most endpoints that have connections of their own, with a certificate.
    pub client_certificates_max: usize,
    /// Most clicks of one batch.
    pub batch_max: usize,
    /// Most batches at a time.
    pub batches_max: usize,
    /// How long what a paused or disabled endpoint is owed waits for it.
    #[serde(with = "humantime_serde")]
    pub pause_hold: Duration,
    /// How long an endpoint may only fail before it is disabled; zero: for ever.
    #[serde(with = "humantime_serde")]
    pub auto_disable_after: Duration,
    /// Messages that have failed by then.
    pub auto_disable_failed_min: u32,
    /// From the first failure to the last.
    #[serde(with = "humantime_serde")]
    pub auto_disable_span_min: Duration,
    /// Of one endpoint's dead deliveries the alert URL is not told more often.
    #[serde(with = "humantime_serde")]
    pub alert_pause: Duration,
    /// How long the end may take.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    /// What it takes until an endpoint gets as much as it bears.
    pub ownership: OwnershipCheck,
}

/// How requests are sent: a part of [`DeliverSettings`].
#[derive(Debug, Clone)]
pub struct SendSettings {
    /// Networks that are posted to although they are not public.
    pub allowed_networks: Vec<IpNet>,
    /// Refuse `http://`.
    pub https_only: bool,
    /// Ports that are posted to although another protocol owns them.
    pub allowed_ports: Vec<u16>,
    /// Name servers that are asked instead of the machine's resolver.
    pub dns_servers: Vec<SocketAddr>,
    /// What everything is sent through, if anything.
    pub proxy: Option<Proxy>,
    /// Longest look-up of a name.
    pub dns_timeout: Duration,
    /// Longest wait for a connection, look-up included.
    pub connect_timeout: Duration,
    /// Longest request, from the look-up to the last byte; endpoints may have their own.
    pub request_timeout: Duration,
    /// Requests in flight in all, which may all go to one host.
    pub in_flight_max: usize,
    /// Most endpoints that have connections of their own, with a certificate.
    pub client_certificates_max: usize,
}

impl Settings {
    /// Every default, explained.
    pub const DEFAULTS: &[&str] = &[
        bus::DEFAULTS,
        store::DEFAULTS,
        service::DEFAULTS,
        webhook::sealing::DEFAULTS,
        include_str!("../defaults.toml"),
    ];

    /// Reads the settings from their layers and checks them.
    ///
    /// # Errors
    /// [`SettingsError`] names the key and where it was set.
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
        let public_url = &self.api.public_url;
        let is_web = ["http://", "https://"].iter().any(|scheme| public_url.starts_with(scheme));
        service::settings::check(&[(
            "api.public_url",
            public_url.is_empty() || is_web,
            "must be empty, or begin with http:// or https://",
        )])?;
        self.deliver.validate()
    }
}

impl DeliverSettings {
    /// What the sender needs of them.
    pub fn send(&self) -> SendSettings {
        SendSettings {
            allowed_networks: self.allowed_networks.clone(),
            https_only: self.https_only,
            allowed_ports: self.allowed_ports.clone(),
            dns_servers: self.dns_servers.clone(),
            proxy: self.proxy.clone(),
            dns_timeout: self.dns_timeout,
            connect_timeout: self.connect_timeout,
            request_timeout: self.request_timeout,
            in_flight_max: self.in_flight_max,
            client_certificates_max: self.client_certificates_max,
        }
    }

    /// When an endpoint that only fails is disabled, if ever.
    pub fn auto_disable(&self) -> Option<Rule> {
        let rule = Rule {
            after: self.auto_disable_after,
            failed_min: self.auto_disable_failed_min,
            span_min: self.auto_disable_span_min,
        };
        (!rule.after.is_zero()).then_some(rule)
    }

    fn validate(&self) -> Result<(), SettingsError> {
        let dns_servers = names::check_servers(&self.dns_servers);
        service::settings::check(&[
            ("deliver.dns_servers", dns_servers.is_ok(), dns_servers.err().unwrap_or_default()),
            ("deliver.max_in_flight", self.max_in_flight > 0, "must be at least 1"),
            (
                "deliver.in_flight_max",
                self.in_flight_max >= self.max_in_flight,
                "must not be below deliver.max_in_flight",
            ),
            ("deliver.dns_timeout", !self.dns_timeout.is_zero(), "must not be zero"),
            ("deliver.client_certificates_max", self.client_certificates_max > 0, "must be at least 1"),
            (
                "deliver.dns_timeout",
                self.dns_timeout <= self.connect_timeout,
                "must not be longer than deliver.connect_timeout",
            ),
            (
                "deliver.connect_timeout",
                self.connect_timeout <= self.request_timeout,
                "must not be longer than deliver.request_timeout",
            ),
            (
                "deliver.request_timeout",
                self.request_timeout <= self.drain_timeout,
                "must not be longer than deliver.drain_timeout: every stop would break requests off",
            ),
            (
                "deliver.patience",
                self.patience <= self.request_timeout,
                "must not be longer than deliver.request_timeout",
            ),
            ("deliver.lease", self.lease >= LEASE_MIN, "must be at least 1s"),
            ("deliver.patience", self.patience < self.lease, "must be shorter than deliver.lease"),
            ("deliver.poll_interval", !self.poll_interval.is_zero(), "must not be zero"),
            ("deliver.endpoints_refresh", !self.endpoints_refresh.is_zero(), "must not be zero"),
            ("deliver.endpoints_max", self.endpoints_max > 0, "must be at least 1"),
            (
                "deliver.pause_hold",
                !self.pause_hold.is_zero(),
                "must not be zero: pauses would lose what they hold",
            ),
            (
                "deliver.alert_pause",
                !self.alert_pause.is_zero(),
                "must not be zero: a flood of dead deliveries would be one of alerts",
            ),
            ("deliver.auto_disable_failed_min", self.auto_disable_failed_min > 0, "must be at least 1"),
            (
                "deliver.auto_disable_span_min",
                self.auto_disable().is_none_or(|rule| rule.span_min <= rule.after),
                "must not be longer than deliver.auto_disable_after",
            ),
            ("deliver.batch_max", self.batch_max > 0, "must be at least 1"),
            ("deliver.batches_max", self.batches_max > 0, "must be at least 1"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> Result<Settings, SettingsError> {
        service::settings::load_from(Settings::DEFAULTS, None, [(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn the_defaults_are_settings_and_agree_with_each_other() {
        let settings: Settings =
            service::settings::load_from(Settings::DEFAULTS, None, []).expect("the defaults parse");

        settings.validate().expect("they agree");
        assert_eq!(settings.deliver.ops_addr.port(), 9103);
    }

    #[test]
    fn no_time_switches_auto_disable_off() {
        let settings = with("CLICKWIRE__DELIVER__AUTO_DISABLE_AFTER", "0s").expect("settings");

        settings.validate().expect("they agree");
        assert_eq!(settings.deliver.auto_disable(), None);
    }

    #[test]
    fn a_proxy_is_one_or_is_refused() {
        let settings =
            with("CLICKWIRE__DELIVER__PROXY", "socks5://us:secret@proxy.internal").expect("settings");
        settings.validate().expect("they agree");
        assert!(settings.deliver.proxy.is_some() && !format!("{settings:?}").contains("us:secret"));

        assert!(with("CLICKWIRE__DELIVER__PROXY", "ftp://proxy.internal").is_err());
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        for (key, value, named) in [
            ("CLICKWIRE__DELIVER__DNS_TIMEOUT", "6s", "dns_timeout"),
            ("CLICKWIRE__DELIVER__DNS_SERVERS", "10.0.0.2:53,10.0.0.3:0", "dns_servers"),
            ("CLICKWIRE__DELIVER__CONNECT_TIMEOUT", "16s", "connect_timeout"),
            ("CLICKWIRE__DELIVER__REQUEST_TIMEOUT", "60s", "drain_timeout"),
            ("CLICKWIRE__DELIVER__PATIENCE", "10s", "patience"),
            ("CLICKWIRE__DELIVER__LEASE", "10ms", "lease"),
            ("CLICKWIRE__DELIVER__IN_FLIGHT_MAX", "1", "in_flight_max"),
            ("CLICKWIRE__DELIVER__BATCH_MAX", "0", "batch_max"),
            ("CLICKWIRE__DELIVER__CLIENT_CERTIFICATES_MAX", "0", "client_certificates_max"),
            ("CLICKWIRE__DELIVER__PAUSE_HOLD", "0s", "pause_hold"),
            ("CLICKWIRE__DELIVER__ALERT_PAUSE", "0s", "alert_pause"),
            ("CLICKWIRE__DELIVER__AUTO_DISABLE_AFTER", "1h", "auto_disable_span_min"),
            ("CLICKWIRE__DELIVER__AUTO_DISABLE_FAILED_MIN", "0", "auto_disable_failed_min"),
            ("CLICKWIRE__API__PUBLIC_URL", "clicks.example.com", "api.public_url"),
        ] {
            let error = with(key, value).expect("settings").validate().expect_err(key);
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
