//! API keys of people. A key is the workspace's and goes on when whoever made it is removed, since programs use it; whoever removes
//! somebody is told which live ones they made, themselves or by a key of theirs, and may revoke those in the same step.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use model::PersonId;
use store::api_keys::{self, StoredKey};
use store::{Connection, memberships, workspaces};

use super::{Change, audit, now};
use crate::app::Shared;
use crate::auth::{Caller, Identity, Scope};
use crate::error::ApiError;

/// More live keys of a workspace are not looked at; it has `api.keys_max` at most.
const LIVE_MAX: i64 = 10_000;

/// The live keys of the workspace, by the person who made them, or who made the key that did.
///
/// # Errors
/// When the database is away.
pub async fn by_person(
    shared: &Shared,
    caller: &Caller,
) -> Result<HashMap<PersonId, Vec<StoredKey>>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let live = api_keys::live(&mut conn, caller.workspace_id, now(), LIVE_MAX).await?;
    let makers = api_keys::first_makers(&mut conn, caller.workspace_id, &live).await?;
    drop(conn);
    let mut by_person: HashMap<PersonId, Vec<StoredKey>> = HashMap::new();
    for key in live {
        let maker: Option<PersonId> = makers.get(&key.id).and_then(|maker| maker.parse().ok());
        if let Some(maker) = maker {
            by_person.entry(maker).or_default().push(key);
        }
    }
    Ok(by_person)
}

/// How many live keys of the workspace somebody made, or such a key.
///
/// # Errors
/// When the database is away.
pub async fn count(shared: &Shared, caller: &Caller, id: PersonId) -> Result<usize, ApiError> {
    let mut conn = shared.pool.get().await?;
    let keys = api_keys::made_by(&mut conn, caller.workspace_id, &id.to_string()).await?;
    Ok(keys.iter().filter(|key| key.is_live(now())).count())
}

/// Revokes the live keys that somebody made, or such a key; how many. Belongs in the transaction that removes them, for which the
/// workspace is locked: none is made meanwhile.
pub(super) async fn revoke(
    conn: &mut Connection,
    caller: &Caller,
    id: PersonId,
    now: DateTime<Utc>,
) -> Result<usize, ApiError> {
    let revoked = api_keys::revoke_made_by(conn, caller.workspace_id, &id.to_string(), now).await?;
    for key in &revoked {
        let details = json!({"name": key.name, "removed": id});
        let subject = key.id.to_string();
        audit(conn, Change { caller, now, action: "key.revoked", subject, details }).await?;
    }
    Ok(revoked.len())
}

/// Locks the workspace for whoever makes what would outlive them, a key or a link, or changes what people are; tells what the caller
/// is under the lock. Who asks is looked up when a request begins, and its body may come much later: whoever was removed, revoked or
/// demoted meanwhile is to be held to what they are now.
///
/// # Errors
/// When the caller was removed or revoked since they asked, or has not the scope any more.
pub(super) async fn lock_for_maker(
    conn: &mut Connection,
    caller: &Caller,
    scope: Scope,
    now: DateTime<Utc>,
) -> Result<Caller, ApiError> {
    workspaces::lock(conn, caller.workspace_id).await?;
    let current = match caller.identity {
        Identity::Key(id) => api_keys::find(conn, id).await?.filter(|key| key.is_live(now)).map(Caller::from),
        Identity::Person(id) => {
            let member = memberships::find(conn, caller.workspace_id, id).await?;
            member.map(|member| Caller::of_person(&member.person, caller.workspace_id, member.role))
        }
    };
    let current = current.ok_or(ApiError::Unauthorized("you belong to this workspace no more"))?;
    current.require(scope)?;
    Ok(current)
}
