//! `clickwire keys`: makes, lists and takes back API keys.

use std::process::ExitCode;

use anyhow::{Context, bail};
use api::Scope as KeyScope;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use model::KeyId;
use model::secret::ApiKey;
use serde::Serialize;
use serde_json::json;
use store::api_keys::{self, NewKey, StoredKey};
use store::{AsyncConnection as _, Connection, QueryError, audit, invitations};

use crate::block::ACTOR;
use crate::out;
use crate::scope::Scope;

/// More keys than that are not listed at once.
const LIST_MAX: i64 = 1_000;

/// Stands for every scope of a workspace.
const EVERY_SCOPE: &str = "*";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key and show it, this once
    Create(Create),
    /// List the keys that were not revoked
    List(List),
    /// Take a key back: it opens nothing any more
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    scope: Scope,

    /// What people call the key
    #[arg(long, default_value = "cli")]
    name: String,

    /// What it may do, once for each; `*` is all of a workspace. `admin` looks after the installation, across workspaces, and is
    /// not part of `*` [default: *]
    #[arg(long = "scope", value_name = "SCOPE", value_parser = known_scopes())]
    scopes: Vec<String>,

    /// When it expires, from now: "90days" [default: never]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires_in: Option<std::time::Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    scope: Scope,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    scope: Scope,

    /// Id of the key, as `clickwire keys list` shows it
    id: KeyId,
}

/// What `--scope` takes.
fn known_scopes() -> PossibleValuesParser {
    PossibleValuesParser::new([EVERY_SCOPE].into_iter().chain(KeyScope::EVERY.map(KeyScope::as_str)))
}

#[derive(Serialize)]
struct ShownKey {
    id: String,
    /// The whole key when it was just made, else its beginning.
    key: String,
    name: String,
    scopes: Vec<String>,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(options) => create(options).await,
        Command::List(options) => list(&options.scope).await,
        Command::Revoke(options) => revoke(&options).await,
    }
}

async fn create(options: Create) -> anyhow::Result<ExitCode> {
    let (_, mut conn, workspace) = options.scope.open().await?;
    let now = Utc::now();
    let expires_at = options.expires_in.map(|time| {
        TimeDelta::from_std(time)
            .ok()
            .and_then(|time| now.checked_add_signed(time))
            .context("--expires-in is too far away")
    });
    let scopes = if options.scopes.is_empty() { vec![EVERY_SCOPE.to_owned()] } else { options.scopes };
    let expires_at = expires_at.transpose()?;
    let key = ApiKey::generate();
    let stored = conn
        .transaction::<_, QueryError, _>(async |conn| {
            let new = NewKey {
                workspace_id: workspace.id,
                name: &options.name,
                key: &key,
                scopes: &scopes,
                expires_at,
                created_by: ACTOR,
            };
            keep(conn, new, now).await
        })
        .await?
        .context("the key is there already: try again")?;
    if options.scope.json {
        out::json(&ShownKey { key: key.reveal().to_owned(), ..shown(stored) });
    } else {
        out::line(key.reveal());
        out::error(&format!("{} ({}); it is not shown again", stored.name, stored.id));
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps a key, and says so in the audit log; `None` when it is kept already. Belongs into a transaction.
pub(crate) async fn keep(
    conn: &mut Connection,
    new: NewKey<'_>,
    now: DateTime<Utc>,
) -> Result<Option<StoredKey>, QueryError> {
    let Some(stored) = api_keys::insert(conn, new, now).await? else { return Ok(None) };
    let details = json!({"name": stored.name, "scopes": stored.scopes, "expires_at": stored.expires_at});
    let subject = stored.id.to_string();
    audit::insert(conn, stored.workspace_id, ACTOR, "key.created", &subject, details, now).await?;
    Ok(Some(stored))
}

async fn list(scope: &Scope) -> anyhow::Result<ExitCode> {
    let (_, mut conn, workspace) = scope.open().await?;
    let keys = api_keys::list(&mut conn, workspace.id, None, LIST_MAX).await?;
    let keys: Vec<ShownKey> = keys.into_iter().map(shown).collect();
    if scope.json {
        out::json(&keys);
        return Ok(ExitCode::SUCCESS);
    }
    if keys.is_empty() {
        out::line("no keys; make one with `clickwire keys create`");
    }
    for key in keys {
        let expiry = key.expires_at.map(|at| format!(", expires {at}")).unwrap_or_default();
        let used = key.last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("used {at}"));
        out::line(&format!(
            "{}  {}…  {}  [{}]  {used}{expiry}",
            key.id,
            key.key,
            key.name,
            key.scopes.join(" ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn revoke(options: &Revoke) -> anyhow::Result<ExitCode> {
    let (_, mut conn, workspace) = options.scope.open().await?;
    let now = Utc::now();
    conn.transaction::<_, anyhow::Error, _>(async |conn| {
        if !api_keys::revoke(conn, workspace.id, options.id, now).await? {
            bail!("workspace {} has no key {}, or not any more", workspace.name, options.id);
        }
        let subject = options.id.to_string();
        invitations::revoke_by(conn, workspace.id, &subject, now).await?;
        Ok(audit::insert(conn, workspace.id, ACTOR, "key.revoked", &subject, json!({}), now).await?)
    })
    .await?;
    if options.scope.json {
        out::json(&json!({ "id": options.id, "revoked": true }));
    } else {
        out::line(&format!("revoked {}", options.id));
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(key: StoredKey) -> ShownKey {
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    ShownKey {
        id: key.id.to_string(),
        key: key.shown,
        name: key.name,
        scopes: key.scopes,
        created_at: text(key.created_at),
        expires_at: key.expires_at.map(text),
        last_used_at: key.last_used_at.map(text),
    }
}
