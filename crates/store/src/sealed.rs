//! Everything that is sealed at rest, of all workspaces, for who seals it again with another key.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{EndpointId, WorkspaceId};

use crate::schema::{endpoint_secrets, endpoints, minting_keys};
use crate::{Connection, QueryResult};

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Signing secrets, those that sign no more among them.
    Secret,
    /// Custom headers of endpoints.
    Headers,
    /// Keys with which senders make recipients' links.
    MintingKey,
    /// Keys of asymmetric signatures, those that sign no more among them.
    Key,
    /// How endpoints let us in.
    Auth,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Secret, Self::Headers, Self::MintingKey, Self::Key, Self::Auth];
}

/// Sealed bytes, and what they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// What they are.
    pub kind: Kind,
    /// The row that holds them.
    pub row: Uuid,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Of which endpoint; of a minting key its own id, which is what it is sealed for.
    pub endpoint_id: EndpointId,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What is sealed in the rows after `after`, in their order; at most `limit`.
pub async fn page(
    conn: &mut Connection,
    kind: Kind,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<Sealed>> {
    let after = after.unwrap_or_default();
    let rows: Vec<(Uuid, Uuid, Uuid, Option<Vec<u8>>)> = match kind {
        Kind::Secret => {
            endpoint_secrets::table
                .filter(endpoint_secrets::id.gt(after))
                .order(endpoint_secrets::id)
                .limit(limit)
                .select((
                    endpoint_secrets::id,
                    endpoint_secrets::workspace_id,
                    endpoint_secrets::endpoint_id,
                    endpoint_secrets::sealed.nullable(),
                ))
                .load(conn)
                .await?
        }
        Kind::Headers => {
            endpoints::table
                .filter(endpoints::id.gt(after).and(endpoints::headers_sealed.is_not_null()))
                .order(endpoints::id)
                .limit(limit)
                .select((endpoints::id, endpoints::workspace_id, endpoints::id, endpoints::headers_sealed))
                .load(conn)
                .await?
        }
        Kind::MintingKey => {
            minting_keys::table
                .filter(minting_keys::id.gt(after).and(minting_keys::sealed.is_not_null()))
                .order(minting_keys::id)
                .limit(limit)
                .select((
                    minting_keys::id,
                    minting_keys::workspace_id,
                    minting_keys::id,
                    minting_keys::sealed,
                ))
                .load(conn)
                .await?
        }
        Kind::Auth => {
            endpoints::table
                .filter(endpoints::id.gt(after).and(endpoints::auth_sealed.is_not_null()))
                .order(endpoints::id)
                .limit(limit)
                .select((endpoints::id, endpoints::workspace_id, endpoints::id, endpoints::auth_sealed))
                .load(conn)
                .await?
        }
        Kind::Key => {
            endpoint_secrets::table
                .filter(endpoint_secrets::id.gt(after).and(endpoint_secrets::key_sealed.is_not_null()))
                .order(endpoint_secrets::id)
                .limit(limit)
                .select((
                    endpoint_secrets::id,
                    endpoint_secrets::workspace_id,
                    endpoint_secrets::endpoint_id,
                    endpoint_secrets::key_sealed,
                ))
                .load(conn)
                .await?
        }
    };
    let sealed = |(row, workspace_id, endpoint_id, bytes): (Uuid, Uuid, Uuid, Option<Vec<u8>>)| Sealed {
        kind,
        row,
        workspace_id: WorkspaceId::from_uuid(workspace_id),
        endpoint_id: EndpointId::from_uuid(endpoint_id),
        bytes: bytes.unwrap_or_default(),
    };
    Ok(rows.into_iter().map(sealed).collect())
}

/// Puts other bytes in the place of these; `false` when somebody has changed them meanwhile.
pub async fn replace(conn: &mut Connection, old: &Sealed, bytes: &[u8]) -> QueryResult<bool> {
    let changed = match old.kind {
        Kind::Secret => {
            diesel::update(endpoint_secrets::table)
                .filter(endpoint_secrets::id.eq(old.row).and(endpoint_secrets::sealed.eq(&old.bytes)))
                .set(endpoint_secrets::sealed.eq(bytes))
                .execute(conn)
                .await?
        }
        Kind::Headers => {
            diesel::update(endpoints::table)
                .filter(endpoints::id.eq(old.row).and(endpoints::headers_sealed.eq(&old.bytes)))
                .set(endpoints::headers_sealed.eq(bytes))
                .execute(conn)
                .await?
        }
        Kind::MintingKey => {
            diesel::update(minting_keys::table)
                .filter(minting_keys::id.eq(old.row).and(minting_keys::sealed.eq(&old.bytes)))
                .set(minting_keys::sealed.eq(bytes))
                .execute(conn)
                .await?
        }
        Kind::Auth => {
            diesel::update(endpoints::table)
                .filter(endpoints::id.eq(old.row).and(endpoints::auth_sealed.eq(&old.bytes)))
                .set(endpoints::auth_sealed.eq(bytes))
                .execute(conn)
                .await?
        }
        Kind::Key => {
            diesel::update(endpoint_secrets::table)
                .filter(endpoint_secrets::id.eq(old.row).and(endpoint_secrets::key_sealed.eq(&old.bytes)))
                .set(endpoint_secrets::key_sealed.eq(bytes))
                .execute(conn)
                .await?
        }
    };
    Ok(changed > 0)
}
