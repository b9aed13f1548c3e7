//! API keys: who may do what in which workspace. Only the hash of a key is kept.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::secret::{ApiKey, ApiKeyHash};
use model::{KeyId, WorkspaceId};

use crate::schema::api_keys;
use crate::{Connection, QueryResult};

/// What is known of a key, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its id.
    pub id: KeyId,
    /// Whose things it opens.
    pub workspace_id: WorkspaceId,
    /// What people call it.
    pub name: String,
    /// Its beginning, by which people tell theirs apart.
    pub shown: String,
    /// What it may do: `links:read`, …; `*` is everything.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// It opens nothing from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// The same, had it not been rotated: nobody's right to make keys that last ends with that.
    pub own_expires_at: Option<DateTime<Utc>>,
    /// Last use, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was taken back.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Who made it, as the audit log names them; `None`: nobody knows.
    pub created_by: Option<String>,
}

impl StoredKey {
    /// Whether the key opens anything at `now`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// A key to be kept.
#[derive(Debug, Clone)]
pub struct NewKey<'a> {
    /// Whose things it opens.
    pub workspace_id: WorkspaceId,
    /// What people call it.
    pub name: &'a str,
    /// The key itself; only its hash is stored.
    pub key: &'a ApiKey,
    /// What it may do.
    pub scopes: &'a [String],
    /// It opens nothing from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// Who makes it, as the audit log names them.
    pub created_by: &'a str,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = api_keys)]
struct Row {
    id: Uuid,
    workspace_id: Uuid,
    name: String,
    hash: Vec<u8>,
    shown: String,
    scopes: Vec<String>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    created_by: Option<String>,
    rotated_at: Option<DateTime<Utc>>,
    own_expires_at: Option<DateTime<Utc>>,
}

impl From<Row> for StoredKey {
    fn from(row: Row) -> Self {
        Self {
            id: KeyId::from_uuid(row.id),
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            name: row.name,
            shown: row.shown,
            scopes: row.scopes,
            created_at: row.created_at,
            expires_at: row.expires_at,
            own_expires_at: if row.rotated_at.is_some() { row.own_expires_at } else { row.expires_at },
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            created_by: row.created_by,
        }
    }
}

/// Keeps a key; `None` when it is kept already.
pub async fn insert(
    conn: &mut Connection,
    new: NewKey<'_>,
    now: DateTime<Utc>,
) -> QueryResult<Option<StoredKey>> {
    let row: Option<Row> = diesel::insert_into(api_keys::table)
        .values((
            api_keys::id.eq(KeyId::generate_at(now).uuid()),
            api_keys::workspace_id.eq(new.workspace_id.uuid()),
            api_keys::name.eq(new.name),
            api_keys::hash.eq(new.key.hash().bytes()),
            api_keys::shown.eq(new.key.shown()),
            api_keys::scopes.eq(new.scopes),
            api_keys::created_at.eq(now),
            api_keys::expires_at.eq(new.expires_at),
            api_keys::created_by.eq(new.created_by),
        ))
        .on_conflict_do_nothing()
        .returning(Row::as_returning())
        .get_result(conn)
        .await
        .optional()?;
    Ok(row.map(StoredKey::from))
}

/// Gives a key these scopes instead of those that it had.
pub async fn set_scopes(conn: &mut Connection, id: KeyId, scopes: &[String]) -> QueryResult<()> {
    let key = diesel::update(api_keys::table.find(id.uuid()));
    key.set(api_keys::scopes.eq(scopes)).execute(conn).await?;
    Ok(())
}

/// The key with this hash, live or not; equality is decided in constant time.
pub async fn find_by_hash(conn: &mut Connection, hash: &ApiKeyHash) -> QueryResult<Option<StoredKey>> {
    let row: Option<Row> = api_keys::table
        .filter(api_keys::hash.eq(hash.bytes()))
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    let is_same = |row: &Row| ApiKeyHash::from_bytes(&row.hash).is_some_and(|kept| kept == *hash);
    Ok(row.filter(is_same).map(StoredKey::from))
}

/// The key with this id, live or not.
pub async fn find(conn: &mut Connection, id: KeyId) -> QueryResult<Option<StoredKey>> {
    let row: Option<Row> =
        api_keys::table.find(id.uuid()).select(Row::as_select()).first(conn).await.optional()?;
    Ok(row.map(StoredKey::from))
}

/// The newest keys of a workspace that were not taken back, or those older than `before`.
pub async fn list(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    before: Option<KeyId>,
    limit: i64,
) -> QueryResult<Vec<StoredKey>> {
    let mut query = api_keys::table
        .filter(api_keys::workspace_id.eq(workspace_id.uuid()).and(api_keys::revoked_at.is_null()))
        .order(api_keys::id.desc())
        .limit(limit)
        .select(Row::as_select())
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(api_keys::id.lt(before.uuid()));
    }
    let rows: Vec<Row> = query.load(conn).await?;
    Ok(rows.into_iter().map(StoredKey::from).collect())
}

