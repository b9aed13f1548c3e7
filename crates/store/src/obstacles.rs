//! Why a link leads nowhere although nothing about the link itself says so; a redirect only learns that it does not.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::url::AppScheme;
use model::{Host, LinkId, SlugCase, TypedSlug, WorkspaceId};

use crate::links::Link;
use crate::routes::leads_back;
use crate::schema::{domains, links};
use crate::statement::expression;
use crate::{Connection, QueryResult};

/// What is in a link's way. Of several the first one here is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It was put away.
    Archived,
    /// Its domain was not shown to be the workspace's.
    DomainNotVerified,
    /// An operator has its domain blocked.
    DomainBlocked,
    /// It leads to a host under which its workspace serves links.
    Loop,
    /// It leads to an app that its workspace does not allow.
    Scheme,
}

/// What is in the way of a link of a workspace that allows links to these apps.
pub async fn of_link(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    link: &Link,
    allowed: &[AppScheme],
) -> QueryResult<Option<Obstacle>> {
    type Asked = (Option<DateTime<Utc>>, Option<DateTime<Utc>>, bool);
    if link.archived_at.is_some() {
        return Ok(Some(Obstacle::Archived));
    }
    let found: Option<Asked> = links::table
        .inner_join(domains::table)
        .filter(links::workspace_id.eq(workspace_id.uuid()).and(links::id.eq(link.id.uuid())))
        .select((
            domains::verified_at,
            domains::blocked_at,
            expression::<Bool>(leads_back("links.original_url")),
        ))
        .first(conn)
        .await
        .optional()?;
    let url = &link.options.original_url;
    let is_allowed = url.is_web() || allowed.iter().any(|scheme| scheme.as_str() == url.url().scheme());
    Ok(match found {
        Some((None, ..)) => Some(Obstacle::DomainNotVerified),
        Some((_, Some(_), _)) => Some(Obstacle::DomainBlocked),
        Some((.., true)) => Some(Obstacle::Loop),
        _ if !is_allowed => Some(Obstacle::Scheme),
        _ => None,
    })
}

/// The link that was made with this host and this slug, as somebody typed it, even if it leads nowhere by now: it is archived,
/// or its domain was not shown to be its workspace's. Several workspaces may say that a domain is theirs.
pub async fn made_with(
    conn: &mut Connection,
    host: &Host,
    typed: &TypedSlug,
) -> QueryResult<Option<(WorkspaceId, LinkId)>> {
    let compared = |case: SlugCase| domains::slug_case.eq(case.as_str());
    let folded =
        compared(SlugCase::Insensitive).and(links::slug.eq(typed.of(SlugCase::Insensitive).as_str()));
    let exact = compared(SlugCase::Sensitive).and(links::slug.eq(typed.of(SlugCase::Sensitive).as_str()));
    let found: Option<(Uuid, Uuid)> = links::table
        .inner_join(domains::table)
        .filter(domains::host.eq(host.as_str()).and(folded.or(exact)))
        .order((domains::verified_at.is_null(), links::id.desc()))
        .select((links::workspace_id, links::id))
        .first(conn)
        .await
        .optional()?;
    Ok(found.map(|(workspace_id, id)| (WorkspaceId::from_uuid(workspace_id), LinkId::from_uuid(id))))
}
