//! `clickwire block --destination`: no new link may lead to a host or below it, and those that do are blocked.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Context, bail};
use bus::{Changed, Table};
use chrono::{DateTime, Utc};
use model::{Host, LinkId, WorkspaceId};
use serde::Serialize;
use serde_json::json;
use store::destinations::{self, Leading};
use store::{AsyncConnection as _, Connection, QueryError, audit};

use super::{ACTOR, tell_caches};
use crate::connections::Connections;
use crate::out;

/// Links by since when they are blocked from now on; under `None` those that are not any more.
type Stamps = BTreeMap<Option<DateTime<Utc>>, Vec<LinkId>>;

/// What was done.
#[derive(Debug, Serialize)]
struct Done {
    destination: Host,
    blocked: bool,
    /// Links that were blocked, or are not any more.
    links: usize,
}

/// Blocks a destination since `at`, or lifts that.
pub(super) async fn run(
    connections: &Connections,
    host: &str,
    at: Option<DateTime<Utc>>,
    is_json: bool,
) -> anyhow::Result<ExitCode> {
    let destination: Host = host.parse().with_context(|| format!("`{host}` is no host name"))?;
    let mut conn = connections.database().await?;
    // by the moment of the block its links are told from those that are blocked for something else
    let since = match at {
        Some(at) => destinations::block(&mut conn, &destination, at).await?,
        None => match destinations::since(&mut conn, &destination).await? {
            Some(since) => since,
            None => bail!("`{destination}` is no destination that is blocked"),
        },
    };
    // a fallback is asked about when it is looked up
    let mut workspaces = destinations::falling_back_to(&mut conn, &destination).await?;
    let (mut links, mut after) = (0, None);
    loop {
        let (those, next) = match at {
            Some(_) => block_next(&mut conn, &destination, since, after).await?,
            None => lift_next(&mut conn, &destination, since, after).await?,
        };
        links += those.len();
        workspaces.extend(those.iter().map(|link| link.workspace_id));
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if at.is_none() {
        // last: whoever is interrupted can do it again
        destinations::unblock(&mut conn, &destination).await?;
    }
    tell(connections, &workspaces).await;
    let done = Done { destination, blocked: at.is_some(), links };
    if is_json {
        out::json(&done);
    } else if done.blocked {
        out::line(&format!(
            "{} is blocked as a destination: no link and no fallback may lead there from now on; \
             links that did, and are blocked: {links}",
            done.destination
        ));
    } else {
        out::line(&format!(
            "{} is not blocked as a destination; links that are not blocked any more: {links}",
            done.destination
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Blocks the next links behind `after` that lead there, but for those that are blocked already.
async fn block_next(
    conn: &mut Connection,
    destination: &Host,
    since: DateTime<Utc>,
    after: Option<LinkId>,
) -> Result<(Vec<Leading>, Option<LinkId>), QueryError> {
    let (mut those, next) = destinations::leading_to(conn, destination, after).await?;
    those.retain(|link| link.blocked_at.is_none());
    let ids: Vec<LinkId> = those.iter().map(|link| link.id).collect();
    let stamps = Stamps::from([(Some(since), ids)]);
    set(conn, destination, &stamps, "link.blocked", &those).await?;
    Ok((those, next))
}

/// Lifts the block of the next links behind `after` that are blocked since then, wherever they lead by now. One that leads to
/// another destination that is blocked stays blocked, as one of that.
async fn lift_next(
    conn: &mut Connection,
    destination: &Host,
    since: DateTime<Utc>,
    after: Option<LinkId>,
) -> Result<(Vec<Leading>, Option<LinkId>), QueryError> {
    let (mut those, next) = destinations::blocked_since(conn, since, after).await?;
    let hosts: Vec<Host> = those.iter().flat_map(|link| link.leads_to.clone()).collect();
    let others = destinations::blocks_of(conn, &hosts, Some(destination)).await?;
    let still = |link: &Leading| link.leads_to.iter().filter_map(|host| others.get(host)).min().copied();
    let mut stamps = Stamps::new();
    for link in &those {
        stamps.entry(still(link)).or_default().push(link.id);
    }
    those.retain(|link| still(link).is_none());
    set(conn, destination, &stamps, "link.unblocked", &those).await?;
    Ok((those, next))
}

/// Has links blocked since then, or not any more, with an entry of `action` for each of `those` in the audit log of whose it is.
async fn set(
    conn: &mut Connection,
    destination: &Host,
    stamps: &Stamps,
    action: &str,
    those: &[Leading],
) -> Result<(), QueryError> {
    let now = Utc::now();
    conn.transaction::<_, QueryError, _>(async |conn| {
        for (at, ids) in stamps {
            destinations::set_links(conn, ids, *at).await?;
        }
        for link in those {
            let (subject, details) = (link.id.to_string(), json!({"destination": destination}));
            audit::insert(conn, link.workspace_id, ACTOR, action, &subject, details, now).await?;
        }
        Ok(())
    })
    .await
}

async fn tell(connections: &Connections, workspaces: &BTreeSet<WorkspaceId>) {
    if workspaces.is_empty() {
        return;
    }
    // no keys: all of the workspace
    let changed = |id: &WorkspaceId| Changed { table: Table::Links, workspace_id: *id, keys: Vec::new() };
    let changes: Vec<Changed> = workspaces.iter().map(changed).collect();
    tell_caches(connections, &changes).await;
}
