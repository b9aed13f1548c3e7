//! API keys: make, list, revoke. Nobody gives away more than they hold.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use utoipa::ToSchema;

use model::KeyId;
use model::secret::ApiKey;
use store::api_keys::{self, NewKey as KeptKey, StoredKey};
use store::{AsyncConnection as _, Connection};

use super::idempotency::{Done, IdempotencyKey, Once, gone};
use super::settings::limit_reached;
use super::{Change, audit, now};
use crate::app::Shared;
use crate::auth::{ALL, Caller, Scope};
use crate::error::{ApiError, FieldError};
use crate::fields::{self, Fields, FromFields, Wrong, invalid, moment, text};
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
    /// It opens nothing from then on. Default: never.
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
/// past, or there are too many.
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
            let stored = api_keys::find(conn, KeyId::from_uuid(before)).await?;
            let is_there = |key: &StoredKey| key.revoked_at.is_none();
            let stored = stored.filter(is_there).ok_or_else(gone)?;
            return Ok(Done::Before(Created { stored, key: None }));
        }
        let key = ApiKey::generate();
        let stored = insert(shared, conn, caller, &new, &key, now).await?;
        once.made(conn, stored.id.uuid()).await?;
        Ok(Done::Now(Created { stored, key: Some(key) }))
    })
    .await
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
    if api_keys::count(conn, caller.workspace_id).await? >= shared.settings.keys_max.into() {
        return Err(limit_reached(shared.settings.keys_max, "API keys"));
    }
    let kept = KeptKey {
        workspace_id: caller.workspace_id,
        name: &new.name,
        key,
        scopes: &new.scopes,
        expires_at: new.expires_at,
    };
    let stored = api_keys::insert(conn, kept, now).await?;
    let stored =
        stored.ok_or_else(|| ApiError::Internal(anyhow::anyhow!("a random key was there already")))?;
    let details = json!({"name": stored.name, "scopes": stored.scopes, "expires_at": stored.expires_at});
    audit(conn, Change { caller, now, action: "key.created", subject: stored.id.to_string(), details })
        .await?;
    Ok(stored)
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

/// Revokes a key: it opens nothing any more, and ends the sessions that were begun with it.
///
/// # Errors
/// When the workspace has no such key.
pub async fn revoke(shared: &Shared, caller: &Caller, id: KeyId) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        if !api_keys::revoke(conn, caller.workspace_id, id, now).await? {
            return Err(ApiError::NotFound("API key"));
        }
        let subject = id.to_string();
        audit(conn, Change { caller, now, action: "key.revoked", subject, details: json!({}) }).await
    })
    .await
}
