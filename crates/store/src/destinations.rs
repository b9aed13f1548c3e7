//! Destinations that an operator has blocked: hosts that no link may lead to, whosever it is, nor to a name below them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::iter::successors;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

use model::{DestinationUrl, Host, LinkId, Slug, WorkspaceId};

use crate::schema::{blocked_destinations, domains, links, settings};
use crate::{Connection, QueryError, QueryResult};

/// Held together by all who set URLs, from before they ask what is blocked until what they set is there, and waited for by who blocks
/// a destination (“destinat” in ASCII).
const SETTING_LOCK: i64 = 0x6465_7374_696e_6174;

/// How long whoever blocks a destination waits for those who set URLs.
const SETTING_WAIT_MAX: &str = "30s";

/// Links of one look.
const LOOK_MAX: usize = 1000;

/// A link that leads to a destination, or is blocked since it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leading {
    /// Its id.
    pub id: LinkId,
    /// Whose it is.
    pub workspace_id: WorkspaceId,
    /// Where it is served.
    pub host: Host,
    /// Its name there.
    pub slug: Slug,
    /// Since when it is blocked, for whatever reason.
    pub blocked_at: Option<DateTime<Utc>>,
    /// The hosts that it leads to, open and closed.
    pub leads_to: Vec<Host>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = links)]
struct Row {
    id: Uuid,
    workspace_id: Uuid,
    slug: String,
    original_url: String,
    expired_url: Option<String>,
    blocked_at: Option<DateTime<Utc>>,
}

/// Blocks a destination for new links; tells since when it is. Returns once those that were being set are there, so that whoever looks
/// for links from then on misses none. It may be done again.
pub async fn block(conn: &mut Connection, host: &Host, now: DateTime<Utc>) -> QueryResult<DateTime<Utc>> {
    let since: DateTime<Utc> = diesel::insert_into(blocked_destinations::table)
        .values((blocked_destinations::host.eq(host.as_str()), blocked_destinations::blocked_at.eq(now)))
        .on_conflict(blocked_destinations::host)
        .do_update()
        // what is there is told
        .set(blocked_destinations::host.eq(host.as_str()))
        .returning(blocked_destinations::blocked_at)
        .get_result(conn)
        .await?;
    conn.transaction::<_, QueryError, _>(async |conn| {
        conn.batch_execute(&format!(
            "SET LOCAL lock_timeout = '{SETTING_WAIT_MAX}'; SELECT pg_advisory_xact_lock({SETTING_LOCK})"
        ))
        .await
    })
    .await?;
    Ok(since)
}

/// Since when a destination is blocked, if it is.
pub async fn since(conn: &mut Connection, host: &Host) -> QueryResult<Option<DateTime<Utc>>> {
    let of_host = blocked_destinations::table.find(host.as_str());
    of_host.select(blocked_destinations::blocked_at).first(conn).await.optional()
}

/// Lifts the block of a destination; tells since when it was, or `None` when it was not.
pub async fn unblock(conn: &mut Connection, host: &Host) -> QueryResult<Option<DateTime<Utc>>> {
    diesel::delete(blocked_destinations::table.find(host.as_str()))
        .returning(blocked_destinations::blocked_at)
        .get_result(conn)
        .await
        .optional()
}

/// Those of these hosts that are blocked, by themselves or by a name above them. Belongs in the transaction that sets URLs to the others:
/// who blocks one of them meanwhile waits for its end.
pub async fn blocked_among(conn: &mut Connection, hosts: &[Host]) -> QueryResult<HashSet<Host>> {
    if hosts.is_empty() {
        return Ok(HashSet::new());
    }
    // a statement of its own: the next one sees what was there when the lock was got
    conn.batch_execute(&format!("SELECT pg_advisory_xact_lock_shared({SETTING_LOCK})")).await?;
    Ok(blocks_of(conn, hosts, None).await?.into_keys().collect())
}

/// The same, with the moment since when each is; of several the first. As if the destination `but` were not blocked.
pub async fn blocks_of(
    conn: &mut Connection,
    hosts: &[Host],
    but: Option<&Host>,
) -> QueryResult<HashMap<Host, DateTime<Utc>>> {
    if hosts.is_empty() {
        return Ok(HashMap::new());
    }
    let is_meant = |name: &&str| but.is_none_or(|but| but.as_str() != *name);
    let names: Vec<&str> = hosts.iter().flat_map(names_of).filter(is_meant).collect();
    let blocks: Vec<(String, DateTime<Utc>)> = blocked_destinations::table
        .filter(blocked_destinations::host.eq_any(names))
        .select((blocked_destinations::host, blocked_destinations::blocked_at))
        .load(conn)
        .await?;
    let blocks: HashMap<String, DateTime<Utc>> = blocks.into_iter().collect();
    let since = |host: &Host| names_of(host).filter_map(|name| blocks.get(name)).min().copied();
    Ok(hosts.iter().filter_map(|host| Some((host.clone(), since(host)?))).collect())
}

