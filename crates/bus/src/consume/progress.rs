//! Whether a consumer gets anywhere: the readiness of its service.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::topology::{ConsumerName, Durable};

/// A consumer that for so long neither finished a batch nor heard from the broker that there is none, is not ready.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// When a consumer last got anywhere, in each partition. Cheap to clone; clones see the same moments.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    last_at: Arc<Mutex<HashMap<Durable, Option<Instant>>>>,
}

impl Progress {
    pub(super) fn new(consumer: ConsumerName) -> Self {
        let durables = consumer.durables().into_iter().map(|durable| (durable, None));
        Self { last_at: Arc::new(Mutex::new(durables.collect())) }
    }

    /// The broker said that there is nothing to do, or a batch was finished.
    pub(super) fn made(&self, durable: Durable) {
        self.last_at().insert(durable, Some(Instant::now()));
    }

    /// Whether there was progress lately, everywhere.
    pub(super) fn check(&self) -> Result<(), String> {
        for (durable, last_at) in &*self.last_at() {
            match last_at.map(|at| at.elapsed()) {
                None => return Err(format!("consumer {durable} has not reached its stream yet")),
                Some(since) if since > STALLED_AFTER => {
                    return Err(format!("consumer {durable} has made no progress for {} s", since.as_secs()));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn last_at(&self) -> MutexGuard<'_, HashMap<Durable, Option<Instant>>> {
        self.last_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_consumer_is_ready_while_it_gets_somewhere() {
        let progress = Progress::new(ConsumerName::Record);
        let durable = ConsumerName::Record.durables()[0];
        assert_eq!(progress.check(), Err("consumer record has not reached its stream yet".into()));

        progress.made(durable);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(progress.check(), Ok(()));

        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(progress.check(), Err("consumer record has made no progress for 25 s".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_that_gets_nowhere_is_not_hidden_by_the_others() {
        let progress = Progress::new(ConsumerName::Enrich);
        let durables = ConsumerName::Enrich.durables();
        durables.iter().for_each(|durable| progress.made(*durable));
        assert_eq!(progress.check(), Ok(()));

        tokio::time::advance(Duration::from_secs(25)).await;
        durables[1..].iter().for_each(|durable| progress.made(*durable));

        let expected = format!("consumer {} has made no progress for 25 s", durables[0]);
        assert_eq!(progress.check(), Err(expected));
    }
}
