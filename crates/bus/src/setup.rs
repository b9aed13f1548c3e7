//! Making the streams and consumers (`clickwire setup`), and checking that they are there (every service).

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{Consumer, DeliverPolicy, pull};
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, ConsumerError, ConsumerErrorKind, PurgeError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::connect::{Bus, ConnectError, PendingError};
use crate::publish::chain;
use crate::refusals::Forbidden;
use crate::server::{self, OldServer};
use crate::topology::{ConsumerName, Durable, StreamName};

/// How long `setup` and `verify` wait for the broker.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Consumers that neither this release nor the one before it uses. Those that only the one before uses, `enrich-0` to
/// `enrich-3`, stay for it, and belong here in the next.
const RETIRED: [(StreamName, &str); 1] = [(StreamName::Clicks, "enrich")];

/// Pause before an absent broker is asked for its streams again.
const VERIFY_PAUSE: Duration = Duration::from_secs(2);

/// Why the streams could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The broker is away.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker is too old.
    #[error(transparent)]
    Server(#[from] OldServer),
    /// The broker has not as much room as the stream may take.
    #[error(
        "nats-server has no room for stream {stream}: raise its `jetstream.max_file_store` or lower `{setting}`",
        setting = .stream.size_setting()
    )]
    NoRoom {
        /// The stream.
        stream: StreamName,
        /// What the broker said.
        source: CreateStreamError,
    },
    /// A stream was refused.
    #[error("failed to set up stream {stream}")]
    Stream {
        /// The stream.
        stream: StreamName,
        /// What the broker said.
        source: CreateStreamError,
    },
    /// A consumer was refused.
    #[error("failed to set up consumer {consumer}")]
    Consumer {
        /// The consumer.
        consumer: ConsumerName,
        /// What the broker said.
        source: ConsumerError,
    },
}

/// Why a service cannot work with the broker.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The broker is away.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker is too old.
    #[error(transparent)]
    Server(#[from] OldServer),
    /// The broker does not let us do what we have to.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// A stream is not there.
    #[error("stream {0} is missing; run `clickwire setup`")]
    StreamMissing(StreamName),
    /// A consumer is not there.
    #[error("consumer {0} is missing; run `clickwire setup`")]
    ConsumerMissing(ConsumerName),
    /// The broker could not be asked.
    #[error("failed to ask for stream {stream}")]
    Stream {
        /// The stream.
        stream: StreamName,
        /// What the broker or the client said.
        source: async_nats::jetstream::context::GetStreamError,
    },
    /// The broker could not be asked.
    #[error(transparent)]
    Consumer(#[from] PendingError),
}

impl VerifyError {
    /// What a service waits for that tries again, for its log.
    pub const fn awaited(&self) -> &'static str {
        match self {
            Self::Forbidden(_) => "nats-server lacks a permission for this service, waiting for it",
            _ => "the broker is away, waiting for it",
        }
    }

    /// Whether a service waits for it to pass: the broker comes back, and a permission may be given while it runs.
    pub const fn is_awaited(&self) -> bool {
        !matches!(self, Self::Server(_) | Self::StreamMissing(_) | Self::ConsumerMissing(_))
    }

    /// Whether only an operator can mend it; otherwise the broker is away and may come back.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::Server(_) | Self::Forbidden(_) | Self::StreamMissing(_) | Self::ConsumerMissing(_)
        )
    }
}

