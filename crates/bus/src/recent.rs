//! What was published lately, read again beside the consumers.

use std::error::Error;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use model::{Click, EnrichedClick};
use tracing::warn;

use crate::connect::Bus;
use crate::messages::Message;
use crate::topology::{ENRICHED_ALL, PULL_MESSAGES_MAX, Partition, StreamName};

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

impl Bus {
    /// The clicks of a partition since `since`, oldest first, of more than `max` the newest.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn recent_clicks(
        &self,
        partition: Partition,
        since: DateTime<Utc>,
        max: usize,
    ) -> Result<Vec<Click>, RecentError> {
        let clicks = self.recent(StreamName::Clicks, partition.subjects(), since, max).await?;
        Ok(clicks.into_iter().map(|(click, _)| click).collect())
    }

    /// The clicks that were enriched or amended since `since`, oldest first, of more than `max` the newest, with their messages.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn recent_enriched(
        &self,
        since: DateTime<Utc>,
        max: usize,
    ) -> Result<Vec<(EnrichedClick, Bytes)>, RecentError> {
        self.recent(StreamName::Enriched, ENRICHED_ALL.map(str::to_owned).into(), since, max).await
    }

    async fn recent<M: Message>(
        &self,
        stream: StreamName,
        subjects: Vec<String>,
        since: DateTime<Utc>,
        max: usize,
    ) -> Result<Vec<(M, Bytes)>, RecentError> {
        let read = self.read::<M>(stream, subjects, since, max).await;
        read.map_err(|source| RecentError { stream, source })
    }

    async fn read<M: Message>(
        &self,
        stream: StreamName,
        filter_subjects: Vec<String>,
        since: DateTime<Utc>,
        max: usize,
    ) -> Result<Vec<(M, Bytes)>, Box<dyn Error + Send + Sync>> {
        let nanoseconds = since.timestamp_nanos_opt().unwrap_or_default();
        let start_time = async_nats::datetime::from_nanos(nanoseconds.into())?;
        let config = pull::Config {
            filter_subjects,
            deliver_policy: DeliverPolicy::ByStartTime { start_time },
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE_MAX,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let mut reader = self.context().create_consumer_on_stream(config.clone(), stream.as_str()).await?;
        let mut pending = usize::try_from(reader.cached_info().num_pending).unwrap_or(usize::MAX);
        if pending > max {
            // the newest matter most; those of other subjects between them count as well
            let last = self.context().get_stream(stream.as_str()).await?.cached_info().state.last_sequence;
            let start_sequence = last.saturating_sub(u64::try_from(max).unwrap_or(u64::MAX)).max(1);
            let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence };
            let config = pull::Config { deliver_policy, ..config };
            reader = self.context().create_consumer_on_stream(config, stream.as_str()).await?;
            pending = usize::try_from(reader.cached_info().num_pending).unwrap_or(usize::MAX);
        }
        let wanted = pending.min(max);
        let mut found = Vec::with_capacity(wanted);
        let mut read = 0;
        while read < wanted {
            let part = (wanted - read).min(PULL_MESSAGES_MAX);
            let mut messages = reader.batch().max_messages(part).expires(FETCH_LIMIT).messages().await?;
            let before = read;
            while let Some(message) = messages.next().await {
                let payload = message?.message.payload;
                read += 1;
                match M::decode(&payload) {
                    Ok(value) => found.push((value, payload)),
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
        Ok(found)
    }
}
