//! Replicas share the partitions of a stream: whoever holds more than its share while others wait gives the rest up.
//!
//! The broker pins a partition to whoever asks first and keeps it there; it does not know that one replica holds all of them. It
//! does tell how many requests wait, and that is how a replica sees the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use tracing::{debug, info};

use crate::connect::{Bus, PendingError};
use crate::topology::{ConsumerName, Durable, PIN_GROUP};

/// How often the partitions are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long the broker is waited for when a partition is given up.
const UNPIN_LIMIT: Duration = Duration::from_secs(1);

/// The partitions that are ours, and whether a request of ours waits at them. Clones see the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Holdings(Arc<Mutex<HashMap<Durable, Holding>>>);

#[derive(Debug, Clone, Copy, Default)]
struct Holding {
    is_ours: bool,
    is_waiting: bool,
}

impl Holdings {
    /// The partition has become ours, or another's.
    pub fn set_ours(&self, durable: Durable, is_ours: bool) {
        self.all().entry(durable).or_default().is_ours = is_ours;
    }

    /// A request of ours waits at the broker, or has ended.
    pub fn set_waiting(&self, durable: Durable, is_waiting: bool) {
        self.all().entry(durable).or_default().is_waiting = is_waiting;
    }

    fn of(&self, durable: Durable) -> Holding {
        self.all().get(&durable).copied().unwrap_or_default()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Durable, Holding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives partitions up while others wait and we hold more than our share. Never ends.
pub(super) async fn share(bus: Bus, name: ConsumerName, holdings: Holdings) {
    let durables = name.durables();
    if durables.len() < 2 {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let ours: Vec<Durable> =
            durables.iter().copied().filter(|durable| holdings.of(*durable).is_ours).collect();
        if ours.len() < 2 {
            continue;
        }
        let Some(others) = others(&bus, &ours, &holdings).await else { continue };
        let share = durables.len().div_ceil(others + 1);
        for durable in ours.into_iter().skip(share) {
            info!(consumer = %durable, replicas = others + 1, "another replica waits: it gets this partition");
            give_up(&bus, durable).await;
        }
    }
}

/// How many other replicas wait at each partition of ours; `None` when the broker does not say. Who waits does so at all of them, but
/// for the moment between two requests.
async fn others(bus: &Bus, ours: &[Durable], holdings: &Holdings) -> Option<usize> {
    let waiting = ours.iter().map(async |durable| {
        let before = holdings.of(*durable).is_waiting;
        let consumer = bus.consumer(*durable).await?;
        let own = usize::from(before || holdings.of(*durable).is_waiting);
        Ok::<_, PendingError>(consumer.cached_info().num_waiting.saturating_sub(own))
    });
    match try_join_all(waiting).await {
        Ok(waiting) => waiting.into_iter().min(),
        Err(error) => {
            debug!(%error, "nobody can say who waits for partitions");
            None
        }
    }
}

/// Lets another replica have a partition at once.
pub(super) async fn give_up(bus: &Bus, durable: Durable) {
    let subject = format!("$JS.API.CONSUMER.UNPIN.{}.{durable}", durable.consumer.stream());
    let body = serde_json::json!({ "group": PIN_GROUP }).to_string();
    let unpin = bus.client().request(subject, body.into());
    let _ = tokio::time::timeout(UNPIN_LIMIT, unpin).await;
}
