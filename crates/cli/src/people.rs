//! `clickwire people`: lists, invites and removes people of a workspace, and makes links for new passwords. The first owner of
//! a workspace comes this way.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use model::{Email, PersonId, Role, Token};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::api_keys::{self, StoredKey};
use store::invitations::{self, Invitation, NewInvitation, Purpose};
use store::memberships::{self, Changed, Member};
use store::workspaces::{self, Workspace};
use store::{AsyncConnection as _, Connection, QueryError, audit, people};

use crate::block::ACTOR;
use crate::connections::Connections;
use crate::out;
use crate::scope::Scope;

/// More people than that are not listed at once.
const LIST_MAX: i64 = 1_000;

/// What a link's address continues with; `api` serves it.
const WELCOME: &str = "welcome/";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the people of a workspace, and who is invited
    List(List),
    /// Make a link that makes whoever opens it a person of the workspace; works once, for seven days
    Invite(Invite),
    /// Remove somebody from a workspace: they are signed out of it at once
    Remove(Remove),
    /// Make a link with which somebody sets another password; works once, for seven days
    Reset(Reset),
}

#[derive(Debug, Args)]
pub(crate) struct LinkOptions {
    /// Where people reach the console [default: api.public_url, else that of a running `up`]
    #[arg(long, value_name = "URL")]
    console_url: Option<url::Url>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    scope: Scope,
}

#[derive(Debug, Args)]
pub(crate) struct Invite {
    #[command(flatten)]
    scope: Scope,

    #[command(flatten)]
    link: LinkOptions,

    /// What they will be: owner, operator or viewer
    #[arg(long, default_value = "viewer")]
    role: Role,

    /// By which they will sign in
    email: Email,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    scope: Scope,

    /// Revoke the API keys that they made too; otherwise those go on, since programs use them
    #[arg(long)]
    revoke_keys: bool,

    /// Their e-mail address, or id, as `clickwire people list` shows it
    person: String,
}

#[derive(Debug, Args)]
pub(crate) struct Reset {
    #[command(flatten)]
    scope: Scope,

    #[command(flatten)]
    link: LinkOptions,

    /// Their e-mail address, or id, as `clickwire people list` shows it
    person: String,
}

#[derive(Serialize)]
struct ShownPerson {
    id: String,
    name: String,
    email: String,
    role: &'static str,
    joined_at: String,
    last_seen_at: Option<String>,
}

#[derive(Serialize)]
struct ShownLink {
    id: String,
    email: String,
    /// `None`: it is for another password.
    role: Option<&'static str>,
    expires_at: String,
    /// Only when it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(options) => list(&options.scope).await,
        Command::Invite(options) => invite(&options).await,
        Command::Remove(options) => remove(&options).await,
        Command::Reset(options) => reset(&options).await,
    }
}

impl LinkOptions {
    /// The link that ends with `token`.
    fn url(&self, connections: &Connections, token: &Token) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Settings {
            api: ApiSettings,
        }
        #[derive(Deserialize)]
        struct ApiSettings {
            public_url: String,
        }

        let settings: Settings = connections.layers.load(api::Settings::DEFAULTS, &connections.ours)?;
        let running = connections.running.as_ref().map(|running| running.console_url.clone());
        let named = Some(settings.api.public_url).filter(|url| !url.is_empty());
        let base = self.console_url.as_ref().map(url::Url::to_string).or(named).or(running);
        let base = base.context(
            "nobody knows where people reach the console: say it with --console-url, or set api.public_url",
        )?;
        Ok(format!("{}/{WELCOME}{}", base.trim_end_matches('/'), token.reveal()))
    }
}

