//! What ceases to be good soon, of all workspaces: for who runs the server.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{EndpointId, KeyId};

use crate::schema::{api_keys, endpoint_secrets, endpoints, workspaces};
use crate::{Connection, QueryResult};

/// An API key that will open nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiringKey {
    /// Its id.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// What its workspace is called.
    pub workspace: String,
    /// Last use, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// From then on.
    pub expires_at: DateTime<Utc>,
}

/// A signing secret that signs beside a newer one, and will not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiringSecret {
    /// Whose it is.
    pub endpoint_id: EndpointId,
    /// What the endpoint's workspace is called.
    pub workspace: String,
    /// From then on.
    pub expires_at: DateTime<Utc>,
}

#[derive(Queryable)]
struct KeyRow {
    id: Uuid,
    name: String,
    workspace: String,
    last_used_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
}

/// The keys that open something at `now` and nothing after `until`, those that end first; at most `limit`.
pub async fn keys(
    conn: &mut Connection,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<ExpiringKey>> {
    let rows: Vec<KeyRow> = api_keys::table
        .inner_join(workspaces::table)
        .filter(api_keys::revoked_at.is_null())
        .filter(api_keys::expires_at.gt(now))
        .filter(api_keys::expires_at.le(until))
        .order((api_keys::expires_at, api_keys::id))
        .limit(limit)
        .select((
            api_keys::id,
            api_keys::name,
            workspaces::name,
            api_keys::last_used_at,
            api_keys::expires_at,
        ))
        .load(conn)
        .await?;
    let key = |row: KeyRow| {
        Some(ExpiringKey {
            id: KeyId::from_uuid(row.id),
            name: row.name,
            workspace: row.workspace,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at?,
        })
    };
    Ok(rows.into_iter().filter_map(key).collect())
}

/// The secrets that sign at `now` and have an end, those that end first; at most `limit`.
pub async fn secrets(
    conn: &mut Connection,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<ExpiringSecret>> {
    let rows: Vec<(Uuid, String, Option<DateTime<Utc>>)> = endpoint_secrets::table
        .inner_join(endpoints::table)
        .inner_join(workspaces::table)
        .filter(endpoints::deleted_at.is_null())
        .filter(endpoint_secrets::revoked_at.is_null())
        .filter(endpoint_secrets::expires_at.gt(now))
        .order((endpoint_secrets::expires_at, endpoint_secrets::id))
        .limit(limit)
        .select((endpoint_secrets::endpoint_id, workspaces::name, endpoint_secrets::expires_at))
        .load(conn)
        .await?;
    let secret = |(endpoint_id, workspace, expires_at): (Uuid, String, Option<DateTime<Utc>>)| {
        Some(ExpiringSecret {
            endpoint_id: EndpointId::from_uuid(endpoint_id),
            workspace,
            expires_at: expires_at?,
        })
    };
    Ok(rows.into_iter().filter_map(secret).collect())
}
