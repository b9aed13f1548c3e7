//! Keeps stream CLICKS, which refuses new clicks when it is full, from filling up with clicks that were handled.

use std::time::Duration;

use bus::Bus;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Looks every `every`, until `stop`. A failure is tried again next time: full, the stream leaves new clicks in the
/// spools of `redirect`.
pub async fn keep(bus: Bus, every: Duration, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Some(Err(error)) = stop.run_until_cancelled(bus.make_room()).await {
            warn!(
                error = format!("{:#}", anyhow::Error::from(error)),
                "no room could be made on stream CLICKS"
            );
        }
        stop.run_until_cancelled(tokio::time::sleep(every)).await;
    }
}
