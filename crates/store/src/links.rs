//! Tracked links, as people manage them. What a redirect needs of one is asked in `routes`.

mod exhaustion;
mod search;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::link::{LinkKind, LinkLabels, LinkPreview, QueryMode, RedirectStatus, Tracking};
use model::{DestinationUrl, Host, LinkId, PasswordHash, Slug, Utm, WorkspaceId};

use crate::link_import::NewLink;
use crate::link_row::{Row, made, unreadable, values};
use crate::schema::{domains, links};
use crate::{Connection, QueryResult};

pub use exhaustion::{COUNT_TIME_MAX, count_clicks, recount};
pub use search::{LIST_TIME_MAX, LinkFilter, list};

/// A link of a workspace.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// Host it is served under.
    pub host: Host,
    /// Its name under that host.
    pub slug: Slug,
    /// Counts the changes.
    pub revision: u32,
    /// What people set.
    pub options: LinkOptions,
    /// Clicks that are not automated, counted while there is a most.
    pub counted_clicks: u32,
    /// Since when it has had as many clicks as it may have.
    pub exhausted_at: Option<DateTime<Utc>>,
    /// Who made it, as the audit log names them; of old links that is not known.
    pub created_by: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
    /// When it was put away; its slug stays taken.
    pub archived_at: Option<DateTime<Utc>>,
    /// Since when an operator has it blocked.
    pub blocked_at: Option<DateTime<Utc>>,
}

/// What people set of a link. The kind stays as it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkOptions {
    /// Who it is for.
    pub kind: LinkKind,
    /// Where it leads.
    pub original_url: DestinationUrl,
    /// Campaign parameters that its URL gets on the way.
    pub utm: Utm,
    /// What the sender attached.
    pub labels: LinkLabels,
    /// When the message with it was sent.
    pub sent_at: Option<DateTime<Utc>>,
    /// Status of the redirect.
    pub status_code: RedirectStatus,
    /// What becomes of the visitor's query.
    pub query_mode: QueryMode,
    /// Whether its clicks are recorded, if the workspace's are.
    pub tracking: Tracking,
    /// Whether it leads anywhere.
    pub enabled: bool,
    /// It leads nowhere before.
    pub starts_at: Option<DateTime<Utc>>,
    /// It leads nowhere from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// It leads nowhere after so many clicks that are not automated. Soft.
    pub max_clicks: Option<u32>,
    /// What a visitor has to know.
    pub password: Option<PasswordHash>,
    /// Where visitors go while it leads nowhere.
    pub expired_url: Option<DestinationUrl>,
    /// What messengers show of it.
    pub preview: Option<LinkPreview>,
}

impl LinkOptions {
    /// A link to this URL, with the defaults for everything else.
    pub fn to(original_url: DestinationUrl) -> Self {
        Self {
            kind: LinkKind::default(),
            original_url,
            utm: Utm::default(),
            labels: LinkLabels::default(),
            sent_at: None,
            status_code: RedirectStatus::default(),
            query_mode: QueryMode::default(),
            tracking: Tracking::default(),
            enabled: true,
            starts_at: None,
            expires_at: None,
            max_clicks: None,
            password: None,
            expired_url: None,
            preview: None,
        }
    }
}

/// What became of a new link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insertion {
    /// It is there.
    Inserted,
    /// The slug is in use under that host, or was.
    SlugTaken,
    /// Another link of the workspace has the external id.
    ExternalIdTaken,
}

fn read((row, host): (Row, String)) -> QueryResult<Link> {
    Ok(Link {
        id: LinkId::from_uuid(row.id),
        host: Host::kept(host),
        slug: Slug::kept(row.slug),
        revision: u32::try_from(row.revision).map_err(unreadable("revision"))?,
        options: row.options.read()?,
        counted_clicks: u32::try_from(row.counted_clicks).map_err(unreadable("counted_clicks"))?,
        exhausted_at: row.exhausted_at,
        created_by: row.created_by,
        created_at: row.created_at,
        updated_at: row.updated_at,
        archived_at: row.archived_at,
        blocked_at: row.blocked_at,
    })
}

/// Makes a link, unless its slug or external id is taken.
pub async fn insert(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    new: &NewLink<'_>,
    now: DateTime<Utc>,
) -> QueryResult<Insertion> {
    let inserted = diesel::insert_into(links::table)
        .values(made(workspace_id, new, now))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    if inserted > 0 {
        return Ok(Insertion::Inserted);
    }
    let holder = match &new.options.labels.external_id {
        Some(external_id) => find_by_external_id(conn, workspace_id, external_id).await?,
        None => None,
    };
    Ok(if holder.is_some() { Insertion::ExternalIdTaken } else { Insertion::SlugTaken })
}

