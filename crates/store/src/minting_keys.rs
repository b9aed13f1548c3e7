//! Keys with which senders make recipients' links, sealed. A retired one signs no new links, and what it signed stays good; of a
//! revoked one nothing is good any more.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::minting::KEY_NUMBERS;
use model::{MintingKeyId, WorkspaceId};

use crate::link_row::unreadable;
use crate::schema::minting_keys;
use crate::{Connection, QueryResult};

/// A sealed minting key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its id.
    pub id: MintingKeyId,
    /// Its number among the workspace's keys.
    pub number: u8,
    /// The key as `webhook::sealing` sealed it; nothing is left of a revoked one.
    pub sealed: Option<Vec<u8>>,
    /// Who made it, as the audit log names them.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when another is to be used.
    pub retired_at: Option<DateTime<Utc>>,
    /// Since when nothing is good that it signed.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A key to be kept.
#[derive(Debug, Clone, Copy)]
pub struct NewKey<'a> {
    /// Its id.
    pub id: MintingKeyId,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Its number, as [`free_number`] said.
    pub number: u8,
    /// The key as `webhook::sealing` sealed it.
    pub sealed: &'a [u8],
    /// Who makes it, as the audit log names them.
    pub created_by: &'a str,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = minting_keys)]
struct Row {
    id: Uuid,
    number: i16,
    sealed: Option<Vec<u8>>,
    created_by: String,
    created_at: DateTime<Utc>,
    retired_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

fn read(row: Row) -> QueryResult<StoredKey> {
    Ok(StoredKey {
        id: MintingKeyId::from_uuid(row.id),
        number: u8::try_from(row.number).map_err(unreadable("number"))?,
        sealed: row.sealed,
        created_by: row.created_by,
        created_at: row.created_at,
        retired_at: row.retired_at,
        revoked_at: row.revoked_at,
    })
}

/// The number of a workspace's next key: the one that was in use the longest time ago, if ever; `None` when all are in use.
pub async fn free_number(conn: &mut Connection, workspace_id: WorkspaceId) -> QueryResult<Option<u8>> {
    let last: Option<i16> = minting_keys::table
        .filter(minting_keys::workspace_id.eq(workspace_id.uuid()))
        .order(minting_keys::id.desc())
        .select(minting_keys::number)
        .first(conn)
        .await
        .optional()?;
    let live: Vec<i16> = minting_keys::table
        .filter(minting_keys::workspace_id.eq(workspace_id.uuid()).and(minting_keys::revoked_at.is_null()))
        .select(minting_keys::number)
        .load(conn)
        .await?;
    let count = i16::from(KEY_NUMBERS);
    let first = last.map_or(0, |last| last + 1);
    let mut numbers = (0..count).map(|step| (first + step) % count);
    let free = numbers.find(|number| !live.contains(number));
    free.map(u8::try_from).transpose().map_err(unreadable("number"))
}

/// Keeps a key; `None` when another has taken its number meanwhile.
pub async fn insert(
    conn: &mut Connection,
    new: NewKey<'_>,
    now: DateTime<Utc>,
) -> QueryResult<Option<StoredKey>> {
    let row: Option<Row> = diesel::insert_into(minting_keys::table)
        .values((
            minting_keys::id.eq(new.id.uuid()),
            minting_keys::workspace_id.eq(new.workspace_id.uuid()),
            minting_keys::number.eq(i16::from(new.number)),
            minting_keys::sealed.eq(new.sealed),
            minting_keys::created_by.eq(new.created_by),
            minting_keys::created_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .returning(Row::as_returning())
        .get_result(conn)
        .await
        .optional()?;
    row.map(read).transpose()
}

/// The workspace's key with this id, revoked or not.
pub async fn find(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: MintingKeyId,
) -> QueryResult<Option<StoredKey>> {
    let row: Option<Row> = minting_keys::table
        .filter(minting_keys::id.eq(id.uuid()).and(minting_keys::workspace_id.eq(workspace_id.uuid())))
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    row.map(read).transpose()
}

/// The newest keys of a workspace, revoked ones among them, or those older than `before`.
pub async fn list(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    before: Option<MintingKeyId>,
    limit: i64,
) -> QueryResult<Vec<StoredKey>> {
    let mut query = minting_keys::table
        .filter(minting_keys::workspace_id.eq(workspace_id.uuid()))
        .order(minting_keys::id.desc())
        .limit(limit)
        .select(Row::as_select())
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(minting_keys::id.lt(before.uuid()));
    }
    let rows: Vec<Row> = query.load(conn).await?;
    rows.into_iter().map(read).collect()
}

/// How many keys of a workspace are not revoked.
pub async fn count_live(conn: &mut Connection, workspace_id: WorkspaceId) -> QueryResult<i64> {
    minting_keys::table
        .filter(minting_keys::workspace_id.eq(workspace_id.uuid()).and(minting_keys::revoked_at.is_null()))
        .count()
        .get_result(conn)
        .await
}

/// The keys of a workspace that are not revoked, with what they are sealed in; a redirect asks for them.
pub async fn list_live(conn: &mut Connection, workspace_id: WorkspaceId) -> QueryResult<Vec<StoredKey>> {
    let rows: Vec<Row> = minting_keys::table
        .filter(minting_keys::workspace_id.eq(workspace_id.uuid()).and(minting_keys::revoked_at.is_null()))
        .limit(KEY_NUMBERS.into())
        .select(Row::as_select())
        .load(conn)
        .await?;
    rows.into_iter().map(read).collect()
}

/// Retires a key; `false` when there is no such key that is neither retired nor revoked.
pub async fn retire(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: MintingKeyId,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let own = minting_keys::table
        .filter(minting_keys::id.eq(id.uuid()).and(minting_keys::workspace_id.eq(workspace_id.uuid())))
        .filter(minting_keys::retired_at.is_null().and(minting_keys::revoked_at.is_null()));
    let changed = diesel::update(own).set(minting_keys::retired_at.eq(now)).execute(conn).await?;
    Ok(changed > 0)
}

/// Revokes a key, and forgets what it is; `false` when there is no such key that is not revoked.
pub async fn revoke(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: MintingKeyId,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let own = minting_keys::table
        .filter(minting_keys::id.eq(id.uuid()).and(minting_keys::workspace_id.eq(workspace_id.uuid())))
        .filter(minting_keys::revoked_at.is_null());
    let forgotten = (minting_keys::revoked_at.eq(now), minting_keys::sealed.eq(None::<Vec<u8>>));
    let changed = diesel::update(own).set(forgotten).execute(conn).await?;
    Ok(changed > 0)
}
