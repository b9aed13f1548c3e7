//! Whose a domain is: what a look-up of its record has shown.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use model::domain_proof::ProofFailure;
use model::{DomainId, WorkspaceId};

use crate::domains::{self, Domain, Row, read};
use crate::schema::domains as table;
use crate::{Connection, QueryResult};

/// Keeps that a domain is the workspace's; the first one becomes its default: belongs in a transaction that holds
/// [`workspaces::lock`](crate::workspaces::lock). `None` when the workspace has no such domain.
///
/// # Errors
/// Also when another workspace has it proven, see [`is_taken`](crate::is_taken).
pub async fn verified(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DomainId,
    now: DateTime<Utc>,
) -> QueryResult<Option<Domain>> {
    let is_first = domains::default(conn, workspace_id).await?.is_none();
    let own = table::table.filter(table::workspace_id.eq(workspace_id.uuid()).and(table::id.eq(id.uuid())));
    let row: Option<Row> = diesel::update(own.filter(table::verified_at.is_null()))
        .set((
            table::verified_at.eq(now),
            table::proof_checked_at.eq(now),
            table::proof_failure.eq(None::<String>),
            table::is_default.eq(is_first),
        ))
        .returning(Row::as_returning())
        .get_result(conn)
        .await
        .optional()?;
    match row {
        Some(row) => Ok(Some(read(row))),
        // it was before, or there is none
        None => domains::find(conn, workspace_id, id).await,
    }
}

/// Keeps why a look-up proved nothing. What was proven before stays so. `None` when the workspace has no such domain.
pub async fn failed(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DomainId,
    failure: ProofFailure,
    now: DateTime<Utc>,
) -> QueryResult<Option<Domain>> {
    let own = table::table.filter(table::workspace_id.eq(workspace_id.uuid()).and(table::id.eq(id.uuid())));
    diesel::update(own.filter(table::verified_at.is_null()))
        .set((table::proof_checked_at.eq(now), table::proof_failure.eq(failure.as_str())))
        .execute(conn)
        .await?;
    domains::find(conn, workspace_id, id).await
}
