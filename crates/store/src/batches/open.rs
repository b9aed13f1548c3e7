//! What is done to batches that wait, for the sake of a delivery or a click in them: they are dissolved, or hurried.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::sql_types::{Array, BigInt, Date, Timestamptz, Uuid as SqlUuid};
use diesel::{OptionalExtension as _, QueryableByName};
use diesel_async::{AsyncConnection, RunQueryDsl};
use uuid::Uuid;

use model::{BatchId, DeliveryId, WorkspaceId};

use crate::statement::statement;
use crate::{Connection, QueryResult};

/// Dissolves the open batches that these clicks are in, and empties what subscribers answered to any batch that they were in.
///
/// Belongs before the deliveries of these clicks are ended, so that all lock batches first.
pub(crate) async fn dissolve(
    conn: &mut Connection,
    days: &[NaiveDate],
    clicks: &[Uuid],
    now: DateTime<Utc>,
) -> QueryResult<()> {
    // locked: one that is being put in a batch at this moment is seen in it. A result that is stored does not wait for that lock
    let rows: Vec<BatchRow> = statement(
        "WITH own AS MATERIALIZED (SELECT d.batch_id FROM unnest($1, $2) AS clicks (day, id) \
             JOIN deliveries d ON d.day = clicks.day AND d.click_id = clicks.id FOR KEY SHARE OF d) \
         SELECT DISTINCT batch_id AS id FROM own WHERE batch_id IS NOT NULL ORDER BY batch_id",
    )
    .bind::<Array<Date>, _>(days)
    .bind::<Array<SqlUuid>, _>(clicks)
    .load(conn)
    .await?;
    for BatchRow { id } in rows {
        dissolve_one(conn, id, now).await?;
        statement(
            "UPDATE attempts a SET response_body = NULL, response_headers = '[]', error_detail = NULL \
             WHERE a.day = $1 AND a.delivery_id = $2",
        )
        .bind::<Date, _>(BatchId::from_uuid(id).day())
        .bind::<SqlUuid, _>(id)
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// Dissolves open batches of endpoints that fetch their events now, at most `limit`, unless somebody has them in hand. Tells how
/// many.
pub async fn dissolve_of_fetching(
    conn: &mut Connection,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<usize> {
    conn.transaction(async |conn| {
        let rows: Vec<BatchRow> = statement(
            "SELECT b.id FROM delivery_batches b JOIN endpoints e ON e.id = b.endpoint_id \
             WHERE b.status = 'pending' AND (b.leased_until IS NULL OR b.leased_until <= $1) \
                 AND e.delivery = 'pull' AND e.deleted_at IS NULL LIMIT $2 FOR UPDATE OF b SKIP LOCKED",
        )
        .bind::<Timestamptz, _>(now)
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await?;
        for BatchRow { id } in &rows {
            dissolve_one(conn, *id, now).await?;
        }
        QueryResult::Ok(rows.len())
    })
    .await
}

#[derive(QueryableByName)]
struct BatchRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Dissolves a batch, if it is open: its deliveries are free to go in another, or alone if they were tried. Whoever has it in hand
/// loses its lease.
async fn dissolve_one(conn: &mut Connection, id: Uuid, now: DateTime<Utc>) -> QueryResult<()> {
    statement(
        "WITH dissolved AS (UPDATE delivery_batches b SET status = 'dissolved', next_attempt_at = NULL, \
                 finished_at = $3, body = NULL, leased_by = NULL, leased_until = NULL \
                 WHERE b.day = $1 AND b.id = $2 AND b.status = 'pending' RETURNING b.first_day) \
         UPDATE deliveries d SET leased_by = NULL, leased_until = NULL, next_attempt_at = $3 FROM dissolved \
         WHERE d.day BETWEEN dissolved.first_day AND $1 AND d.batch_id = $2 AND d.leased_by = $2",
    )
    .bind::<Date, _>(BatchId::from_uuid(id).day())
    .bind::<SqlUuid, _>(id)
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// The open batch that a delivery of this workspace is in. It stays in it until the end of this transaction, unless the batch
/// ends.
async fn open_batch_of(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DeliveryId,
) -> QueryResult<Option<Uuid>> {
    // filtered after it is locked: one that is being put in a batch at this moment is seen in it
    let row: Option<BatchRow> = statement(
        "WITH own AS MATERIALIZED (SELECT d.batch_id, d.leased_by FROM deliveries d \
             WHERE d.day = $1 AND d.id = $2 AND d.workspace_id = $3 FOR KEY SHARE OF d) \
         SELECT batch_id AS id FROM own WHERE batch_id = leased_by",
    )
    .bind::<Date, _>(id.day())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .get_result(conn)
    .await
    .optional()?;
    Ok(row.map(|row| row.id))
}

/// Takes a delivery out of its open batch, which is dissolved; belongs before the delivery is changed, so that all lock batches
/// first.
pub(crate) async fn take_out(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    match open_batch_of(conn, workspace_id, id).await? {
        Some(batch) => dissolve_one(conn, batch, now).await,
        None => Ok(()),
    }
}

/// Makes the open batch that a delivery is in due at `now`; belongs before the delivery is changed, so that all lock batches first.
pub(crate) async fn hurry(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let Some(batch) = open_batch_of(conn, workspace_id, id).await? else { return Ok(()) };
    statement(
        "UPDATE delivery_batches b SET next_attempt_at = $3 WHERE b.day = $1 AND b.id = $2 AND b.status = 'pending'",
    )
    .bind::<Date, _>(BatchId::from_uuid(batch).day())
    .bind::<SqlUuid, _>(batch)
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(())
}
