//! The clicks of several links at once, for a list of them.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{LinkId, WorkspaceId};

use super::Range;
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// What a link had in 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkDay {
    /// Which link.
    pub link_id: LinkId,
    /// Which 24 hours of the range: 0 for the first ones.
    pub day: u32,
    /// Clicks that are not automated.
    pub clicks: i64,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    link_id: Uuid,
    #[diesel(sql_type = Integer)]
    day: i32,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
}

/// The clicks of these links by 24 hours from the beginning of the range; those of links without any are not there.
pub async fn days_of_links(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    ids: &[LinkId],
    range: Range,
) -> QueryResult<Vec<LinkDay>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows: Vec<Row> = statement(
        "SELECT link_id, floor(extract(epoch FROM bucket - $2) / 86400)::integer AS day,
             sum(human + unknown)::bigint AS clicks
         FROM link_rollups WHERE workspace_id = $1 AND link_id = ANY($4) AND bucket >= $2 AND bucket < $3
         GROUP BY 1, 2",
    )
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<Timestamptz, _>(range.since())
    .bind::<Timestamptz, _>(range.until())
    .bind::<Array<SqlUuid>, _>(ids)
    .load(conn)
    .await?;
    let day = |Row { link_id, day, clicks }| LinkDay {
        link_id: LinkId::from_uuid(link_id),
        day: u32::try_from(day).unwrap_or_default(),
        clicks,
    };
    Ok(rows.into_iter().map(day).collect())
}
