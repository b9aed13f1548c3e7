//! What an operator has blocked: a link, or all links of a domain, whosever they are. Their workspaces cannot lift it.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{Host, LinkId, Slug, WorkspaceId};

use crate::schema::{domains, links};
use crate::{Connection, QueryResult};

/// Blocks a link since `at`, or lifts that; `None` when there is no such link. Tells whose it is, and where it is served.
pub async fn set_link(
    conn: &mut Connection,
    id: LinkId,
    at: Option<DateTime<Utc>>,
) -> QueryResult<Option<(WorkspaceId, Host, Slug)>> {
    let changed: Option<(Uuid, Uuid, String)> = diesel::update(links::table.find(id.uuid()))
        .set(links::blocked_at.eq(at))
        .returning((links::workspace_id, links::domain_id, links::slug))
        .get_result(conn)
        .await
        .optional()?;
    let Some((workspace_id, domain_id, slug)) = changed else { return Ok(None) };
    let host: String = domains::table.find(domain_id).select(domains::host).first(conn).await?;
    Ok(Some((WorkspaceId::from_uuid(workspace_id), Host::kept(host), Slug::kept(slug))))
}

/// Blocks all links of a domain since `at`, or lifts that, for all who claim it; `None` when nobody does. Tells whose it is, or
/// who claims it.
pub async fn set_domain(
    conn: &mut Connection,
    host: &Host,
    at: Option<DateTime<Utc>>,
) -> QueryResult<Option<WorkspaceId>> {
    let mut changed: Vec<(bool, Uuid)> =
        diesel::update(domains::table.filter(domains::host.eq(host.as_str())))
            .set(domains::blocked_at.eq(at))
            .returning((domains::verified_at.is_null(), domains::workspace_id))
            .get_results(conn)
            .await?;
    changed.sort_unstable();
    let whose = changed.into_iter().next();
    Ok(whose.map(|(_, workspace_id)| WorkspaceId::from_uuid(workspace_id)))
}
