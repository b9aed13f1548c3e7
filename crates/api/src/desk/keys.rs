//! API keys: make, list, rotate, revoke. Nobody gives away more than they hold, nor for longer.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use utoipa::ToSchema;

use model::KeyId;
use model::secret::ApiKey;
use store::api_keys::{self, NewKey as KeptKey, StoredKey};
use store::{AsyncConnection as _, Connection, invitations};

use super::idempotency::{Done, IdempotencyKey, Once, gone};
use super::person_keys::lock_for_maker;
use super::{Change, audit, limit_reached, now};
use crate::app::Shared;
use crate::auth::{ALL, Caller, Scope};
use crate::error::{ApiError, FieldError};
use crate::fields::{self, Fields, FromFields, Wrong, invalid, moment, number, text};
use crate::page::PageRequest;

/// Longest name of a key, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// A key to be made.
#[derive(Debug, ToSchema)]
pub struct NewKey {
    /// What people call it; at most 100 characters.
    #[schema(example = "CRM integration")]
    name: String,
    /// What it may do: scopes that you hold yourself, or `*` for everything.
    #[schema(example = json!(["links:read", "links:write"]))]
    scopes: Vec<String>,
    /// It opens nothing from then on. Default: never. Whoever asks with a key that ends names no later moment than its end; where that
    /// key was rotated, than the end that it had before.
    expires_at: Option<DateTime<Utc>>,
}

impl FromFields for NewKey {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.required("name", text::<NAME_CHARS_MAX>);
        let scopes = fields.required("scopes", fields::list(Scope::EVERY.len() + 1, scope));
        let expires_at = fields.optional("expires_at", moment);
        if scopes.as_ref().is_some_and(Vec::is_empty) {
            fields.refuse("scopes", invalid("must name at least one scope"));
        }
        Some(Self { name: name?, scopes: scopes?, expires_at })
    }
}

fn scope(value: &Value) -> Result<String, Wrong> {
    let text = text::<50>(value)?;
    let is_known = text == ALL || Scope::EVERY.iter().any(|scope| scope.as_str() == text);
    if is_known {
        return Ok(text);
    }
    let known: Vec<&str> = Scope::EVERY.iter().map(|scope| scope.as_str()).collect();
    Err(invalid(format_args!("is not a scope; there are `*`, `{}`", known.join("`, `"))))
}

/// How long a key that is rotated goes on opening things beside its successor, unless the request says otherwise, in seconds.
const OVERLAP_DEFAULT: u32 = 24 * 60 * 60;

/// Longest such time, in seconds: 30 days.
const OVERLAP_MAX: u32 = 30 * 24 * 60 * 60;

/// How a key is to be rotated.
#[derive(Debug, Default, ToSchema)]
pub struct Rotation {
    /// How many seconds the old key goes on, at most 30 days; 0: it ends at once. Default: 86400, a day.
    #[schema(maximum = 2_592_000, example = 86400)]
    overlap_seconds: Option<u32>,
}

impl FromFields for Rotation {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { overlap_seconds: fields.optional("overlap_seconds", number::<0, OVERLAP_MAX>) })
    }
}

/// A key that was just made.
pub struct Created {
    /// What is kept of it.
    pub stored: StoredKey,
    /// The key itself, the one time it can be shown: only its hash is kept.
    pub key: Option<ApiKey>,
}

/// Makes a key. With an idempotency key that came before, tells of the one that it made; that cannot be shown again.
///
/// # Errors
/// When the idempotency key came with another request; when the new one would hold more than the caller does, ends in the
/// past or later than the caller's own, or there are too many.
pub async fn create(
    shared: &Shared,
    caller: &Caller,
    new: NewKey,
    idempotency_key: Option<&IdempotencyKey>,
) -> Result<Done<Created>, ApiError> {
    let now = now();
    let once = Once::new(caller, idempotency_key, "key.create", now);
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        if let Some(before) = once.claim(conn).await? {
            return created_before(conn, caller, KeyId::from_uuid(before)).await.map(Done::Before);
        }
        let caller = &lock_for_maker(conn, caller, Scope::KeysWrite, now).await?;
        let key = ApiKey::generate();
        let stored = insert(shared, conn, caller, &new, &key, now).await?;
        once.made(conn, stored.id.uuid()).await?;
        Ok(Done::Now(Created { stored, key: Some(key) }))
    })
    .await
}

async fn created_before(conn: &mut Connection, caller: &Caller, id: KeyId) -> Result<Created, ApiError> {
    let stored = api_keys::lock(conn, caller.workspace_id, id).await?.ok_or_else(gone)?;
    Ok(Created { stored, key: None })
}

