//! What an operator can set; every key is explained in `defaults.toml`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use model::AddressPolicy;
use model::ownership::OwnershipCheck;
use service::names;
use service::settings::SettingsError;

/// Most links of one transaction: one notice names as many.
const BULK_BATCH_LIMIT: usize = 1000;
const _: () = assert!(
    BULK_BATCH_LIMIT <= store::link_import::LINKS_MAX,
    "the links of one transaction are made by one statement"
);

/// Most headers that the server reads at all.
const HEADERS_LIMIT: usize = 96;

/// Most bytes of a request before its body that the server reads at all.
const HEADERS_BYTES_LIMIT: usize = 128 * 1024;

/// Everything this process reads.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// The message broker.
    pub nats: bus::Settings,
    /// The database.
    pub database: store::Settings,
    /// Logs and traces.
    pub telemetry: service::telemetry::Settings,
    /// The key that secrets and sessions are sealed with.
    pub sealing: webhook::sealing::Settings,
    /// The key that those of recipients' links are sealed with.
    pub minting: webhook::sealing::Settings,
    /// This service.
    pub api: ApiSettings,
    /// What it shares with `redirect`.
    pub links: LinksSettings,
    /// What it shares with `deliver`.
    pub deliver: DeliverSettings,
    /// What it tells of `record`.
    pub record: RecordSettings,
}

/// `[api]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiSettings {
    /// Where API and console are served.
    pub addr: SocketAddr,
    /// Where health and metrics are served.
    pub ops_addr: SocketAddr,
    /// Threads that answer requests.
    pub workers: usize,
    /// Connections at a time.
    pub connections_max: usize,
    /// Longest request body.
    pub body_max_bytes: usize,
    /// Longest address with its query.
    pub uri_max_bytes: usize,
    /// Parameters of a query.
    pub query_parameters_max: usize,
    /// Headers of a request.
    pub headers_max: usize,
    /// All headers of a request, names and values.
    pub headers_max_bytes: usize,
    /// Requests per second of one API key, on and on.
    pub requests_per_second: u32,
    /// Requests that it may make at once.
    pub requests_burst: u32,
    /// The same of all keys of a workspace together.
    pub workspace_requests_per_second: u32,
    /// The same of all keys of a workspace together.
    pub workspace_requests_burst: u32,
    /// The same of an address, without a key that opens anything.
    pub unknown_requests_per_second: u32,
    /// The same of an address, without a key that opens anything.
    pub unknown_requests_burst: u32,
    /// Keys, workspaces and addresses that are counted one by one, of each.
    pub rate_buckets_max: usize,
    /// Links of one bulk request.
    pub bulk_lines_max: u64,
    /// Links with a password of one bulk request.
    pub bulk_passwords_max: u64,
    /// Links of one transaction of a bulk request.
    pub bulk_batch_max: usize,
    /// Bulk requests at a time.
    pub bulk_requests_max: usize,
    /// Bulk requests of one workspace at a time.
    pub bulk_workspace_requests_max: usize,
    /// How long a bulk request may take to send a line, or leave its results unread.
    #[serde(with = "humantime_serde")]
    pub bulk_idle_timeout: Duration,
    /// How often the key of a bulk request or an export is looked up again.
    #[serde(with = "humantime_serde")]
    pub bulk_key_interval: Duration,
    /// Exports at a time.
    pub exports_max: usize,
    /// Exports of one workspace at a time.
    pub exports_workspace_max: usize,
    /// Live streams of clicks at a time.
    pub live_streams_max: usize,
    /// Live streams of one workspace at a time.
    pub live_workspace_streams_max: usize,
    /// Live streams of one key, or of sessions opened with it, at a time.
    pub live_key_streams_max: usize,
    /// Requests that wait for events at a time.
    pub pulls_waiting_max: usize,
    /// Those of one workspace.
    pub pulls_workspace_waiting_max: usize,
    /// How often a live stream gives a sign of life.
    #[serde(with = "humantime_serde")]
    pub live_heartbeat: Duration,
    /// How long one request may take.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long requests in hand may take after a signal to stop.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    /// How long a test of an endpoint may take.
    #[serde(with = "humantime_serde")]
    pub test_timeout: Duration,
    /// How long a host name is looked up when an endpoint is saved.
    #[serde(with = "humantime_serde")]
    pub resolve_timeout: Duration,
    /// What links to the console begin with; empty: as the console was asked for.
    pub public_url: String,
    /// Proxies whose word about the client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a sign-in to the console lasts.
    #[serde(with = "humantime_serde")]
    pub session_lifetime: Duration,
    /// How long a person's sign-in lasts when it is not used.
    #[serde(with = "humantime_serde")]
    pub session_idle: Duration,
    /// Send the session cookie over https only.
    pub secure_cookies: bool,
    /// Failed sign-ins from one address within a minute.
    pub sign_in_failures_max: u32,
    /// Failed sign-ins with one e-mail address within a minute.
    pub sign_in_account_failures_max: u32,
    /// Endpoints of one workspace.
    pub endpoints_max: u32,
    /// Domains of one workspace.
    pub domains_max: u32,
    /// API keys of one workspace.
    pub keys_max: u32,
    /// Contacts of one workspace that are being erased at a time.
    pub erasures_open_max: u32,
    /// People and open invitations of one workspace.
    pub people_max: u32,
}

