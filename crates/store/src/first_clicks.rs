//! Which click was the first of its visitor on its link.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::{ClickId, LinkId};

use crate::schema::first_clicks;
use crate::statement::statement;
use crate::{Connection, QueryResult};

/// Takes the places that are free and tells who holds each. Rows that are taken are read, not written: asking
/// again costs no space. What another transaction takes at the same moment is in neither part.
///
/// The commit does not wait for the disk, as clicks wait for the answer. A crash of PostgreSQL may take back the claims of
/// its last moments (`wal_writer_delay`): then a later click is told to be the first as well.
const CLAIM: &str = "\
WITH lazily AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
), wanted AS (
    SELECT wanted.* FROM lazily, unnest($1, $2, $3) AS wanted (link_id, visitor, click_id)
), claimed AS (
    INSERT INTO first_clicks (link_id, visitor, click_id)
    SELECT link_id, visitor, click_id FROM wanted
    ON CONFLICT (link_id, visitor) DO NOTHING
    RETURNING link_id, visitor, click_id
)
SELECT link_id, visitor, click_id FROM claimed
UNION ALL
SELECT held.link_id, held.visitor, held.click_id
FROM first_clicks AS held
JOIN wanted ON wanted.link_id = held.link_id AND wanted.visitor = held.visitor";

/// A click that would be the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The link that was clicked.
    pub link_id: LinkId,
    /// The contact, else a keyed hash that changes daily.
    pub visitor: &'a str,
    /// The click.
    pub click_id: ClickId,
}

#[derive(QueryableByName)]
struct Held {
    #[diesel(sql_type = SqlUuid)]
    link_id: Uuid,
    #[diesel(sql_type = Text)]
    visitor: String,
    #[diesel(sql_type = SqlUuid)]
    click_id: Uuid,
}

/// Claims for each click to be the first of its visitor on its link, and tells, in the same order, which ones
/// are. Of two claims for one place the earlier in `claims` wins. A click that is asked for again gets the same
/// answer again.
pub async fn claim(conn: &mut Connection, claims: &[Claim<'_>]) -> QueryResult<Vec<bool>> {
    // in the order of the key, so that two batches never wait for each other in a circle
    let mut wanted: BTreeMap<(Uuid, &str), Uuid> = BTreeMap::new();
    for claim in claims {
        wanted.entry((claim.link_id.uuid(), claim.visitor)).or_insert(claim.click_id.uuid());
    }
    let mut holders = take(conn, &wanted).await?;
    wanted.retain(|(link_id, visitor), _| !holders.contains_key(&(*link_id, (*visitor).to_owned())));
    if !wanted.is_empty() {
        holders.extend(held(conn, &wanted).await?);
    }
    let is_first = |claim: &Claim<'_>| {
        holders.get(&(claim.link_id.uuid(), claim.visitor.to_owned())) == Some(&claim.click_id.uuid())
    };
    Ok(claims.iter().map(is_first).collect())
}

/// Gives places up that these clicks hold; what another click holds stays.
pub async fn release(conn: &mut Connection, claims: &[Claim<'_>]) -> QueryResult<()> {
    statement(
        "DELETE FROM first_clicks AS held USING unnest($1, $2, $3) AS given (link_id, visitor, click_id) \
         WHERE held.link_id = given.link_id AND held.visitor = given.visitor AND held.click_id = given.click_id",
    )
    .bind::<Array<SqlUuid>, _>(claims.iter().map(|claim| claim.link_id.uuid()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(claims.iter().map(|claim| claim.visitor).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(claims.iter().map(|claim| claim.click_id.uuid()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

type Holders = HashMap<(Uuid, String), Uuid>;

async fn take(conn: &mut Connection, wanted: &BTreeMap<(Uuid, &str), Uuid>) -> QueryResult<Holders> {
    let (link_ids, visitors): (Vec<Uuid>, Vec<&str>) = wanted.keys().copied().unzip();
    let click_ids: Vec<Uuid> = wanted.values().copied().collect();
    let held: Vec<Held> = statement(CLAIM)
        .bind::<Array<SqlUuid>, _>(link_ids)
        .bind::<Array<Text>, _>(visitors)
        .bind::<Array<SqlUuid>, _>(click_ids)
        .load(conn)
        .await?;
    Ok(held.into_iter().map(|held| ((held.link_id, held.visitor), held.click_id)).collect())
}

/// The holders of places that others took while [`take`] ran.
async fn held(conn: &mut Connection, wanted: &BTreeMap<(Uuid, &str), Uuid>) -> QueryResult<Holders> {
    let (link_ids, visitors): (Vec<Uuid>, Vec<&str>) = wanted.keys().copied().unzip();
    // more pairs than were asked for, which does no harm
    let rows: Vec<(Uuid, String, Uuid)> = first_clicks::table
        .filter(first_clicks::link_id.eq_any(link_ids))
        .filter(first_clicks::visitor.eq_any(visitors))
        .select((first_clicks::link_id, first_clicks::visitor, first_clicks::click_id))
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|(link_id, visitor, click_id)| ((link_id, visitor), click_id)).collect())
}
