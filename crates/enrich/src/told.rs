//! What was told of clicks lately, read again from ENRICHED by who takes shards of CLICKS over: once for all that come together.

use std::collections::HashMap;
use std::sync::Arc;

use bus::{Bus, Part, RecentError};
use chrono::{DateTime, TimeDelta, Utc};
use model::{ClickId, EnrichedClick};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::evidence::{RECALLED_MAX, Telling};

/// So much more is read than the first shard asks for: the next ones begin about the same moment.
const MARGIN: TimeDelta = TimeDelta::seconds(1);

/// The newest telling of each click.
pub type Tellings = HashMap<ClickId, Telling>;

/// Reads ENRICHED.
pub struct ToldLately {
    bus: Bus,
    /// Held while somebody reads: the others wait for what it finds.
    last: Mutex<HashMap<Part, Reading>>,
}

struct Reading {
    read_at: Instant,
    since: DateTime<Utc>,
    tellings: Arc<Tellings>,
}

impl ToldLately {
    /// Reads from this broker.
    pub fn new(bus: Bus) -> Self {
        Self { bus, last: Mutex::default() }
    }

    /// What was told since `since`, of [`RECALLED_MAX`] messages, by whoever had a shard until `taken_over_at`. What was read after
    /// that moment serves again: it had told by then.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn since(
        &self,
        since: DateTime<Utc>,
        part: Part,
        taken_over_at: Instant,
    ) -> Result<Arc<Tellings>, RecentError> {
        let mut last = self.last.lock().await;
        if let Some(reading) = last.get(&part)
            && reading.read_at >= taken_over_at
            && reading.since <= since
        {
            return Ok(reading.tellings.clone());
        }
        let (read_at, since) = (Instant::now(), since - MARGIN);
        let mut newest = Tellings::new();
        let keep = |click: EnrichedClick, event| {
            let told = Telling::of(&click, event);
            if newest.get(&click.click.id).is_none_or(|known| told.is_newer_than(known)) {
                newest.insert(click.click.id, told);
            }
        };
        self.bus.enriched_since(since, part, RECALLED_MAX, keep).await?;
        let tellings = Arc::new(newest);
        last.insert(part, Reading { read_at, since, tellings: tellings.clone() });
        Ok(tellings)
    }

    /// Lets go of what was read; who needs it still reads it again.
    pub fn forget(&self) {
        if let Ok(mut last) = self.last.try_lock() {
            last.clear();
        }
    }
}