/// The part of `[links]` that is read here; `redirect` reads the rest.
#[derive(Debug, Clone, Deserialize)]
pub struct LinksSettings {
    /// What tracked URLs of the default domain begin with.
    pub public_url: url::Url,
    /// Whether domains are used before it is proven whose they are.
    pub domain_verification: DomainVerification,
}

/// What it takes until a domain is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainVerification {
    /// A TXT record of its name.
    Required,
    /// Nothing.
    Off,
}

/// The part of `[deliver]` that is read here; `deliver` reads the rest.
#[derive(Debug, Clone, Deserialize)]
pub struct DeliverSettings {
    /// Networks that webhooks may be sent to although they are not public.
    pub allowed_networks: AddressPolicy,
    /// Refuse endpoints whose URL is not https.
    pub https_only: bool,
    /// Ports that webhooks may be sent to although another protocol owns them.
    pub allowed_ports: Vec<u16>,
    /// Name servers that are asked instead of the machine's resolver.
    pub dns_servers: Vec<SocketAddr>,
    /// How long an endpoint may only fail before it is disabled: the console says so.
    #[serde(with = "humantime_serde")]
    pub auto_disable_after: Duration,
    /// What it takes until an endpoint gets as much as it bears: the console says so.
    pub ownership: OwnershipCheck,
}

/// The part of `[record]` that the console tells of; `record` reads the rest.
#[derive(Debug, Clone, Deserialize)]
pub struct RecordSettings {
    /// Days that deliveries are kept; 0: for ever.
    pub deliveries_kept_days: u32,
    /// Days that attempts are kept, if those are fewer; 0: as many.
    pub attempts_kept_days: u32,
    /// Days that clicks are kept; 0: for ever.
    pub clicks_kept_days: u32,
    /// Days that counts are kept; 0: for ever.
    pub rollups_kept_days: u32,
}

impl ApiSettings {
    /// What links to the console begin with, if that is set.
    pub fn console_url(&self) -> Option<url::Url> {
        let url: url::Url = self.public_url.parse().ok()?;
        let is_base = matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
        is_base.then_some(url)
    }

