//! Sign-ins of people: each is a row, so that it can be ended from elsewhere. Only the hash of what the cookie holds is kept.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{PersonId, SessionId, TokenHash, WorkspaceId};

use crate::people::{self, Person};
use crate::schema::{people as people_table, sessions};
use crate::{Connection, QueryResult};

/// Sessions of one person: the oldest end when there are more.
pub const OF_PERSON_MAX: i64 = 20;

/// How long it is still told when a person was last seen, after their session has ended.
const KEPT: TimeDelta = TimeDelta::days(30);

/// A sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub person_id: PersonId,
    /// The workspace that is looked at.
    pub workspace_id: WorkspaceId,
    /// Which browser, as it calls itself.
    pub user_agent: Option<String>,
    /// When they signed in.
    pub created_at: DateTime<Utc>,
    /// It opens nothing from then on.
    pub expires_at: DateTime<Utc>,
    /// Last use, to the minute.
    pub last_seen_at: DateTime<Utc>,
}

/// A sign-in to be kept.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    /// Of what the cookie holds.
    pub hash: TokenHash,
    /// Whose.
    pub person_id: PersonId,
    /// The workspace that is looked at first.
    pub workspace_id: WorkspaceId,
    /// Which browser, as it calls itself.
    pub user_agent: Option<&'a str>,
    /// It opens nothing from then on.
    pub expires_at: DateTime<Utc>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions)]
struct Row {
    id: Uuid,
    person_id: Uuid,
    workspace_id: Uuid,
    user_agent: Option<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
}

impl From<Row> for Session {
    fn from(row: Row) -> Self {
        Self {
            id: SessionId::from_uuid(row.id),
            person_id: PersonId::from_uuid(row.person_id),
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            user_agent: row.user_agent,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_seen_at: row.last_seen_at,
        }
    }
}

/// Keeps a sign-in. Of its person, the oldest beyond [`OF_PERSON_MAX`] and those that ended long ago are forgotten.
pub async fn insert(conn: &mut Connection, new: NewSession<'_>, now: DateTime<Utc>) -> QueryResult<Session> {
    let person = new.person_id.uuid();
    let ended =
        sessions::table.filter(sessions::person_id.eq(person).and(sessions::last_seen_at.lt(now - KEPT)));
    diesel::delete(ended).execute(conn).await?;
    let newest: Vec<Uuid> = sessions::table
        .filter(sessions::person_id.eq(person))
        .order(sessions::id.desc())
        .limit(OF_PERSON_MAX - 1)
        .select(sessions::id)
        .load(conn)
        .await?;
    let others = sessions::table.filter(sessions::person_id.eq(person).and(sessions::id.ne_all(newest)));
    diesel::delete(others).execute(conn).await?;
    let row: Row = diesel::insert_into(sessions::table)
        .values((
            sessions::id.eq(SessionId::generate_at(now).uuid()),
            sessions::hash.eq(new.hash.bytes()),
            sessions::person_id.eq(person),
            sessions::workspace_id.eq(new.workspace_id.uuid()),
            sessions::user_agent.eq(new.user_agent),
            sessions::created_at.eq(now),
            sessions::expires_at.eq(new.expires_at),
            sessions::last_seen_at.eq(now),
        ))
        .returning(Row::as_returning())
        .get_result(conn)
        .await?;
    Ok(row.into())
}

/// The session of this cookie and its person, unless it has ended, or was not used within `idle`.
pub async fn find_live(
    conn: &mut Connection,
    hash: &TokenHash,
    idle: Duration,
    now: DateTime<Utc>,
) -> QueryResult<Option<(Session, Person)>> {
    let row: Option<(Row, people::Row)> = sessions::table
        .inner_join(people_table::table)
        .filter(sessions::hash.eq(hash.bytes()))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now).and(sessions::last_seen_at.gt(since(idle, now))))
        .select((Row::as_select(), people::Row::as_select()))
        .first(conn)
        .await
        .optional()?;
    row.map(|(session, person)| Ok((session.into(), person.read()?))).transpose()
}

/// Whether a session has not ended, and was used within `idle`.
pub async fn is_live(
    conn: &mut Connection,
    id: SessionId,
    idle: Duration,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let live = sessions::table
        .filter(sessions::id.eq(id.uuid()).and(sessions::revoked_at.is_null()))
        .filter(sessions::expires_at.gt(now).and(sessions::last_seen_at.gt(since(idle, now))));
    diesel::select(diesel::dsl::exists(live)).get_result(conn).await
}

/// The sessions of a person that have not ended, newest first.
pub async fn list_live(
    conn: &mut Connection,
    person_id: PersonId,
    idle: Duration,
    now: DateTime<Utc>,
) -> QueryResult<Vec<Session>> {
    let rows: Vec<Row> = sessions::table
        .filter(sessions::person_id.eq(person_id.uuid()).and(sessions::revoked_at.is_null()))
        .filter(sessions::expires_at.gt(now).and(sessions::last_seen_at.gt(since(idle, now))))
        .order(sessions::id.desc())
        .limit(OF_PERSON_MAX)
        .select(Row::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Session::from).collect())
}

/// Notes that a session was used, unless a use within `interval` is noted already.
pub async fn touch(
    conn: &mut Connection,
    id: SessionId,
    interval: Duration,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let stale = sessions::table
        .filter(sessions::id.eq(id.uuid()).and(sessions::last_seen_at.lt(since(interval, now))));
    diesel::update(stale).set(sessions::last_seen_at.eq(now)).execute(conn).await?;
    Ok(())
}

/// Looks at another workspace. Who may is for the caller to say.
pub async fn set_workspace(
    conn: &mut Connection,
    id: SessionId,
    workspace_id: WorkspaceId,
) -> QueryResult<()> {
    let session = diesel::update(sessions::table.find(id.uuid()));
    session.set(sessions::workspace_id.eq(workspace_id.uuid())).execute(conn).await?;
    Ok(())
}

/// Ends a session of a person; `false` when they have none such, or not any more.
pub async fn revoke(
    conn: &mut Connection,
    person_id: PersonId,
    id: SessionId,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let own = sessions::table.filter(
        sessions::id
            .eq(id.uuid())
            .and(sessions::person_id.eq(person_id.uuid()))
            .and(sessions::revoked_at.is_null()),
    );
    let changed = diesel::update(own).set(sessions::revoked_at.eq(now)).execute(conn).await?;
    Ok(changed > 0)
}

/// Ends every session of a person.
pub async fn revoke_all(conn: &mut Connection, person_id: PersonId, now: DateTime<Utc>) -> QueryResult<()> {
    let own =
        sessions::table.filter(sessions::person_id.eq(person_id.uuid()).and(sessions::revoked_at.is_null()));
    diesel::update(own).set(sessions::revoked_at.eq(now)).execute(conn).await?;
    Ok(())
}

fn since(duration: Duration, now: DateTime<Utc>) -> DateTime<Utc> {
    TimeDelta::from_std(duration).ok().and_then(|d| now.checked_sub_signed(d)).unwrap_or(DateTime::UNIX_EPOCH)
}
