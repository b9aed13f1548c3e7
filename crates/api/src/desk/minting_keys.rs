//! Keys with which senders make recipients' links: make, list, rotate, revoke. Each is shown once.

use chrono::{DateTime, Utc};
use serde_json::json;

use bus::{Changed, MINTING_KEYS, Table};
use model::MintingKeyId;
use model::minting::MintingKey;
use store::minting_keys::{self, NewKey, StoredKey};
use store::{AsyncConnection as _, Connection};
use webhook::Keyring;

use super::idempotency::{Done, IdempotencyKey, Once, gone};
use super::person_keys::lock_for_maker;
use super::{Change, audit, limit_reached, now};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::error::ApiError;
use crate::page::PageRequest;

/// Most keys that are not revoked.
pub const LIVE_MAX: u32 = 16;

/// A key that was just made.
pub struct Created {
    /// What is kept of it.
    pub stored: StoredKey,
    /// The key itself, the one time it is shown.
    pub key: Option<MintingKey>,
}

/// Makes a key. With an idempotency key that came before, tells of the one that it made, which is not shown again.
///
/// # Errors
/// When the idempotency key came with another request, there are too many, or the server is not set up for it.
pub async fn create(
    shared: &Shared,
    caller: &Caller,
    idempotency_key: Option<&IdempotencyKey>,
) -> Result<Done<Created>, ApiError> {
    let now = now();
    let keyring = keyring(shared)?;
    let once = Once::new(caller, idempotency_key, "minting_key.create", now);
    let mut conn = shared.pool.get().await?;
    let done = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if let Some(before) = once.claim(conn).await? {
                return created_before(conn, caller, MintingKeyId::from_uuid(before)).await;
            }
            let made = insert(conn, caller, keyring, now).await?;
            let details = json!({"number": made.stored.number});
            audit(conn, Change::of(caller, now, "minting_key.created", made.stored.id, details)).await?;
            once.made(conn, made.stored.id.uuid()).await?;
            Ok(Done::Now(made))
        })
        .await?;
    drop(conn);
    notify(shared, caller).await;
    Ok(done)
}

/// Makes a key in the place of another, which is retired: what it signed stays good. With an idempotency key that came before,
/// tells of the one that it made, which is not shown again.
///
/// # Errors
/// When the idempotency key came with another request, there is no such key, it is retired or revoked already, there are too
/// many, or the server is not set up for it.
pub async fn rotate(
    shared: &Shared,
    caller: &Caller,
    id: MintingKeyId,
    idempotency_key: Option<&IdempotencyKey>,
) -> Result<Done<Created>, ApiError> {
    let now = now();
    let once = Once::new(caller, idempotency_key, "minting_key.rotate", now);
    let mut conn = shared.pool.get().await?;
    let done = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if let Some(before) = once.claim(conn).await? {
                return created_before(conn, caller, MintingKeyId::from_uuid(before)).await;
            }
            let old = minting_keys::find(conn, caller.workspace_id, id).await?.ok_or_else(not_found)?;
            let keyring = keyring(shared)?;
            if !minting_keys::retire(conn, caller.workspace_id, id, now).await? {
                return Err(ApiError::Conflict {
                    code: "key_retired",
                    pointer: None,
                    detail: format!(
                        "key {} signs nothing new any more: rotate the one that does",
                        old.number
                    ),
                });
            }
            let made = insert(conn, caller, keyring, now).await?;
            let details = json!({"successor": made.stored.id, "number": made.stored.number});
            audit(conn, Change::of(caller, now, "minting_key.rotated", id, details)).await?;
            once.made(conn, made.stored.id.uuid()).await?;
            Ok(Done::Now(made))
        })
        .await?;
    drop(conn);
    notify(shared, caller).await;
    Ok(done)
}

/// Revokes a key: all links that were made with it lead nowhere, for good.
///
/// # Errors
/// When there is no such key, or it is revoked already.
pub async fn revoke(shared: &Shared, caller: &Caller, id: MintingKeyId) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        if !minting_keys::revoke(conn, caller.workspace_id, id, now).await? {
            return Err(not_found());
        }
        audit(conn, Change::of(caller, now, "minting_key.revoked", id, json!({}))).await
    })
    .await?;
    drop(conn);
    notify(shared, caller).await;
    Ok(())
}

/// One page of the workspace's keys, revoked ones among them, and one row more.
///
/// # Errors
/// When the database is away.
pub async fn list(
    shared: &Shared,
    caller: &Caller,
    page: &PageRequest<MintingKeyId>,
) -> Result<Vec<StoredKey>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(minting_keys::list(&mut conn, caller.workspace_id, page.before, page.rows()).await?)
}

async fn insert(
    conn: &mut Connection,
    caller: &Caller,
    keyring: &Keyring,
    now: DateTime<Utc>,
) -> Result<Created, ApiError> {
    lock_for_maker(conn, caller, Scope::KeysWrite, now).await?;
    let too_many = || limit_reached(LIVE_MAX, "minting keys");
    if minting_keys::count_live(conn, caller.workspace_id).await? >= LIVE_MAX.into() {
        return Err(too_many());
    }
    let number = minting_keys::free_number(conn, caller.workspace_id).await?.ok_or_else(too_many)?;
    let key = MintingKey::generate(number).map_err(|error| ApiError::Internal(error.into()))?;
    let id = MintingKeyId::generate_at(now);
    let sealed = keyring.seal_minting_key(caller.workspace_id, id, &key);
    let created_by = caller.actor();
    let new =
        NewKey { id, workspace_id: caller.workspace_id, number, sealed: &sealed, created_by: &created_by };
    let stored = minting_keys::insert(conn, new, now).await?;
    let stored = stored.ok_or(ApiError::Busy("others are making minting keys: try again"))?;
    Ok(Created { stored, key: Some(key) })
}

async fn created_before(
    conn: &mut Connection,
    caller: &Caller,
    id: MintingKeyId,
) -> Result<Done<Created>, ApiError> {
    let stored = minting_keys::find(conn, caller.workspace_id, id).await?;
    let stored = stored.filter(|key| key.revoked_at.is_none()).ok_or_else(gone)?;
    Ok(Done::Before(Created { stored, key: None }))
}

fn keyring(shared: &Shared) -> Result<&Keyring, ApiError> {
    shared.minting.as_ref().ok_or_else(|| ApiError::Conflict {
        code: "minting_not_set_up",
        pointer: None,
        detail: "who runs the server has to set `minting.key_file` for api and redirect first".to_owned(),
    })
}

fn not_found() -> ApiError {
    ApiError::NotFound("minting key")
}

async fn notify(shared: &Shared, caller: &Caller) {
    let keys = vec![MINTING_KEYS.to_owned()];
    shared.bus.notify(&Changed { table: Table::Links, workspace_id: caller.workspace_id, keys }).await;
}
