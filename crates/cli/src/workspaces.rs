//! `clickwire workspaces`: makes and lists workspaces, each with links, clicks, webhooks, keys and people of its own.

use std::process::ExitCode;

use anyhow::{Context, bail};
use bus::{Changed, Table};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use model::Host;
use serde::Serialize;
use serde_json::json;
use store::workspaces::{self, Workspace};
use store::{AsyncConnection as _, audit, domains};

use crate::block::{ACTOR, tell_caches};
use crate::connections::ConnectionOptions;
use crate::out;

/// More workspaces than that are not listed at once.
const LIST_MAX: i64 = 1_000;

/// Longest name of a workspace, in characters.
const NAME_CHARS_MAX: usize = 100;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a workspace beside Default
    #[command(after_help = "\
Example:
  clickwire workspaces create Acme --domain go.acme.example
  clickwire people invite --workspace Acme --role owner ada@acme.example")]
    Create(Create),
    /// List workspaces, oldest first
    List(List),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    connections: ConnectionOptions,

    /// What people call it; --workspace of other commands
    #[arg(value_parser = legible)]
    name: String,

    /// Host of its tracked links, whose it is without further proof; without one its people add a domain before they make links
    #[arg(long, value_name = "HOST")]
    domain: Option<Host>,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    connections: ConnectionOptions,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    id: String,
    name: String,
    /// With which its links begin unless they name another.
    domain: Option<String>,
    created_at: String,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(options) => create(&options).await,
        Command::List(options) => list(&options).await,
    }
}

async fn create(options: &Create) -> anyhow::Result<ExitCode> {
    let connections = options.connections.find()?;
    let mut conn = connections.database().await?;
    let (name, host, now) = (&options.name, options.domain.as_ref(), Utc::now());
    let workspace = conn
        .transaction::<_, anyhow::Error, _>(async |conn| {
            let made = workspaces::insert_named(conn, name, now).await?;
            let workspace = made.with_context(|| format!("there is a workspace `{name}` already"))?;
            if let Some(host) = host
                && domains::insert(conn, workspace.id, host, now).await?.is_none()
            {
                bail!("{host} is a domain of another workspace");
            }
            let (subject, details) = (workspace.id.to_string(), json!({"name": name, "host": host}));
            audit::insert(conn, workspace.id, ACTOR, "workspace.created", &subject, details, now).await?;
            Ok(workspace)
        })
        .await?;
    if host.is_some() {
        // a redirect may have met the host when it was nobody's
        let changed = Changed { table: Table::Settings, workspace_id: workspace.id, keys: Vec::new() };
        tell_caches(&connections, &[changed]).await;
    }
    let shown = shown(workspace, host.cloned());
    if options.json {
        out::json(&shown);
    } else {
        out::line(&line(&shown));
        out::error(&format!(
            "next: `clickwire people invite --workspace '{name}' --role owner EMAIL`, or `clickwire keys create --workspace '{name}'`"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(options: &List) -> anyhow::Result<ExitCode> {
    let mut conn = options.connections.find()?.database().await?;
    let found = workspaces::list(&mut conn, None, LIST_MAX).await?;
    let all: Vec<Shown> = found.into_iter().map(|(workspace, host)| shown(workspace, host)).collect();
    if options.json {
        out::json(&all);
    } else if all.is_empty() {
        out::line("no workspaces; `clickwire setup` makes Default");
    } else {
        all.iter().for_each(|workspace| out::line(&line(workspace)));
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(workspace: Workspace, host: Option<Host>) -> Shown {
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Shown {
        id: workspace.id.to_string(),
        name: workspace.name,
        domain: host.map(|host| host.to_string()),
        created_at: text(workspace.created_at),
    }
}

fn line(workspace: &Shown) -> String {
    let domain = workspace.domain.as_deref().unwrap_or("no domain");
    format!("{}  {}  {domain}  made {}", workspace.id, workspace.name, workspace.created_at)
}

/// A name that can be told from another by looking at it.
fn legible(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty()
        && text.trim() == text
        && text.chars().count() <= NAME_CHARS_MAX
        && !text.chars().any(char::is_control);
    if is_name {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {NAME_CHARS_MAX} characters, without space around them"))
    }
}
