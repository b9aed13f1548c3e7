//! Whether capital letters in slugs tell a domain's links apart: said while it has none, and kept from then on.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{DomainId, SlugCase, WorkspaceId};

use super::has_links;
use crate::schema::domains;
use crate::{Connection, QueryResult};

/// What became of a wish to have a domain compare slugs otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recasing {
    /// It does, or did so before.
    Done,
    /// The workspace has no such domain.
    NotFound,
    /// Links are served under it, or were, and were promised how they are found.
    HasLinks,
}

/// Keeps these domains comparing slugs as they do until the transaction ends, and says how that is: links whose slugs were
/// read in that way can be made meanwhile. It waits for [`set_slug_case`], and for nobody else.
pub async fn hold_slug_case(
    conn: &mut Connection,
    ids: &[DomainId],
) -> QueryResult<HashMap<DomainId, SlugCase>> {
    let mut ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    // who holds several waits in one order
    ids.sort();
    let rows: Vec<(Uuid, String)> = domains::table
        .filter(domains::id.eq_any(ids))
        .order(domains::id)
        .select((domains::id, domains::slug_case))
        .for_key_share()
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|(id, kept)| (DomainId::from_uuid(id), slug_case(&kept))).collect())
}

/// Says whether capital letters in slugs tell a domain's links apart, while it has none. Belongs in a transaction: who makes a
/// link under it at the same moment is waited for.
pub async fn set_slug_case(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DomainId,
    case: SlugCase,
) -> QueryResult<Recasing> {
    let own =
        domains::table.filter(domains::workspace_id.eq(workspace_id.uuid()).and(domains::id.eq(id.uuid())));
    let kept: Option<String> = own.select(domains::slug_case).for_update().first(conn).await.optional()?;
    match kept {
        None => return Ok(Recasing::NotFound),
        Some(kept) if slug_case(&kept) == case => return Ok(Recasing::Done),
        Some(_) if has_links(conn, id).await? => return Ok(Recasing::HasLinks),
        Some(_) => {}
    }
    let of_id = domains::table.find(id.uuid());
    diesel::update(of_id).set(domains::slug_case.eq(case.as_str())).execute(conn).await?;
    Ok(Recasing::Done)
}

/// What a column `slug_case` says.
pub(crate) fn slug_case(kept: &str) -> SlugCase {
    if kept == SlugCase::Sensitive.as_str() { SlugCase::Sensitive } else { SlugCase::Insensitive }
}
