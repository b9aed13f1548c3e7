//! People who sign in with e-mail and password. What they are in a workspace is in `memberships`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{Email, PasswordHash, PersonId};

use crate::parse::parsed;
use crate::schema::people;
use crate::{Connection, QueryResult};

/// Somebody who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their id.
    pub id: PersonId,
    /// By which they are known.
    pub email: Email,
    /// What they call themselves.
    pub name: String,
    /// `None`: they belong to no workspace any more, and cannot sign in.
    pub password: Option<PasswordHash>,
    /// When they came.
    pub created_at: DateTime<Utc>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = people)]
pub(crate) struct Row {
    id: Uuid,
    email: String,
    name: String,
    password_hash: Option<String>,
    created_at: DateTime<Utc>,
}

impl Row {
    pub(crate) fn read(self) -> QueryResult<Person> {
        let password = self.password_hash.as_deref().map(PasswordHash::from_kept).transpose();
        Ok(Person {
            id: PersonId::from_uuid(self.id),
            email: parsed(&self.email)?,
            name: self.name,
            password: password.map_err(|error| diesel::result::Error::DeserializationError(error.into()))?,
            created_at: self.created_at,
        })
    }
}

/// Keeps a new person; `None` when somebody has this e-mail address.
pub async fn insert(
    conn: &mut Connection,
    email: &Email,
    name: &str,
    password: &PasswordHash,
    now: DateTime<Utc>,
) -> QueryResult<Option<Person>> {
    let row: Option<Row> = diesel::insert_into(people::table)
        .values((
            people::id.eq(PersonId::generate_at(now).uuid()),
            people::email.eq(email.as_str()),
            people::name.eq(name),
            people::password_hash.eq(password.as_str()),
            people::created_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .returning(Row::as_returning())
        .get_result(conn)
        .await
        .optional()?;
    row.map(Row::read).transpose()
}

/// The person with this e-mail address.
pub async fn find_by_email(conn: &mut Connection, email: &Email) -> QueryResult<Option<Person>> {
    let row: Option<Row> = people::table
        .filter(people::email.eq(email.as_str()))
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    row.map(Row::read).transpose()
}

/// The person with this id.
pub async fn find(conn: &mut Connection, id: PersonId) -> QueryResult<Option<Person>> {
    let row: Option<Row> =
        people::table.find(id.uuid()).select(Row::as_select()).first(conn).await.optional()?;
    row.map(Row::read).transpose()
}

/// The person with this id, as they are now: nobody else changes them until the transaction ends.
pub async fn lock(conn: &mut Connection, id: PersonId) -> QueryResult<Option<Person>> {
    let row: Option<Row> = people::table
        .find(id.uuid())
        .select(Row::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?;
    row.map(Row::read).transpose()
}

/// Whether anybody can sign in as a person.
pub async fn is_anybody(conn: &mut Connection) -> QueryResult<bool> {
    let anybody = people::table.filter(people::password_hash.is_not_null());
    diesel::select(diesel::dsl::exists(anybody)).get_result(conn).await
}

/// What these people call themselves. For who may read the audit log in which their ids stand.
pub async fn names(conn: &mut Connection, ids: &[PersonId]) -> QueryResult<HashMap<PersonId, String>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(Uuid, String)> =
        people::table.filter(people::id.eq_any(ids)).select((people::id, people::name)).load(conn).await?;
    Ok(rows.into_iter().map(|(id, name)| (PersonId::from_uuid(id), name)).collect())
}

/// Gives a person another name.
pub async fn rename(conn: &mut Connection, id: PersonId, name: &str) -> QueryResult<()> {
    diesel::update(people::table.find(id.uuid())).set(people::name.eq(name)).execute(conn).await?;
    Ok(())
}

/// Gives a person another password.
pub async fn set_password(conn: &mut Connection, id: PersonId, password: &PasswordHash) -> QueryResult<()> {
    let person = diesel::update(people::table.find(id.uuid()));
    person.set(people::password_hash.eq(password.as_str())).execute(conn).await?;
    Ok(())
}

/// Takes a person's password away: nobody signs in as them until they are invited again.
pub(crate) async fn clear_password(conn: &mut Connection, id: PersonId) -> QueryResult<()> {
    let person = diesel::update(people::table.find(id.uuid()));
    person.set(people::password_hash.eq(None::<String>)).execute(conn).await?;
    Ok(())
}
