//! Links that senders make recipients' links of: a link's number as a template, and the recipients that are denied.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{Host, Link, LinkId, Slug, WorkspaceId};

use crate::link_row::unreadable;
use crate::minting_keys::{self, StoredKey};
use crate::schema::{denied_recipients, domains, link_templates, links};
use crate::{Connection, QueryResult, routes};

/// Recipients that a template can deny: a redirect keeps them in memory. Whoever has more to close ends the template or a key.
pub const DENIED_MAX: i64 = 1000;

/// A link's being a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// What stands in each token.
    pub number: u32,
    /// The link.
    pub link_id: LinkId,
    /// Since when it is one.
    pub created_at: DateTime<Utc>,
    /// Since when all recipients' links of it lead nowhere.
    pub closed_at: Option<DateTime<Utc>>,
}

/// A recipient whose link leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// The sender's number of the recipient.
    pub recipient: u64,
    /// Since when.
    pub denied_at: DateTime<Utc>,
}

/// A template as a redirect needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServedTemplate {
    /// The link.
    pub link: Link,
    /// Whether recipients' links of it lead nowhere.
    pub is_closed: bool,
    /// The workspace's keys that are not revoked.
    pub keys: Vec<StoredKey>,
    /// Recipients whose links lead nowhere, in order.
    pub denied: Vec<u64>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = link_templates)]
struct Row {
    number: i32,
    link_id: Uuid,
    created_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
}

fn read(row: Row) -> QueryResult<Template> {
    Ok(Template {
        number: u32::try_from(row.number).map_err(unreadable("number"))?,
        link_id: LinkId::from_uuid(row.link_id),
        created_at: row.created_at,
        closed_at: row.closed_at,
    })
}

/// What a link of the workspace is as a template, if it was made one.
pub async fn find(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    link_id: LinkId,
) -> QueryResult<Option<Template>> {
    let row: Option<Row> = link_templates::table
        .filter(link_templates::link_id.eq(link_id.uuid()))
        .filter(link_templates::workspace_id.eq(workspace_id.uuid()))
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    row.map(read).transpose()
}

/// Makes a link a template; it is locked, and none yet.
pub async fn insert(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    link_id: LinkId,
    now: DateTime<Utc>,
) -> QueryResult<Template> {
    let row: Row = diesel::insert_into(link_templates::table)
        .values((
            link_templates::link_id.eq(link_id.uuid()),
            link_templates::workspace_id.eq(workspace_id.uuid()),
            link_templates::created_at.eq(now),
        ))
        .returning(Row::as_returning())
        .get_result(conn)
        .await?;
    read(row)
}

/// Has all recipients' links of a template lead nowhere since a moment, or lead on again; `false` when there is no such template.
pub async fn set_closed(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    link_id: LinkId,
    closed_at: Option<DateTime<Utc>>,
) -> QueryResult<bool> {
    let own = link_templates::table
        .filter(link_templates::link_id.eq(link_id.uuid()))
        .filter(link_templates::workspace_id.eq(workspace_id.uuid()));
    let changed = diesel::update(own).set(link_templates::closed_at.eq(closed_at)).execute(conn).await?;
    Ok(changed > 0)
}

/// The recipients that a template of the caller's workspace denies, in order.
pub async fn denied(conn: &mut Connection, template: &Template) -> QueryResult<Vec<Denied>> {
    let rows: Vec<(i64, DateTime<Utc>)> = denied_recipients::table
        .filter(denied_recipients::template_number.eq(template.number.cast_signed()))
        .limit(DENIED_MAX)
        .select((denied_recipients::recipient, denied_recipients::denied_at))
        .load(conn)
        .await?;
    let denied =
        |(recipient, denied_at): (i64, _)| Denied { recipient: recipient.cast_unsigned(), denied_at };
    let mut denied: Vec<Denied> = rows.into_iter().map(denied).collect();
    denied.sort_by_key(|denied| denied.recipient);
    Ok(denied)
}

/// Denies recipients of a template of the caller's workspace; how many are denied then. Those that were are not counted twice.
pub async fn deny(
    conn: &mut Connection,
    template: &Template,
    recipients: &[u64],
    now: DateTime<Utc>,
) -> QueryResult<i64> {
    let number = template.number.cast_signed();
    let rows: Vec<_> = recipients
        .iter()
        .map(|recipient| {
            (
                denied_recipients::template_number.eq(number),
                denied_recipients::recipient.eq(recipient.cast_signed()),
                denied_recipients::denied_at.eq(now),
            )
        })
        .collect();
    diesel::insert_into(denied_recipients::table).values(rows).on_conflict_do_nothing().execute(conn).await?;
    count_denied(conn, template).await
}

/// How many recipients a template of the caller's workspace denies.
pub async fn count_denied(conn: &mut Connection, template: &Template) -> QueryResult<i64> {
    denied_recipients::table
        .filter(denied_recipients::template_number.eq(template.number.cast_signed()))
        .count()
        .get_result(conn)
        .await
}

/// Denies a recipient of a template of the caller's workspace no more; `false` when it was not.
pub async fn allow(conn: &mut Connection, template: &Template, recipient: u64) -> QueryResult<bool> {
    let one = denied_recipients::table.find((template.number.cast_signed(), recipient.cast_signed()));
    Ok(diesel::delete(one).execute(conn).await? > 0)
}

/// The template with this number, if its link is served under this host; with what a redirect needs to tell whether a token is
/// true.
pub async fn find_for_redirect(
    conn: &mut Connection,
    host: &Host,
    number: u32,
) -> QueryResult<Option<ServedTemplate>> {
    // numbers are given from 1 up
    let Ok(number) = i32::try_from(number) else { return Ok(None) };
    let found: Option<(Row, String)> = link_templates::table
        .inner_join(links::table.inner_join(domains::table))
        .filter(link_templates::number.eq(number))
        .filter(domains::host.eq(host.as_str()))
        .select((Row::as_select(), links::slug))
        .first(conn)
        .await
        .optional()?;
    let Some((row, slug)) = found else { return Ok(None) };
    let template = read(row)?;
    let Some(link) = routes::find_for_redirect(conn, host, &Slug::kept(slug)).await? else { return Ok(None) };
    let denied = denied(conn, &template).await?.into_iter().map(|denied| denied.recipient).collect();
    let keys = minting_keys::list_live(conn, link.workspace_id).await?;
    Ok(Some(ServedTemplate { link, is_closed: template.closed_at.is_some(), keys, denied }))
}
