//! Links with which somebody becomes a person of a workspace, or sets another password: each works once, for a while.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{Email, InvitationId, Role, TokenHash, WorkspaceId};

use crate::parse::parsed;
use crate::schema::invitations;
use crate::{Connection, QueryResult, api_keys};

/// How long a link works.
pub const LIFETIME: TimeDelta = TimeDelta::days(7);

/// What a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The person becomes this in the workspace.
    Join(Role),
    /// The person, who belongs to it, sets another password.
    ResetPassword,
}

impl Purpose {
    /// What the person becomes, if that is what the link is for.
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Join(role) => Some(role),
            Self::ResetPassword => None,
        }
    }
}

/// A link that was made; only the hash of what it ends with is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// To which workspace.
    pub workspace_id: WorkspaceId,
    /// For whom.
    pub email: Email,
    /// What for.
    pub purpose: Purpose,
    /// Who made it, as the audit log names them.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// It opens nothing from then on.
    pub expires_at: DateTime<Utc>,
}

/// A link to be kept.
#[derive(Debug, Clone)]
pub struct NewInvitation<'a> {
    /// To which workspace.
    pub workspace_id: WorkspaceId,
    /// For whom.
    pub email: &'a Email,
    /// What for.
    pub purpose: Purpose,
    /// Of what it ends with.
    pub hash: TokenHash,
    /// Who makes it.
    pub created_by: &'a str,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = invitations)]
struct Row {
    id: Uuid,
    workspace_id: Uuid,
    email: String,
    role: Option<String>,
    created_by: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl Row {
    fn read(self) -> QueryResult<Invitation> {
        let role: Option<Role> = self.role.as_deref().map(parsed).transpose()?;
        Ok(Invitation {
            id: InvitationId::from_uuid(self.id),
            workspace_id: WorkspaceId::from_uuid(self.workspace_id),
            email: parsed(&self.email)?,
            purpose: role.map_or(Purpose::ResetPassword, Purpose::Join),
            created_by: self.created_by,
            created_at: self.created_at,
            expires_at: self.expires_at,
        })
    }
}

/// Keeps a link. Another one to the same workspace for the same address and purpose opens nothing from then on: there is one
/// to pass on. A password is the same everywhere, so of links for another one there is one in all workspaces.
pub async fn insert(
    conn: &mut Connection,
    new: NewInvitation<'_>,
    now: DateTime<Utc>,
) -> QueryResult<Invitation> {
    let role = new.purpose.role();
    match role {
        Some(_) => {
            let earlier = unspent()
                .filter(invitations::workspace_id.eq(new.workspace_id.uuid()))
                .filter(invitations::email.eq(new.email.as_str()))
                .filter(invitations::role.is_not_null());
            diesel::update(earlier).set(invitations::revoked_at.eq(now)).execute(conn).await?;
        }
        None => revoke_resets(conn, new.email, now).await?,
    }
    let row: Row = diesel::insert_into(invitations::table)
        .values((
            invitations::id.eq(InvitationId::generate_at(now).uuid()),
            invitations::workspace_id.eq(new.workspace_id.uuid()),
            invitations::email.eq(new.email.as_str()),
            invitations::role.eq(role.map(Role::as_str)),
            invitations::hash.eq(new.hash.bytes()),
            invitations::created_by.eq(new.created_by),
            invitations::created_at.eq(now),
            invitations::expires_at.eq(now + LIFETIME),
        ))
        .returning(Row::as_returning())
        .get_result(conn)
        .await?;
    row.read()
}

/// The newest links of a workspace that still open something, or those older than `before`; at most `limit`.
pub async fn list_open(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    before: Option<InvitationId>,
    limit: i64,
    now: DateTime<Utc>,
) -> QueryResult<Vec<Invitation>> {
    let mut query = open(now)
        .filter(invitations::workspace_id.eq(workspace_id.uuid()))
        .order(invitations::id.desc())
        .limit(limit)
        .select(Row::as_select())
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(invitations::id.lt(before.uuid()));
    }
    let rows: Vec<Row> = query.load(conn).await?;
    rows.into_iter().map(Row::read).collect()
}

