//! Waits at the start until database and broker are there, and have what we need.

use std::time::Duration;

use bus::{Bus, VerifyError};
use store::Pool;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Pause before an absent broker or database is asked again.
const VERIFY_PAUSE: Duration = Duration::from_secs(2);

/// Waits for an absent database and an absent broker; what only an operator can mend is an error.
pub(super) async fn verify(pool: &Pool, bus: &Bus, stop: &CancellationToken) -> anyhow::Result<()> {
    loop {
        let Some(result) = stop.run_until_cancelled(verify_once(pool, bus)).await else { return Ok(()) };
        let Some(absent) = result? else { return Ok(()) };
        let of_broker = absent.downcast_ref::<VerifyError>();
        let awaited = of_broker.map_or("the database is away, waiting for it", VerifyError::awaited);
        warn!(error = format!("{absent:#}"), "{awaited}");
        stop.run_until_cancelled(tokio::time::sleep(VERIFY_PAUSE)).await;
    }
}

/// What is away, if anything is.
async fn verify_once(pool: &Pool, bus: &Bus) -> anyhow::Result<Option<anyhow::Error>> {
    let mut conn = match pool.get().await {
        Ok(conn) => conn,
        Err(error) => return Ok(Some(error.into())),
    };
    match store::verify(&mut conn).await {
        Err(error @ store::VerifyError::Pending { .. }) => return Err(error.into()),
        Err(error) => return Ok(Some(error.into())),
        Ok(()) => {}
    }
    drop(conn);
    match bus.verify().await {
        Ok(()) => Ok(None),
        Err(error) if error.is_awaited() => Ok(Some(error.into())),
        Err(error) => Err(error.into()),
    }
}
