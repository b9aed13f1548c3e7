//! Whether a link has had as many clicks as it may have, when that most is changed. While there is one, `record` counts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};

use model::{LinkId, WorkspaceId};

use crate::lost::limit_statements;
use crate::{Connection, QueryResult};

/// How long counting the clicks of a link may take.
pub const COUNT_TIME_MAX: Duration = Duration::from_secs(5);

/// More clicks than a link may be limited to are not counted.
const COUNTED_CLICKS_MAX: i64 = 1_000_000;

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = Integer)]
    clicks: i32,
}

/// How many clicks of a link are recorded that are not automated, up to [`COUNTED_CLICKS_MAX`]. Takes its time, up to
/// [`COUNT_TIME_MAX`]: belongs before [`lock`](super::lock), which `record` waits for.
pub async fn count_clicks(conn: &mut Connection, workspace_id: WorkspaceId, id: LinkId) -> QueryResult<i32> {
    conn.transaction(async |conn| {
        limit_statements(conn, COUNT_TIME_MAX).await?;
        let counted: Counted = diesel::sql_query(
            "SELECT count(*)::integer AS clicks FROM (SELECT FROM clicks
                WHERE workspace_id = $1 AND link_id = $2 AND verdict <> 'automated' LIMIT $3) AS those",
        )
        .bind::<SqlUuid, _>(workspace_id.uuid())
        .bind::<SqlUuid, _>(id.uuid())
        .bind::<BigInt, _>(COUNTED_CLICKS_MAX)
        .get_result(conn)
        .await?;
        Ok(counted.clicks)
    })
    .await
}

/// Decides anew whether a link has had its clicks; belongs behind [`lock`](super::lock) and an [`update`](super::update) of
/// its most. `counted` is what [`count_clicks`] said, for a link that had no most: those of another are counted all the time.
/// Clicks that `record` writes between the two are missed: it is soft.
pub async fn recount(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: LinkId,
    counted: Option<i32>,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    diesel::sql_query(
        "UPDATE links SET counted_clicks = counted.clicks,
            exhausted_at = CASE WHEN counted.clicks >= max_clicks THEN coalesce(exhausted_at, $4) END
        FROM (SELECT CASE WHEN max_clicks IS NULL THEN 0 ELSE coalesce($3, counted_clicks) END AS clicks
            FROM links WHERE id = $2) AS counted
        WHERE workspace_id = $1 AND id = $2",
    )
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<Nullable<Integer>, _>(counted)
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(())
}
