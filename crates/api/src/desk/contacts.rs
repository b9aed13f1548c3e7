//! Contacts: there is no list of them, only what links and clicks say, and the right to have that erased.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::time::Instant;

use bus::{Changed, StreamName, Table};
use model::{ErasureId, LinkId};
use store::erasures::{self, Erasure, Step};
use store::{AsyncConnection as _, Connection, links};

use super::link_fields::label;
use super::{Change, audit, now};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// How long a request works on an erasure itself; `record` does the rest.
const WORK_MAX: Duration = Duration::from_secs(2);

/// Pause while somebody else does a step.
const PAUSE: Duration = Duration::from_millis(25);

/// An erasure, and when the messages that were there before it are gone from each stream.
pub struct Erased {
    /// The erasure.
    pub erasure: Erasure,
    /// The streams.
    pub gone: Vec<(StreamName, DateTime<Utc>)>,
}

/// Erases a contact: sets a tombstone, and empties what names it for as long as the caller can wait. Asked again, it looks
/// through everything again.
///
/// The audit log names the erasure and not the contact.
///
/// # Errors
/// When the id cannot be one, as many are being erased as may be, or the database is away.
pub async fn erase(shared: &Shared, caller: &Caller, contact: &str) -> Result<Erased, ApiError> {
    let contact = label(&contact.into()).map_err(|wrong| ApiError::Invalid(vec![wrong.of("contact_id")]))?;
    let now = now();
    let mut conn = shared.pool.get().await?;
    let begun = conn
        .transaction::<_, ApiError, _>(async |conn| {
            let max = i64::from(shared.settings.erasures_open_max);
            if erasures::count_open(conn, caller.workspace_id, max).await? >= max {
                return Err(ApiError::Busy(
                    "as many contacts of this workspace are being erased as may be at a time (`api.erasures_open_max`); each \
                     takes at least five minutes: try again after that",
                ));
            }
            let erasure = erasures::begin(conn, caller.workspace_id, &contact, &caller.actor(), now).await?;
            let (subject, details) = (erasure.id.to_string(), json!({}));
            audit(conn, Change { caller, now, action: "contact.erased", subject, details }).await?;
            Ok(erasure)
        })
        .await?;
    drop(conn);
    let erasure = work(shared, caller, begun).await?;
    let gone_by = |age: Duration| {
        TimeDelta::from_std(age).ok().and_then(|age| erasure.erased_at.checked_add_signed(age))
    };
    let gone = shared.kept_on_streams.iter().filter_map(|(stream, age)| Some((*stream, gone_by(*age)?)));
    Ok(Erased { gone: gone.collect(), erasure })
}

/// Does steps until everything was looked through once, or the caller has waited long enough.
async fn work(shared: &Shared, caller: &Caller, mut erasure: Erasure) -> Result<Erasure, ApiError> {
    let deadline = Instant::now() + WORK_MAX;
    let mut pause = Duration::ZERO;
    while erasure.scrubbed_at.is_none() && Instant::now() < deadline {
        tokio::time::sleep(pause).await;
        // it has begun: what cannot be done now `record` does
        let Ok(mut conn) = shared.pool.get().await else { break };
        pause = match erasures::step(&mut conn, erasure.id, bus::erased::erased, Utc::now()).await? {
            Step::Looked(emptied) => {
                forget(shared, caller, &mut conn, &emptied).await?;
                Duration::ZERO
            }
            Step::NotOurs => PAUSE,
        };
        erasure = find(caller, &mut conn, erasure.id).await?;
    }
    Ok(erasure)
}

async fn find(caller: &Caller, conn: &mut Connection, id: ErasureId) -> Result<Erasure, ApiError> {
    erasures::find(conn, caller.workspace_id, id).await?.ok_or(ApiError::NotFound("erasure"))
}

/// Tells redirects which links name nobody any more.
async fn forget(
    shared: &Shared,
    caller: &Caller,
    conn: &mut Connection,
    emptied: &[LinkId],
) -> Result<(), ApiError> {
    if emptied.is_empty() {
        return Ok(());
    }
    let addresses = links::addresses(conn, emptied).await?;
    let keys = addresses.into_iter().map(|(_, host, slug)| format!("{host}/{slug}")).collect();
    shared.bus.notify(&Changed { table: Table::Links, workspace_id: caller.workspace_id, keys }).await;
    Ok(())
}
