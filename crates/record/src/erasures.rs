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
use tracing::{debug, warn};

/// How often it is looked for erasures while none is due.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Most erasures that are worked on in one round, each by a step: those that wait longest.
const ERASURES_MAX: i64 = 100;

/// How often salts are looked for whose time is over.
const SALTS_INTERVAL: Duration = Duration::from_secs(60);

/// Works until `stop`.
pub async fn work(pool: Pool, bus: Bus, stop: CancellationToken) {
    let mut salts_at = tokio::time::Instant::now();
    while !stop.is_cancelled() {
        let is_going_on = round(&pool, &bus, &stop).await.unwrap_or_else(|error| {
            warn!(error = format!("{error:#}"), "contacts could not be erased yet");
            false
        });
        if tokio::time::Instant::now() >= salts_at {
            salts_at += SALTS_INTERVAL;
            if let Err(error) = destroy_salts(&pool).await {
                warn!(error = format!("{error:#}"), "old salts of visitors' keys could not be deleted yet");
            }
        }
        if !is_going_on {
            stop.run_until_cancelled(tokio::time::sleep(POLL_INTERVAL)).await;
        }
    }
}

async fn destroy_salts(pool: &Pool) -> anyhow::Result<()> {
    let mut conn = pool.get().await?;
    visitor_salts::destroy_old(&mut conn, Utc::now()).await?;
    Ok(())
}

/// Does one step of each erasure that is due; tells whether there was anything to do. A step that fails puts its erasure off, and
/// keeps none of the others waiting.
async fn round(pool: &Pool, bus: &Bus, stop: &CancellationToken) -> anyhow::Result<bool> {
    let mut conn = pool.get().await?;
    let due = erasures::due(&mut conn, Utc::now(), ERASURES_MAX).await?;
    drop(conn);
    let mut is_going_on = false;
    for id in due {
        if stop.is_cancelled() {
            break;
        }
        match step(pool, bus, id).await {
            Ok(has_looked) => is_going_on |= has_looked,
            Err(error) => {
                warn!(erasure.id = %id, error = format!("{error:#}"), "a contact could not be erased yet");
                // with a connection of its own: the step may have lost the other one
                let mut conn = pool.get().await?;
                erasures::postpone(&mut conn, id, Utc::now()).await?;
            }
        }
    }
    Ok(is_going_on)
}

/// Looks at one page of an erasure; tells whether it was for us to look.
async fn step(pool: &Pool, bus: &Bus, id: ErasureId) -> anyhow::Result<bool> {
    let mut conn = pool.get().await?;
    match erasures::step(&mut conn, id, bus::erased::erased, Utc::now()).await? {
        Step::NotOurs => Ok(false),
        Step::Looked(emptied) => {
            debug!(erasure.id = %id, links = emptied.len(), "looked at a page of an erasure");
            forget(&mut conn, bus, id, &emptied).await;
            Ok(true)
        }
    }
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
