//! Sign-ins to the console with an API key. Such a session is its cookie, so what is kept is that one was ended.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use model::{KeyId, SessionId};

use crate::schema::ended_key_sessions;
use crate::{Connection, QueryResult};

/// Ends a session: its cookie opens nothing any more. What is kept of others goes once their cookies open nothing anyhow.
pub async fn end(
    conn: &mut Connection,
    id: SessionId,
    key_id: KeyId,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let over = ended_key_sessions::table.filter(ended_key_sessions::expires_at.lt(now));
    diesel::delete(over).execute(conn).await?;
    diesel::insert_into(ended_key_sessions::table)
        .values((
            ended_key_sessions::id.eq(id.uuid()),
            ended_key_sessions::key_id.eq(key_id.uuid()),
            ended_key_sessions::expires_at.eq(expires_at),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether a session was ended.
pub async fn is_ended(conn: &mut Connection, id: SessionId) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(ended_key_sessions::table.find(id.uuid()))).get_result(conn).await
}