async fn list(scope: &Scope) -> anyhow::Result<ExitCode> {
    let (_, mut conn, workspace) = scope.open().await?;
    let members = memberships::list(&mut conn, workspace.id, None, LIST_MAX).await?;
    let open = invitations::list_open(&mut conn, workspace.id, None, LIST_MAX, Utc::now()).await?;
    let members: Vec<ShownPerson> = members.into_iter().map(shown).collect();
    let open: Vec<ShownLink> = open.into_iter().map(|invitation| shown_link(invitation, None)).collect();
    if scope.json {
        out::json(&json!({ "people": members, "invitations": open }));
        return Ok(ExitCode::SUCCESS);
    }
    if members.is_empty() && open.is_empty() {
        out::line(
            "nobody yet; `clickwire people invite --role owner EMAIL` makes a link for the first owner",
        );
    }
    for person in members {
        let seen =
            person.last_seen_at.map_or_else(|| "not seen lately".to_owned(), |at| format!("seen {at}"));
        out::line(&format!("{}  {}  {}  {}  {seen}", person.id, person.email, person.role, person.name));
    }
    for link in open {
        let what = link.role.map_or("new password".to_owned(), |role| format!("invited as {role}"));
        out::line(&format!("{}  {}  {what}, until {}", link.id, link.email, link.expires_at));
    }
    Ok(ExitCode::SUCCESS)
}

async fn invite(options: &Invite) -> anyhow::Result<ExitCode> {
    let (connections, mut conn, workspace) = options.scope.open().await?;
    let token = Token::generate();
    let url = options.link.url(&connections, &token)?;
    let now = Utc::now();
    let made = conn
        .transaction::<_, anyhow::Error, _>(async |conn| {
            workspaces::lock(conn, workspace.id).await?;
            if let Some(person) = people::find_by_email(conn, &options.email).await?
                && memberships::find(conn, workspace.id, person.id).await?.is_some()
            {
                bail!("{} belongs to workspace {} already", options.email, workspace.name);
            }
            let new = NewInvitation {
                workspace_id: workspace.id,
                email: &options.email,
                purpose: Purpose::Join(options.role),
                hash: token.hash(),
                created_by: ACTOR,
            };
            let made = invitations::insert(conn, new, now).await?;
            let details = json!({"email": made.email, "role": options.role, "expires_at": made.expires_at});
            note(conn, &workspace, "invitation.created", &made.id.to_string(), details, now).await?;
            Ok(made)
        })
        .await?;
    tell_link(&options.scope, made, url);
    Ok(ExitCode::SUCCESS)
}

