//! Which clicks have come to rest: in `clicks`, or in `quarantine`. What has come to rest needs no copy elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use diesel::QueryableByName;
use diesel::sql_types::{Array, Date, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{ClickId, EventId};

use crate::statement::statement;
use crate::{Connection, QueryResult};

/// One day, so that one partition is looked at, by its primary key.
const RECORDED: &str = "SELECT id FROM clicks WHERE day = $1 AND id = ANY($2)";

/// What `deliver` put aside is a click that others may still hold: only these two end a click's way into `clicks`.
const QUARANTINED: &str = "\
SELECT consumer, message_id FROM quarantine WHERE message_id = ANY($1) AND consumer IN ('enrich', 'record')";

#[derive(QueryableByName)]
struct Recorded {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

#[derive(QueryableByName)]
struct Quarantined {
    #[diesel(sql_type = Text)]
    consumer: String,
    #[diesel(sql_type = Text)]
    message_id: String,
}

/// Which of these clicks stand in `clicks`, or in `quarantine` because `enrich` or `record` could not handle them.
///
/// Costs one look-up in a primary key for each, and one more in an index for those that are not in `clicks`.
pub async fn held(conn: &mut Connection, ids: &[ClickId]) -> QueryResult<BTreeSet<ClickId>> {
    let mut days: BTreeMap<NaiveDate, Vec<Uuid>> = BTreeMap::new();
    for id in ids {
        days.entry(id.day()).or_default().push(id.uuid());
    }
    let mut held = BTreeSet::new();
    for (day, ids) in days {
        let rows: Vec<Recorded> =
            statement(RECORDED).bind::<Date, _>(day).bind::<Array<SqlUuid>, _>(ids).load(conn).await?;
        held.extend(rows.into_iter().map(|row| ClickId::from_uuid(row.id)));
    }
    let others: Vec<ClickId> = ids.iter().filter(|id| !held.contains(id)).copied().collect();
    if !others.is_empty() {
        held.extend(quarantined(conn, &others).await?);
    }
    Ok(held)
}

async fn quarantined(conn: &mut Connection, ids: &[ClickId]) -> QueryResult<Vec<ClickId>> {
    let of_click = |id: &ClickId| [id.to_string(), EventId::of_click(*id, 0).to_string()];
    let messages: Vec<String> = ids.iter().flat_map(of_click).collect();
    let rows: Vec<Quarantined> = statement(QUARANTINED).bind::<Array<Text>, _>(messages).load(conn).await?;
    // CLICKS holds clicks and ENRICHED their events: each consumer knows a click by the id of its stream
    let id = |row: Quarantined| match row.consumer.as_str() {
        "enrich" => row.message_id.parse().ok(),
        _ => row.message_id.parse::<EventId>().ok().map(|event| ClickId::from_uuid(event.uuid())),
    };
    Ok(rows.into_iter().filter_map(id).collect())
}
