//! Tracked links, as people manage them. What a redirect needs of one is asked in `routes`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::link::{LinkLabels, QueryMode, RedirectStatus, Tracking};
use model::{DestinationUrl, DomainId, Host, LinkId, Slug, WorkspaceId};

use crate::parse::parsed;
use crate::schema::{domains, links};
use crate::{Connection, QueryError, QueryResult};

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
    /// What can be changed of it.
    pub options: LinkOptions,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
    /// When it was put away; its slug stays taken.
    pub archived_at: Option<DateTime<Utc>>,
}

/// What can be changed of a link.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkOptions {
    /// Where it leads.
    pub original_url: DestinationUrl,
    /// What the sender attached.
    pub labels: LinkLabels,
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
    /// Where visitors go while it leads nowhere.
    pub expired_url: Option<DestinationUrl>,
}

/// Which links are asked for; `None` is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkFilter {
    /// With the sender's own id.
    pub external_id: Option<String>,
    /// Sent in this campaign.
    pub campaign_id: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Whose slug or URL contains this text.
    pub text: Option<String>,
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

#[derive(Queryable, Selectable)]
#[diesel(table_name = links)]
struct Row {
    id: Uuid,
    slug: String,
    revision: i32,
    original_url: String,
    external_id: Option<String>,
    campaign_id: Option<String>,
    conversation_id: Option<String>,
    contact_id: Option<String>,
    message_id: Option<String>,
    channel: Option<String>,
    tags: Vec<String>,
    metadata: serde_json::Value,
    status_code: i16,
    query_mode: String,
    tracking: String,
    enabled: bool,
    starts_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    expired_url: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    archived_at: Option<DateTime<Utc>>,
}

fn read((row, host): (Row, String)) -> QueryResult<Link> {
    let metadata: BTreeMap<String, String> = serde_json::from_value(row.metadata).map_err(unreadable)?;
    let status_code = u16::try_from(row.status_code).map_err(unreadable)?;
    Ok(Link {
        id: LinkId::from_uuid(row.id),
        host: parsed(&host)?,
        slug: parsed(&row.slug)?,
        revision: u32::try_from(row.revision).map_err(unreadable)?,
        options: LinkOptions {
            original_url: parsed(&row.original_url)?,
            labels: LinkLabels {
                external_id: row.external_id,
                campaign_id: row.campaign_id,
                conversation_id: row.conversation_id,
                contact_id: row.contact_id,
                message_id: row.message_id,
                channel: row.channel,
                tags: row.tags,
                metadata,
            },
            status_code: RedirectStatus::try_from(status_code).map_err(unreadable)?,
            query_mode: if row.query_mode == "drop" { QueryMode::Drop } else { QueryMode::FillMissing },
            tracking: if row.tracking == "off" { Tracking::Off } else { Tracking::Inherit },
            enabled: row.enabled,
            starts_at: row.starts_at,
            expires_at: row.expires_at,
            expired_url: row.expired_url.as_deref().map(parsed).transpose()?,
        },
        created_at: row.created_at,
        updated_at: row.updated_at,
        archived_at: row.archived_at,
    })
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> QueryError {
    QueryError::DeserializationError(Box::new(error))
}

/// The options as columns. Borrowing from `options`, with one owned value: metadata as JSON.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = links)]
#[diesel(treat_none_as_null = true)]
struct Values<'a> {
    original_url: &'a str,
    external_id: Option<&'a str>,
    campaign_id: Option<&'a str>,
    conversation_id: Option<&'a str>,
    contact_id: Option<&'a str>,
    message_id: Option<&'a str>,
    channel: Option<&'a str>,
    tags: &'a [String],
    metadata: serde_json::Value,
    status_code: i16,
    query_mode: &'a str,
    tracking: &'a str,
    enabled: bool,
    starts_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    expired_url: Option<&'a str>,
    updated_at: DateTime<Utc>,
}

fn values(options: &LinkOptions, now: DateTime<Utc>) -> Values<'_> {
    let labels = &options.labels;
    let pairs = labels.metadata.iter().map(|(name, value)| (name.clone(), value.clone().into()));
    Values {
        original_url: options.original_url.as_str(),
        external_id: labels.external_id.as_deref(),
        campaign_id: labels.campaign_id.as_deref(),
        conversation_id: labels.conversation_id.as_deref(),
        contact_id: labels.contact_id.as_deref(),
        message_id: labels.message_id.as_deref(),
        channel: labels.channel.as_deref(),
        tags: &labels.tags,
        metadata: serde_json::Value::Object(pairs.collect()),
        // 301 to 308
        status_code: options.status_code.code().cast_signed(),
        query_mode: options.query_mode.as_str(),
        tracking: options.tracking.as_str(),
        enabled: options.enabled,
        starts_at: options.starts_at,
        expires_at: options.expires_at,
        expired_url: options.expired_url.as_ref().map(DestinationUrl::as_str),
        updated_at: now,
    }
}

/// Makes a link, unless its slug or external id is taken.
pub async fn insert(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: LinkId,
    domain_id: DomainId,
    slug: &Slug,
    options: &LinkOptions,
    now: DateTime<Utc>,
) -> QueryResult<Insertion> {
    let inserted = diesel::insert_into(links::table)
        .values((
            links::id.eq(id.uuid()),
            links::workspace_id.eq(workspace_id.uuid()),
            links::domain_id.eq(domain_id.uuid()),
            links::slug.eq(slug.as_str()),
            links::created_at.eq(now),
            values(options, now),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    if inserted > 0 {
        return Ok(Insertion::Inserted);
    }
    let slug_taken: bool = diesel::select(diesel::dsl::exists(
        links::table.filter(links::domain_id.eq(domain_id.uuid())).filter(links::slug.eq(slug.as_str())),
    ))
    .get_result(conn)
    .await?;
    Ok(if slug_taken { Insertion::SlugTaken } else { Insertion::ExternalIdTaken })
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

/// The newest links that `filter` lets through, or those older than `before`; at most `limit`, none archived.
pub async fn list(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    filter: &LinkFilter,
    before: Option<LinkId>,
    limit: i64,
) -> QueryResult<Vec<Link>> {
    let mut query = links::table
        .inner_join(domains::table)
        .filter(links::workspace_id.eq(workspace_id.uuid()).and(links::archived_at.is_null()))
        .order(links::id.desc())
        .limit(limit)
        .select((Row::as_select(), domains::host))
        .into_boxed();
    if let Some(external_id) = &filter.external_id {
        query = query.filter(links::external_id.eq(external_id));
    }
    if let Some(campaign_id) = &filter.campaign_id {
        query = query.filter(links::campaign_id.eq(campaign_id));
    }
    if let Some(tag) = &filter.tag {
        query = query.filter(links::tags.contains(vec![tag.clone()]));
    }
    if let Some(text) = &filter.text {
        let pattern = containing(text);
        query = query.filter(links::slug.like(pattern.clone()).or(links::original_url.ilike(pattern)));
    }
    if let Some(before) = before {
        query = query.filter(links::id.lt(before.uuid()));
    }
    let rows: Vec<(Row, String)> = query.load(conn).await?;
    rows.into_iter().map(read).collect()
}

/// A pattern for LIKE that finds `text` as it stands, whatever signs are in it.
fn containing(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}

/// Which other link of the workspace has an external id.
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

/// Saves the options of a link and counts the change.
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
