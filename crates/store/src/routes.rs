//! What a redirect asks: which link a host and a slug lead to, with what its workspace has decided for it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::link::{LinkLabels, QueryMode, RedirectStatus, Tracking};
use model::{Host, Link, LinkId, Slug, WorkspaceId};

use crate::parse::parsed;
use crate::schema::{domains, links, settings};
use crate::settings::treatment_of;
use crate::{Connection, QueryError, QueryResult};

#[derive(Queryable, Selectable)]
#[diesel(table_name = links)]
struct Row {
    id: Uuid,
    workspace_id: Uuid,
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
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = settings)]
struct Decided {
    is_tracking: bool,
    address_treatment: String,
    fallback_url: Option<String>,
}

/// The link that this host and slug lead to. Archived links lead nowhere.
pub async fn find_for_redirect(conn: &mut Connection, host: &Host, slug: &Slug) -> QueryResult<Option<Link>> {
    let found: Option<(Row, Option<Decided>)> = links::table
        .inner_join(domains::table)
        .left_join(settings::table.on(settings::workspace_id.eq(links::workspace_id)))
        .filter(domains::host.eq(host.as_str()).and(links::slug.eq(slug.as_str())))
        .filter(links::archived_at.is_null())
        .select((Row::as_select(), Option::<Decided>::as_select()))
        .first(conn)
        .await
        .optional()?;
    found.map(|(row, decided)| read(row, decided, host, slug)).transpose()
}

/// The host whose links are served under `host`: itself, if it is a domain of someone, else the default domain (the
/// oldest, if several workspaces have one).
pub async fn serving_host(conn: &mut Connection, host: &Host) -> QueryResult<Option<Host>> {
    let is_it = domains::host.eq(host.as_str());
    let found: Option<String> = domains::table
        .filter(is_it.or(domains::is_default))
        .order((is_it.desc(), domains::id))
        .select(domains::host)
        .first(conn)
        .await
        .optional()?;
    found.as_deref().map(parsed).transpose()
}

fn read(row: Row, decided: Option<Decided>, host: &Host, slug: &Slug) -> QueryResult<Link> {
    let decided = decided.unwrap_or_else(|| Decided {
        is_tracking: true,
        address_treatment: String::new(),
        fallback_url: None,
    });
    let metadata: BTreeMap<String, String> = serde_json::from_value(row.metadata).map_err(unreadable)?;
    let status_code = u16::try_from(row.status_code).map_err(unreadable)?;
    let fallback_url = row.expired_url.or(decided.fallback_url);
    Ok(Link {
        id: LinkId::from_uuid(row.id),
        workspace_id: WorkspaceId::from_uuid(row.workspace_id),
        revision: u32::try_from(row.revision).map_err(unreadable)?,
        domain: host.clone(),
        slug: slug.clone(),
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
        query_mode: if row.query_mode == QueryMode::Drop.as_str() {
            QueryMode::Drop
        } else {
            QueryMode::FillMissing
        },
        enabled: row.enabled,
        starts_at: row.starts_at,
        expires_at: row.expires_at,
        fallback_url: fallback_url.as_deref().map(parsed).transpose()?,
        is_tracked: decided.is_tracking && row.tracking != Tracking::Off.as_str(),
        address_treatment: treatment_of(&decided.address_treatment),
    })
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> QueryError {
    QueryError::DeserializationError(Box::new(error))
}