/// How many links of a workspace still open something.
pub async fn count_open(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    now: DateTime<Utc>,
) -> QueryResult<i64> {
    open(now).filter(invitations::workspace_id.eq(workspace_id.uuid())).count().get_result(conn).await
}

/// The link of the workspace with this id, if it still opens something.
pub async fn find_open(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: InvitationId,
    now: DateTime<Utc>,
) -> QueryResult<Option<Invitation>> {
    let row: Option<Row> = open(now)
        .filter(invitations::id.eq(id.uuid()).and(invitations::workspace_id.eq(workspace_id.uuid())))
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    row.map(Row::read).transpose()
}

/// The link that ends with this, if it still opens something. Whoever has it needs to be of no workspace.
pub async fn find_by_hash(
    conn: &mut Connection,
    hash: &TokenHash,
    now: DateTime<Utc>,
) -> QueryResult<Option<Invitation>> {
    let row: Option<Row> = open(now)
        .filter(invitations::hash.eq(hash.bytes()))
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    row.map(Row::read).transpose()
}

/// Uses a link up; `false` when somebody was faster, or it opens nothing any more. Of two at once the second waits for the
/// first's transaction.
pub async fn use_up(conn: &mut Connection, id: InvitationId, now: DateTime<Utc>) -> QueryResult<bool> {
    let own = open(now).filter(invitations::id.eq(id.uuid()));
    let changed = diesel::update(own).set(invitations::used_at.eq(now)).execute(conn).await?;
    Ok(changed > 0)
}

/// Takes a link back; `None` when the workspace has no such link that still opens something, else for whom it was.
pub async fn revoke(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: InvitationId,
    now: DateTime<Utc>,
) -> QueryResult<Option<Invitation>> {
    let own = open(now)
        .filter(invitations::id.eq(id.uuid()).and(invitations::workspace_id.eq(workspace_id.uuid())));
    let row: Option<Row> = diesel::update(own)
        .set(invitations::revoked_at.eq(now))
        .returning(Row::as_returning())
        .get_result(conn)
        .await
        .optional()?;
    row.map(Row::read).transpose()
}

/// Takes back what links there are in a workspace for an address: its person was removed.
pub async fn revoke_for(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    email: &Email,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let theirs = unspent()
        .filter(invitations::workspace_id.eq(workspace_id.uuid()))
        .filter(invitations::email.eq(email.as_str()));
    diesel::update(theirs).set(invitations::revoked_at.eq(now)).execute(conn).await?;
    Ok(())
}

/// Takes back what links for another password there are for an address, in every workspace: they were made for what its
/// person was.
pub async fn revoke_resets(conn: &mut Connection, email: &Email, now: DateTime<Utc>) -> QueryResult<()> {
    let resets = unspent().filter(invitations::email.eq(email.as_str())).filter(invitations::role.is_null());
    diesel::update(resets).set(invitations::revoked_at.eq(now)).execute(conn).await?;
    Ok(())
}

/// Takes back what links of a workspace somebody made, who is named as in the audit log, also with API keys that they made:
/// they may not make such any more.
pub async fn revoke_by(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    created_by: &str,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let keys = api_keys::made_by(conn, workspace_id, created_by).await?;
    let makers: Vec<String> =
        keys.iter().map(|key| key.id.to_string()).chain([created_by.to_owned()]).collect();
    let theirs = unspent()
        .filter(invitations::workspace_id.eq(workspace_id.uuid()))
        .filter(invitations::created_by.eq_any(makers));
    diesel::update(theirs).set(invitations::revoked_at.eq(now)).execute(conn).await?;
    Ok(())
}

/// Links that were neither used nor taken back.
#[diesel::dsl::auto_type]
fn unspent() -> _ {
    invitations::table.filter(invitations::used_at.is_null()).filter(invitations::revoked_at.is_null())
}

/// Those of them that open something.
#[diesel::dsl::auto_type]
fn open(now: DateTime<Utc>) -> _ {
    unspent().filter(invitations::expires_at.gt(now))
}
