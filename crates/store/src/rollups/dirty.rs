//! What has to be counted again.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use uuid::Uuid;

use model::{ClickId, WorkspaceId};

use crate::statement::statement;
use crate::{Connection, QueryResult};

/// Marks that are looked at to find buckets: a bucket has one for every batch of clicks since it was counted.
const MARKS_MAX: u32 = 1000;

/// Buckets that [`waiting`] counts at most.
const WAITING_MAX: u32 = 100_000;

/// Which table a bucket belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grain {
    /// A quarter of an hour: `rollups` and `link_rollups`.
    Quarter,
    /// A UTC day: `daily_rollups`.
    Day,
}

/// A span of time of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Whose clicks.
    pub workspace_id: WorkspaceId,
    /// How long it is.
    pub grain: Grain,
    /// Its first moment.
    pub begins_at: DateTime<Utc>,
}

/// What is waiting to be counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Quarters of an hour, at most 100,000.
    pub buckets: i64,
    /// Since when the one waits that has waited longest.
    pub oldest: Option<DateTime<Utc>>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    workspace_id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    bucket: DateTime<Utc>,
}

/// Has the buckets of these clicks counted again. To be called in the transaction that changes them, whatever is changed of
/// them: verdict, first click, place, device or labels. [`crate::clicks::record`] does so itself.
pub async fn mark(
    conn: &mut Connection,
    clicks: &[(WorkspaceId, ClickId)],
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let (workspace_ids, click_ids): (Vec<Uuid>, Vec<Uuid>) =
        clicks.iter().map(|(workspace_id, click_id)| (workspace_id.uuid(), click_id.uuid())).unzip();
    statement(
        "INSERT INTO dirty_buckets (workspace_id, bucket, marked_at)
         SELECT DISTINCT workspace_id, click_bucket(id), $3 FROM unnest($1, $2) AS changed (workspace_id, id)",
    )
    .bind::<Array<SqlUuid>, _>(workspace_ids)
    .bind::<Array<SqlUuid>, _>(click_ids)
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` buckets that were marked at `marked_before` or earlier, those that wait longest first.
pub async fn due(
    conn: &mut Connection,
    grain: Grain,
    marked_before: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<Bucket>> {
    let rows: Vec<Row> = statement(format!(
        "SELECT workspace_id, bucket FROM (
             SELECT workspace_id, bucket, marked_at FROM dirty_buckets
             WHERE is_day = $1 AND marked_at <= $2 ORDER BY marked_at LIMIT {MARKS_MAX}
         ) AS oldest
         GROUP BY workspace_id, bucket ORDER BY min(marked_at), workspace_id, bucket LIMIT $3"
    ))
    .bind::<Bool, _>(grain == Grain::Day)
    .bind::<Timestamptz, _>(marked_before)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    let bucket = |row: Row| Bucket {
        workspace_id: WorkspaceId::from_uuid(row.workspace_id),
        grain,
        begins_at: row.bucket,
    };
    Ok(rows.into_iter().map(bucket).collect())
}

/// How many quarters of an hour are waiting, and since when.
pub async fn waiting(conn: &mut Connection) -> QueryResult<Waiting> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        buckets: i64,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        oldest: Option<DateTime<Utc>>,
    }
    let found: Found = statement(format!(
        "SELECT (SELECT min(marked_at) FROM dirty_buckets WHERE NOT is_day) AS oldest, count(*) AS buckets FROM (
             SELECT DISTINCT workspace_id, bucket FROM dirty_buckets WHERE NOT is_day LIMIT {WAITING_MAX}
         ) AS waiting"
    ))
    .get_result(conn)
    .await?;
    Ok(Waiting { buckets: found.buckets, oldest: found.oldest })
}

/// Sends a bucket that could not be counted to the end of the line, so that it does not keep others waiting. Its marks
/// become one.
pub async fn put_off(conn: &mut Connection, bucket: Bucket, now: DateTime<Utc>) -> QueryResult<()> {
    conn.transaction(async |conn| {
        if take(conn, bucket).await? {
            statement(
                "INSERT INTO dirty_buckets (workspace_id, bucket, is_day, marked_at) VALUES ($1, $2, $3, $4)",
            )
            .bind::<SqlUuid, _>(bucket.workspace_id.uuid())
            .bind::<Timestamptz, _>(bucket.begins_at)
            .bind::<Bool, _>(bucket.grain == Grain::Day)
            .bind::<Timestamptz, _>(now)
            .execute(conn)
            .await?;
        }
        Ok(())
    })
    .await
}

/// Takes the marks of a bucket away; tells whether there was one.
pub(super) async fn take(conn: &mut Connection, bucket: Bucket) -> QueryResult<bool> {
    let taken =
        statement("DELETE FROM dirty_buckets WHERE workspace_id = $1 AND bucket = $2 AND is_day = $3")
            .bind::<SqlUuid, _>(bucket.workspace_id.uuid())
            .bind::<Timestamptz, _>(bucket.begins_at)
            .bind::<Bool, _>(bucket.grain == Grain::Day)
            .execute(conn)
            .await?;
    Ok(taken > 0)
}

/// Marks the clicks of the newest hour that is over and whose clicks were recorded before there were marks; false when there
/// is none. They are marked as at `marked_at`. Several may do so at once: each takes another hour.
pub async fn mark_next_hour(
    conn: &mut Connection,
    now: DateTime<Utc>,
    marked_at: DateTime<Utc>,
) -> QueryResult<bool> {
    let hours = statement(
        "WITH next AS (
             SELECT hour FROM unmarked_hours WHERE hour <= $1 - interval '1 hour' ORDER BY hour DESC LIMIT 1
             FOR UPDATE SKIP LOCKED
         ), bounds AS MATERIALIZED (
             SELECT hour, (hour AT TIME ZONE 'UTC')::date AS day, (extract(epoch FROM hour) * 1000)::bigint AS millis FROM next
         ), marked AS (
             INSERT INTO dirty_buckets (workspace_id, bucket, marked_at)
             SELECT DISTINCT clicks.workspace_id, click_bucket(clicks.id), $2 FROM bounds JOIN clicks ON clicks.day = bounds.day
                 AND clicks.id >= (lpad(to_hex(millis), 12, '0') || repeat('0', 20))::uuid
                 AND clicks.id < (lpad(to_hex(millis + 3600000), 12, '0') || repeat('0', 20))::uuid
         )
         DELETE FROM unmarked_hours USING next WHERE unmarked_hours.hour = next.hour",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(marked_at)
    .execute(conn)
    .await?;
    Ok(hours > 0)
}

/// Deletes up to `limit` rows of each table whose bucket is older than `before`; tells how many.
pub async fn delete_before(conn: &mut Connection, before: DateTime<Utc>, limit: i64) -> QueryResult<usize> {
    let mut deleted = 0;
    for table in ["rollups", "link_rollups", "daily_rollups"] {
        deleted += statement(format!(
            "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE bucket < $1 LIMIT $2))"
        ))
        .bind::<Timestamptz, _>(before)
        .bind::<BigInt, _>(limit)
        .execute(conn)
        .await?;
    }
    Ok(deleted)
}
