//! Signing secrets: reveal, rotate, revoke. Every look at one is written down.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use utoipa::ToSchema;

use model::secret::SigningSecret;
use model::{EndpointId, SecretId};
use store::audit::{self as entries, AuditFilter};
use store::secrets::Secret;
use store::{AsyncConnection as _, Connection, endpoints, secrets};
use webhook::asymmetric::PublicKey;

use super::endpoints::{not_found, notify, vanished};
use super::idempotency::{Done, IdempotencyKey, Once, gone};
use super::{Change, announce, audit, now, signing_keys};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, number};

/// Most secrets that sign at the same time.
pub const LIVE_MAX: usize = 3;

/// Entries of the audit log of one caller, one endpoint and one moment; there are no more.
const MOMENT_MAX: i64 = 100;

/// How long old secrets go on signing beside their successor, so that subscribers can change over, unless the request says otherwise,
/// in seconds.
const OVERLAP_DEFAULT: u32 = 24 * 60 * 60;

/// Longest such time, in seconds: 7 days.
const OVERLAP_MAX: u32 = 7 * 24 * 60 * 60;

/// How a signing secret is to be rotated.
#[derive(Debug, Default, ToSchema)]
pub struct SecretRotation {
    /// How many seconds the old secrets go on signing beside the new one, at most 7 days; 0: they end at once. Default: 86400, a day.
    #[schema(maximum = 604_800, example = 86400)]
    overlap_seconds: Option<u32>,
}

impl FromFields for SecretRotation {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { overlap_seconds: fields.optional("overlap_seconds", number::<0, OVERLAP_MAX>) })
    }
}

impl SecretRotation {
    /// Whether the new secret alone signs from then on.
    pub fn is_at_once(&self) -> bool {
        self.overlap_seconds == Some(0)
    }

    fn overlap(&self) -> TimeDelta {
        TimeDelta::seconds(self.overlap_seconds.unwrap_or(OVERLAP_DEFAULT).into())
    }
}

/// A secret, opened.
pub struct Revealed {
    /// Its id.
    pub id: SecretId,
    /// The secret itself.
    pub secret: SigningSecret,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// It signs nothing from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// What verifies the asymmetric signatures that are made beside its own, if there is a key for such.
    pub public_key: Option<PublicKey>,
}

/// Shows the live secrets of an endpoint, newest first, and writes down who looked.
///
/// # Errors
/// When there is no such endpoint, or the sealing key is gone.
pub async fn reveal(shared: &Shared, caller: &Caller, id: EndpointId) -> Result<Vec<Revealed>, ApiError> {
    reveal_live(shared, caller, id, None).await
}

/// Shows those of these secrets of an endpoint that are live, and writes down who looked.
///
/// # Errors
/// When there is no such endpoint, or the sealing key is gone.
pub async fn reveal_these(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    wanted: &[SecretId],
) -> Result<Vec<Revealed>, ApiError> {
    reveal_live(shared, caller, id, Some(wanted)).await
}

/// `wanted`: no others.
async fn reveal_live(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    wanted: Option<&[SecretId]>,
) -> Result<Vec<Revealed>, ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let found = conn
        .transaction::<_, ApiError, _>(async |conn| {
            endpoints::find(conn, caller.workspace_id, id).await?.ok_or_else(not_found)?;
            let mut found = secrets::list_live(conn, caller.workspace_id, id, now).await?;
            found.retain(|secret| wanted.is_none_or(|wanted| wanted.contains(&secret.id)));
            let ids: Vec<String> = found.iter().map(|secret| secret.id.to_string()).collect();
            audit(conn, Change::of(caller, now, "secret.revealed", id, json!({"secrets": ids}))).await?;
            Ok(found)
        })
        .await?;
    found.into_iter().map(|secret| open(shared, caller, id, secret)).collect()
}

/// When the live secrets of an endpoint were made and end, without showing them.
///
/// # Errors
/// When the database is away.
pub async fn list(shared: &Shared, caller: &Caller, id: EndpointId) -> Result<Vec<Secret>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(secrets::list_live(&mut conn, caller.workspace_id, id, now()).await?)
}

/// Shows one live secret to who was shown it before, or missed that, and writes it down; `None` when it signs no more. A request can
/// be repeated by whoever knows its key.
///
/// # Errors
/// When somebody else made it, and the caller may not see secrets.
pub(super) async fn reveal_again(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    id: EndpointId,
    is_meant: impl Fn(&Secret) -> bool,
    now: DateTime<Utc>,
) -> Result<Option<Revealed>, ApiError> {
    let live = secrets::list_live(conn, caller.workspace_id, id, now).await?;
    let Some(secret) = live.into_iter().find(is_meant) else { return Ok(None) };
    if !caller.may(Scope::SecretsRead) && !has_made(conn, caller, id, &secret).await? {
        return Err(ApiError::Forbidden(Scope::SecretsRead));
    }
    audit(conn, Change::of(caller, now, "secret.revealed", id, json!({"secrets": [secret.id]}))).await?;
    open(shared, caller, id, secret).map(Some)
}

