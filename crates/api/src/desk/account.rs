//! A person's own account: signing in and out, where they are signed in, their name and password, which workspace they look at.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use model::{Email, PersonId, SessionId, Token, WorkspaceId};
use store::memberships::{self, Membership};
use store::people::{self, Person};
use store::sessions::{self, NewSession, Session};
use store::{AsyncConnection as _, Connection, invitations};

use super::passwords::TypedPassword;
use super::{Change, audit, now, person_password};
use crate::app::Shared;
use crate::auth::{Caller, TOUCH_INTERVAL};
use crate::error::ApiError;

/// What is kept of how a browser calls itself, in characters.
const USER_AGENT_CHARS_MAX: usize = 300;

/// A session that was just begun.
pub struct Opened {
    /// What the cookie holds.
    pub token: Token,
    /// When it ends at the latest.
    pub expires_at: DateTime<Utc>,
}

/// A person with a session.
pub struct SignedPerson {
    /// What they may do in the workspace that they look at.
    pub caller: Caller,
    /// Who.
    pub person: Person,
    /// Their session.
    pub session: Session,
    /// Where they belong to.
    pub workspaces: Vec<Membership>,
}

/// Signs a person in; `None` when the password is not theirs, or there is no such person: both take as long.
///
/// # Errors
/// When the database is away, or too many passwords wait to be looked at.
pub async fn sign_in(
    shared: &Shared,
    email: Option<&Email>,
    password: &TypedPassword,
    user_agent: Option<&str>,
) -> Result<Option<Opened>, ApiError> {
    let found = match email {
        Some(email) => people::find_by_email(&mut *shared.pool.get().await?, email).await?,
        None => None,
    };
    let kept = found.as_ref().and_then(|person| person.password.clone());
    let is_theirs = shared.passwords.is_of(password, kept).await?;
    let Some(person) = found.filter(|_| is_theirs) else { return Ok(None) };

    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        // one that was changed meanwhile ended every session, and begins none
        let now_kept = people::lock(conn, person.id).await?.and_then(|person| person.password);
        if now_kept != person.password {
            return Ok(None);
        }
        let Some(first) = memberships::of_person(conn, person.id).await?.into_iter().next() else {
            return Ok(None);
        };
        begin(shared, conn, &person, first.workspace_id, user_agent, now()).await.map(Some)
    })
    .await
}

/// Begins a session of a person. Its token is new, whatever the browser brought along.
pub(super) async fn begin(
    shared: &Shared,
    conn: &mut Connection,
    person: &Person,
    workspace_id: WorkspaceId,
    user_agent: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Opened, ApiError> {
    let token = Token::generate();
    let lifetime = TimeDelta::from_std(shared.settings.session_lifetime).unwrap_or(TimeDelta::days(1));
    let user_agent: Option<String> =
        user_agent.map(|text| text.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX).collect());
    let new = NewSession {
        hash: token.hash(),
        person_id: person.id,
        workspace_id,
        user_agent: user_agent.as_deref(),
        expires_at: now + lifetime,
    };
    let session = sessions::insert(conn, new, now).await?;
    Ok(Opened { token, expires_at: session.expires_at })
}

/// Who has this session, as they are now.
///
/// # Errors
/// [`ApiError::Unauthorized`] when it has ended, or its person belongs to the workspace no more.
pub async fn resume(shared: &Shared, token: &Token) -> Result<SignedPerson, ApiError> {
    let ended = || ApiError::Unauthorized("sign in again");
    let now = now();
    let mut conn = shared.pool.get().await?;
    let found = sessions::find_live(&mut conn, &token.hash(), shared.settings.session_idle, now).await?;
    let (session, person) = found.ok_or_else(ended)?;
    let workspaces = memberships::of_person(&mut conn, person.id).await?;
    let current = workspaces.iter().find(|membership| membership.workspace_id == session.workspace_id);
    let role = current.ok_or_else(ended)?.role;
    if now - session.last_seen_at >= TimeDelta::from_std(TOUCH_INTERVAL).unwrap_or_default() {
        sessions::touch(&mut conn, session.id, TOUCH_INTERVAL, now).await?;
    }
    let caller = Caller::of_person(&person, session.workspace_id, role).in_session(session.id);
    Ok(SignedPerson { caller, person, session, workspaces })
}

