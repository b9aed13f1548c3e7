//! Many links at once: one statement for all of them, and which of their names were taken.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{DomainId, LinkId, Slug, WorkspaceId};

use crate::link_row::made;
use crate::links::LinkOptions;
use crate::schema::links;
use crate::{Connection, QueryResult};

/// Most links of one statement: PostgreSQL takes 65,535 values, and a link has 31.
pub const LINKS_MAX: usize = 2000;

/// A link to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewLink<'a> {
    /// Its id.
    pub id: LinkId,
    /// Domain that it is served under.
    pub domain_id: DomainId,
    /// Its name there.
    pub slug: &'a Slug,
    /// What people set.
    pub options: &'a LinkOptions,
    /// Who makes it, as the audit log names them.
    pub created_by: &'a str,
}

/// Makes those of at most [`LINKS_MAX`] links whose slug and external id are free; tells which. Of two that want the same
/// name, the first gets it.
pub async fn insert(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    new: &[NewLink<'_>],
    now: DateTime<Utc>,
) -> QueryResult<HashSet<LinkId>> {
    let rows: Vec<_> = new.iter().map(|link| made(workspace_id, link, now)).collect();
    let inserted: Vec<Uuid> = diesel::insert_into(links::table)
        .values(rows)
        .on_conflict_do_nothing()
        .returning(links::id)
        .get_results(conn)
        .await?;
    Ok(inserted.into_iter().map(LinkId::from_uuid).collect())
}

/// Which of these external ids links of the workspace have, archived ones included.
pub async fn taken_external_ids(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    external_ids: &[&str],
) -> QueryResult<HashSet<String>> {
    let taken: Vec<Option<String>> = links::table
        .filter(links::workspace_id.eq(workspace_id.uuid()))
        .filter(links::external_id.eq_any(external_ids))
        .select(links::external_id)
        .load(conn)
        .await?;
    Ok(taken.into_iter().flatten().collect())
}
