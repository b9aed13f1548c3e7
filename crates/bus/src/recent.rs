//! What was published lately, read again beside the consumers.

use std::error::Error;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use model::{Click, EnrichedClick};
use tracing::warn;

use crate::connect::Bus;
use crate::consume::Takeover;
use crate::messages::Message;
use crate::topology::{PULL_MESSAGES_MAX, StreamName};

/// How long the broker keeps a reader that has gone.
const INACTIVE_MAX: Duration = Duration::from_secs(30);

/// How long one part of the answer may take.
const FETCH_LIMIT: Duration = Duration::from_secs(2);

/// What was published lately could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the last messages of stream {stream}")]
pub struct RecentError {
    stream: StreamName,
    source: Box<dyn Error + Send + Sync>,
}

/// Which messages are read when there are more than wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The first ones.
    Oldest,
    /// The last ones; those of other subjects between them count as well.
    Newest,
}

/// What is read of a stream.
struct Span {
    since: DateTime<Utc>,
    /// The sequence that ends it.
    before: Option<u64>,
    part: Part,
    max: usize,
}

impl Bus {
    /// The clicks of a partition since `since` that came before it was taken over, oldest first; of more than `max` the newest.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn clicks_before(
        &self,
        takeover: &Takeover,
        since: DateTime<Utc>,
        max: usize,
    ) -> Result<Vec<Click>, RecentError> {
        let span = Span { since, before: Some(takeover.sequence), part: Part::Newest, max };
        let mut clicks = Vec::new();
        let keep = |click, _| clicks.push(click);
        self.recent(StreamName::Clicks, takeover.partition.subject(), span, keep).await?;
        Ok(clicks)
    }

    /// Shows `each` of the clicks that were enriched or amended since `since`, oldest first, with its message; at most `max` of them.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn enriched_since(
        &self,
        since: DateTime<Utc>,
        part: Part,
        max: usize,
        each: impl FnMut(EnrichedClick, Bytes),
    ) -> Result<(), RecentError> {
        let span = Span { since, before: None, part, max };
        self.recent(StreamName::Enriched, String::new(), span, each).await
    }

    /// Of all subjects when `subject` is empty.
    async fn recent<M: Message>(
        &self,
        stream: StreamName,
        subject: String,
        span: Span,
        each: impl FnMut(M, Bytes),
    ) -> Result<(), RecentError> {
        let read = self.read::<M>(stream, subject, &span, each).await;
        read.map_err(|source| RecentError { stream, source })
    }

    async fn read<M: Message>(
        &self,
        stream: StreamName,
        filter_subject: String,
        span: &Span,
        mut each: impl FnMut(M, Bytes),
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let reader = self.reader(stream, filter_subject, span).await?;
        let wanted = usize::try_from(reader.cached_info().num_pending).unwrap_or(usize::MAX).min(span.max);
        let (mut read, mut is_past_end) = (0, false);
        while read < wanted && !is_past_end {
            let part = (wanted - read).min(PULL_MESSAGES_MAX);
            let mut messages = reader.batch().max_messages(part).expires(FETCH_LIMIT).messages().await?;
            let before = read;
            while let Some(message) = messages.next().await {
                let message = message?;
                read += 1;
                let sequence = message.info().map_or(0, |info| info.stream_sequence);
                is_past_end |= span.before.is_some_and(|end| sequence >= end);
                if is_past_end {
                    continue;
                }
                let payload = message.message.payload;
                match M::decode(&payload) {
                    Ok(value) => each(value, payload),
                    // whoever consumes it puts it aside
                    Err(error) => warn!(%stream, %error, "a message of the last moments cannot be read"),
                }
            }
            if read == before {
                break;
            }
        }
        let name = reader.cached_info().name.clone();
        if let Err(error) = self.context().delete_consumer_from_stream(name, stream.as_str()).await {
            // it ends by itself
            warn!(%stream, %error, "a reader of the last moments could not be removed");
        }
        Ok(())
    }

    /// A consumer that begins where the span does.
    async fn reader(
        &self,
        stream: StreamName,
        filter_subject: String,
        span: &Span,
    ) -> Result<Consumer<pull::Config>, Box<dyn Error + Send + Sync>> {
        let nanoseconds = span.since.timestamp_nanos_opt().unwrap_or_default();
        let start_time = async_nats::datetime::from_nanos(nanoseconds.into())?;
        let config = pull::Config {
            filter_subject,
            deliver_policy: DeliverPolicy::ByStartTime { start_time },
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE_MAX,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let reader = self.context().create_consumer_on_stream(config.clone(), stream.as_str()).await?;
        if span.part == Part::Oldest {
            return Ok(reader);
        }
        let end = match span.before {
            Some(end) => end,
            None => self.context().get_stream(stream.as_str()).await?.cached_info().state.last_sequence + 1,
        };
        let begin = end.saturating_sub(u64::try_from(span.max).unwrap_or(u64::MAX)).max(1);
        if reader.cached_info().delivered.stream_sequence + 1 >= begin {
            return Ok(reader);
        }
        let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence: begin };
        let config = pull::Config { deliver_policy, ..config };
        // the first one ends by itself
        Ok(self.context().create_consumer_on_stream(config, stream.as_str()).await?)
    }
}
