//! Signing secrets of endpoints, sealed, each with the key of asymmetric signatures that goes with it. The newest live one signs first.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{EndpointId, SecretId, WorkspaceId};

use crate::schema::{endpoint_secrets, endpoints};
use crate::{Connection, QueryResult};

/// A sealed signing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// The secret as `webhook::sealing` sealed it.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// It signs nothing from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// The key of asymmetric signatures that goes with it, sealed.
    pub key_sealed: Option<Vec<u8>>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = endpoint_secrets)]
struct Row {
    id: Uuid,
    sealed: Vec<u8>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    key_sealed: Option<Vec<u8>>,
}

impl From<Row> for Secret {
    fn from(row: Row) -> Self {
        let Row { id, sealed, created_at, expires_at, key_sealed } = row;
        Self { id: SecretId::from_uuid(id), sealed, created_at, expires_at, key_sealed }
    }
}

/// Keeps a sealed secret.
pub async fn insert(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    sealed: &[u8],
    now: DateTime<Utc>,
) -> QueryResult<Secret> {
    let id = SecretId::generate_at(now);
    diesel::insert_into(endpoint_secrets::table)
        .values((
            endpoint_secrets::id.eq(id.uuid()),
            endpoint_secrets::endpoint_id.eq(endpoint_id.uuid()),
            endpoint_secrets::workspace_id.eq(workspace_id.uuid()),
            endpoint_secrets::sealed.eq(sealed),
            endpoint_secrets::created_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(Secret { id, sealed: sealed.to_vec(), created_at: now, expires_at: None, key_sealed: None })
}

/// Keeps the key of asymmetric signatures that goes with a secret: it signs and ends with it.
pub async fn set_key(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: SecretId,
    key_sealed: &[u8],
) -> QueryResult<()> {
    let own = endpoint_secrets::table
        .filter(endpoint_secrets::id.eq(id.uuid()))
        .filter(endpoint_secrets::workspace_id.eq(workspace_id.uuid()));
    diesel::update(own).set(endpoint_secrets::key_sealed.eq(key_sealed)).execute(conn).await?;
    Ok(())
}

/// The secrets that sign at `now`, newest first.
pub async fn list_live(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    now: DateTime<Utc>,
) -> QueryResult<Vec<Secret>> {
    let rows: Vec<Row> = endpoint_secrets::table
        .filter(endpoint_secrets::endpoint_id.eq(endpoint_id.uuid()))
        .filter(endpoint_secrets::workspace_id.eq(workspace_id.uuid()))
        .filter(endpoint_secrets::revoked_at.is_null())
        .filter(endpoint_secrets::expires_at.is_null().or(endpoint_secrets::expires_at.gt(now)))
        .order(endpoint_secrets::id.desc())
        .select(Row::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Secret::from).collect())
}

/// The keys that make an endpoint's asymmetric signatures at `now`, newest first, and whose they are. Not by workspace: their
/// public halves are for everybody who knows the endpoint's id.
pub async fn list_keys(
    conn: &mut Connection,
    endpoint_id: EndpointId,
    now: DateTime<Utc>,
) -> QueryResult<Vec<(WorkspaceId, Secret)>> {
    let rows: Vec<(Uuid, Row)> = endpoint_secrets::table
        .inner_join(endpoints::table)
        .filter(endpoints::id.eq(endpoint_id.uuid()).and(endpoints::deleted_at.is_null()))
        .filter(endpoints::signs_v1a)
        .filter(endpoint_secrets::key_sealed.is_not_null())
        .filter(endpoint_secrets::revoked_at.is_null())
        .filter(
            endpoint_secrets::expires_at.is_null().or(endpoint_secrets::expires_at.assume_not_null().gt(now)),
        )
        .order(endpoint_secrets::id.desc())
        .select((endpoint_secrets::workspace_id, Row::as_select()))
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|(workspace, row)| (WorkspaceId::from_uuid(workspace), row.into())).collect())
}

/// The newest secrets that an endpoint had and that sign no more at `now`; at most `limit`.
pub async fn list_ended(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<Secret>> {
    let rows: Vec<Row> = endpoint_secrets::table
        .filter(endpoint_secrets::endpoint_id.eq(endpoint_id.uuid()))
        .filter(endpoint_secrets::workspace_id.eq(workspace_id.uuid()))
        .filter(endpoint_secrets::revoked_at.is_not_null().or(endpoint_secrets::expires_at.le(now)))
        .order(endpoint_secrets::id.desc())
        .limit(limit)
        .select(Row::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Secret::from).collect())
}

/// Lets all secrets but `newest` end at `at`, unless they end before.
pub async fn expire_others(
    conn: &mut Connection,
    endpoint_id: EndpointId,
    newest: SecretId,
    at: DateTime<Utc>,
) -> QueryResult<()> {
    let others = endpoint_secrets::table
        .filter(endpoint_secrets::endpoint_id.eq(endpoint_id.uuid()))
        .filter(endpoint_secrets::id.ne(newest.uuid()))
        .filter(endpoint_secrets::revoked_at.is_null())
        .filter(endpoint_secrets::expires_at.is_null().or(endpoint_secrets::expires_at.gt(at)));
    diesel::update(others).set(endpoint_secrets::expires_at.eq(at)).execute(conn).await?;
    Ok(())
}

/// Takes a secret back at once; `false` when there is no such secret, or not any more.
pub async fn revoke(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    id: SecretId,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let own = endpoint_secrets::table
        .filter(endpoint_secrets::id.eq(id.uuid()))
        .filter(endpoint_secrets::endpoint_id.eq(endpoint_id.uuid()))
        .filter(endpoint_secrets::workspace_id.eq(workspace_id.uuid()))
        .filter(endpoint_secrets::revoked_at.is_null());
    let changed = diesel::update(own).set(endpoint_secrets::revoked_at.eq(now)).execute(conn).await?;
    Ok(changed > 0)
}

/// Forgets all secrets of an endpoint, those that sign no more among them.
pub(crate) async fn delete_all(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
) -> QueryResult<()> {
    let own = endpoint_secrets::table
        .filter(endpoint_secrets::endpoint_id.eq(endpoint_id.uuid()))
        .filter(endpoint_secrets::workspace_id.eq(workspace_id.uuid()));
    diesel::delete(own).execute(conn).await?;
    Ok(())
}
