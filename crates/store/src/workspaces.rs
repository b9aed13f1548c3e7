//! Workspaces: the tenants to which everything else belongs.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

use model::{Host, WorkspaceId};

use crate::schema::{domains, workspaces};
use crate::{Connection, QueryResult};

/// Held while a workspace gets its name, so that no two get the same at once ("wrkspace" in ASCII).
const NAMING_LOCK: i64 = 0x7772_6b73_7061_6365;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

type Row = (Uuid, String, DateTime<Utc>);

impl From<Row> for Workspace {
    fn from((id, name, created_at): Row) -> Self {
        Self { id: WorkspaceId::from_uuid(id), name, created_at }
    }
}

/// Makes a workspace.
pub async fn insert(conn: &mut Connection, name: &str, now: DateTime<Utc>) -> QueryResult<Workspace> {
    let workspace = Workspace { id: WorkspaceId::generate_at(now), name: name.to_owned(), created_at: now };
    diesel::insert_into(workspaces::table)
        .values((
            workspaces::id.eq(workspace.id.uuid()),
            workspaces::name.eq(&workspace.name),
            workspaces::created_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(workspace)
}

/// Makes a workspace with a name that no other has; `None` when one has it. Belongs into a transaction.
pub async fn insert_named(
    conn: &mut Connection,
    name: &str,
    now: DateTime<Utc>,
) -> QueryResult<Option<Workspace>> {
    conn.batch_execute(&format!("SELECT pg_advisory_xact_lock({NAMING_LOCK})")).await?;
    if find_by_name(conn, name).await?.is_some() {
        return Ok(None);
    }
    insert(conn, name, now).await.map(Some)
}

/// Workspaces, each with the host of its default domain, oldest first; those after `after`, at most `limit`.
pub async fn list(
    conn: &mut Connection,
    after: Option<WorkspaceId>,
    limit: i64,
) -> QueryResult<Vec<(Workspace, Option<Host>)>> {
    let rows: Vec<(Row, Option<String>)> = workspaces::table
        .left_join(domains::table.on(domains::workspace_id.eq(workspaces::id).and(domains::is_default)))
        .filter(workspaces::id.gt(after.map_or(Uuid::nil(), WorkspaceId::uuid)))
        .order(workspaces::id)
        .limit(limit)
        .select(((workspaces::id, workspaces::name, workspaces::created_at), domains::host.nullable()))
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|(row, host)| (Workspace::from(row), host.map(Host::kept))).collect())
}

/// The workspace with this id.
pub async fn find(conn: &mut Connection, id: WorkspaceId) -> QueryResult<Option<Workspace>> {
    let row: Option<Row> = workspaces::table
        .find(id.uuid())
        .select((workspaces::id, workspaces::name, workspaces::created_at))
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(Workspace::from))
}

/// Locks the workspace until the transaction ends: what is decided for all of it is changed by one at a time. Links and
/// endpoints are made meanwhile.
pub async fn lock(conn: &mut Connection, id: WorkspaceId) -> QueryResult<()> {
    workspaces::table
        .find(id.uuid())
        .select(workspaces::id)
        .for_no_key_update()
        .first::<Uuid>(conn)
        .await
        .map(drop)
}

/// The oldest workspace with this name.
pub async fn find_by_name(conn: &mut Connection, name: &str) -> QueryResult<Option<Workspace>> {
    let row: Option<Row> = workspaces::table
        .filter(workspaces::name.eq(name))
        .order(workspaces::id)
        .select((workspaces::id, workspaces::name, workspaces::created_at))
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(Workspace::from))
}