/// Why acknowledged clicks could not be let go of.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// The stream could not be asked.
    #[error("failed to ask for the size of stream CLICKS")]
    Stream(#[from] async_nats::jetstream::context::GetStreamError),
    /// The consumer could not be asked.
    #[error(transparent)]
    Consumer(#[from] PendingError),
    /// The clicks could not be removed.
    #[error("failed to remove acknowledged clicks from stream CLICKS")]
    Purge(#[from] PurgeError),
}

/// How full a stream is could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("failed to ask for the size of stream {stream}")]
pub struct FillError {
    /// Which stream.
    pub stream: StreamName,
    /// What the broker or the client said.
    pub source: async_nats::jetstream::context::GetStreamError,
}

/// How full a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Bytes of the messages in it.
    pub bytes: u64,
    /// Bytes that they may be at most.
    pub bytes_max: u64,
}

impl Fill {
    /// The same as a share, rounded down.
    pub fn percent(self) -> u64 {
        self.bytes.saturating_mul(100) / self.bytes_max.max(1)
    }
}

/// A consumer that is there.
struct Found {
    deliver_policy: DeliverPolicy,
    /// The last message up to which everything is acknowledged.
    acknowledged: u64,
}

impl Bus {
    /// How full a stream is.
    ///
    /// # Errors
    /// [`FillError`] when the broker is away or has no such stream.
    pub async fn fill(&self, stream: StreamName) -> Result<Fill, FillError> {
        let found = self.context().get_stream(stream.as_str()).await;
        let found = found.map_err(|source| FillError { stream, source })?;
        let info = found.cached_info();
        // a stream without a limit has a negative one
        let bytes_max = u64::try_from(info.config.max_bytes).unwrap_or(u64::MAX);
        Ok(Fill { bytes: info.state.bytes, bytes_max })
    }

    /// Makes the streams and consumers, or brings them to the settings. Never deletes one. Safe to run again, and to
    /// run twice at once.
    ///
    /// # Errors
    /// [`SetupError`]
    pub async fn setup(&self) -> Result<(), SetupError> {
        self.wait_connected(CONNECT_LIMIT).await?;
        self.check_server()?;
        for stream in StreamName::ALL {
            self.setup_stream(stream).await.map_err(|source| match error_code(&source) {
                Some(ErrorCode::STORAGE_RESOURCES_EXCEEDED | ErrorCode::INSUFFICIENT_RESOURCES) => {
                    SetupError::NoRoom { stream, source }
                }
                _ => SetupError::Stream { stream, source },
            })?;
        }
        for durable in ConsumerName::ALL.into_iter().flat_map(ConsumerName::durables) {
            let consumer = durable.consumer;
            let made = match self.setup_consumer(durable).await {
                // another setup may have made it meanwhile
                Err(_) => self.setup_consumer(durable).await,
                made => made,
            };
            made.map_err(|source| SetupError::Consumer { consumer, source })?;
        }
        self.remove_retired().await;
        Ok(())
    }

    async fn setup_consumer(&self, durable: Durable) -> Result<(), ConsumerError> {
        let mut config = durable.config(self.settings());
        if let Some(begins) = self.begins(durable).await? {
            config.deliver_policy = begins;
        }
        let made = self.context().create_consumer_on_stream(config, durable.consumer.stream().as_str());
        made.await.map(drop)
    }

    /// Where a consumer begins that is there, which cannot be changed, or that takes the place of one of the release before:
    /// after what that one has acknowledged. That one stays, so that its release can work beside this one and after it.
    async fn begins(&self, durable: Durable) -> Result<Option<DeliverPolicy>, ConsumerError> {
        if let Some(made) = self.found(durable, durable.to_string()).await? {
            return Ok(Some(made.deliver_policy));
        }
        let Some(before) = durable.before() else { return Ok(None) };
        let before = self.found(durable, before).await?;
        Ok(before.map(|before| DeliverPolicy::ByStartSequence { start_sequence: before.acknowledged + 1 }))
    }

    /// What the broker has under this name on the consumer's stream.
    async fn found(&self, durable: Durable, name: String) -> Result<Option<Found>, ConsumerError> {
        let found = self.context().get_consumer_from_stream(name, durable.consumer.stream().as_str());
        let found: Result<Consumer<pull::Config>, _> = found.await;
        match found {
            Ok(found) => {
                let info = found.cached_info();
                let (deliver_policy, acknowledged) =
                    (info.config.deliver_policy, info.ack_floor.stream_sequence);
                Ok(Some(Found { deliver_policy, acknowledged }))
            }
            Err(error) if is_unknown(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes consumers that the release before does not use any more.
    async fn remove_retired(&self) {
        for (stream, consumer) in RETIRED {
            match self.context().delete_consumer_from_stream(consumer, stream.as_str()).await {
                Ok(_) => info!(consumer, "a consumer that no release uses any more is removed"),
                Err(error) if is_unknown(&error) => {}
                Err(error) => warn!(consumer, %error, "a consumer of old could not be removed"),
            }
        }
    }

    /// Checks that the server is new enough, that it lets this service do what it has to, and that the streams and
    /// consumers are there.
    ///
    /// # Errors
    /// [`VerifyError`], which names `clickwire setup` where that is the mend.
    pub async fn verify(&self) -> Result<(), VerifyError> {
        self.wait_connected(CONNECT_LIMIT).await?;
        self.check_server()?;
        self.check_permissions().await?;
        for stream in StreamName::ALL {
            self.context().get_stream(stream.as_str()).await.map_err(|source| match source.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    VerifyError::StreamMissing(stream)
                }
                _ => VerifyError::Stream { stream, source },
            })?;
        }
        for durable in ConsumerName::ALL.into_iter().flat_map(ConsumerName::durables) {
            self.consumer(durable).await.map_err(|error| match is_missing(&error) {
                true => VerifyError::ConsumerMissing(durable.consumer),
                false => VerifyError::Consumer(error),
            })?;
        }
        Ok(())
    }

    /// Waits until [`verify`](Self::verify) finds everything, or until `stop`.
    ///
    /// # Errors
    /// What is not [awaited](VerifyError::is_awaited).
    pub async fn wait_verified(&self, stop: &CancellationToken) -> Result<(), VerifyError> {
        loop {
            match stop.run_until_cancelled(self.verify()).await {
                None | Some(Ok(())) => return Ok(()),
                Some(Err(error)) if error.is_awaited() => {
                    warn!(error = chain(&error), "{}", error.awaited());
                    stop.run_until_cancelled(sleep(VERIFY_PAUSE)).await;
                }
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// Lets go of clicks that `enrich` has acknowledged once CLICKS is three quarters full, and says how many: a full
    /// CLICKS refuses new clicks, and must not do so because of handled ones. Called now and then by `record`.
    ///
    /// # Errors
    /// [`RoomError`]
    pub async fn make_room(&self) -> Result<u64, RoomError> {
        let stream = self.context().get_stream(StreamName::Clicks.as_str()).await?;
        let info = stream.cached_info();
        let size_max = u64::try_from(info.config.max_bytes).unwrap_or(u64::MAX);
        if info.state.bytes < size_max / 4 * 3 {
            return Ok(0);
        }
        let acknowledged = self.handled_up_to(info.state.last_sequence).await?;
        if acknowledged < info.state.first_sequence {
            return Ok(0);
        }
        let removed = stream.purge().sequence(acknowledged + 1).await?.purged;
        if removed > 0 {
            info!(clicks = removed, "stream CLICKS was almost full and let go of acknowledged clicks");
        }
        Ok(removed)
    }

    /// Up to which message of CLICKS, `last` being the newest, `enrich` has acknowledged every click.
    async fn handled_up_to(&self, last: u64) -> Result<u64, PendingError> {
        let mut handled = last;
        for durable in ConsumerName::Enrich.durables() {
            let consumer = self.consumer(durable).await?;
            let info = consumer.cached_info();
            // the floor stays where a partition's last click was, however much has come for the others
            if info.num_pending > 0 || info.num_ack_pending > 0 {
                handled = handled.min(info.ack_floor.stream_sequence);
            }
        }
        Ok(handled)
    }

    /// Create first: two setups at once then both find what they want. Only what differs is updated.
    async fn setup_stream(&self, stream: StreamName) -> Result<(), CreateStreamError> {
        let takes_batches = stream.is_of_clicks()
            && self.settings().batch_publish
            && server::takes_batches(&self.client().server_info().version);
        let config = Config { allow_batch_publish: takes_batches, ..stream.config(self.settings()) };
        match self.context().create_stream(config.clone()).await {
            Ok(_) => Ok(()),
            Err(error) if error_code(&error) == Some(ErrorCode::STREAM_NAME_EXIST) => {
                self.context().update_stream(config).await.map(drop)
            }
            Err(error) => Err(error),
        }
    }

    fn check_server(&self) -> Result<(), OldServer> {
        let version = self.client().server_info().version;
        match server::check_version(&version) {
            Err(error) if self.settings().allow_old_server => {
                warn!(%error, "nats.allow_old_server is set; messages may be lost");
                Ok(())
            }
            result => result,
        }
    }
}

fn error_code(error: &CreateStreamError) -> Option<ErrorCode> {
    match error.kind() {
        CreateStreamErrorKind::JetStream(error) => Some(error.error_code()),
        _ => None,
    }
}

fn is_missing(error: &PendingError) -> bool {
    error.source.downcast_ref::<ConsumerError>().is_some_and(is_unknown)
}

fn is_unknown(error: &ConsumerError) -> bool {
    matches!(error.kind(), ConsumerErrorKind::JetStream(error) if error.error_code() == ErrorCode::CONSUMER_NOT_FOUND)
}