/// Whether it was the caller who made a secret, with its endpoint or for it: the audit log says so.
async fn has_made(
    conn: &mut Connection,
    caller: &Caller,
    id: EndpointId,
    secret: &Secret,
) -> Result<bool, ApiError> {
    let filter = AuditFilter {
        actor: Some(caller.actor()),
        subject: Some(id.to_string()),
        since: Some(secret.created_at),
        until: Some(secret.created_at + TimeDelta::milliseconds(1)),
        ..AuditFilter::default()
    };
    let found = entries::list(conn, caller.workspace_id, &filter, None, MOMENT_MAX).await?;
    let made = json!(secret.id);
    Ok(found.iter().any(|entry| match entry.action.as_str() {
        "endpoint.created" => true,
        "secret.rotated" => entry.details["secret"] == made,
        _ => false,
    }))
}

/// Makes a new secret that signs first; the others go on for as long as `how` says. With a key that came before, shows the one
/// that it made.
///
/// # Errors
/// When the key came with another request, there is no such endpoint, [`LIVE_MAX`] secrets sign already and are to go on, or somebody
/// else made the secret of a request that is repeated and the caller may not see secrets.
pub async fn rotate(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    how: SecretRotation,
    key: Option<&IdempotencyKey>,
) -> Result<Done<Revealed>, ApiError> {
    let now = now();
    let once = Once::new(caller, key, "secret.rotate", now);
    let secret = SigningSecret::generate();
    let sealed = shared.keyring.seal_secret(caller.workspace_id, id, &secret);
    let mut conn = shared.pool.get().await?;
    let done = conn
        .transaction::<_, ApiError, _>(async |conn| {
            if let Some(before) = once.claim(conn).await? {
                let is_meant = |secret: &Secret| secret.id.uuid() == before;
                let revealed = reveal_again(shared, conn, caller, id, is_meant, now).await?;
                return revealed.map(Done::Before).ok_or_else(gone);
            }
            if !endpoints::lock(conn, caller.workspace_id, id).await? {
                return Err(not_found());
            }
            let endpoint = endpoints::find(conn, caller.workspace_id, id).await?.ok_or_else(vanished)?;
            let live = secrets::list_live(conn, caller.workspace_id, id, now).await?;
            if live.len() >= LIVE_MAX && !how.is_at_once() {
                return Err(ApiError::Conflict {
                    code: "limit_reached",
                    pointer: None,
                    detail: format!("{LIVE_MAX} secrets sign already: revoke one, or wait until it ends"),
                });
            }
            let mut kept = secrets::insert(conn, caller.workspace_id, id, &sealed, now).await?;
            if endpoint.options.signs_v1a {
                kept.key_sealed = Some(signing_keys::add(shared, conn, caller, id, kept.id).await?);
            }
            secrets::expire_others(conn, id, kept.id, now + how.overlap()).await?;
            announce(conn, Change::of(caller, now, "secret.rotated", id, json!({"secret": kept.id}))).await?;
            once.made(conn, kept.id.uuid()).await?;
            open(shared, caller, id, kept).map(Done::Now)
        })
        .await?;
    drop(conn);
    if let Done::Now(_) = done {
        notify(shared, caller, id).await;
    }
    Ok(done)
}

/// Ends a secret at once. The last one stays: an endpoint is never without a signature.
///
/// # Errors
/// When there is no such secret, or it is the last one.
pub async fn revoke(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    secret_id: SecretId,
) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        if !endpoints::lock(conn, caller.workspace_id, id).await? {
            return Err(not_found());
        }
        let live = secrets::list_live(conn, caller.workspace_id, id, now).await?;
        if !live.iter().any(|secret| secret.id == secret_id) {
            return Err(ApiError::NotFound("secret"));
        }
        // one that ends by itself does not count: it would leave the endpoint without any
        let stays = live.iter().any(|secret| secret.id != secret_id && secret.expires_at.is_none());
        if !stays {
            return Err(ApiError::Conflict {
                code: "last_secret",
                pointer: None,
                detail: "an endpoint always keeps one signing secret: rotate it first".to_owned(),
            });
        }
        secrets::revoke(conn, caller.workspace_id, id, secret_id, now).await?;
        announce(conn, Change::of(caller, now, "secret.revoked", id, json!({"secret": secret_id}))).await
    })
    .await?;
    drop(conn);
    notify(shared, caller, id).await;
    Ok(())
}

fn open(shared: &Shared, caller: &Caller, id: EndpointId, kept: Secret) -> Result<Revealed, ApiError> {
    let secret = shared
        .keyring
        .open_secret(caller.workspace_id, id, &kept.sealed)
        .map_err(|error| ApiError::Internal(anyhow::Error::new(error).context("failed to open a secret")))?;
    let public_key =
        kept.key_sealed.map(|sealed| signing_keys::public(shared, caller.workspace_id, id, &sealed));
    Ok(Revealed {
        id: kept.id,
        secret,
        created_at: kept.created_at,
        expires_at: kept.expires_at,
        public_key: public_key.transpose()?,
    })
}
