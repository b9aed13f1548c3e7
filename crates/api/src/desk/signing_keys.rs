//! Keys of asymmetric signatures: each stands beside a signing secret, and signs and ends with it. Their public halves are for
//! everybody who knows the endpoint's id.

use chrono::{DateTime, Utc};

use model::{EndpointId, SecretId, WorkspaceId};
use store::{Connection, secrets};
use webhook::asymmetric::{PublicKey, SigningKey};

use super::now;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// A public key of an endpoint, and which of its secrets it goes with.
pub struct Published {
    /// The secret.
    pub id: SecretId,
    /// The key.
    pub key: PublicKey,
}

/// What verifies the asymmetric signatures of an endpoint, newest first; nobody is asked who they are.
///
/// # Errors
/// When the database or the sealing key is gone.
pub async fn publish(shared: &Shared, id: EndpointId) -> Result<Vec<Published>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let kept = secrets::list_keys(&mut conn, id, now()).await?;
    drop(conn);
    let mut published = Vec::with_capacity(kept.len());
    for (workspace_id, secret) in kept {
        if let Some(sealed) = &secret.key_sealed {
            published.push(Published { id: secret.id, key: public(shared, workspace_id, id, sealed)? });
        }
    }
    Ok(published)
}

/// The public half of a key.
pub fn public(
    shared: &Shared,
    workspace_id: WorkspaceId,
    id: EndpointId,
    sealed: &[u8],
) -> Result<PublicKey, ApiError> {
    Ok(open(shared, workspace_id, id, sealed)?.public())
}

fn open(
    shared: &Shared,
    workspace_id: WorkspaceId,
    id: EndpointId,
    sealed: &[u8],
) -> Result<SigningKey, ApiError> {
    SigningKey::open(&shared.keyring, workspace_id, id, sealed).map_err(|error| {
        ApiError::Internal(anyhow::Error::new(error).context("failed to open a signing key"))
    })
}

/// The keys that sign for an endpoint at a moment, newest first.
///
/// # Errors
/// When the database or the sealing key is gone.
pub(super) async fn open_live(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    at: DateTime<Utc>,
) -> Result<Vec<SigningKey>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let kept = secrets::list_keys(&mut conn, id, at).await?;
    drop(conn);
    let own = kept.iter().filter(|(workspace_id, _)| *workspace_id == caller.workspace_id);
    own.filter_map(|(_, secret)| secret.key_sealed.as_ref())
        .map(|sealed| open(shared, caller.workspace_id, id, sealed))
        .collect()
}

/// Sees to it that every secret of an endpoint that signs has a key beside it.
pub(super) async fn complete(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    id: EndpointId,
    now: DateTime<Utc>,
) -> Result<(), ApiError> {
    let live = secrets::list_live(conn, caller.workspace_id, id, now).await?;
    for secret in live.iter().filter(|secret| secret.key_sealed.is_none()) {
        add(shared, conn, caller, id, secret.id).await?;
    }
    Ok(())
}

/// Makes the key of a secret; tells it as it is kept.
pub(super) async fn add(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    id: EndpointId,
    secret_id: SecretId,
) -> Result<Vec<u8>, ApiError> {
    let sealed = SigningKey::generate_sealed(&shared.keyring, caller.workspace_id, id);
    secrets::set_key(conn, caller.workspace_id, secret_id, &sealed).await?;
    Ok(sealed)
}
