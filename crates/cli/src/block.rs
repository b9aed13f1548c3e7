//! `clickwire block` and `unblock`: an operator's say over links, whosever they are. Visitors of what is blocked get 451.

use std::process::ExitCode;

use anyhow::{Context, bail};
use bus::{Bus, Changed, Table};
use chrono::{DateTime, Utc};
use clap::Args;
use model::{Host, LinkId, Slug, WorkspaceId};
use serde::Serialize;
use serde_json::json;
use store::{AsyncConnection as _, Connection, QueryError, audit, blocks, routes};
use url::Url;

use crate::connections::{ConnectionOptions, Connections};
use crate::out;

/// How the audit log of a workspace names who does it.
const ACTOR: &str = "operator";

/// What to block, or not to block any more
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A tracked URL, the id of a link, or the host name of a domain with all of its links
    what: String,

    #[command(flatten)]
    connections: ConnectionOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What the text on the command line names.
enum Named {
    Link(LinkId),
    Domain(Host),
}

/// What was done.
#[derive(Debug, Serialize)]
struct Done {
    workspace_id: WorkspaceId,
    /// The id of a link, or a host name.
    subject: String,
    blocked: bool,
    /// What caches are told; not for people.
    #[serde(skip)]
    key: String,
}

/// Blocks.
pub(crate) async fn block(options: &Options) -> anyhow::Result<ExitCode> {
    run(options, Some(Utc::now())).await
}

/// Lifts a block.
pub(crate) async fn unblock(options: &Options) -> anyhow::Result<ExitCode> {
    run(options, None).await
}

async fn run(options: &Options, at: Option<DateTime<Utc>>) -> anyhow::Result<ExitCode> {
    let connections = options.connections.find()?;
    let mut conn = connections.database().await?;
    let named = find(&mut conn, &options.what).await?;
    let done = conn.transaction::<_, QueryError, _>(async |conn| set(conn, &named, at).await).await?;
    let Some(done) = done else { bail!("there is no link or domain `{}`", options.what) };
    tell_caches(&connections, &done).await;
    if options.json {
        out::json(&done);
    } else if done.blocked {
        out::line(&format!("{} is blocked: visitors get 451", done.subject));
    } else {
        out::line(&format!("{} is not blocked", done.subject));
    }
    Ok(ExitCode::SUCCESS)
}

async fn find(conn: &mut Connection, text: &str) -> anyhow::Result<Named> {
    if text.starts_with(LinkId::PREFIX) {
        return Ok(Named::Link(text.parse()?));
    }
    if !text.contains("://") {
        let host =
            text.parse::<Host>().with_context(|| format!("`{text}` is no tracked URL, link id or host"))?;
        return Ok(Named::Domain(host));
    }
    let url: Url = text.parse().with_context(|| format!("`{text}` is not a URL"))?;
    let host: Option<Host> = url.host_str().and_then(|host| host.parse().ok());
    let host = host.with_context(|| format!("`{text}` has no host"))?;
    let path = url.path().trim_matches('/');
    if path.is_empty() {
        bail!("`{text}` names no link: to block all links of a domain, say its host name alone");
    }
    let slug: Slug = path.parse().with_context(|| format!("`{path}` is not a slug"))?;
    // a host that no domain has may be served as the default one (links.any_host)
    let domain = routes::serving_domain(conn, &host).await?;
    let link = match domain {
        Some(domain) => routes::find_for_redirect(conn, &domain.host, &slug).await?,
        None => None,
    };
    Ok(Named::Link(link.with_context(|| format!("no link leads from `{text}`"))?.id))
}

/// Does it, with its entry in the audit log of whose it is.
async fn set(
    conn: &mut Connection,
    named: &Named,
    at: Option<DateTime<Utc>>,
) -> Result<Option<Done>, QueryError> {
    let found = match named {
        Named::Link(id) => blocks::set_link(conn, *id, at).await?.map(|(workspace_id, host, slug)| {
            ("link", workspace_id, id.to_string(), format!("{host}/{slug}"))
        }),
        Named::Domain(host) => blocks::set_domain(conn, host, at)
            .await?
            .map(|workspace_id| ("domain", workspace_id, host.to_string(), host.to_string())),
    };
    let Some((noun, workspace_id, subject, key)) = found else { return Ok(None) };
    let blocked = at.is_some();
    let action = format!("{noun}.{}", if blocked { "blocked" } else { "unblocked" });
    audit::insert(conn, workspace_id, ACTOR, &action, &subject, json!({}), Utc::now()).await?;
    Ok(Some(Done { workspace_id, subject, blocked, key }))
}

/// Without a broker the redirect learns of it by age.
async fn tell_caches(connections: &Connections, done: &Done) {
    match Bus::connect(&connections.nats, "clickwire-block").await {
        Ok(bus) => {
            let keys = vec![done.key.clone()];
            bus.notify(&Changed { table: Table::Links, workspace_id: done.workspace_id, keys }).await;
        }
        Err(error) => out::error(&format!(
            "clickwire: NATS cannot be reached: what runs learns of it within links.refresh ({:#})",
            anyhow::Error::from(error)
        )),
    }
}