    /// Limits that nothing could come in under are refused.
    fn validate_limits(&self) -> Result<(), SettingsError> {
        let headers_rule = format!("must be 1 to {HEADERS_LIMIT}");
        let headers_bytes_rule = format!("must be 1 to {HEADERS_BYTES_LIMIT}");
        let at_least_1 = "must be at least 1";
        service::settings::check(&[
            ("api.workers", self.workers > 0, at_least_1),
            ("api.connections_max", self.connections_max > 0, at_least_1),
            ("api.requests_per_second", self.requests_per_second > 0, at_least_1),
            ("api.workspace_requests_per_second", self.workspace_requests_per_second > 0, at_least_1),
            ("api.unknown_requests_per_second", self.unknown_requests_per_second > 0, at_least_1),
            ("api.requests_burst", self.requests_burst > 0, at_least_1),
            ("api.workspace_requests_burst", self.workspace_requests_burst > 0, at_least_1),
            ("api.unknown_requests_burst", self.unknown_requests_burst > 0, at_least_1),
            ("api.sign_in_failures_max", self.sign_in_failures_max > 0, at_least_1),
            ("api.sign_in_account_failures_max", self.sign_in_account_failures_max > 0, at_least_1),
            ("api.rate_buckets_max", self.rate_buckets_max > 0, at_least_1),
            ("api.headers_max", (1..=HEADERS_LIMIT).contains(&self.headers_max), &headers_rule),
            (
                "api.headers_max_bytes",
                (1..=HEADERS_BYTES_LIMIT).contains(&self.headers_max_bytes),
                &headers_bytes_rule,
            ),
            ("api.uri_max_bytes", self.uri_max_bytes > 0, at_least_1),
            ("api.query_parameters_max", self.query_parameters_max > 0, at_least_1),
        ])
    }

    /// Rules of the console's URL, and of streams and requests that wait.
    fn validate_streams(&self) -> Result<(), SettingsError> {
        service::settings::check(&[
            (
                "api.public_url",
                self.public_url.is_empty() || self.console_url().is_some(),
                "must be empty, or begin with http:// or https:// and name a host",
            ),
            (
                "api.live_workspace_streams_max",
                (1..=self.live_streams_max).contains(&self.live_workspace_streams_max),
                "must be at least 1 and at most api.live_streams_max",
            ),
            (
                "api.live_key_streams_max",
                (1..=self.live_workspace_streams_max).contains(&self.live_key_streams_max),
                "must be at least 1 and at most api.live_workspace_streams_max",
            ),
            (
                "api.pulls_workspace_waiting_max",
                (1..=self.pulls_waiting_max).contains(&self.pulls_workspace_waiting_max),
                "must be at least 1 and at most api.pulls_waiting_max",
            ),
            ("api.live_heartbeat", !self.live_heartbeat.is_zero(), "must be more than nothing"),
        ])
    }
}

impl Settings {
    /// The defaults of every section, in the order in which they are merged.
    pub const DEFAULTS: &[&str] = &[
        bus::DEFAULTS,
        store::DEFAULTS,
        service::DEFAULTS,
        webhook::sealing::DEFAULTS,
        webhook::sealing::MINTING_DEFAULTS,
        include_str!("../defaults.toml"),
    ];