/// The keys of a workspace that open something at `now`, the newest first.
pub async fn live(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<StoredKey>> {
    let rows: Vec<Row> = api_keys::table
        .filter(api_keys::workspace_id.eq(workspace_id.uuid()).and(api_keys::revoked_at.is_null()))
        .filter(api_keys::expires_at.is_null().or(api_keys::expires_at.gt(now)))
        .order(api_keys::id.desc())
        .limit(limit)
        .select(Row::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(StoredKey::from).collect())
}

/// Who made each of these keys of a workspace, as the audit log names them; where a key did, who made that, and so on. Keys of which
/// nobody knows are left out.
pub async fn first_makers(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    keys: &[StoredKey],
) -> QueryResult<HashMap<KeyId, String>> {
    let mut makers: HashMap<KeyId, Option<String>> =
        keys.iter().map(|key| (key.id, key.created_by.clone())).collect();
    loop {
        let met = makers.values().flatten().filter_map(|maker| maker.parse::<KeyId>().ok());
        let unknown: Vec<KeyId> = met.filter(|id| !makers.contains_key(id)).collect();
        if unknown.is_empty() {
            break;
        }
        let ids: Vec<Uuid> = unknown.iter().map(|id| id.uuid()).collect();
        let rows: Vec<(Uuid, Option<String>)> = api_keys::table
            .filter(api_keys::workspace_id.eq(workspace_id.uuid()).and(api_keys::id.eq_any(ids)))
            .select((api_keys::id, api_keys::created_by))
            .load(conn)
            .await?;
        makers.extend(unknown.into_iter().map(|id| (id, None)));
        makers.extend(rows.into_iter().map(|(id, maker)| (KeyId::from_uuid(id), maker)));
    }
    let first = |key: &StoredKey| {
        let mut maker = key.created_by.as_ref()?;
        // a key is older than what it makes: no way up is longer than there are keys
        for _ in 0..makers.len() {
            match maker.parse::<KeyId>().ok().and_then(|id| makers.get(&id)?.as_ref()) {
                Some(above) => maker = above,
                None => break,
            }
        }
        Some((key.id, maker.clone()))
    };
    Ok(keys.iter().filter_map(first).collect())
}

/// What these keys are called, taken back or not, if they are the workspace's.
pub async fn names(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    ids: &[KeyId],
) -> QueryResult<HashMap<KeyId, String>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(Uuid, String)> = api_keys::table
        .filter(api_keys::workspace_id.eq(workspace_id.uuid()).and(api_keys::id.eq_any(ids)))
        .select((api_keys::id, api_keys::name))
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|(id, name)| (KeyId::from_uuid(id), name)).collect())
}

