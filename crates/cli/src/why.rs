//! `clickwire why`: what keeps a link's clicks from becoming webhooks, in the order of a click's way.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use clap::Args;
use url::Url;

use api::diagnosis::{self, Finding};
use bus::Bus;
use model::ownership::OwnershipCheck;
use model::{Host, LinkId, TypedSlug, WorkspaceId};
use store::first_run::WORKSPACE_NAME;
use store::links::{self, Link};
use store::{Connection, domains, obstacles, routes, workspaces};

use crate::connections::{ConnectionOptions, Connections};
use crate::out;
use crate::tracked_url::{slug_in, slug_of};

/// How long NATS may take to be reached.
const PATIENCE: Duration = Duration::from_secs(2);

/// Say what keeps a link's clicks from becoming webhooks
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A tracked URL, a slug, or the id of a link of workspace Default
    link: String,

    #[command(flatten)]
    connections: ConnectionOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let connections = options.connections.find()?;
    let mut conn = connections.database().await?;
    let named = connections.layers.named()?;
    let (public_url, check) =
        (named.links.public_url, named.deliver.ownership.unwrap_or(OwnershipCheck::Off));
    let now = Utc::now();
    let any_host = connections.any_host()?;
    let findings = match find(&mut conn, &options.link, public_url.as_ref(), any_host).await? {
        None => vec![diagnosis::link::not_found(&options.link)],
        Some((workspace_id, link)) => {
            let mut findings = diagnosis::look(&mut conn, workspace_id, &link, check, now).await?;
            findings.extend(services(&connections, &findings).await);
            findings
        }
    };
    let is_stopped = findings.iter().any(|finding| finding.stops);
    if options.json {
        out::json(&findings);
    } else {
        for finding in &findings {
            out::line(&format!("{}  {}", if finding.stops { "✗" } else { "✓" }, finding.text));
            if let Some(fix) = &finding.fix {
                out::line(&format!("   → {fix}"));
            }
        }
        if !is_stopped {
            out::line("Nothing here stops a webhook; `clickwire doctor` looks at the rest.");
        }
    }
    Ok(if is_stopped { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What waits on the streams, as far as the broker can be asked.
async fn services(connections: &Connections, found: &[Finding]) -> Vec<Finding> {
    let Ok(bus) = Bus::connect(&connections.nats, "why").await else {
        return vec![diagnosis::services::away()];
    };
    // who is not reached by then is told to be away
    let _ = bus.wait_connected(PATIENCE).await;
    diagnosis::services(&bus, found).await
}

/// The link that is meant, whether or not it leads anywhere, and whose it is.
async fn find(
    conn: &mut Connection,
    text: &str,
    public_url: Option<&Url>,
    any_host: bool,
) -> anyhow::Result<Option<(WorkspaceId, Link)>> {
    let named = if text.starts_with(LinkId::PREFIX) {
        let id: LinkId = text.parse()?;
        workspaces::find_by_name(conn, WORKSPACE_NAME).await?.map(|workspace| (workspace.id, id))
    } else {
        let (host, slug) = parse(text, public_url)?;
        let host = match host {
            Some(host) => host,
            None => default_host(conn).await?,
        };
        match routes::find_as_typed(conn, &host, &slug, any_host).await? {
            Some(route) => Some((route.workspace_id, route.id)),
            None => obstacles::made_with(conn, &host, &slug).await?,
        }
    };
    let Some((workspace_id, id)) = named else { return Ok(None) };
    Ok(links::find(conn, workspace_id, id).await?.map(|link| (workspace_id, link)))
}

async fn default_host(conn: &mut Connection) -> anyhow::Result<Host> {
    let workspace = workspaces::find_by_name(conn, WORKSPACE_NAME).await?;
    let workspace = workspace.context("there is no workspace Default: run `clickwire setup`")?;
    let domain = domains::default(conn, workspace.id).await?;
    Ok(domain.context("workspace Default has no domain: run `clickwire setup`")?.host)
}

fn parse(text: &str, public_url: Option<&Url>) -> anyhow::Result<(Option<Host>, TypedSlug)> {
    let (host, slug) = if text.contains("://") {
        let url: Url = text.parse().with_context(|| format!("`{text}` is not a URL"))?;
        let host = url.host_str().and_then(|host| host.parse().ok());
        (Some(host.with_context(|| format!("`{text}` has no host"))?), slug_of(&url, public_url)?)
    } else {
        (None, slug_in(text)?)
    };
    Ok((host, slug.with_context(|| format!("`{text}` names no link: its path is empty"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lower(slug: &TypedSlug) -> String {
        slug.of(model::SlugCase::Insensitive).to_string()
    }

    #[test]
    fn a_link_is_named_by_url_or_slug() {
        let (host, slug) = parse("http://127.0.0.1:8080/K7m2xq9ra?utm_source=sms", None).unwrap();

        assert_eq!(host.unwrap().as_str(), "127.0.0.1");
        assert_eq!(lower(&slug), "k7m2xq9ra");
        assert_eq!(parse("k7m2xq9ra", None).unwrap().0, None);
        assert_eq!(
            parse("http://h/", None).unwrap_err().to_string(),
            "`http://h/` names no link: its path is empty"
        );
        assert_eq!(parse("http://", None).unwrap_err().to_string(), "`http://` is not a URL");
        for text in ["http://h/CAF%C3%89", "http://h/café/", "caf%c3%a9", "http://h/caf%C3%A9%2B"] {
            assert_eq!(lower(&parse(text, None).unwrap().1), "café", "{text}");
        }
        let below: Url = "https://h/sale/".parse().unwrap();
        assert_eq!(lower(&parse("https://h/sale/abc", Some(&below)).unwrap().1), "abc");
        assert_eq!(
            parse("http://h/%ff", None).unwrap_err().to_string(),
            "`%ff` is not UTF-8 once it is percent-decoded"
        );
    }
}
