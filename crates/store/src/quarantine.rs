//! Quarantine: messages that could not be decoded or made a handler panic, kept where people can look at them.
//!
//! They belong to the installation, not to a workspace: what cannot be read does not say whose it is.
//!
//! What people remove is emptied and hidden, but its row stays: [`crate::confirmation`] knows by it that the click has come to
//! rest. Without it, the redirect would send the click again.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Bytea, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::QuarantineId;

use crate::schema::quarantine;
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// A message that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Insertable, Queryable, Selectable)]
#[diesel(table_name = quarantine)]
pub struct Quarantined {
    /// Stream that it stood on.
    pub stream: String,
    /// Where it stood.
    pub stream_sequence: i64,
    /// Its id on the bus.
    pub message_id: Option<String>,
    /// Who could not handle it.
    pub consumer: String,
    /// Its subject.
    pub subject: String,
    /// Why it could not be handled.
    pub reason: String,
    /// The message, byte for byte.
    pub payload: Vec<u8>,
    /// When it was put aside.
    pub quarantined_at: DateTime<Utc>,
    /// When it was removed; its bytes are gone.
    pub removed_at: Option<DateTime<Utc>>,
}

/// A message that was put aside, as people look at it; its bytes are asked for one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: QuarantineId,
    /// Stream that it stood on.
    pub stream: String,
    /// Where it stood.
    pub stream_sequence: i64,
    /// Its id on the bus.
    pub message_id: Option<String>,
    /// Who could not handle it.
    pub consumer: String,
    /// Its subject.
    pub subject: String,
    /// Why it could not be handled.
    pub reason: String,
    /// How long it is.
    pub size_bytes: u64,
    /// When it was put aside.
    pub quarantined_at: DateTime<Utc>,
    /// When it was last published again.
    pub replayed_at: Option<DateTime<Utc>>,
    /// When the same consumer put it aside again after that.
    pub again_at: Option<DateTime<Utc>>,
    /// Whether it came here by being published again.
    pub is_replay: bool,
}

/// Keeps these messages; those that are there already change nothing. Tells how many were new.
pub async fn insert(conn: &mut Connection, messages: &[Quarantined]) -> QueryResult<usize> {
    diesel::insert_into(quarantine::table).values(messages).on_conflict_do_nothing().execute(conn).await
}

/// The newest messages, at most `limit`.
pub async fn newest(conn: &mut Connection, limit: i64) -> QueryResult<Vec<Quarantined>> {
    quarantine::table
        .filter(quarantine::removed_at.is_null())
        .order(quarantine::quarantined_at.desc())
        .limit(limit)
        .select(Quarantined::as_select())
        .load(conn)
        .await
}

/// What is known of each, but for the bytes. The same message is known by its id on the bus.
const ENTRY: &str = "\
SELECT q.id, q.stream, q.stream_sequence, q.message_id, q.consumer, q.subject, q.reason, \
    octet_length(q.payload)::bigint AS size_bytes, q.quarantined_at, q.replayed_at, \
    (SELECT min(a.quarantined_at) FROM quarantine a WHERE a.message_id = q.message_id AND a.stream = q.stream \
        AND a.consumer = q.consumer AND a.quarantined_at > q.replayed_at) AS again_at, \
    EXISTS (SELECT FROM quarantine a WHERE a.message_id = q.message_id AND a.stream = q.stream \
        AND a.consumer = q.consumer AND a.replayed_at < q.quarantined_at) AS is_replay \
FROM quarantine q";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    stream: String,
    #[diesel(sql_type = BigInt)]
    stream_sequence: i64,
    #[diesel(sql_type = Nullable<Text>)]
    message_id: Option<String>,
    #[diesel(sql_type = Text)]
    consumer: String,
    #[diesel(sql_type = Text)]
    subject: String,
    #[diesel(sql_type = Text)]
    reason: String,
    #[diesel(sql_type = BigInt)]
    size_bytes: i64,
    #[diesel(sql_type = Timestamptz)]
    quarantined_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    replayed_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    again_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Bool)]
    is_replay: bool,
}

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        Self {
            id: QuarantineId::from_uuid(row.id),
            stream: row.stream,
            stream_sequence: row.stream_sequence,
            message_id: row.message_id,
            consumer: row.consumer,
            subject: row.subject,
            reason: row.reason,
            size_bytes: u64::try_from(row.size_bytes).unwrap_or_default(),
            quarantined_at: row.quarantined_at,
            replayed_at: row.replayed_at,
            again_at: row.again_at,
            is_replay: row.is_replay,
        }
    }
}

/// The newest messages of a consumer or of all, or those older than `before`; at most `limit`.
pub async fn list(
    conn: &mut Connection,
    consumer: Option<&str>,
    before: Option<QuarantineId>,
    limit: i64,
) -> QueryResult<Vec<Entry>> {
    // no id comes after the highest: `q.id < $2` alone lets the index begin there, whatever the plan knows
    let rows: Vec<Row> = statement(format!(
        "{ENTRY} WHERE q.removed_at IS NULL AND ($1 IS NULL OR q.consumer = $1) AND q.id < $2 \
         ORDER BY q.id DESC LIMIT $3"
    ))
    .bind::<Nullable<Text>, _>(consumer.map(str::to_owned))
    .bind::<SqlUuid, _>(before.map_or(Uuid::max(), QuarantineId::uuid))
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(Entry::from).collect())
}

/// The message with this id.
pub async fn find(conn: &mut Connection, id: QuarantineId) -> QueryResult<Option<Entry>> {
    let row: Option<Row> = statement(format!("{ENTRY} WHERE q.id = $1 AND q.removed_at IS NULL"))
        .bind::<SqlUuid, _>(id.uuid())
        .get_result(conn)
        .await
        .optional()?;
    Ok(row.map(Entry::from))
}

/// The bytes of a message, at most `limit` of them.
pub async fn payload(conn: &mut Connection, id: QuarantineId, limit: i32) -> QueryResult<Option<Vec<u8>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bytea)]
        payload: Vec<u8>,
    }
    let row: Option<Row> = statement(
        "SELECT substring(payload FROM 1 FOR $2) AS payload FROM quarantine \
         WHERE id = $1 AND removed_at IS NULL",
    )
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<diesel::sql_types::Integer, _>(limit)
    .get_result(conn)
    .await
    .optional()?;
    Ok(row.map(|row| row.payload))
}

/// Writes down that a message was published again.
pub async fn replayed(conn: &mut Connection, id: QuarantineId, now: DateTime<Utc>) -> QueryResult<()> {
    let there = quarantine::table.filter(quarantine::id.eq(id.uuid()).and(quarantine::removed_at.is_null()));
    diesel::update(there).set(quarantine::replayed_at.eq(now)).execute(conn).await?;
    Ok(())
}

/// Empties a message and hides it; `false` when there is none. Only which message it was is kept.
pub async fn remove(conn: &mut Connection, id: QuarantineId, now: DateTime<Utc>) -> QueryResult<bool> {
    let there = quarantine::table.filter(quarantine::id.eq(id.uuid()).and(quarantine::removed_at.is_null()));
    let removed = diesel::update(there)
        .set((
            quarantine::removed_at.eq(now),
            quarantine::payload.eq(Vec::<u8>::new()),
            quarantine::reason.eq(""),
        ))
        .execute(conn)
        .await?;
    Ok(removed > 0)
}
