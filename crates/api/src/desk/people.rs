//! The people of a workspace: who there is, what they are, and removing them. Nobody gives away more than they hold, and a
//! workspace keeps an owner.

use serde_json::json;
use utoipa::ToSchema;

use model::{PersonId, Role, Token};
use store::invitations::{self, Invitation, NewInvitation, Purpose};
use store::memberships::{self, Changed, Member};
use store::{AsyncConnection as _, Connection};

use super::person_keys::{self, lock_for_maker};
use super::{Change, audit, now};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, parsed, word};
use crate::page::PageRequest;
use crate::roles;

/// A change of what a person is.
#[derive(Debug, ToSchema)]
pub struct PersonChange {
    /// What they are from now on: `owner`, `operator` or `viewer`.
    #[schema(value_type = String, example = "operator")]
    role: Role,
}

impl FromFields for PersonChange {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { role: fields.required("role", parsed)? })
    }
}

/// How a person is removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Removal {
    /// Whether the API keys that they made are revoked too, or go on.
    pub revoke_keys: bool,
}

impl FromFields for Removal {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let revoke_keys = fields.optional("revoke_keys", word(&[("true", true), ("false", false)]));
        Some(Self { revoke_keys: revoke_keys.unwrap_or_default() })
    }
}

/// A link that was just made.
pub struct NewLink {
    /// What is kept of it.
    pub invitation: Invitation,
    /// What it ends with, the one time it can be shown: only its hash is kept.
    pub token: Option<Token>,
}

/// One page of the people of the workspace, and one row more.
///
/// # Errors
/// When the database is away.
pub async fn list(
    shared: &Shared,
    caller: &Caller,
    page: &PageRequest<PersonId>,
) -> Result<Vec<Member>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(memberships::list(&mut conn, caller.workspace_id, page.before, page.rows()).await?)
}

/// Makes a person something else, from their next request on. Links that they made end, also those that an API key of theirs made,
/// and so do those with which their password would be set. The
/// keys go on, since programs use them: [`person_keys::count`] counts them.
///
/// # Errors
/// When the workspace has no such person, it would lose its last owner, or either role holds more than the caller does.
pub async fn change(
    shared: &Shared,
    caller: &Caller,
    id: PersonId,
    change: PersonChange,
) -> Result<Member, ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        let caller = &lock_for_maker(conn, caller, Scope::PeopleWrite, now).await?;
        let member = find_held(conn, caller, id).await?;
        check_held(caller, "/role", change.role)?;
        let before = done(memberships::set_role(conn, caller.workspace_id, id, change.role).await?)?;
        if before != change.role {
            invitations::revoke_resets(conn, &member.person.email, now).await?;
            invitations::revoke_by(conn, caller.workspace_id, &id.to_string(), now).await?;
            let details = json!({"name": member.person.name, "role": change.role, "before": before});
            audit(conn, Change::of(caller, now, "person.role_changed", id, details)).await?;
        }
        Ok(Member { role: change.role, ..member })
    })
    .await
}

/// Removes a person from the workspace: what they have open there ends, and so do links that were made for them or by them, or by
/// an API key that they made. The keys themselves go on, unless they are to be revoked too: tells how many were. Who belongs to no
/// other workspace cannot sign in any more.
///
/// # Errors
/// When the workspace has no such person, it would lose its last owner, they hold more than the caller does, or the caller may not
/// revoke keys.
pub async fn remove(
    shared: &Shared,
    caller: &Caller,
    id: PersonId,
    removal: Removal,
) -> Result<usize, ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        let caller = &lock_for_maker(conn, caller, Scope::PeopleWrite, now).await?;
        if removal.revoke_keys {
            caller.require(Scope::KeysWrite)?;
        }
        let member = find_held(conn, caller, id).await?;
        let role = done(memberships::remove(conn, caller.workspace_id, id, now).await?)?;
        invitations::revoke_for(conn, caller.workspace_id, &member.person.email, now).await?;
        invitations::revoke_by(conn, caller.workspace_id, &id.to_string(), now).await?;
        let details = json!({"name": member.person.name, "email": member.person.email, "role": role});
        audit(conn, Change::of(caller, now, "person.removed", id, details)).await?;
        match removal.revoke_keys {
            true => person_keys::revoke(conn, caller, id, now).await,
            false => Ok(0),
        }
    })
    .await
}

/// Makes a link with which a person sets another password. It opens what the person opens, so it is made for nobody who belongs
/// to another workspace as well, of which the caller knows nothing.
///
/// # Errors
/// When the workspace has no such person, they hold more than the caller does, or belong to another workspace.
pub async fn reset(shared: &Shared, caller: &Caller, id: PersonId) -> Result<NewLink, ApiError> {
    let now = now();
    let token = Token::generate();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        let caller = &lock_for_maker(conn, caller, Scope::PeopleWrite, now).await?;
        let member = find_held(conn, caller, id).await?;
        if memberships::of_person(conn, id).await?.len() > 1 {
            return Err(ApiError::Conflict {
                code: "person_elsewhere",
                pointer: None,
                detail:
                    "this person belongs to another workspace as well: who runs the server makes them a link \
                         with `clickwire people reset`"
                        .to_owned(),
            });
        }
        let new = NewInvitation {
            workspace_id: caller.workspace_id,
            email: &member.person.email,
            purpose: Purpose::ResetPassword,
            hash: token.hash(),
            created_by: &caller.actor(),
        };
        let invitation = invitations::insert(conn, new, now).await?;
        let details = json!({"name": member.person.name, "expires_at": invitation.expires_at});
        audit(conn, Change::of(caller, now, "person.reset_link_made", id, details)).await?;
        Ok(NewLink { invitation, token: Some(token) })
    })
    .await
}

/// The person of the workspace with this id, if they hold nothing that the caller does not.
async fn find_held(conn: &mut Connection, caller: &Caller, id: PersonId) -> Result<Member, ApiError> {
    let member = memberships::find(conn, caller.workspace_id, id).await?;
    let member = member.ok_or(ApiError::NotFound("person"))?;
    check_held(caller, "", member.role)?;
    Ok(member)
}

/// Refuses to give, or to meddle with, a role that may do more than the caller.
pub(super) fn check_held(caller: &Caller, pointer: &str, role: Role) -> Result<(), ApiError> {
    if caller.may_all_of(role) {
        return Ok(());
    }
    let detail = format!("as {} somebody may do more than you may yourself", with_article(role));
    Err(ApiError::field(pointer, "not_held", detail))
}

fn with_article(role: Role) -> String {
    let name = roles::name(role).to_lowercase();
    if role == Role::Viewer { format!("a {name}") } else { format!("an {name}") }
}

fn done(changed: Changed) -> Result<Role, ApiError> {
    match changed {
        Changed::Done(before) => Ok(before),
        Changed::NotFound => Err(ApiError::NotFound("person")),
        Changed::LastOwner => Err(ApiError::Conflict {
            code: "last_owner",
            pointer: None,
            detail: "this is the last owner: make somebody else an owner first".to_owned(),
        }),
    }
}
