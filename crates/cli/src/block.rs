//! `clickwire block` and `unblock`: an operator's say over links, whosever they are. Visitors of what is blocked get 451. What links
//! lead to is blocked by [`destination`].

mod destination;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bus::{Bus, Changed, Table};
use chrono::{DateTime, Utc};
use clap::Args;
use model::{Host, LinkId, WorkspaceId};
use serde::Serialize;
use serde_json::json;
use store::{AsyncConnection as _, Connection, QueryError, audit, blocks, domains, routes};
use url::Url;

use crate::connections::{ConnectionOptions, Connections};
use crate::out;
use crate::tracked_url::slug_of;

/// How the audit log of a workspace names who does it.
pub(crate) const ACTOR: &str = "operator";

/// How long NATS may take to be reached; what runs learns of it later otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to block, or not to block any more
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A tracked URL, the id of a link, or the host name of a domain with all of its links
    what: String,

    /// It is the host name of a destination: no link and no fallback may lead there, or to a name below it
    #[arg(long)]
    destination: bool,

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
    /// Whether the domain is blocked, and with it all of its links.
    domain_blocked: bool,
    /// The domain.
    #[serde(skip)]
    host: Host,
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
    if options.destination {
        return destination::run(&connections, &options.what, at, options.json).await;
    }
    let mut conn = connections.database().await?;
    let public_url = connections.layers.named()?.links.public_url;
    let any_host = connections.any_host()?;
    let named = find(&mut conn, &options.what, public_url.as_ref(), any_host).await?;
    let done = conn.transaction::<_, QueryError, _>(async |conn| set(conn, &named, at).await).await?;
    let Some(done) = done else { bail!("there is no link or domain `{}`", options.what) };
    let keys = vec![done.key.clone()];
    tell_caches(&connections, &[Changed { table: Table::Links, workspace_id: done.workspace_id, keys }])
        .await;
    if options.json {
        out::json(&done);
    } else if done.blocked {
        out::line(&format!("{} is blocked: visitors get 451", done.subject));
    } else if done.domain_blocked {
        let Done { subject, host, .. } = &done;
        out::line(&format!(
            "{subject} is not blocked itself, but its domain still blocks it: visitors get 451 until `clickwire unblock {host}`"
        ));
    } else {
        out::line(&format!("{} is not blocked", done.subject));
    }
    Ok(ExitCode::SUCCESS)
}

async fn find(
    conn: &mut Connection,
    text: &str,
    public_url: Option<&Url>,
    any_host: bool,
) -> anyhow::Result<Named> {
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
    let slug = slug_of(&url, public_url)?.with_context(|| {
        format!("`{url}` names no link: to block all links of a domain, say its host name alone")
    })?;
    let link = routes::find_as_typed(conn, &host, &slug, any_host).await?;
    Ok(Named::Link(link.with_context(|| format!("no link leads from `{text}`"))?.id))
}

/// Does it, with its entry in the audit log of whose it is.
async fn set(
    conn: &mut Connection,
    named: &Named,
    at: Option<DateTime<Utc>>,
) -> Result<Option<Done>, QueryError> {
    let blocked = at.is_some();
    let (noun, done) = match named {
        Named::Link(id) => {
            let Some((workspace_id, host, slug)) = blocks::set_link(conn, *id, at).await? else {
                return Ok(None);
            };
            let domain = domains::find_by_host(conn, workspace_id, &host).await?;
            let domain_blocked = domain.is_some_and(|domain| domain.blocked_at.is_some());
            let (subject, key) = (id.to_string(), format!("{host}/{slug}"));
            ("link", Done { workspace_id, subject, blocked, domain_blocked, host, key })
        }
        Named::Domain(host) => {
            let Some(workspace_id) = blocks::set_domain(conn, host, at).await? else { return Ok(None) };
            let (subject, key) = (host.to_string(), host.to_string());
            let host = host.clone();
            ("domain", Done { workspace_id, subject, blocked, domain_blocked: blocked, host, key })
        }
    };
    let action = format!("{noun}.{}", if blocked { "blocked" } else { "unblocked" });
    audit::insert(conn, done.workspace_id, ACTOR, &action, &done.subject, json!({}), Utc::now()).await?;
    Ok(Some(done))
}

/// Without a broker the redirect learns of it by age.
pub(crate) async fn tell_caches(connections: &Connections, changes: &[Changed]) {
    let told = async {
        let bus = Bus::connect(&connections.nats, "block").await?;
        bus.wait_connected(PATIENCE).await?;
        for changed in changes {
            bus.notify(changed).await;
        }
        anyhow::Ok(())
    };
    if let Err(error) = told.await {
        out::error(&format!(
            "clickwire: NATS cannot be reached: what runs learns of it within links.refresh ({error:#})"
        ));
    }
}
