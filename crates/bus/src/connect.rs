//! The connection to the broker, which comes back by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::{self, consumer::pull};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use futures::future::try_join_all;
use percent_encoding::percent_decode_str;
use rand::RngExt;
use tokio::sync::{Semaphore, watch};
use tracing::{error, info, warn};

use crate::credentials;
use crate::publish::{Batching, Confirmations, IN_FLIGHT_MAX, PublishError, Publisher};
use crate::refusals::{Forbidden, Refusals};
use crate::settings::Settings;
use crate::topology::{ConsumerName, Durable};

/// A frozen server is noticed after two of these without an answer.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Longest pause between two attempts to reconnect, before jitter.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);

/// Subscriptions to confirmations that are kept while nobody uses them.
const CONFIRMATIONS_KEPT: usize = 4;

/// Why the bus cannot be reached as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The setting is not a URL, or a list of them.
    #[error("nats.url is not a NATS URL")]
    Url(#[source] io::Error),
    /// The credentials file cannot be read.
    #[error("failed to read the credentials file {path} (nats.creds)", path = .path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of certificate authorities cannot be read.
    #[error("failed to read the certificate authorities {path} (nats.tls_ca)", path = .path.display())]
    CertificateAuthorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The client could not be started.
    #[error("failed to connect to NATS")]
    Connect(#[from] async_nats::ConnectError),
    /// The broker was not reached in time.
    #[error("NATS was not reached within {0:?}")]
    Timeout(Duration),
}

/// The bus: a connection that outlives the broker's absences. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    context: jetstream::Context,
    settings: Settings,
    /// Counts what may have lost messages on their way to a subscription: connections, and buffers that overflowed.
    interruptions: watch::Receiver<u64>,
    /// Publishes that wait for their confirmation.
    in_flight: Arc<Semaphore>,
    /// Subscriptions to confirmations that nobody uses at the moment.
    confirmations: Mutex<Vec<Confirmations>>,
    batching: Batching,
    /// The service's, without `clickwire-`.
    name: &'static str,
    /// What the broker has refused us.
    refusals: Refusals,
}

