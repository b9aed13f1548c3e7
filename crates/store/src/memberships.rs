//! What people are in which workspace. A workspace that has an owner never loses its last one.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{PersonId, Role, WorkspaceId};

use crate::parse::parsed;
use crate::people::{self, Person};
use crate::schema::{memberships, people as people_table, sessions, workspaces as workspaces_table};
use crate::{Connection, QueryResult, workspaces};

/// More workspaces of one person are not told of.
pub const OF_PERSON_MAX: i64 = 100;

/// A person of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub person: Person,
    /// What they are there.
    pub role: Role,
    /// Since when.
    pub joined_at: DateTime<Utc>,
    /// When they last did anything there, to the minute; `None`: not while their last sessions are known.
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// A workspace of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Which.
    pub workspace_id: WorkspaceId,
    /// What people call it.
    pub workspace_name: String,
    /// What the person is there.
    pub role: Role,
}

/// What became of a wish to change what a person is, or to remove them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is done; this is what they were.
    Done(Role),
    /// The workspace has no such person.
    NotFound,
    /// It would be left without an owner.
    LastOwner,
}

/// Makes a person a member; `false` when they are one already, who stay what they are.
pub async fn insert(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    person_id: PersonId,
    role: Role,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let inserted = diesel::insert_into(memberships::table)
        .values((
            memberships::workspace_id.eq(workspace_id.uuid()),
            memberships::person_id.eq(person_id.uuid()),
            memberships::role.eq(role.as_str()),
            memberships::created_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(inserted > 0)
}

/// The people of a workspace who came last, or those before `before`; at most `limit`.
pub async fn list(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    before: Option<PersonId>,
    limit: i64,
) -> QueryResult<Vec<Member>> {
    let mut query = memberships::table
        .inner_join(people_table::table)
        .filter(memberships::workspace_id.eq(workspace_id.uuid()))
        .order(memberships::person_id.desc())
        .limit(limit)
        .select((people::Row::as_select(), memberships::role, memberships::created_at))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(memberships::person_id.lt(before.uuid()));
    }
    let rows: Vec<(people::Row, String, DateTime<Utc>)> = query.load(conn).await?;
    let read = |(person, role, joined_at): (people::Row, String, DateTime<Utc>)| {
        Ok(Member { person: person.read()?, role: parsed(&role)?, joined_at, last_seen_at: None })
    };
    let mut members: Vec<Member> = rows.into_iter().map(read).collect::<QueryResult<_>>()?;
    note_last_seen(conn, workspace_id, &mut members).await?;
    Ok(members)
}

/// The person of the workspace with this id.
pub async fn find(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    person_id: PersonId,
) -> QueryResult<Option<Member>> {
    let row: Option<(people::Row, String, DateTime<Utc>)> = memberships::table
        .inner_join(people_table::table)
        .filter(memberships::workspace_id.eq(workspace_id.uuid()))
        .filter(memberships::person_id.eq(person_id.uuid()))
        .select((people::Row::as_select(), memberships::role, memberships::created_at))
        .first(conn)
        .await
        .optional()?;
    let Some((person, role, joined_at)) = row else { return Ok(None) };
    let mut found = [Member { person: person.read()?, role: parsed(&role)?, joined_at, last_seen_at: None }];
    note_last_seen(conn, workspace_id, &mut found).await?;
    let [member] = found;
    Ok(Some(member))
}

async fn note_last_seen(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    members: &mut [Member],
) -> QueryResult<()> {
    let ids: Vec<Uuid> = members.iter().map(|member| member.person.id.uuid()).collect();
    let rows: Vec<(Uuid, Option<DateTime<Utc>>)> = sessions::table
        .filter(sessions::person_id.eq_any(ids).and(sessions::workspace_id.eq(workspace_id.uuid())))
        .group_by(sessions::person_id)
        .select((sessions::person_id, diesel::dsl::max(sessions::last_seen_at)))
        .load(conn)
        .await?;
    for (id, last_seen_at) in rows {
        if let Some(member) = members.iter_mut().find(|member| member.person.id.uuid() == id) {
            member.last_seen_at = last_seen_at;
        }
    }
    Ok(())
}

/// How many people a workspace has.
pub async fn count(conn: &mut Connection, workspace_id: WorkspaceId) -> QueryResult<i64> {
    memberships::table
        .filter(memberships::workspace_id.eq(workspace_id.uuid()))
        .count()
        .get_result(conn)
        .await
}

/// The workspaces of a person, by name; at most [`OF_PERSON_MAX`].
pub async fn of_person(conn: &mut Connection, person_id: PersonId) -> QueryResult<Vec<Membership>> {
    let rows: Vec<(Uuid, String, String)> = memberships::table
        .inner_join(workspaces_table::table)
        .filter(memberships::person_id.eq(person_id.uuid()))
        .order((workspaces_table::name, workspaces_table::id))
        .limit(OF_PERSON_MAX)
        .select((workspaces_table::id, workspaces_table::name, memberships::role))
        .load(conn)
        .await?;
    let read = |(id, workspace_name, role): (Uuid, String, String)| {
        Ok(Membership { workspace_id: WorkspaceId::from_uuid(id), workspace_name, role: parsed(&role)? })
    };
    rows.into_iter().map(read).collect()
}

/// Makes a person something else. Belongs in a transaction, for which the workspace is locked: of two who are demoted at once
/// one stays.
pub async fn set_role(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    person_id: PersonId,
    role: Role,
) -> QueryResult<Changed> {
    workspaces::lock(conn, workspace_id).await?;
    let Some(before) = role_of(conn, workspace_id, person_id).await? else { return Ok(Changed::NotFound) };
    if before == Role::Owner && role != Role::Owner && owners(conn, workspace_id).await? < 2 {
        return Ok(Changed::LastOwner);
    }
    diesel::update(memberships::table.find((workspace_id.uuid(), person_id.uuid())))
        .set(memberships::role.eq(role.as_str()))
        .execute(conn)
        .await?;
    Ok(Changed::Done(before))
}

/// Removes a person from a workspace, and ends what they have open there. Who belongs to no other cannot sign in any more.
/// Belongs in a transaction, for which the workspace is locked.
pub async fn remove(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    person_id: PersonId,
    now: DateTime<Utc>,
) -> QueryResult<Changed> {
    workspaces::lock(conn, workspace_id).await?;
    let Some(before) = role_of(conn, workspace_id, person_id).await? else { return Ok(Changed::NotFound) };
    if before == Role::Owner && owners(conn, workspace_id).await? < 2 {
        return Ok(Changed::LastOwner);
    }
    let (workspace, person) = (workspace_id.uuid(), person_id.uuid());
    diesel::delete(memberships::table.find((workspace, person))).execute(conn).await?;
    let open = sessions::table.filter(
        sessions::person_id
            .eq(person)
            .and(sessions::workspace_id.eq(workspace))
            .and(sessions::revoked_at.is_null()),
    );
    diesel::update(open).set(sessions::revoked_at.eq(now)).execute(conn).await?;
    if of_person(conn, person_id).await?.is_empty() {
        people::clear_password(conn, person_id).await?;
    }
    Ok(Changed::Done(before))
}

async fn role_of(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    person_id: PersonId,
) -> QueryResult<Option<Role>> {
    let role: Option<String> = memberships::table
        .find((workspace_id.uuid(), person_id.uuid()))
        .select(memberships::role)
        .first(conn)
        .await
        .optional()?;
    role.as_deref().map(parsed).transpose()
}

async fn owners(conn: &mut Connection, workspace_id: WorkspaceId) -> QueryResult<i64> {
    let owners = memberships::table.filter(
        memberships::workspace_id.eq(workspace_id.uuid()).and(memberships::role.eq(Role::Owner.as_str())),
    );
    owners.count().get_result(conn).await
}
