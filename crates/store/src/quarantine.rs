//! Quarantine: messages that could not be decoded or made a handler panic, kept where people can look at them.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::schema::quarantine;
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
}

/// Keeps these messages; those that are there already change nothing. Tells how many were new.
pub async fn insert(conn: &mut Connection, messages: &[Quarantined]) -> QueryResult<usize> {
    diesel::insert_into(quarantine::table).values(messages).on_conflict_do_nothing().execute(conn).await
}

/// The newest messages, at most `limit`.
pub async fn newest(conn: &mut Connection, limit: i64) -> QueryResult<Vec<Quarantined>> {
    quarantine::table
        .order(quarantine::quarantined_at.desc())
        .limit(limit)
        .select(Quarantined::as_select())
        .load(conn)
        .await
}
