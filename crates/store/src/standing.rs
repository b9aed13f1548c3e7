//! What the database knows of a batch of deliveries before they are sent.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Date, Integer, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{EndpointId, EventId};

use crate::deliveries::Owed;
use crate::statement::{statement, unnested};
use crate::{Connection, QueryResult};

/// What the database knows of a batch before it is sent.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The counter of changes to endpoints.
    pub endpoints_version: i64,
    /// Which of the deliveries exist already, and the revision of the click that each tells.
    pub existing: HashMap<Owed, u32>,
    /// Which of those have no attempt yet and may still be told otherwise: they wait, or are in the hand of somebody who is there.
    /// What is in a batch is not among them, nor what somebody had who lost his lease: both are sent with the bytes that they have.
    pub untried: HashSet<Owed>,
    /// Pauses that subscribers asked for and that are not over.
    pub paused: Vec<(EndpointId, DateTime<Utc>)>,
}

/// Asks which of these deliveries exist, who is paused, and how new the endpoints must be: once for each day that they
/// are of, which are one or two, so that one partition is looked into and not all.
pub async fn ask(conn: &mut Connection, owed: &[Owed], now: DateTime<Utc>) -> QueryResult<Standing> {
    let mut by_day: BTreeMap<NaiveDate, Vec<&Owed>> = BTreeMap::new();
    for owed in owed {
        by_day.entry(owed.event_id.day()).or_default().push(owed);
    }
    if by_day.is_empty() {
        by_day.insert(now.date_naive(), Vec::new());
    }
    let mut standing = Standing::default();
    for (day, owed) in by_day {
        add(conn, day, &owed, now, &mut standing).await?;
    }
    Ok(standing)
}

fn sql() -> String {
    let asked = unnested("$2, $3, $4", "o (endpoint_id, event_id, event_revision)");
    format!(
        "SELECT version, NULL::uuid AS endpoint_id, NULL::uuid AS event_id, NULL::integer AS event_revision, \
             NULL::integer AS told_revision, NULL::boolean AS is_untried, NULL::timestamptz AS paused_until \
             FROM endpoint_changes \
         UNION ALL SELECT NULL, o.endpoint_id, o.event_id, o.event_revision, found.told_revision, found.is_untried, NULL \
             FROM {asked}, \
             LATERAL (SELECT told_revision, status = 'pending' AND attempted_at IS NULL \
                     AND (leased_by IS NULL OR leased_until > $6 AND leased_by IS DISTINCT FROM batch_id) AS is_untried \
                 FROM deliveries d WHERE d.day = $1 AND d.endpoint_id = o.endpoint_id \
                 AND d.event_id = o.event_id AND d.event_revision = o.event_revision AND d.replay_number = 0 \
                 OFFSET 0) AS found \
         UNION ALL SELECT NULL, endpoint_id, NULL, NULL, NULL, NULL, paused_until \
             FROM endpoint_state WHERE endpoint_id = ANY($5) AND paused_until > $6"
    )
}

async fn add(
    conn: &mut Connection,
    day: NaiveDate,
    owed: &[&Owed],
    now: DateTime<Utc>,
    standing: &mut Standing,
) -> QueryResult<()> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<BigInt>)]
        version: Option<i64>,
        #[diesel(sql_type = Nullable<SqlUuid>)]
        endpoint_id: Option<Uuid>,
        #[diesel(sql_type = Nullable<SqlUuid>)]
        event_id: Option<Uuid>,
        #[diesel(sql_type = Nullable<Integer>)]
        event_revision: Option<i32>,
        #[diesel(sql_type = Nullable<Integer>)]
        told_revision: Option<i32>,
        #[diesel(sql_type = Nullable<Bool>)]
        is_untried: Option<bool>,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        paused_until: Option<DateTime<Utc>>,
    }
    let endpoint_ids: HashSet<Uuid> = owed.iter().map(|o| o.endpoint_id.uuid()).collect();
    let rows: Vec<Row> = statement(sql())
        .bind::<Date, _>(day)
        .bind::<Array<SqlUuid>, _>(owed.iter().map(|o| o.endpoint_id.uuid()).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(owed.iter().map(|o| o.event_id.uuid()).collect::<Vec<_>>())
        .bind::<Array<Integer>, _>(
            owed.iter().map(|o| o.event_id.revision().cast_signed()).collect::<Vec<_>>(),
        )
        .bind::<Array<SqlUuid>, _>(endpoint_ids.into_iter().collect::<Vec<_>>())
        .bind::<Timestamptz, _>(now)
        .load(conn)
        .await?;
    for row in rows {
        let endpoint_id = row.endpoint_id.map(EndpointId::from_uuid);
        match (row.version, endpoint_id, row.event_id, row.event_revision, row.paused_until) {
            (Some(version), ..) => standing.endpoints_version = standing.endpoints_version.max(version),
            (_, Some(endpoint_id), Some(event_id), Some(revision), _) => {
                let event_id = EventId::from_parts(event_id, revision.cast_unsigned());
                let told = row.told_revision.unwrap_or_default().cast_unsigned();
                let owed = Owed { endpoint_id, event_id };
                standing.existing.insert(owed, told);
                if row.is_untried.unwrap_or_default() {
                    standing.untried.insert(owed);
                }
            }
            (_, Some(endpoint_id), _, _, Some(until)) => standing.paused.push((endpoint_id, until)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::Planned;

    #[tokio::test]
    async fn what_exists_is_asked_of_one_day_with_a_plan_for_the_size_that_it_has_by_now() {
        // however many are asked for
        let ids = "array_fill(gen_random_uuid(), ARRAY[1000])";
        let values = format!("CURRENT_DATE, {ids}, {ids}, array_fill(0, ARRAY[1000]), '{{}}', now()");
        let types = "date, uuid[], uuid[], integer[], uuid[], timestamptz";

        let planned = Planned::of(&sql(), types, &values).await;

        assert_eq!((planned.scans_of_others(), planned.is_made_once), (0, false), "{planned}");
    }
}
