//! Tombstones: which contacts were erased, asked for a batch at a time.
//!
//! A tombstone does not hold the contact's id: it holds the SHA-256 of 32 random bytes of the workspace and the id. The bytes
//! lie in PostgreSQL, and not with the sealing key, because a sealing key is exchanged now and then and a tombstone cannot
//! be made again with another one: nobody knows the id any more. So whoever has the whole database can try whether an id that they
//! know was erased; nobody can read from it which ids were.
//!
//! While nobody was ever erased in a workspace it has no salt, and a question costs one look into an empty table.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Date, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use uuid::Uuid;

use model::{ClickId, LinkId, WorkspaceId};

use crate::statement::statement;
use crate::{Connection, QueryResult, batches};

/// Of the contacts ($1, $2) those that have a tombstone.
const ERASED: &str = "\
SELECT asked.workspace_id, asked.contact FROM unnest($1, $2) AS asked (workspace_id, contact)
JOIN erasure_salts AS salts ON salts.workspace_id = asked.workspace_id
JOIN erasures ON erasures.workspace_id = asked.workspace_id
    AND erasures.contact_hash = sha256(salts.salt || convert_to(asked.contact, 'UTF8'))";

/// Contacts of workspaces.
pub type Contacts = HashSet<(WorkspaceId, String)>;

/// A click of an erased contact that came late, and was recorded without what tells who it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late<'a> {
    /// The click.
    pub id: ClickId,
    /// Its link.
    pub link_id: LinkId,
    /// Who it was; `None` when it came emptied.
    pub contact: Option<&'a str>,
}

/// What was emptied of deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Deliveries whose bytes went.
    pub deliveries: u64,
    /// Those among them that waited for an attempt, and end without one.
    pub ended: u64,
}

/// Which of these contacts were erased. One statement, and none when nobody is asked about.
pub async fn erased(
    conn: &mut Connection,
    contacts: impl IntoIterator<Item = (WorkspaceId, &str)>,
) -> QueryResult<Contacts> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        workspace_id: Uuid,
        #[diesel(sql_type = Text)]
        contact: String,
    }
    // PostgreSQL keeps no zero bytes in texts: nobody can have asked for such a contact
    let asked: BTreeSet<(WorkspaceId, &str)> =
        contacts.into_iter().filter(|(_, contact)| !contact.contains('\0')).collect();
    if asked.is_empty() {
        return Ok(Contacts::new());
    }
    let (workspace_ids, contacts): (Vec<Uuid>, Vec<&str>) =
        asked.into_iter().map(|(workspace_id, contact)| (workspace_id.uuid(), contact)).unzip();
    let rows: Vec<Row> = statement(ERASED)
        .bind::<Array<SqlUuid>, _>(workspace_ids)
        .bind::<Array<Text>, _>(contacts)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (WorkspaceId::from_uuid(row.workspace_id), row.contact)).collect())
}

/// Marks clicks of erased contacts that were recorded late, and empties what else there is of them by now: their places
/// among first clicks, and deliveries.
pub async fn mark(conn: &mut Connection, late: &[Late<'_>], now: DateTime<Utc>) -> QueryResult<()> {
    let days: Vec<NaiveDate> = late.iter().map(|late| late.id.day()).collect();
    let ids: Vec<Uuid> = late.iter().map(|late| late.id.uuid()).collect();
    conn.transaction(async |conn| {
        statement(
            "WITH late AS (SELECT * FROM unnest($1, $2, $3, $4) AS late (day, id, link_id, contact)), \
                 forgotten AS (DELETE FROM first_clicks USING late \
                     WHERE first_clicks.link_id = late.link_id AND first_clicks.visitor = late.contact COLLATE \"C\") \
             UPDATE clicks SET erased_at = coalesce(clicks.erased_at, $5) FROM late \
             WHERE clicks.day = late.day AND clicks.id = late.id",
        )
        .bind::<Array<Date>, _>(&days)
        .bind::<Array<SqlUuid>, _>(&ids)
        .bind::<Array<SqlUuid>, _>(late.iter().map(|late| late.link_id.uuid()).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(late.iter().map(|late| late.contact).collect::<Vec<_>>())
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await?;
        scrub_deliveries(conn, &days, &ids, now).await?;
        QueryResult::Ok(())
    })
    .await
}

/// Empties the deliveries of these clicks: the bytes that were sent or wait, and what subscribers answered, who may repeat
/// what they got. What waits is dead from now on, with the error `erased`; that is told to nobody: it is no failure.
/// Whoever has one in hand has lost its lease, and their result is not taken. A batch that one waits in is dissolved.
pub(crate) async fn scrub_deliveries(
    conn: &mut Connection,
    days: &[NaiveDate],
    ids: &[Uuid],
    now: DateTime<Utc>,
) -> QueryResult<Scrubbed> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        deliveries: i64,
        #[diesel(sql_type = BigInt)]
        ended: i64,
    }
    batches::dissolve(conn, days, ids, now).await?;
    let row: Row = statement(
        "WITH told AS MATERIALIZED (SELECT d.day, d.id, d.status = 'pending' AS is_waiting \
                 FROM unnest($1, $2) AS clicks (day, id) \
                 JOIN deliveries d ON d.day = clicks.day AND d.click_id = clicks.id), \
             attempted AS (UPDATE attempts a \
                 SET response_body = NULL, response_headers = '[]', error_detail = NULL FROM told \
                 WHERE a.day = told.day AND a.delivery_id = told.id), \
             emptied AS (UPDATE deliveries d SET body = NULL, response_body = NULL, \
                 status = CASE WHEN d.status = 'pending' THEN 'dead' ELSE d.status END, \
                 last_error = CASE WHEN d.status = 'pending' THEN 'erased' ELSE d.last_error END, \
                 finished_at = CASE WHEN d.status = 'pending' THEN $3 ELSE d.finished_at END, \
                 next_attempt_at = NULL, leased_by = NULL, leased_until = NULL FROM told \
                 WHERE d.day = told.day AND d.id = told.id RETURNING told.is_waiting) \
         SELECT count(*) AS deliveries, count(*) FILTER (WHERE is_waiting) AS ended FROM emptied",
    )
    .bind::<Array<Date>, _>(days)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await?;
    Ok(Scrubbed { deliveries: row.deliveries.unsigned_abs(), ended: row.ended.unsigned_abs() })
}

/// Whether a click was emptied because its contact was erased.
pub async fn is_erased(conn: &mut Connection, id: ClickId) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_erased: bool,
    }
    let row: Row = statement(
        "SELECT EXISTS (SELECT FROM clicks WHERE day = $1 AND id = $2 AND erased_at IS NOT NULL) AS is_erased",
    )
    .bind::<Date, _>(id.day())
    .bind::<SqlUuid, _>(id.uuid())
    .get_result(conn)
    .await?;
    Ok(row.is_erased)
}