/// The keys of a workspace that somebody made, those that such a key made, and so on; taken back or not. Who is named as in the
/// audit log.
pub async fn made_by(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    maker: &str,
) -> QueryResult<Vec<StoredKey>> {
    let (mut makers, mut found) = (vec![maker.to_owned()], Vec::new());
    // a key is older than what it makes: each is met once
    while !makers.is_empty() {
        let made: Vec<Row> = api_keys::table
            .filter(api_keys::workspace_id.eq(workspace_id.uuid()).and(api_keys::created_by.eq_any(&makers)))
            .select(Row::as_select())
            .load(conn)
            .await?;
        let made: Vec<StoredKey> = made.into_iter().map(StoredKey::from).collect();
        makers = made.iter().map(|key| key.id.to_string()).collect();
        found.extend(made);
    }
    Ok(found)
}

/// Takes back those of [`made_by`] that open something at `now`; tells which. For whoever has the workspace locked no other is made
/// meanwhile.
pub async fn revoke_made_by(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    maker: &str,
    now: DateTime<Utc>,
) -> QueryResult<Vec<StoredKey>> {
    let mut made = made_by(conn, workspace_id, maker).await?;
    made.retain(|key| key.is_live(now));
    let ids: Vec<Uuid> = made.iter().map(|key| key.id.uuid()).collect();
    let theirs = api_keys::workspace_id.eq(workspace_id.uuid()).and(api_keys::id.eq_any(ids));
    diesel::update(api_keys::table.filter(theirs).filter(api_keys::revoked_at.is_null()))
        .set(api_keys::revoked_at.eq(now))
        .execute(conn)
        .await?;
    Ok(made)
}

/// How many keys of a workspace open something at `now`.
pub async fn count(conn: &mut Connection, workspace_id: WorkspaceId, now: DateTime<Utc>) -> QueryResult<i64> {
    api_keys::table
        .filter(api_keys::workspace_id.eq(workspace_id.uuid()).and(api_keys::revoked_at.is_null()))
        .filter(api_keys::expires_at.is_null().or(api_keys::expires_at.gt(now)))
        .count()
        .get_result(conn)
        .await
}

/// Notes that a key was used, unless a use within `interval` is noted already.
pub async fn touch(
    conn: &mut Connection,
    id: KeyId,
    now: DateTime<Utc>,
    interval: Duration,
) -> QueryResult<()> {
    let stale = now - chrono::TimeDelta::from_std(interval).unwrap_or_default();
    let due = api_keys::last_used_at.is_null().or(api_keys::last_used_at.lt(stale));
    diesel::update(api_keys::table.filter(api_keys::id.eq(id.uuid())).filter(due))
        .set(api_keys::last_used_at.eq(now))
        .execute(conn)
        .await?;
    Ok(())
}

/// The workspace's key with this id, unless it was taken back; nobody else changes it until the transaction ends.
pub async fn lock(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: KeyId,
) -> QueryResult<Option<StoredKey>> {
    let own = api_keys::workspace_id.eq(workspace_id.uuid()).and(api_keys::revoked_at.is_null());
    let row: Option<Row> = api_keys::table
        .filter(api_keys::id.eq(id.uuid()).and(own))
        .select(Row::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(StoredKey::from))
}

/// Has a key that is rotated at `now`, and was locked, open nothing from `ends_at` on; its own end is kept.
pub async fn retire(
    conn: &mut Connection,
    key: &StoredKey,
    ends_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    diesel::update(api_keys::table.find(key.id.uuid()))
        .set((
            api_keys::expires_at.eq(ends_at),
            api_keys::rotated_at.eq(now),
            api_keys::own_expires_at.eq(key.own_expires_at),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes a key back; `false` when the workspace has no such key, or not any more.
pub async fn revoke(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: KeyId,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let own = api_keys::table.filter(
        api_keys::id
            .eq(id.uuid())
            .and(api_keys::workspace_id.eq(workspace_id.uuid()))
            .and(api_keys::revoked_at.is_null()),
    );
    let changed = diesel::update(own).set(api_keys::revoked_at.eq(now)).execute(conn).await?;
    Ok(changed > 0)
}
