//! Works off the erasure of contacts: what `api` has not done while the caller waited, and the second look. Deletes the salts of
//! visitors' keys whose time is over, too: also when nobody clicks.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{Bus, Changed, Table};
use chrono::Utc;
use model::{ErasureId, LinkId, WorkspaceId};
use store::erasures::{self, Step};
use store::{Connection, Pool, links, visitor_salts};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often it is looked for erasures.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Most erasures that are worked on in one round.
const ERASURES_MAX: i64 = 100;

/// How often salts are looked for whose time is over.
const SALTS_INTERVAL: Duration = Duration::from_secs(60);

/// Works until `stop`.
pub async fn work(pool: Pool, bus: Bus, stop: CancellationToken) {
    let mut salts_at = tokio::time::Instant::now();
    while !stop.is_cancelled() {
        if let Err(error) = round(&pool, &bus, &stop).await {
            warn!(error = format!("{error:#}"), "contacts could not be erased yet");
        }
        if tokio::time::Instant::now() >= salts_at {
            salts_at += SALTS_INTERVAL;
            if let Err(error) = destroy_salts(&pool).await {
                warn!(error = format!("{error:#}"), "old salts of visitors' keys could not be deleted yet");
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(POLL_INTERVAL)).await;
    }
}

async fn destroy_salts(pool: &Pool) -> anyhow::Result<()> {
    let mut conn = pool.get().await?;
    visitor_salts::destroy_old(&mut conn, Utc::now()).await?;
    Ok(())
}

async fn round(pool: &Pool, bus: &Bus, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut conn = pool.get().await?;
    let due = erasures::due(&mut conn, Utc::now(), ERASURES_MAX).await?;
    for id in due {
        info!(erasure.id = %id, "erasing a contact");
        while let Step::Looked(emptied) =
            erasures::step(&mut conn, id, bus::erased::erased, Utc::now()).await?
        {
            forget(&mut conn, bus, id, &emptied).await;
            if stop.is_cancelled() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Tells redirects which links name nobody any more; who is not told learns of it by age.
async fn forget(conn: &mut Connection, bus: &Bus, id: ErasureId, emptied: &[LinkId]) {
    if emptied.is_empty() {
        return;
    }
    let addresses = match links::addresses(conn, emptied).await {
        Ok(addresses) => addresses,
        Err(error) => {
            warn!(erasure.id = %id, %error, "links are emptied, and nobody was told");
            return;
        }
    };
    let mut keys: BTreeMap<WorkspaceId, Vec<String>> = BTreeMap::new();
    for (workspace_id, host, slug) in addresses {
        keys.entry(workspace_id).or_default().push(format!("{host}/{slug}"));
    }
    for (workspace_id, keys) in keys {
        bus.notify(&Changed { table: Table::Links, workspace_id, keys }).await;
    }
}