    /// The defaults, then `file` or what the environment names, then variables.
    ///
    /// # Errors
    /// [`SettingsError`] names the key and where it was written.
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        let settings: Self = service::settings::load(Self::DEFAULTS, file)?;
        settings.validate()?;
        Ok(settings)
    }

    /// Refuses settings that contradict each other.
    ///
    /// # Errors
    /// [`SettingsError`] names the key that must change.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.nats.validate().map_err(|(key, rule)| SettingsError::contradiction(key, rule))?;
        self.api.validate_limits()?;
        self.validate_bulk()?;
        self.api.validate_streams()?;
        let (api, links_url) = (&self.api, &self.links.public_url);
        let dns_servers = names::check_servers(&self.deliver.dns_servers);
        service::settings::check(&[
            ("api.erasures_open_max", api.erasures_open_max > 0, "must be at least 1"),
            (
                "api.request_timeout",
                api.request_timeout > api.test_timeout,
                "must be longer than api.test_timeout",
            ),
            ("deliver.dns_servers", dns_servers.is_ok(), dns_servers.err().unwrap_or_default()),
            ("api.ops_addr", api.ops_addr != api.addr || api.addr.port() == 0, "must differ from api.addr"),
            (
                "links.public_url",
                matches!(links_url.scheme(), "http" | "https") && links_url.has_host(),
                "must begin with http:// or https:// and name a host",
            ),
        ])
    }

    /// Rules of bulk requests and exports, which leave connections to others.
    fn validate_bulk(&self) -> Result<(), SettingsError> {
        let api = &self.api;
        let batch_rule = format!("must be 1 to {BULK_BATCH_LIMIT}");
        service::settings::check(&[
            ("api.bulk_batch_max", (1..=BULK_BATCH_LIMIT).contains(&api.bulk_batch_max), &batch_rule),
            ("api.bulk_lines_max", api.bulk_lines_max > 0, "must be at least 1"),
            (
                "api.bulk_requests_max",
                (1..self.database.pool_max).contains(&api.bulk_requests_max),
                "must be at least 1 and less than database.pool_max",
            ),
            (
                "api.bulk_workspace_requests_max",
                (1..=api.bulk_requests_max).contains(&api.bulk_workspace_requests_max),
                "must be at least 1 and at most api.bulk_requests_max",
            ),
            ("api.bulk_idle_timeout", !api.bulk_idle_timeout.is_zero(), "must be more than nothing"),
            (
                "api.exports_workspace_max",
                (1..=api.exports_max).contains(&api.exports_workspace_max),
                "must be at least 1 and at most api.exports_max",
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings: Settings = service::settings::load_from(Settings::DEFAULTS, None, variables)?;
        settings.validate()?;
        Ok(settings)
    }

    #[test]
    fn the_defaults_are_settings() {
        let settings = load(&[]).expect("the defaults");

        assert_eq!(settings.api.addr.port(), 8081);
        assert_eq!(settings.api.ops_addr.port(), 9105);
    }

    #[test]
    fn the_allow_list_is_the_one_of_deliver() {
        let settings =
            load(&[("CLICKWIRE__DELIVER__ALLOWED_NETWORKS", "127.0.0.0/8,::1/128")]).expect("a list");

        let policy = settings.deliver.allowed_networks;
        assert!(policy.check("127.0.0.1".parse().expect("an address")).is_ok());
        assert!(policy.check("10.0.0.1".parse().expect("an address")).is_err());
    }

    #[test]
    fn settings_that_contradict_are_refused_by_name() {
        let error = load(&[("CLICKWIRE__API__TEST_TIMEOUT", "1m")]).expect_err("too long");
        assert!(error.to_string().contains("api.request_timeout"), "{error}");

        for (key, value) in [
            ("BULK_BATCH_MAX", "1001"),
            ("BULK_LINES_MAX", "0"),
            ("BULK_REQUESTS_MAX", "10"),
            ("BULK_WORKSPACE_REQUESTS_MAX", "5"),
            ("BULK_IDLE_TIMEOUT", "0s"),
            ("LIVE_WORKSPACE_STREAMS_MAX", "1000"),
            ("LIVE_KEY_STREAMS_MAX", "0"),
            ("LIVE_HEARTBEAT", "0s"),
            ("PULLS_WORKSPACE_WAITING_MAX", "1000"),
            ("PUBLIC_URL", "console.example.com"),
            ("REQUESTS_PER_SECOND", "0"),
            ("UNKNOWN_REQUESTS_BURST", "0"),
            ("RATE_BUCKETS_MAX", "0"),
            ("HEADERS_MAX", "97"),
        ] {
            let error = load(&[(&format!("CLICKWIRE__API__{key}"), value)]).expect_err(key);
            assert!(error.to_string().contains(&format!("api.{}", key.to_lowercase())), "{error}");
        }

        let error =
            load(&[("CLICKWIRE__DELIVER__DNS_SERVERS", "10.0.0.2:53,10.0.0.3:0")]).expect_err("no port");
        assert!(error.to_string().contains("deliver.dns_servers"), "{error}");

        let error = load(&[("CLICKWIRE__API__WORKER", "1")]).expect_err("misspelt");
        assert!(error.to_string().contains("unknown field `worker`"), "{error}");
    }
}