/// The workspace's link with this id, archived or not.
pub async fn find(conn: &mut Connection, workspace_id: WorkspaceId, id: LinkId) -> QueryResult<Option<Link>> {
    let row: Option<(Row, String)> = links::table
        .inner_join(domains::table)
        .filter(links::id.eq(id.uuid()).and(links::workspace_id.eq(workspace_id.uuid())))
        .select((Row::as_select(), domains::host))
        .first(conn)
        .await
        .optional()?;
    row.map(read).transpose()
}

/// Locks the workspace's link until the transaction ends; `false` when there is none that is not archived.
pub async fn lock(conn: &mut Connection, workspace_id: WorkspaceId, id: LinkId) -> QueryResult<bool> {
    let found: Option<Uuid> = links::table
        .filter(links::id.eq(id.uuid()).and(links::workspace_id.eq(workspace_id.uuid())))
        .filter(links::archived_at.is_null())
        .select(links::id)
        .for_update()
        .first(conn)
        .await
        .optional()?;
    Ok(found.is_some())
}

/// The workspace's links with these ids that are not archived, in no order.
pub async fn find_all(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    ids: &[LinkId],
) -> QueryResult<Vec<Link>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(Row, String)> = links::table
        .inner_join(domains::table)
        .filter(links::id.eq_any(ids).and(links::workspace_id.eq(workspace_id.uuid())))
        .filter(links::archived_at.is_null())
        .select((Row::as_select(), domains::host))
        .load(conn)
        .await?;
    rows.into_iter().map(read).collect()
}

/// Which link of the workspace has an external id, archived or not.
pub async fn find_by_external_id(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    external_id: &str,
) -> QueryResult<Option<LinkId>> {
    let id: Option<Uuid> = links::table
        .filter(links::workspace_id.eq(workspace_id.uuid()))
        .filter(links::external_id.eq(external_id))
        .select(links::id)
        .first(conn)
        .await
        .optional()?;
    Ok(id.map(LinkId::from_uuid))
}

/// Saves the options of a link, but for its kind, and counts the change.
pub async fn update(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: LinkId,
    options: &LinkOptions,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let own = links::table.filter(links::id.eq(id.uuid()).and(links::workspace_id.eq(workspace_id.uuid())));
    diesel::update(own)
        .set((values(options, now), links::revision.eq(links::revision + 1)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Host and slug of those of these links that are the workspace's, archived or not.
pub async fn names(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    ids: &[LinkId],
) -> QueryResult<Vec<(LinkId, Host, Slug)>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(Uuid, String, String)> = links::table
        .inner_join(domains::table)
        .filter(links::id.eq_any(ids).and(links::workspace_id.eq(workspace_id.uuid())))
        .select((links::id, domains::host, links::slug))
        .load(conn)
        .await?;
    let name = |(id, host, slug)| (LinkId::from_uuid(id), Host::kept(host), Slug::kept(slug));
    Ok(rows.into_iter().map(name).collect())
}

/// Workspace, host and slug of these links, whosever they are.
pub async fn addresses(conn: &mut Connection, ids: &[LinkId]) -> QueryResult<Vec<(WorkspaceId, Host, Slug)>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(Uuid, String, String)> = links::table
        .inner_join(domains::table)
        .filter(links::id.eq_any(ids))
        .select((links::workspace_id, domains::host, links::slug))
        .load(conn)
        .await?;
    let address = |(workspace_id, host, slug): (Uuid, String, String)| {
        (WorkspaceId::from_uuid(workspace_id), Host::kept(host), Slug::kept(slug))
    };
    Ok(rows.into_iter().map(address).collect())
}

/// Puts a link away: it leads nowhere, and its slug is never given out again.
pub async fn archive(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: LinkId,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let own = links::table
        .filter(links::id.eq(id.uuid()).and(links::workspace_id.eq(workspace_id.uuid())))
        .filter(links::archived_at.is_null());
    let changed = diesel::update(own)
        .set((links::archived_at.eq(now), links::updated_at.eq(now), links::revision.eq(links::revision + 1)))
        .execute(conn)
        .await?;
    Ok(changed > 0)
}
