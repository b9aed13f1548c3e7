//! ENRICHED as it grows, for who shows it to people: nothing is acknowledged, and each reader begins where it wants to.
//!
//! A reader that has lost the broker is of no use any more: whoever follows opens another after the last message that it has seen.

use std::error::Error;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use model::WorkspaceId;
use tokio::sync::watch;
use tracing::debug;

use crate::connect::Bus;
use crate::topology::{PULL_MESSAGES_MAX, StreamName, enriched_subjects};

/// How long the broker keeps a reader that has gone.
const INACTIVE_MAX: Duration = Duration::from_secs(30);

/// How long one request waits on the broker for a message.
const EXPIRES: Duration = Duration::from_secs(1);

/// Without an answer for so long, the broker is taken for away.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// ENRICHED cannot be read as it grows.
#[derive(Debug, thiserror::Error)]
#[error("failed to follow stream {stream}", stream = StreamName::Enriched)]
pub struct LiveError {
    source: Box<dyn Error + Send + Sync>,
}

impl LiveError {
    fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}

/// A message of ENRICHED where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its place on the stream.
    pub sequence: u64,
    /// Whose click it tells of.
    pub workspace_id: WorkspaceId,
    /// The message.
    pub payload: Bytes,
}

/// Messages of ENRICHED that were read again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reread {
    /// They, oldest first.
    pub messages: Vec<Stored>,
    /// Whether these are all; else there are none.
    pub is_whole: bool,
}

/// ENRICHED from some place on.
pub struct EnrichedTail {
    bus: Bus,
    reader: Consumer<pull::Config>,
    request: Option<pull::Batch>,
    interruptions: watch::Receiver<u64>,
    /// Messages that the reader has brought.
    brought: u64,
}

impl Bus {
    /// Where ENRICHED ends: the place of its last message, 0 when there never was one.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn enriched_end(&self) -> Result<u64, LiveError> {
        let stream =
            self.context().get_stream(StreamName::Enriched.as_str()).await.map_err(LiveError::new)?;
        Ok(stream.cached_info().state.last_sequence)
    }

    /// Follows ENRICHED after this place.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn follow_enriched(&self, after: u64) -> Result<EnrichedTail, LiveError> {
        let mut interruptions = self.interruptions();
        // what was before does not matter to a reader that begins now
        interruptions.mark_unchanged();
        // of all subjects
        let reader = self.enriched_reader(Vec::new(), after).await?;
        Ok(EnrichedTail { bus: self.clone(), reader, request: None, interruptions, brought: 0 })
    }

    /// Reads a workspace's messages of ENRICHED between two places again; none of them when there are more than `max`, or when the
    /// stream does not reach back so far.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn enriched_between(
        &self,
        workspace_id: WorkspaceId,
        after: u64,
        until: u64,
        max: usize,
    ) -> Result<Reread, LiveError> {
        let stream =
            self.context().get_stream(StreamName::Enriched.as_str()).await.map_err(LiveError::new)?;
        let state = &stream.cached_info().state;
        if after.saturating_add(1) < state.first_sequence || after > state.last_sequence {
            return Ok(Reread::default());
        }
        let reader = self.enriched_reader(enriched_subjects(workspace_id).into(), after).await?;
        let read = read(&reader, until, max).await;
        let name = reader.cached_info().name.clone();
        if let Err(error) =
            self.context().delete_consumer_from_stream(name, StreamName::Enriched.as_str()).await
        {
            // it ends by itself
            debug!(%error, "a reader of old messages could not be removed");
        }
        read
    }

    async fn enriched_reader(
        &self,
        filter_subjects: Vec<String>,
        after: u64,
    ) -> Result<Consumer<pull::Config>, LiveError> {
        let config = pull::Config {
            filter_subjects,
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after.saturating_add(1) },
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE_MAX,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let made = self.context().create_consumer_on_stream(config, StreamName::Enriched.as_str());
        made.await.map_err(LiveError::new)
    }
}

async fn read(reader: &Consumer<pull::Config>, until: u64, max: usize) -> Result<Reread, LiveError> {
    let pending = usize::try_from(reader.cached_info().num_pending).unwrap_or(usize::MAX);
    if pending > max {
        return Ok(Reread::default());
    }
    let mut messages = Vec::with_capacity(pending);
    let mut left = pending;
    while left > 0 {
        let part = left.min(PULL_MESSAGES_MAX);
        let request = reader.batch().max_messages(part).expires(SILENCE_MAX).messages();
        let mut request = request.await.map_err(LiveError::new)?;
        let before = left;
        while let Some(message) = request.next().await {
            left = left.saturating_sub(1);
            messages.extend(stored(&message.map_err(LiveError::new)?)?);
        }
        if left == before {
            return Err(LiveError::new("the broker does not bring what it has"));
        }
    }
    messages.retain(|message| message.sequence <= until);
    Ok(Reread { messages, is_whole: true })
}

impl EnrichedTail {
    /// The next messages, as soon as there are any; none when there were none for a second.
    ///
    /// # Errors
    /// When the broker is away, or was: then this reader is not to be used any more.
    pub async fn next(&mut self) -> Result<Vec<Stored>, LiveError> {
        if !self.bus.is_connected() {
            return Err(LiveError::new("not connected"));
        }
        let request = match &mut self.request {
            Some(request) => request,
            None => {
                let request = self.reader.batch().max_messages(PULL_MESSAGES_MAX).expires(EXPIRES).messages();
                let request = tokio::time::timeout(SILENCE_MAX, request).await.map_err(LiveError::new)?;
                self.request.insert(request.map_err(LiveError::new)?)
            }
        };
        let first = tokio::select! {
            Ok(()) = self.interruptions.changed() => return Err(LiveError::new("the connection was interrupted")),
            first = tokio::time::timeout(SILENCE_MAX, request.next()) => first.map_err(LiveError::new)?,
        };
        let Some(first) = first else {
            self.request = None;
            return Ok(Vec::new());
        };
        let mut messages = vec![first.map_err(LiveError::new)?];
        while let Some(Some(message)) = request.next().now_or_never() {
            messages.push(message.map_err(LiveError::new)?);
        }
        let mut found = Vec::with_capacity(messages.len());
        for message in &messages {
            self.brought += 1;
            if info(message)?.consumer_sequence != self.brought {
                return Err(LiveError::new("messages were lost on their way"));
            }
            found.extend(stored(message)?);
        }
        Ok(found)
    }
}

fn info(message: &Message) -> Result<async_nats::jetstream::message::Info<'_>, LiveError> {
    message.info().map_err(LiveError::new)
}

/// A message and its place; `None` when its subject is none of ours.
fn stored(message: &Message) -> Result<Option<Stored>, LiveError> {
    let sequence = info(message)?.stream_sequence;
    let workspace_id = message.subject.split('.').nth(3).and_then(|token| token.parse().ok());
    let payload = message.payload.clone();
    Ok(workspace_id.map(|workspace_id| Stored { sequence, workspace_id, payload }))
}