/// The next links behind `after` that lead there or below, none archived, and behind which link the next look begins. Reads through
/// all links.
pub async fn leading_to(
    conn: &mut Connection,
    host: &Host,
    after: Option<LinkId>,
) -> QueryResult<(Vec<Leading>, Option<LinkId>)> {
    // finds more than is meant: which it is, the parser says
    let pattern = format!("%{host}%");
    let is_near = links::original_url.like(&pattern).nullable().or(links::expired_url.like(&pattern));
    let rows: Vec<(Row, String)> = links::table
        .inner_join(domains::table)
        .filter(links::id.gt(after.map_or_else(Uuid::nil, |id| id.uuid())))
        .filter(links::archived_at.is_null())
        .filter(is_near)
        .order(links::id)
        .limit(LOOK_MAX as i64)
        .select((Row::as_select(), domains::host))
        .load(conn)
        .await?;
    let (mut leading, next) = read(rows);
    leading.retain(|link| link.leads_to.iter().any(|led| is_under(led, host)));
    Ok((leading, next))
}

/// The next links behind `after` that are blocked since then, none archived, wherever they lead by now, and behind which link the
/// next look begins. Reads through all links.
pub async fn blocked_since(
    conn: &mut Connection,
    since: DateTime<Utc>,
    after: Option<LinkId>,
) -> QueryResult<(Vec<Leading>, Option<LinkId>)> {
    let rows: Vec<(Row, String)> = links::table
        .inner_join(domains::table)
        .filter(links::id.gt(after.map_or_else(Uuid::nil, |id| id.uuid())))
        .filter(links::archived_at.is_null())
        .filter(links::blocked_at.eq(since))
        .order(links::id)
        .limit(LOOK_MAX as i64)
        .select((Row::as_select(), domains::host))
        .load(conn)
        .await?;
    Ok(read(rows))
}

fn read(rows: Vec<(Row, String)>) -> (Vec<Leading>, Option<LinkId>) {
    let next = rows.last().filter(|_| rows.len() == LOOK_MAX).map(|(row, _)| LinkId::from_uuid(row.id));
    let read = |(row, served): (Row, String)| Leading {
        id: LinkId::from_uuid(row.id),
        workspace_id: WorkspaceId::from_uuid(row.workspace_id),
        host: Host::kept(served),
        slug: Slug::kept(row.slug),
        blocked_at: row.blocked_at,
        leads_to: [Some(row.original_url), row.expired_url]
            .into_iter()
            .flatten()
            .filter_map(|url| led(&url))
            .collect(),
    };
    (rows.into_iter().map(read).collect(), next)
}

/// The workspaces that have a fallback which leads there or below, of a domain or in the settings. Links with one of their own
/// are among [`leading_to`].
pub async fn falling_back_to(conn: &mut Connection, host: &Host) -> QueryResult<BTreeSet<WorkspaceId>> {
    let pattern = format!("%{host}%");
    let of_domains: Vec<(Uuid, Option<String>)> = domains::table
        .filter(domains::fallback_url.like(&pattern))
        .select((domains::workspace_id, domains::fallback_url))
        .load(conn)
        .await?;
    let of_settings: Vec<(Uuid, Option<String>)> = settings::table
        .filter(settings::fallback_url.like(&pattern))
        .select((settings::workspace_id, settings::fallback_url))
        .load(conn)
        .await?;
    let leading = of_domains
        .into_iter()
        .chain(of_settings)
        .filter(|(_, url)| url.as_deref().is_some_and(|url| leads_to(url, host)));
    Ok(leading.map(|(workspace_id, _)| WorkspaceId::from_uuid(workspace_id)).collect())
}

/// Blocks links since `at`, or lifts that.
pub async fn set_links(conn: &mut Connection, ids: &[LinkId], at: Option<DateTime<Utc>>) -> QueryResult<()> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    diesel::update(links::table.filter(links::id.eq_any(ids)))
        .set(links::blocked_at.eq(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// A host, and every name above it.
fn names_of(host: &Host) -> impl Iterator<Item = &str> {
    successors(Some(host.as_str()), |name| name.split_once('.').map(|(_, above)| above))
}

fn leads_to(url: &str, host: &Host) -> bool {
    led(url).is_some_and(|led| is_under(&led, host))
}

/// The host that a URL leads to, unless it is one of an app.
fn led(url: &str) -> Option<Host> {
    let url = DestinationUrl::of_any_scheme(url).ok().filter(DestinationUrl::is_web);
    url.and_then(|url| url.url().host_str()?.parse().ok())
}

/// Whether it is this host, or a name below it.
fn is_under(led: &Host, host: &Host) -> bool {
    names_of(led).any(|name| name == host.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_its_host_and_to_the_names_above() {
        let host: Host = "evil.example".parse().expect("a host");
        for url in ["https://evil.example/", "http://www.EVIL.example:8443/x", "https://evil.example./"] {
            assert!(leads_to(url, &host), "{url}");
        }
        for url in [
            "https://notevil.example/",
            "https://evil.example.com/",
            "https://example.com/evil.example",
            "mailto:a@evil.example",
        ] {
            assert!(!leads_to(url, &host), "{url}");
        }
    }
}
