//! Everything that is sealed at rest, of all workspaces, for who seals it again with another key.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{EndpointId, WorkspaceId};

use crate::schema::{endpoint_secrets, endpoints};
use crate::{Connection, QueryResult};

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Signing secrets, those that sign no more among them.
    Secret,
    /// Custom headers of endpoints.
    Headers,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Secret, Self::Headers];
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
    /// Of which endpoint.
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
    let after = after.unwrap_or(Uuid::nil());
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
    };
    Ok(changed > 0)
}
