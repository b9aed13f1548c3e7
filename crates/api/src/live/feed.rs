//! Reads ENRICHED while somebody looks, and goes on by itself when the broker was away.

use std::time::Duration;

use bus::{Bus, EnrichedTail, LiveError};
use tracing::{debug, warn};

use super::hub::RING_MAX;
use super::{Live, State};

/// How long it is read on after the last viewer has gone: who reloads a page misses nothing.
const LINGER: Duration = Duration::from_secs(60);

/// How long a connection that is being made is waited for before the broker is said to be away.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Pause before the broker is asked again.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// Follows until the process stops.
pub async fn follow(live: &Live, bus: &Bus) {
    let mut viewers = live.hub.viewers();
    let stop = live.stop.clone();
    loop {
        let somebody = async { viewers.wait_for(|viewers| *viewers > 0).await.is_ok() };
        if stop.run_until_cancelled(somebody).await != Some(true) {
            return;
        }
        if stop.run_until_cancelled(while_looked_at(live, bus)).await.is_none() {
            return;
        }
        debug!("nobody looks at live clicks any more");
    }
}

async fn while_looked_at(live: &Live, bus: &Bus) {
    loop {
        let _ = bus.wait_connected(CONNECT_MAX).await;
        let error = match open(live, bus).await {
            Ok(mut tail) => {
                live.state.send_replace(State::Following);
                debug!("live clicks are followed");
                hand_over(live, &mut tail).await.err()
            }
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            let error = format!("{:#}", anyhow::Error::new(error));
            match live.state.send_replace(State::Away) {
                State::Away => debug!(error, "live clicks cannot be followed yet"),
                State::Resting | State::Following => warn!(error, "live clicks cannot be followed"),
            }
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
        if !is_looked_at(live) {
            // whoever comes between the two waits until it is followed again
            live.state.send_replace(State::Resting);
            if live.hub.rest() {
                return;
            }
        }
    }
}

/// Goes on after what was seen last, unless that is too far back or on another stream.
async fn open(live: &Live, bus: &Bus) -> Result<EnrichedTail, LiveError> {
    let end = bus.enriched_end().await?;
    let last = live.hub.end();
    let after = last.filter(|last| (end.saturating_sub(RING_MAX as u64)..=end).contains(last));
    let tail = bus.follow_enriched(after.unwrap_or(end)).await?;
    live.hub.begin(after.unwrap_or(end), after.is_some());
    Ok(tail)
}

/// Hands over what comes until nobody has looked for a while.
async fn hand_over(live: &Live, tail: &mut EnrichedTail) -> Result<(), LiveError> {
    let mut looked_at = tokio::time::Instant::now();
    loop {
        live.hub.push(tail.next().await?);
        if is_looked_at(live) {
            looked_at = tokio::time::Instant::now();
        } else if looked_at.elapsed() > LINGER {
            return Ok(());
        }
    }
}

fn is_looked_at(live: &Live) -> bool {
    *live.hub.viewers().borrow() > 0
}
