//! Whether a consumer gets anywhere: the readiness of its service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::topology::ConsumerName;

/// A consumer that for so long neither finished a batch nor heard from the broker that there is none, is not ready.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// When a consumer last got anywhere. Cheap to clone; clones see the same moment.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    consumer: ConsumerName,
    last_at: Arc<Mutex<Option<Instant>>>,
}

impl Progress {
    pub(super) fn new(consumer: ConsumerName) -> Self {
        Self { consumer, last_at: Arc::default() }
    }

    /// The broker said that there is nothing to do, or a batch was finished.
    pub(super) fn made(&self) {
        *self.last_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether there was progress lately.
    pub(super) fn check(&self) -> Result<(), String> {
        let last_at = *self.last_at.lock().unwrap_or_else(PoisonError::into_inner);
        match last_at.map(|at| at.elapsed()) {
            None => Err(format!("consumer {} has not reached its stream yet", self.consumer)),
            Some(since) if since > STALLED_AFTER => {
                Err(format!("consumer {} has made no progress for {} s", self.consumer, since.as_secs()))
            }
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_consumer_is_ready_while_it_gets_somewhere() {
        let progress = Progress::new(ConsumerName::Record);
        assert_eq!(progress.check(), Err("consumer record has not reached its stream yet".into()));

        progress.made();
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(progress.check(), Ok(()));

        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(progress.check(), Err("consumer record has made no progress for 25 s".into()));
    }
}