async fn remove(options: &Remove) -> anyhow::Result<ExitCode> {
    let (_, mut conn, workspace) = options.scope.open().await?;
    let now = Utc::now();
    let (removed, keys) = conn
        .transaction::<_, anyhow::Error, _>(async |conn| {
            let member = find(conn, &workspace, &options.person).await?;
            let id = member.person.id;
            match memberships::remove(conn, workspace.id, id, now).await? {
                Changed::Done(role) => {
                    invitations::revoke_for(conn, workspace.id, &member.person.email, now).await?;
                    invitations::revoke_by(conn, workspace.id, &id.to_string(), now).await?;
                    let details =
                        json!({"name": member.person.name, "email": member.person.email, "role": role});
                    note(conn, &workspace, "person.removed", &id.to_string(), details, now).await?;
                    let keys = their_keys(conn, &workspace, id, options.revoke_keys, now).await?;
                    Ok((member, keys))
                }
                Changed::NotFound => bail!("they were removed already"),
                Changed::LastOwner => {
                    bail!(
                        "{} is the last owner of {}: invite another one first",
                        options.person,
                        workspace.name
                    )
                }
            }
        })
        .await?;
    if options.scope.json {
        let shown: Vec<_> = keys.iter().map(|key| json!({ "id": key.id, "name": key.name })).collect();
        let revoked = options.revoke_keys;
        out::json(
            &json!({ "id": removed.person.id, "removed": true, "keys": shown, "keys_revoked": revoked }),
        );
    } else {
        out::line(&format!("removed {} from {}", removed.person.email, workspace.name));
        let what = if options.revoke_keys { "revoked" } else { "goes on, see `clickwire keys revoke`" };
        for key in &keys {
            out::line(&format!("API key that they made, {what}: {} “{}”", key.id, key.name));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The live API keys that somebody made who is removed, or such a key; revoked, if they are to be.
async fn their_keys(
    conn: &mut Connection,
    workspace: &Workspace,
    id: PersonId,
    is_revoking: bool,
    now: DateTime<Utc>,
) -> Result<Vec<StoredKey>, QueryError> {
    let maker = id.to_string();
    if !is_revoking {
        let mut made = api_keys::made_by(conn, workspace.id, &maker).await?;
        made.retain(|key| key.is_live(now));
        return Ok(made);
    }
    let revoked = api_keys::revoke_made_by(conn, workspace.id, &maker, now).await?;
    for key in &revoked {
        let details = json!({"name": key.name, "removed": id});
        note(conn, workspace, "key.revoked", &key.id.to_string(), details, now).await?;
    }
    Ok(revoked)
}

async fn reset(options: &Reset) -> anyhow::Result<ExitCode> {
    let (connections, mut conn, workspace) = options.scope.open().await?;
    let token = Token::generate();
    let url = options.link.url(&connections, &token)?;
    let now = Utc::now();
    let made = conn
        .transaction::<_, anyhow::Error, _>(async |conn| {
            let member = find(conn, &workspace, &options.person).await?;
            let new = NewInvitation {
                workspace_id: workspace.id,
                email: &member.person.email,
                purpose: Purpose::ResetPassword,
                hash: token.hash(),
                created_by: ACTOR,
            };
            let made = invitations::insert(conn, new, now).await?;
            let details = json!({"name": member.person.name, "expires_at": made.expires_at});
            let subject = member.person.id.to_string();
            note(conn, &workspace, "person.reset_link_made", &subject, details, now).await?;
            Ok(made)
        })
        .await?;
    tell_link(&options.scope, made, url);
    Ok(ExitCode::SUCCESS)
}

/// The person of the workspace with this address or id.
async fn find(conn: &mut Connection, workspace: &Workspace, text: &str) -> anyhow::Result<Member> {
    let id: Option<PersonId> = match text.parse() {
        Ok(id) => Some(id),
        Err(_) => {
            let email: Email = text.parse().context("name a person by e-mail address or id")?;
            people::find_by_email(conn, &email).await?.map(|person| person.id)
        }
    };
    let member = match id {
        Some(id) => memberships::find(conn, workspace.id, id).await?,
        None => None,
    };
    member.with_context(|| format!("workspace {} has no person {text}, or not any more", workspace.name))
}

async fn note(
    conn: &mut Connection,
    workspace: &Workspace,
    action: &str,
    subject: &str,
    details: serde_json::Value,
    now: DateTime<Utc>,
) -> Result<(), QueryError> {
    audit::insert(conn, workspace.id, ACTOR, action, subject, details, now).await
}

fn tell_link(scope: &Scope, made: Invitation, url: String) {
    if scope.json {
        out::json(&shown_link(made, Some(url)));
    } else {
        out::line(&url);
        let until = text(made.expires_at);
        out::error(&format!("for {}; it works once, until {until}, and is not shown again", made.email));
    }
}

fn shown(member: Member) -> ShownPerson {
    ShownPerson {
        id: member.person.id.to_string(),
        name: member.person.name,
        email: member.person.email.to_string(),
        role: member.role.as_str(),
        joined_at: text(member.joined_at),
        last_seen_at: member.last_seen_at.map(text),
    }
}

fn shown_link(invitation: Invitation, url: Option<String>) -> ShownLink {
    ShownLink {
        id: invitation.id.to_string(),
        email: invitation.email.to_string(),
        role: invitation.purpose.role().map(Role::as_str),
        expires_at: text(invitation.expires_at),
        url,
    }
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
