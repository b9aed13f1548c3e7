//! Workspaces: the tenants to which everything else belongs.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::WorkspaceId;

use crate::schema::workspaces;
use crate::{Connection, QueryResult};

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