/// Ends the session with this token, if it is one.
///
/// # Errors
/// When the database is away.
pub async fn end(shared: &Shared, token: &Token) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    let found = sessions::find_live(&mut conn, &token.hash(), shared.settings.session_idle, now).await?;
    if let Some((session, person)) = found {
        sessions::revoke(&mut conn, person.id, session.id, now).await?;
    }
    Ok(())
}

/// Where a person is signed in.
///
/// # Errors
/// When the database is away.
pub async fn sessions(shared: &Shared, person: PersonId) -> Result<Vec<Session>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(sessions::list_live(&mut conn, person, shared.settings.session_idle, now()).await?)
}

/// Ends one session of a person's own.
///
/// # Errors
/// When they have none such, or not any more.
pub async fn end_one(shared: &Shared, signed: &SignedPerson, id: SessionId) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        if !sessions::revoke(conn, signed.person.id, id, now).await? {
            return Err(ApiError::NotFound("session"));
        }
        audit(conn, own(signed, now, "person.signed_out")).await
    })
    .await
}

/// Signs a person out everywhere, here too.
///
/// # Errors
/// When the database is away.
pub async fn end_all(shared: &Shared, signed: &SignedPerson) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        sessions::revoke_all(conn, signed.person.id, now).await?;
        audit(conn, own(signed, now, "person.signed_out_everywhere")).await
    })
    .await
}

/// Gives a person another name, by their own wish.
///
/// # Errors
/// When the database is away.
pub async fn rename(shared: &Shared, signed: &SignedPerson, name: &str) -> Result<(), ApiError> {
    let now = now();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        people::rename(conn, signed.person.id, name).await?;
        let details = json!({"name": name, "before": signed.person.name});
        audit(conn, Change { details, ..own(signed, now, "person.renamed") }).await
    })
    .await
}

/// Gives a person another password, by their own wish. Every session ends; a new one is begun for the browser that asks.
///
/// # Errors
/// When the current password is not theirs, or the new one breaks a rule.
pub async fn change_password(
    shared: &Shared,
    signed: &SignedPerson,
    current: &TypedPassword,
    wanted: &TypedPassword,
) -> Result<Opened, ApiError> {
    let not_theirs = || ApiError::field("/current", "invalid", "is not your password");
    if !shared.passwords.is_of(current, signed.person.password.clone()).await? {
        return Err(not_theirs());
    }
    person_password::check("/password", wanted, &signed.person.email)?;
    let hash = shared.passwords.hash(wanted).await?;
    let now = now();
    let user_agent = signed.session.user_agent.as_deref();
    let mut conn = shared.pool.get().await?;
    conn.transaction::<_, ApiError, _>(async |conn| {
        invitations::revoke_resets(conn, &signed.person.email, now).await?;
        let now_kept = people::lock(conn, signed.person.id).await?.and_then(|person| person.password);
        if now_kept != signed.person.password {
            return Err(not_theirs());
        }
        people::set_password(conn, signed.person.id, &hash).await?;
        sessions::revoke_all(conn, signed.person.id, now).await?;
        audit(conn, own(signed, now, "person.password_changed")).await?;
        begin(shared, conn, &signed.person, signed.session.workspace_id, user_agent, now).await
    })
    .await
}

/// Looks at another workspace of the person's.
///
/// # Errors
/// When they do not belong to it.
pub async fn switch(shared: &Shared, signed: &SignedPerson, id: WorkspaceId) -> Result<(), ApiError> {
    if !signed.workspaces.iter().any(|membership| membership.workspace_id == id) {
        return Err(ApiError::NotFound("workspace"));
    }
    let mut conn = shared.pool.get().await?;
    Ok(sessions::set_workspace(&mut conn, signed.session.id, id).await?)
}

/// Whether anybody can sign in as a person: else the page asks for a key.
///
/// # Errors
/// When the database is away.
pub async fn is_anybody(shared: &Shared) -> Result<bool, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(people::is_anybody(&mut conn).await?)
}

fn own<'a>(signed: &'a SignedPerson, now: DateTime<Utc>, action: &'a str) -> Change<'a> {
    let (subject, details) = (signed.person.id.to_string(), json!({"name": signed.person.name}));
    Change { caller: &signed.caller, now, action, subject, details }
}
