//! Section `[nats]`: how to reach the broker and how large its streams may become.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// The defaults of section `[nats]`, every key explained.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

/// Section `[nats]`. The keys are explained in `defaults.toml`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// One URL, or several of one cluster separated by commas.
    pub url: String,
    /// Credentials file.
    pub creds: Option<PathBuf>,
    /// Certificate authorities to trust instead of the system's.
    pub tls_ca: Option<PathBuf>,
    /// Limit of one request and of one confirmation.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Copies of every stream.
    pub replicas: usize,
    /// How long a click stays on CLICKS.
    #[serde(with = "humantime_serde")]
    pub clicks_max_age: Duration,
    /// How long a click stays on ENRICHED.
    #[serde(with = "humantime_serde")]
    pub enriched_max_age: Duration,
    /// How long an event stays on EVENTS.
    #[serde(with = "humantime_serde")]
    pub events_max_age: Duration,
    /// How long a message stays on QUARANTINE.
    #[serde(with = "humantime_serde")]
    pub quarantine_max_age: Duration,
    /// Largest size of CLICKS.
    pub clicks_max_bytes: u64,
    /// Largest size of ENRICHED.
    pub enriched_max_bytes: u64,
    /// Largest size of EVENTS.
    pub events_max_bytes: u64,
    /// Largest size of QUARANTINE.
    pub quarantine_max_bytes: u64,
    /// How long a message id is remembered.
    #[serde(with = "humantime_serde")]
    pub duplicate_window: Duration,
    /// Whether many clicks are published as one batch, where the server can.
    pub batch_publish: bool,
    /// Whether a nats-server will do that is too old.
    pub allow_old_server: bool,
}

/// Without the URL, which may hold a password, and without what nobody looks for.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("servers", &self.servers()).finish_non_exhaustive()
    }
}

impl Settings {
    /// Host and port of each server; none when the URL is none.
    pub fn servers(&self) -> Vec<(String, u16)> {
        let servers = crate::connect::parse_servers(&self.url).unwrap_or_default();
        servers.iter().map(|server| (server.host().to_owned(), server.port())).collect()
    }

    /// Looks for values that contradict each other.
    ///
    /// # Errors
    /// The key, and the rule that it breaks.
    pub fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        let shortest_age =
            [self.clicks_max_age, self.enriched_max_age, self.events_max_age, self.quarantine_max_age]
                .into_iter()
                .min()
                .unwrap_or_default();
        if self.duplicate_window > shortest_age {
            return Err(("nats.duplicate_window", "must not be longer than the age of any stream"));
        }
        if self.request_timeout.is_zero() {
            return Err(("nats.request_timeout", "must not be zero"));
        }
        if !(1..=5).contains(&self.replicas) {
            return Err(("nats.replicas", "must be between 1 and 5"));
        }
        Ok(())
    }
}

/// The settings as the defaults have them.
#[cfg(test)]
pub(crate) fn defaults() -> Settings {
    #[derive(Deserialize)]
    struct File {
        nats: Settings,
    }
    toml::from_str::<File>(DEFAULTS).expect("the defaults are complete").nats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete_and_do_not_contradict_each_other() {
        assert_eq!(defaults().validate(), Ok(()));
    }

    #[test]
    fn each_server_is_named() {
        let url = "nats://user:secret@a:4223,tls://[::1]".to_owned();

        let servers = Settings { url, ..defaults() }.servers();

        assert_eq!(servers, [("a".to_owned(), 4223), ("::1".to_owned(), 4222)]);
    }

    #[test]
    fn a_password_is_not_told() {
        let url = "nats://user:secret@a:4223".to_owned();

        let told = format!("{:?}", Settings { url, ..defaults() });

        assert!(told.contains("4223") && !told.contains("secret"), "{told}");
    }

    #[test]
    fn a_duplicate_window_longer_than_a_stream_is_refused() {
        let settings = Settings { events_max_age: Duration::from_secs(60), ..defaults() };

        let (key, _) = settings.validate().expect_err("refused");

        assert_eq!(key, "nats.duplicate_window");
    }
}
