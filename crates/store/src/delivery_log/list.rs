//! Lists of deliveries, newest first.

use diesel::sql_types::{BigInt, Date, Nullable, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

use model::{BatchId, ClickId, DeliveryId, EndpointId, ReplayId, WorkspaceId};

use super::{DeliveryFilter, LoggedDelivery, Row};
use crate::parse::earliest;
use crate::statement::{first_rows, statement};
use crate::{Connection, QueryResult};

/// What [`Row`] is read from.
const COLUMNS: &str = "id, endpoint_id, event_id, event_revision, event_type, click_id, status, attempt_count, \
    next_attempt_at, created_at, attempted_at, finished_at, duration_ms, last_status, last_error, response_body, \
    replay_number, replay_id, timings, batch_id, sequence";

/// What tells of a click is of its day, and is little: it is found first, and put in order then. Through the index of that order
/// one would look at the whole day.
const OF_CLICK: &str =
    "(SELECT * FROM deliveries WHERE day = $4 AND click_id = (SELECT $3) OFFSET 0) AS of_click";

/// The newest deliveries that `filter` lets through, or those older than `before`; at most `limit`.
pub async fn list(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    filter: &DeliveryFilter,
    before: Option<DeliveryId>,
    limit: i64,
) -> QueryResult<Vec<LoggedDelivery>> {
    let DeliveryFilter { endpoint_id, click_id, replay_id, batch_id, since, until, .. } = filter;
    let rows: Vec<Row> = statement(list_sql(filter, before, limit))
        .bind::<SqlUuid, _>(workspace_id.uuid())
        .bind::<Nullable<SqlUuid>, _>(endpoint_id.map(EndpointId::uuid))
        .bind::<Nullable<SqlUuid>, _>(click_id.map(ClickId::uuid))
        .bind::<Nullable<Date>, _>(click_id.map(ClickId::day))
        .bind::<Nullable<SqlUuid>, _>(replay_id.map(ReplayId::uuid))
        .bind::<Nullable<SqlUuid>, _>(batch_id.map(BatchId::uuid))
        .bind::<Nullable<Date>, _>(batch_id.map(BatchId::day))
        .bind::<Nullable<SqlUuid>, _>(since.map(earliest))
        .bind::<Nullable<Date>, _>(since.map(|at| at.date_naive()))
        .bind::<Nullable<SqlUuid>, _>(until.map(earliest))
        .bind::<Nullable<Date>, _>(until.map(|at| at.date_naive()))
        .bind::<Nullable<SqlUuid>, _>(before.map(DeliveryId::uuid))
        .bind::<Nullable<Date>, _>(before.map(DeliveryId::day))
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(LoggedDelivery::from).collect())
}

/// The statement, which names only those of its values that are asked about.
fn list_sql(filter: &DeliveryFilter, before: Option<DeliveryId>, limit: i64) -> String {
    let from = if filter.click_id.is_some() { OF_CLICK } else { "deliveries" };
    let mut select = format!("SELECT {COLUMNS} FROM {from} WHERE workspace_id = (SELECT $1)");
    for (is_asked, condition) in [
        (filter.endpoint_id.is_some(), "endpoint_id = (SELECT $2)"),
        (filter.replay_id.is_some(), "replay_id = (SELECT $5)"),
        // a batch is of the day of its newest delivery
        (filter.batch_id.is_some(), "batch_id = (SELECT $6) AND day <= $7"),
        // ids sort by time; the day only tells PostgreSQL which partitions to leave out
        (filter.since.is_some(), "id >= (SELECT $8) AND day >= $9"),
        (filter.until.is_some(), "id < (SELECT $10) AND day <= $11"),
        (before.is_some(), "id < (SELECT $12) AND day <= $13"),
    ] {
        if is_asked {
            select.push_str(" AND ");
            select.push_str(condition);
        }
    }
    if let Some(status) = filter.status {
        // a word of ours in the text itself: a plan that does not know it cannot use the indexes of dead deliveries
        select.push_str(" AND status = '");
        select.push_str(status.as_str());
        select.push('\'');
    }
    first_rows(&select, "id DESC", "$14", limit)
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use model::delivery::DeliveryStatus;

    use super::*;
    use crate::plans::Planned;

    async fn planned(filter: &DeliveryFilter, before: Option<DeliveryId>) -> Planned {
        let id = "gen_random_uuid()";
        let day = Utc::now().date_naive();
        let types = "uuid, uuid, uuid, date, uuid, uuid, date, uuid, date, uuid, date, uuid, date, bigint";
        let values = format!(
            "{id}, {id}, {id}, '{day}', {id}, {id}, '{day}', {id}, '{day}', {id}, '{day}', {id}, '{day}', 51"
        );
        Planned::of(&list_sql(filter, before, 51), types, &values).await
    }

    #[tokio::test]
    async fn deliveries_are_listed_in_the_order_of_an_index_with_plans_that_are_made_once() {
        let any = DeliveryFilter::default;
        for (filter, index) in [
            (any(), "workspace_id_id_idx"),
            (DeliveryFilter { endpoint_id: Some(EndpointId::generate()), ..any() }, "endpoint_id_id_idx"),
            (DeliveryFilter { replay_id: Some(ReplayId::generate()), ..any() }, "replay_id_id_idx"),
            // the second of this name
            (DeliveryFilter { status: Some(DeliveryStatus::Dead), ..any() }, "workspace_id_id_idx1"),
        ] {
            let planned = planned(&filter, None).await;
            assert!(planned.scans_of_today().iter().all(|scan| scan.contains(index)), "{planned}");
            assert!(planned.is_made_once, "{planned}");
        }
    }

    #[tokio::test]
    async fn later_days_than_a_page_can_be_of_are_left_out() {
        let first = planned(&DeliveryFilter::default(), None).await;
        let next = planned(&DeliveryFilter::default(), Some(DeliveryId::generate())).await;

        assert!(next.scans_of_others() < first.scans_of_others(), "{next}");
    }

    #[tokio::test]
    async fn what_tells_of_a_click_is_looked_for_in_the_day_of_the_click() {
        let filter = DeliveryFilter { click_id: Some(ClickId::generate()), ..DeliveryFilter::default() };

        let planned = planned(&filter, None).await;

        let scans = planned.scans_of_today();
        assert!(scans.iter().all(|scan| scan.contains("click_id_idx")), "{planned}");
        assert_eq!((scans.len(), planned.scans_of_others()), (1, 0), "{planned}");
    }
}
