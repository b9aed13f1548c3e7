//! The work on a replay, step by step.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use serde_json::json;
use uuid::Uuid;

use model::ReplayId;

use super::{Position, Replay, ReplayState, Row, read};
use crate::schema::replays;
use crate::{Connection, QueryResult};

/// A step that hangs gives its job up, so that another replica can go on.
const STEP_TIMEOUT: &str = "SET LOCAL statement_timeout = '10s'; \
    SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// What one step of a replay came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// The last delivery or click that was looked at; `None`: none was.
    pub position: Option<Position>,
    /// Deliveries that were put in line.
    pub made: u64,
    /// When the next step may be.
    pub due_at: DateTime<Utc>,
}

/// The replays of all workspaces whose next step is due, longest first; at most `limit`.
pub async fn due(conn: &mut Connection, now: DateTime<Utc>, limit: i64) -> QueryResult<Vec<ReplayId>> {
    let ids: Vec<Uuid> = replays::table
        .filter(replays::state.eq(ReplayState::Running.as_str()).and(replays::due_at.le(now)))
        .order(replays::due_at)
        .limit(limit)
        .select(replays::id)
        .load(conn)
        .await?;
    Ok(ids.into_iter().map(ReplayId::from_uuid).collect())
}

/// How many replays of all workspaces are running; counts no further than `limit`.
pub async fn count_running(conn: &mut Connection, limit: i64) -> QueryResult<usize> {
    let running: Vec<Uuid> = replays::table
        .filter(replays::state.eq(ReplayState::Running.as_str()))
        .limit(limit)
        .select(replays::id)
        .load(conn)
        .await?;
    Ok(running.len())
}

/// Locks a replay that is due until the transaction ends; `None` when it is not due any more, or in other hands.
pub async fn lock_due(
    conn: &mut Connection,
    id: ReplayId,
    now: DateTime<Utc>,
) -> QueryResult<Option<Replay>> {
    conn.batch_execute(STEP_TIMEOUT).await?;
    let row: Option<Row> = replays::table
        .find(id.uuid())
        .filter(replays::state.eq(ReplayState::Running.as_str()).and(replays::due_at.le(now)))
        .select(Row::as_select())
        .for_update()
        .skip_locked()
        .first(conn)
        .await
        .optional()?;
    row.map(read).transpose()
}

/// Stores how far a step has come. Belongs into the transaction that locked the replay and put deliveries in line.
pub async fn advance(
    conn: &mut Connection,
    replay: &Replay,
    advance: Advance,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    diesel::update(replays::table.find(replay.id.uuid()))
        .set((
            replays::done.eq(replays::done + advance.made.cast_signed()),
            replays::position.eq(advance.position.or(replay.position)),
            replays::due_at.eq(advance.due_at),
            replays::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a replay that is locked, and tells of it.
pub async fn finish(
    conn: &mut Connection,
    replay: &Replay,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let state = if error.is_some() { ReplayState::Failed } else { ReplayState::Done };
    let done: i64 = diesel::update(replays::table.find(replay.id.uuid()))
        .set((
            replays::state.eq(state.as_str()),
            replays::error.eq(error),
            replays::updated_at.eq(now),
            replays::finished_at.eq(now),
        ))
        .returning(replays::done)
        .get_result(conn)
        .await?;
    let data = json!({
        "replay_id": replay.id,
        "endpoint_id": replay.selection.endpoint_id,
        "state": state.as_str(),
        "error": error,
        "done": done,
    });
    crate::events::announce(conn, replay.selection.workspace_id, "replay.finished", data, now).await
}

/// Lets a replay whose step failed rest until `due_at`, so that it does not keep others from theirs.
pub async fn postpone(conn: &mut Connection, id: ReplayId, due_at: DateTime<Utc>) -> QueryResult<()> {
    diesel::update(replays::table.find(id.uuid())).set(replays::due_at.eq(due_at)).execute(conn).await?;
    Ok(())
}
