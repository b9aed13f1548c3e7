//! Invitations: an owner makes a link and passes it on; whoever opens it becomes a person of the workspace. The same way a
//! person sets another password. A link works once, for a week, and only its hash is kept.

use chrono::{DateTime, Utc};
use serde_json::json;
use utoipa::ToSchema;

use model::{Email, InvitationId, PasswordHash, Role, Token};
use store::invitations::{self, Invitation, NewInvitation as KeptInvitation, Purpose};
use store::people::{self, Person};
use store::{AsyncConnection as _, Connection, memberships, sessions, workspaces};

use super::account::{self, Opened};
use super::idempotency::{Done, IdempotencyKey, Once, gone};
use super::passwords::TypedPassword;
use super::people::{NewLink, check_held};
use super::person_keys::lock_for_maker;
use super::{Change, audit, limit_reached, now, person_password};
use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, parsed, text};
use crate::page::PageRequest;

/// Longest name of a person, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// Who runs the server, as links that `clickwire people` makes name them.
const OPERATOR: &str = "operator";

/// What whoever opens a link that is used up, taken back or over is told, like who guesses one.
const NO_LINK: ApiError = ApiError::NotFound("invitation");

/// Somebody to be invited.
#[derive(Debug, ToSchema)]
pub struct NewInvitation {
    /// By which they will sign in.
    #[schema(value_type = String, example = "ada@example.com")]
    email: Email,
    /// What they will be: `owner`, `operator` or `viewer`.
    #[schema(value_type = String, example = "viewer")]
    role: Role,
}

impl FromFields for NewInvitation {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let email = fields.required("email", parsed);
        let role = fields.required("role", parsed);
        Some(Self { email: email?, role: role? })
    }
}

/// Makes an invitation; another one for the same address opens nothing from then on. With an idempotency key that came before,
/// tells of the one that it made, without its link.
///
/// # Errors
/// When the idempotency key came with another request, the role holds more than the caller does, the person is there already,
/// or the workspace has as many as it may have.
pub async fn create(
    shared: &Shared,
    caller: &Caller,
    new: NewInvitation,
    key: Option<&IdempotencyKey>,
) -> Result<Done<NewLink>, ApiError> {
    let now = now();
    let once = Once::new(caller, key, "invitation.create", now);
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        if let Some(before) = once.claim(conn).await? {
            let id = InvitationId::from_uuid(before);
            let made = invitations::find_open(conn, caller.workspace_id, id, now).await?;
            return Ok(Done::Before(NewLink { invitation: made.ok_or_else(gone)?, token: None }));
        }
        let made = insert(shared, conn, caller, &new, now).await?;
        once.made(conn, made.invitation.id.uuid()).await?;
        Ok(Done::Now(made))
    })
    .await
}

async fn insert(
    shared: &Shared,
    conn: &mut Connection,
    caller: &Caller,
    new: &NewInvitation,
    now: DateTime<Utc>,
) -> Result<NewLink, ApiError> {
    let caller = &lock_for_maker(conn, caller, Scope::PeopleWrite, now).await?;
    check_held(caller, "/role", new.role)?;
    if let Some(person) = people::find_by_email(conn, &new.email).await?
        && memberships::find(conn, caller.workspace_id, person.id).await?.is_some()
    {
        return Err(ApiError::Conflict {
            code: "member_already",
            pointer: Some("/email"),
            detail: format!("{} belongs to this workspace already", new.email),
        });
    }
    let members = memberships::count(conn, caller.workspace_id).await?;
    let open = invitations::count_open(conn, caller.workspace_id, now).await?;
    if members + open >= shared.settings.people_max.into() {
        return Err(limit_reached(shared.settings.people_max, "people and open invitations"));
    }
    let token = Token::generate();
    let kept = KeptInvitation {
        workspace_id: caller.workspace_id,
        email: &new.email,
        purpose: Purpose::Join(new.role),
        hash: token.hash(),
        created_by: &caller.actor(),
    };
    let invitation = invitations::insert(conn, kept, now).await?;
    let details = json!({"email": new.email, "role": new.role, "expires_at": invitation.expires_at});
    let subject = invitation.id.to_string();
    audit(conn, Change { caller, now, action: "invitation.created", subject, details }).await?;
    Ok(NewLink { invitation, token: Some(token) })
}

/// One page of the invitations that are open, and one row more; links for other passwords among them.
///
/// # Errors
/// When the database is away.
pub async fn list(
    shared: &Shared,
    caller: &Caller,
    page: &PageRequest<InvitationId>,
) -> Result<Vec<Invitation>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(invitations::list_open(&mut conn, caller.workspace_id, page.before, page.rows(), now()).await?)
}

/// Takes an invitation back: its link opens nothing any more.
///
/// # Errors
/// When the workspace has no such invitation, or not any more.
pub async fn revoke(shared: &Shared, caller: &Caller, id: InvitationId) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        let revoked = invitations::revoke(conn, caller.workspace_id, id, now).await?.ok_or(NO_LINK)?;
        let (subject, details) = (id.to_string(), json!({"email": revoked.email}));
        audit(conn, Change { caller, now, action: "invitation.revoked", subject, details }).await
    })
    .await
}

/// What a link leads to, for whoever opened it.
pub struct Welcome {
    /// The link.
    pub invitation: Invitation,
    /// To which workspace.
    pub workspace_name: String,
    /// The person with its e-mail address, if they can sign in.
    pub person: Option<Person>,
}

impl Welcome {
    /// Whether it asks for the password of the account there is, rather than for a new one.
    pub fn asks_for_password(&self) -> bool {
        matches!(self.invitation.purpose, Purpose::Join(_)) && self.person.is_some()
    }
}