impl Bus {
    /// Begins to connect and returns at once, even when the broker is away. `name` is the service's, without `clickwire-`,
    /// which the broker shows in front of it; replies go to inboxes of that name.
    ///
    /// # Errors
    /// [`ConnectError`] for what cannot get better: a bad URL, unreadable credentials or certificates.
    pub async fn connect(settings: &Settings, name: &'static str) -> Result<Self, ConnectError> {
        let servers = parse_servers(&settings.url).map_err(ConnectError::Url)?;
        let (interrupted, interruptions) = watch::channel(0);
        let refusals = Refusals::of(name);
        let notes = Notes { interrupted, refusals: refusals.clone() };
        let options = options(settings, &servers, name, notes)?;
        let client = options.connect(servers).await?;
        let context = ContextBuilder::new().timeout(settings.request_timeout).build(client.clone());
        let inner = Inner {
            client,
            context,
            settings: settings.clone(),
            interruptions,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            confirmations: Mutex::default(),
            batching: Batching::default(),
            name,
            refusals,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Waits until the broker has been reached, and has said what it is.
    ///
    /// # Errors
    /// [`ConnectError::Timeout`] after `limit`.
    pub async fn wait_connected(&self, limit: Duration) -> Result<(), ConnectError> {
        let mut interruptions = self.interruptions();
        let connected = async {
            // the client is connected a moment before it knows what the server says of itself
            while !self.is_connected() || self.inner.client.server_info().version.is_empty() {
                // the state may be set just after the notice, hence the short wait
                let _ = tokio::time::timeout(Duration::from_millis(50), interruptions.changed()).await;
            }
        };
        tokio::time::timeout(limit, connected).await.map_err(|_| ConnectError::Timeout(limit))
    }

    /// Whether the connection stands at the moment.
    pub fn is_connected(&self) -> bool {
        self.inner.client.connection_state() == State::Connected
    }

    /// A publisher to every stream.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.clone())
    }

    /// How many messages a consumer still has to handle, those in hand included.
    ///
    /// # Errors
    /// [`PendingError`] when the broker is away or does not know the consumer.
    pub async fn pending(&self, consumer: ConsumerName) -> Result<u64, PendingError> {
        let durables = consumer.durables().into_iter().map(|durable| self.consumer(durable));
        let pending = try_join_all(durables).await?.into_iter().map(|durable| {
            let info = durable.cached_info();
            info.num_pending + u64::try_from(info.num_ack_pending).unwrap_or(0)
        });
        Ok(pending.sum())
    }

    /// Asks the broker for a consumer of ours.
    pub(crate) async fn consumer(
        &self,
        durable: Durable,
    ) -> Result<jetstream::consumer::Consumer<pull::Config>, PendingError> {
        self.context()
            .get_consumer_from_stream(durable.to_string(), durable.consumer.stream().as_str())
            .await
            .map_err(|error| PendingError { consumer: durable.consumer, source: Box::new(error) })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn context(&self) -> &jetstream::Context {
        &self.inner.context
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub(crate) fn in_flight(&self) -> &Arc<Semaphore> {
        &self.inner.in_flight
    }

    pub(crate) fn batching(&self) -> &Batching {
        &self.inner.batching
    }

    /// A subscription to confirmations, for one user.
    pub(crate) async fn confirmations(&self) -> Result<Confirmations, PublishError> {
        let kept = self.kept_confirmations().pop();
        match kept {
            Some(confirmations) => Ok(confirmations),
            None => Confirmations::open(self.client()).await,
        }
    }

    /// Takes a subscription back.
    pub(crate) fn keep_confirmations(&self, confirmations: Confirmations) {
        let mut kept = self.kept_confirmations();
        if kept.len() < CONFIRMATIONS_KEPT {
            kept.push(confirmations);
        }
    }

    fn kept_confirmations(&self) -> MutexGuard<'_, Vec<Confirmations>> {
        self.inner.confirmations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of the service that this connection is of.
    pub(crate) fn name(&self) -> &'static str {
        self.inner.name
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.inner.refusals
    }

    /// What the broker has refused us at that moment or later: the likely reason why something that was asked since has no
    /// answer.
    pub fn refused_since(&self, moment: Instant) -> Option<Forbidden> {
        self.inner.refusals.since(moment)
    }

    /// Changes whenever messages to a subscription may have been lost.
    pub(crate) fn interruptions(&self) -> watch::Receiver<u64> {
        self.inner.interruptions.clone()
    }
}

/// What a consumer holds could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("failed to ask for consumer {consumer}")]
pub struct PendingError {
    /// Which consumer.
    pub consumer: ConsumerName,
    /// What the broker or the client said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

fn options(
    settings: &Settings,
    servers: &[ServerAddr],
    name: &'static str,
    notes: Notes,
) -> Result<ConnectOptions, ConnectError> {
    let mut options = match &settings.creds {
        Some(path) => {
            let unreadable = |source| ConnectError::Credentials { path: path.clone(), source };
            credentials::options(path.clone()).map_err(unreadable)?
        }
        None => ConnectOptions::new(),
    };
    options = options
        .name(format!("clickwire-{name}"))
        .retry_on_initial_connect()
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(settings.request_timeout))
        .reconnect_delay_callback(reconnect_delay)
        // replies of one service are nobody else's to read
        .custom_inbox_prefix(format!("_INBOX_{name}"))
        .event_callback(move |event| {
            notes.note(&event);
            std::future::ready(())
        });
    if let Some((user, password)) = credentials_of(servers) {
        options = options.user_and_password(user, password);
    }
    if let Some(path) = &settings.tls_ca {
        check_readable(path)?;
        options = options.add_root_certificates(path.clone());
    }
    Ok(options)
}

/// The client would try again for ever with a file that is not there.
fn check_readable(path: &Path) -> Result<(), ConnectError> {
    let unreadable = |source| ConnectError::CertificateAuthorities { path: path.to_owned(), source };
    std::fs::File::open(path).map(drop).map_err(unreadable)
}

pub(crate) fn parse_servers(url: &str) -> io::Result<Vec<ServerAddr>> {
    let parse = |server: &str| match server.trim() {
        // which the parser takes for a host without a name
        "" => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is empty")),
        server => server.parse(),
    };
    url.split(',').map(parse).collect()
}

/// User and password of the first URL that has them, which the client would not use by itself.
fn credentials_of(servers: &[ServerAddr]) -> Option<(String, String)> {
    let text = |encoded: &str| percent_decode_str(encoded).decode_utf8_lossy().into_owned();
    servers
        .iter()
        .find_map(|server| Some((text(server.username()?), text(server.password().unwrap_or_default()))))
}

/// 1, 2, 4, … milliseconds up to the maximum; jitter keeps a fleet from returning in one moment.
fn reconnect_delay(attempts: usize) -> Duration {
    let exponent = u32::try_from(attempts.min(10)).unwrap_or(10);
    let delay = Duration::from_millis(1 << exponent).min(RECONNECT_DELAY_MAX);
    delay.mul_f64(rand::rng().random_range(1.0..1.5))
}

/// Where the events of a connection are written down.
struct Notes {
    interrupted: watch::Sender<u64>,
    refusals: Refusals,
}

impl Notes {
    fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                info!("connected to NATS");
                self.interrupted.send_modify(|count| *count += 1);
            }
            Event::SlowConsumer(_) => {
                warn!("a subscription's buffer overflowed");
                self.interrupted.send_modify(|count| *count += 1);
            }
            Event::Disconnected => warn!("disconnected from NATS"),
            Event::LameDuckMode => info!("nats-server is about to shut down"),
            Event::Draining | Event::Closed => info!("the connection to NATS is closed"),
            // a publish without permission shows nowhere else
            Event::ServerError(source) => {
                if !self.refusals.note(&source.to_string()) {
                    error!(error = %source, "nats-server reported an error");
                }
            }
            Event::ClientError(source) => warn!(error = %source, "the NATS client reported an error"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_before_reconnecting_stays_below_a_second() {
        for attempts in [0, 1, 9, 1000, usize::MAX] {
            assert!(reconnect_delay(attempts) < Duration::from_secs(1), "{attempts}");
        }
    }

    #[test]
    fn several_servers_are_separated_by_commas() {
        assert_eq!(parse_servers("nats://a:4222, tls://b:4222").expect("two").len(), 2);
        assert!(parse_servers("http://a").is_err());
        assert!(parse_servers("").is_err());
    }

    #[test]
    fn user_and_password_of_the_url_are_used() {
        let of = |url: &str| credentials_of(&parse_servers(url).expect("servers"));

        assert_eq!(of("nats://a, nats://clickwire:s%2Fcret@b"), Some(("clickwire".into(), "s/cret".into())));
        assert_eq!(of("nats://a:4222"), None);
    }
}
