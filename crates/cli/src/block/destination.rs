//! `clickwire block --destination`: no new link may lead to a host or below it, and those that do are blocked.

use std::collections::BTreeSet;
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
    let (from, to) = match at {
        Some(at) => (None, Some(destinations::block(&mut conn, &destination, at).await?)),
        None => match destinations::unblock(&mut conn, &destination).await? {
            Some(since) => (Some(since), None),
            None => bail!("`{destination}` is no destination that is blocked"),
        },
    };
    // a fallback is asked about when it is looked up
    let mut workspaces = destinations::falling_back_to(&mut conn, &destination).await?;
    let (mut links, mut after) = (0, None);
    loop {
        let (leading, next) = destinations::leading_to(&mut conn, &destination, after).await?;
        let those: Vec<Leading> = leading.into_iter().filter(|link| link.blocked_at == from).collect();
        set(&mut conn, &destination, &those, to).await?;
        links += those.len();
        workspaces.extend(those.iter().map(|link| link.workspace_id));
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
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

/// Blocks these links, or lifts that, with an entry in the audit log of whose each is.
async fn set(
    conn: &mut Connection,
    destination: &Host,
    those: &[Leading],
    at: Option<DateTime<Utc>>,
) -> Result<(), QueryError> {
    let action = if at.is_some() { "link.blocked" } else { "link.unblocked" };
    let (ids, now): (Vec<LinkId>, _) = (those.iter().map(|link| link.id).collect(), Utc::now());
    conn.transaction::<_, QueryError, _>(async |conn| {
        destinations::set_links(conn, &ids, at).await?;
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