/// Looks at a link without using it: programs that fetch previews do so too.
///
/// # Errors
/// When it opens nothing any more, or never did.
pub async fn open(shared: &Shared, token: &str) -> Result<Welcome, ApiError> {
    let token: Token = token.parse().map_err(|_| NO_LINK)?;
    let mut conn = shared.pool.get().await?;
    let invitation = invitations::find_by_hash(&mut conn, &token.hash(), now()).await?.ok_or(NO_LINK)?;
    let workspace = workspaces::find(&mut conn, invitation.workspace_id).await?.ok_or(NO_LINK)?;
    let person = people::find_by_email(&mut conn, &invitation.email).await?;
    let person = person.filter(|person| person.password.is_some());
    Ok(Welcome { invitation, workspace_name: workspace.name, person })
}

/// What whoever opened a link filled in.
pub struct Acceptance {
    /// What they call themselves; not asked of who has an account.
    pub name: String,
    /// A new password, or that of the account there is.
    pub password: TypedPassword,
}

/// Uses a link: makes the account if there is none, and signs in. `None` when there is an account and the password is not its.
///
/// # Errors
/// When the link opens nothing any more, or a field breaks a rule.
pub async fn accept(
    shared: &Shared,
    welcome: &Welcome,
    given: &Acceptance,
    user_agent: Option<&str>,
) -> Result<Option<Opened>, ApiError> {
    let Welcome { invitation, person, .. } = welcome;
    let password = match (invitation.purpose, person) {
        (Purpose::Join(_), Some(person)) => {
            if !shared.passwords.is_of(&given.password, person.password.clone()).await? {
                return Ok(None);
            }
            None
        }
        (Purpose::ResetPassword, None) => return Err(NO_LINK),
        (Purpose::Join(_), None) | (Purpose::ResetPassword, Some(_)) => {
            person_password::check("/password", &given.password, &invitation.email)?;
            Some(shared.passwords.hash(&given.password).await?)
        }
    };
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        if !invitations::use_up(conn, invitation.id, now).await? {
            return Err(NO_LINK);
        }
        let person = match invitation.purpose {
            Purpose::Join(role) => join(conn, welcome, role, &given.name, password.as_ref(), now).await?,
            Purpose::ResetPassword => reset(conn, invitation, password.as_ref(), now).await?,
        };
        account::begin(shared, conn, &person, invitation.workspace_id, user_agent, now).await.map(Some)
    })
    .await
}

/// `password`: of an account that is to be made, or to be used again.
async fn join(
    conn: &mut Connection,
    welcome: &Welcome,
    role: Role,
    name: &str,
    password: Option<&PasswordHash>,
    now: DateTime<Utc>,
) -> Result<Person, ApiError> {
    let Welcome { invitation, person: seen, .. } = welcome;
    // made by who knew nothing of this workspace; before the person is locked, like whoever uses such a link
    invitations::revoke_resets(conn, &invitation.email, now).await?;
    let found = match people::find_by_email(conn, &invitation.email).await? {
        Some(person) => people::lock(conn, person.id).await?,
        None => None,
    };
    let checked = seen.as_ref().and_then(|person| person.password.as_ref());
    let person = match (found, password) {
        (Some(person), None) if person.password.is_some() && person.password.as_ref() == checked => person,
        (Some(person), Some(password)) if person.password.is_none() => {
            people::rename(conn, person.id, name).await?;
            people::set_password(conn, person.id, password).await?;
            Person { name: name.to_owned(), password: Some(password.clone()), ..person }
        }
        (None, Some(password)) => {
            people::insert(conn, &invitation.email, name, password, now).await?.ok_or(NO_LINK)?
        }
        // somebody else was faster: what was looked at is not so any more
        _ => return Err(NO_LINK),
    };
    memberships::insert(conn, invitation.workspace_id, person.id, role, now).await?;
    let caller = Caller::of_person(&person, invitation.workspace_id, role);
    let (subject, details) = (invitation.id.to_string(), json!({"name": person.name, "role": role}));
    audit(conn, Change { caller: &caller, now, action: "invitation.accepted", subject, details }).await?;
    Ok(person)
}

async fn reset(
    conn: &mut Connection,
    invitation: &Invitation,
    password: Option<&PasswordHash>,
    now: DateTime<Utc>,
) -> Result<Person, ApiError> {
    invitations::revoke_resets(conn, &invitation.email, now).await?;
    let person = people::find_by_email(conn, &invitation.email).await?.ok_or(NO_LINK)?;
    let person = people::lock(conn, person.id).await?.ok_or(NO_LINK)?;
    // an owner of one workspace opens no other
    let is_elsewhere = memberships::of_person(conn, person.id).await?.len() > 1;
    if is_elsewhere && invitation.created_by != OPERATOR {
        return Err(NO_LINK);
    }
    let member = memberships::find(conn, invitation.workspace_id, person.id).await?.ok_or(NO_LINK)?;
    people::set_password(conn, person.id, password.ok_or(NO_LINK)?).await?;
    sessions::revoke_all(conn, person.id, now).await?;
    let caller = Caller::of_person(&person, invitation.workspace_id, member.role);
    let (subject, details) = (person.id.to_string(), json!({"name": person.name}));
    audit(conn, Change { caller: &caller, now, action: "person.password_reset", subject, details }).await?;
    Ok(person)
}

/// Reads the name that somebody gives themselves.
pub struct Named(pub String);

impl FromFields for Named {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        fields.required("name", text::<NAME_CHARS_MAX>).map(Self)
    }
}