/// Makes a key with the name, the scopes and the end of another, which itself ends after an overlap; it may be rotated again until
/// then, for another key with the end that it had at first. With an idempotency key that came
/// before, tells of the one that it made; that cannot be shown again.
///
/// # Errors
/// When the idempotency key came with another request; when there is no such key, it opens nothing any more, or more or for longer than
/// the caller's own, or there are too many.
pub async fn rotate(
    shared: &Shared,
    caller: &Caller,
    id: KeyId,
    how: Rotation,
    idempotency_key: Option<&IdempotencyKey>,
) -> Result<Done<Created>, ApiError> {
    let now = now();
    let overlap = TimeDelta::seconds(how.overlap_seconds.unwrap_or(OVERLAP_DEFAULT).into());
    let once = Once::new(caller, idempotency_key, "key.rotate", now);
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        if let Some(before) = once.claim(conn).await? {
            return created_before(conn, caller, KeyId::from_uuid(before)).await.map(Done::Before);
        }
        let caller = &lock_for_maker(conn, caller, Scope::KeysWrite, now).await?;
        let old = api_keys::lock(conn, caller.workspace_id, id).await?;
        let old = old.ok_or(ApiError::NotFound("API key"))?;
        if !old.is_live(now) {
            return Err(ApiError::Conflict {
                code: "key_expired",
                pointer: None,
                detail: "this key has expired: make a new one".to_owned(),
            });
        }
        if let Some(scope) = old.scopes.iter().find(|scope| !caller.may_word(scope)) {
            return Err(ApiError::Conflict {
                code: "not_held",
                pointer: None,
                detail: format!("your own key has not the scope `{scope}`, which this one has"),
            });
        }
        if let Some(own) = caller.ends_before(old.own_expires_at) {
            return Err(ApiError::Conflict {
                code: "not_held",
                pointer: None,
                detail: format!("your own key ends at {}, before this one does", shown(own)),
            });
        }
        let ends_at = old.expires_at.map_or(now + overlap, |ends_at| ends_at.min(now + overlap));
        api_keys::retire(conn, &old, ends_at, now).await?;
        if ends_at <= now {
            // as if it were revoked
            invitations::revoke_by(conn, caller.workspace_id, &id.to_string(), now).await?;
        }
        let key = ApiKey::generate();
        let new = NewKey { name: old.name, scopes: old.scopes, expires_at: old.own_expires_at };
        let stored = insert(shared, conn, caller, &new, &key, now).await?;
        let details = json!({"successor": stored.id, "expires_at": ends_at});
        let subject = id.to_string();
        audit(conn, Change { caller, now, action: "key.rotated", subject, details }).await?;
        once.made(conn, stored.id.uuid()).await?;
        Ok(Done::Now(Created { stored, key: Some(key) }))
    })
    .await
}

/// The workspace's key with this id, unless it was revoked.
///
/// # Errors
/// When there is none.
pub async fn find(shared: &Shared, caller: &Caller, id: KeyId) -> Result<StoredKey, ApiError> {
    let mut conn = shared.pool.get().await?;
    let found = api_keys::find(&mut conn, id).await?;
    let is_own = |key: &StoredKey| key.workspace_id == caller.workspace_id && key.revoked_at.is_none();
    found.filter(is_own).ok_or(ApiError::NotFound("API key"))
}

async fn insert(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    new: &NewKey,
    key: &ApiKey,
    now: DateTime<Utc>,
) -> Result<StoredKey, ApiError> {
    check_scopes(caller, &new.scopes)?;
    if new.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(ApiError::field("/expires_at", "invalid", "must be in the future"));
    }
    if let Some(own) = caller.ends_before(new.expires_at) {
        let detail = format!("must be there, and no later than {}, when your own key ends", shown(own));
        return Err(ApiError::field("/expires_at", "not_held", detail));
    }
    if api_keys::count(conn, caller.workspace_id, now).await? >= shared.settings.keys_max.into() {
        return Err(limit_reached(shared.settings.keys_max, "API keys"));
    }
    let kept = KeptKey {
        workspace_id: caller.workspace_id,
        name: &new.name,
        key,
        scopes: &new.scopes,
        expires_at: new.expires_at,
        created_by: &caller.actor(),
    };
    let stored = api_keys::insert(conn, kept, now).await?;
    let stored =
        stored.ok_or_else(|| ApiError::Internal(anyhow::anyhow!("a random key was there already")))?;
    let details = json!({"name": stored.name, "scopes": stored.scopes, "expires_at": stored.expires_at});
    audit(conn, Change { caller, now, action: "key.created", subject: stored.id.to_string(), details })
        .await?;
    Ok(stored)
}

fn shown(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn check_scopes(caller: &Caller, wanted: &[String]) -> Result<(), ApiError> {
    let refused: Vec<FieldError> = wanted
        .iter()
        .enumerate()
        .filter(|(_, scope)| !caller.may_word(scope))
        .map(|(at, scope)| FieldError {
            pointer: format!("/scopes/{at}"),
            code: "not_held",
            detail: format!("your own key has not the scope `{scope}`"),
        })
        .collect();
    if refused.is_empty() { Ok(()) } else { Err(ApiError::Invalid(refused)) }
}

/// One page of the keys that were not revoked, and one row more.
///
/// # Errors
/// When the database is away.
pub async fn list(
    shared: &Shared,
    caller: &Caller,
    page: &PageRequest<KeyId>,
) -> Result<Vec<StoredKey>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(api_keys::list(&mut conn, caller.workspace_id, page.before, page.rows()).await?)
}

/// Revokes a key: it opens nothing any more, and ends the sessions that were begun with it and the links that it made, or a key
/// that it made. Those keys go on.
///
/// # Errors
/// When the workspace has no such key.
pub async fn revoke(shared: &Shared, caller: &Caller, id: KeyId) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        // whoever makes something with the key at this moment has made it, or finds the key revoked
        lock_for_maker(conn, caller, Scope::KeysWrite, now).await?;
        if !api_keys::revoke(conn, caller.workspace_id, id, now).await? {
            return Err(ApiError::NotFound("API key"));
        }
        let subject = id.to_string();
        invitations::revoke_by(conn, caller.workspace_id, &subject, now).await?;
        audit(conn, Change { caller, now, action: "key.revoked", subject, details: json!({}) }).await
    })
    .await
}
