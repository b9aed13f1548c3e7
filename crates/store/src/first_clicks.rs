//! Which click was the first of its visitor on its link.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::automation::Verdict;
use model::link::LinkKind;
use model::{Click, ClickId, EnrichedClick, LinkId, WorkspaceId};

use crate::schema::first_clicks;
use crate::statement::statement;
use crate::tombstones::Contacts;
use crate::{Connection, QueryResult};

/// Longest contact that stands for itself, in bytes; a longer one would not fit into an index.
const CONTACT_BYTES_MAX: usize = 512;

/// How old a click is when the hash of its visitor comes up no more: the salt of its day is gone by then
/// ([`crate::visitor_salts`]).
const HASHED_FOR: TimeDelta = TimeDelta::hours(48);

/// Blocks of the table that [`forget_hashes`] looks at: a megabyte, some ten thousand places.
const BLOCKS: i64 = 128;

/// Takes the places that are free and tells who holds each. Rows that are taken are read, not written: asking
/// again costs no space, and those that were just taken are not looked for. What another transaction takes at the same
/// moment is in neither part.
///
/// The commit does not wait for the disk, as clicks wait for the answer. A crash of PostgreSQL may take back the claims of
/// its last moments (`wal_writer_delay`): then a later click is told to be the first as well.
///
/// With it comes, at no round trip of its own, which of the contacts of the batch were erased: those take no place. All of it
/// is one row of arrays, which costs both sides far less than a row for each click.
const CLAIM: &str = r#"
WITH lazily AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
), wanted AS (
    SELECT wanted.* FROM lazily, unnest($1, $2, $3, $4) AS wanted (link_id, visitor, click_id, contact_of)
), erased AS MATERIALIZED (
    SELECT asked.workspace_id, asked.contact FROM unnest($5, $6) AS asked (workspace_id, contact)
    JOIN erasure_salts AS salts ON salts.workspace_id = asked.workspace_id
    JOIN erasures ON erasures.workspace_id = asked.workspace_id
        AND erasures.contact_hash = sha256(salts.salt || convert_to(asked.contact, 'UTF8'))
), claimed AS (
    INSERT INTO first_clicks (link_id, visitor, click_id, is_hash)
    SELECT link_id, visitor, click_id, contact_of IS NULL FROM wanted
    WHERE NOT EXISTS (SELECT FROM erased
        WHERE erased.workspace_id = wanted.contact_of AND erased.contact = wanted.visitor)
    ORDER BY link_id, visitor COLLATE "C"
    ON CONFLICT (link_id, visitor) DO NOTHING
    RETURNING click_id
)
SELECT ARRAY(SELECT click_id FROM claimed) AS claimed, others.*, gone.*
FROM (
    SELECT coalesce(array_agg(wanted.click_id), '{}') AS asked, coalesce(array_agg(held.click_id), '{}') AS holders
    FROM wanted
    JOIN first_clicks AS held ON held.link_id = wanted.link_id AND held.visitor = wanted.visitor
    WHERE NOT EXISTS (SELECT FROM claimed WHERE claimed.click_id = wanted.click_id)
) AS others, (
    SELECT coalesce(array_agg(workspace_id), '{}') AS workspaces, coalesce(array_agg(contact), '{}') AS contacts
    FROM erased
) AS gone"#;

/// A click that would be the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The link that was clicked.
    pub link_id: LinkId,
    /// The contact, else a keyed hash that changes daily.
    pub visitor: &'a str,
    /// The click.
    pub click_id: ClickId,
    /// Whose contact the visitor is; `None`: it is a hash.
    pub contact_of: Option<WorkspaceId>,
}

/// What is known of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Which claims are first clicks, in their order.
    pub is_first: Vec<bool>,
    /// Which of the contacts were erased.
    pub erased: Contacts,
}

/// What became of the places that were asked for.
#[derive(QueryableByName)]
struct Taken {
    /// Clicks that have taken theirs.
    #[diesel(sql_type = Array<SqlUuid>)]
    claimed: Vec<Uuid>,
    /// Clicks whose places are held,
    #[diesel(sql_type = Array<SqlUuid>)]
    asked: Vec<Uuid>,
    /// and by which.
    #[diesel(sql_type = Array<SqlUuid>)]
    holders: Vec<Uuid>,
    /// Workspaces of contacts that were erased,
    #[diesel(sql_type = Array<SqlUuid>)]
    workspaces: Vec<Uuid>,
    /// and the contacts.
    #[diesel(sql_type = Array<Text>)]
    contacts: Vec<String>,
}

/// Places, each with the click that asks for it and whose contact the visitor is.
type Wanted<'a> = BTreeMap<(Uuid, &'a str), (Uuid, Option<WorkspaceId>)>;

/// By the click that asked for the place, the one that holds it.
type Holders = HashMap<Uuid, Uuid>;

/// Claims for each click to be the first of its visitor on its link, and tells, in the same order, which ones
/// are. Of two claims for one place the earlier in `claims` wins. A click that is asked for again gets the same
/// answer again. Of `contacts`, those of the whole batch, it tells which were erased.
pub async fn claim(
    conn: &mut Connection,
    claims: &[Claim<'_>],
    contacts: &BTreeSet<(WorkspaceId, &str)>,
) -> QueryResult<Answer> {
    // in the order of the key, so that two batches never wait for each other in a circle
    let mut wanted = Wanted::new();
    for claim in claims {
        let claimed = (claim.click_id.uuid(), claim.contact_of);
        wanted.entry((claim.link_id.uuid(), claim.visitor)).or_insert(claimed);
    }
    let (mut holders, erased) = take(conn, &wanted, contacts).await?;
    let unknown: Wanted<'_> = wanted
        .iter()
        .filter(|((_, visitor), (click_id, contact_of))| {
            let is_erased = contact_of.is_some_and(|of| erased.contains(&(of, (*visitor).to_owned())));
            !is_erased && !holders.contains_key(click_id)
        })
        .map(|(place, claimed)| (*place, *claimed))
        .collect();
    if !unknown.is_empty() {
        holders.extend(held(conn, &unknown).await?);
    }
    let is_first = |claim: &Claim<'_>| {
        let asked = wanted.get(&(claim.link_id.uuid(), claim.visitor));
        asked.and_then(|(asked, _)| holders.get(asked)) == Some(&claim.click_id.uuid())
    };
    Ok(Answer { is_first: claims.iter().map(is_first).collect(), erased })
}

/// The contact by which a click's visitor is known for the life of its link: one whose message the link was in. A link that may be
/// passed on has many visitors, whoever it was made for, and an anonymous click is not known by its contact.
pub fn contact(click: &Click) -> Option<&str> {
    let is_known = click.link.kind == LinkKind::Message && !click.is_anonymous;
    let fits = |contact: &&str| {
        // PostgreSQL keeps no zero bytes in texts
        !contact.is_empty() && contact.len() <= CONTACT_BYTES_MAX && !contact.contains('\0')
    };
    click.link.labels.contact_id.as_deref().filter(|_| is_known).filter(fits)
}

/// Whether a click that turned out to be a person's is the first of its contact on its link; `None` for visitors that are known
/// by a hash alone, whose salt may be gone.
pub async fn claim_late(conn: &mut Connection, click: &EnrichedClick) -> QueryResult<Option<bool>> {
    let Some(visitor) = contact(&click.click).filter(|_| click.automation.verdict != Verdict::Automated)
    else {
        return Ok(None);
    };
    let of = click.click.workspace_id;
    let (link_id, click_id) = (click.click.link.id, click.click.id);
    let claims = [Claim { link_id, visitor, click_id, contact_of: Some(of) }];
    let answer = claim(conn, &claims, &BTreeSet::from([(of, visitor)])).await?;
    Ok(answer.is_first.into_iter().next().filter(|_| answer.erased.is_empty()))
}

/// Gives up whatever place this click holds on its link.
pub async fn release_click(conn: &mut Connection, link_id: LinkId, click_id: ClickId) -> QueryResult<()> {
    diesel::delete(first_clicks::table)
        .filter(first_clicks::link_id.eq(link_id.uuid()))
        .filter(first_clicks::click_id.eq(click_id.uuid()))
        .execute(conn)
        .await?;
    Ok(())
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

/// What [`forget_hashes`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// Places that are gone.
    pub rows: u64,
    /// The block to go on at; `None`: that was the end of the table.
    pub next: Option<i64>,
}

/// Forgets, in a part of the table that begins at a block of it, the visitors that were hashed with a salt that is gone by `now`:
/// they never come again. Contacts keep their places as long as there is the link, and links stay.
///
/// The table is read as it lies on disk: looking for old places by an index would have every click pay for it. Of places that were
/// taken before it was said what is a hash, those that look like one go, but for links of messages, whose visitors are contacts.
pub async fn forget_hashes(conn: &mut Connection, now: DateTime<Utc>, block: i64) -> QueryResult<Forgotten> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        rows: i64,
        #[diesel(sql_type = BigInt)]
        blocks: i64,
    }
    let end = block + BLOCKS;
    // the bounds stand in the text, so that the plan is made for this part of the table
    let query = format!(
        "WITH gone AS (DELETE FROM first_clicks AS held \
             WHERE held.ctid >= '({block},0)' AND held.ctid < '({end},0)' AND held.click_id < $1 \
                 AND (held.is_hash OR held.is_hash IS NULL AND held.visitor ~ '^[0-9a-f]{{32}}$' \
                     AND (SELECT kind FROM links WHERE links.id = held.link_id) IS DISTINCT FROM 'message') \
             RETURNING 1) \
         SELECT (SELECT count(*) FROM gone) AS rows, \
             pg_relation_size('first_clicks') / current_setting('block_size')::bigint AS blocks"
    );
    let row: Row = diesel::sql_query(query)
        .bind::<SqlUuid, _>(ClickId::generate_at(now - HASHED_FOR).uuid())
        .get_result(conn)
        .await?;
    Ok(Forgotten { rows: row.rows.unsigned_abs(), next: (end < row.blocks).then_some(end) })
}

async fn take(
    conn: &mut Connection,
    wanted: &Wanted<'_>,
    contacts: &BTreeSet<(WorkspaceId, &str)>,
) -> QueryResult<(Holders, Contacts)> {
    let (link_ids, visitors): (Vec<Uuid>, Vec<&str>) = wanted.keys().copied().unzip();
    let (click_ids, contact_of): (Vec<Uuid>, Vec<Option<Uuid>>) =
        wanted.values().map(|(click_id, of)| (*click_id, of.map(WorkspaceId::uuid))).unzip();
    let (workspace_ids, contacts): (Vec<Uuid>, Vec<&str>) =
        contacts.iter().map(|(workspace_id, contact)| (workspace_id.uuid(), *contact)).unzip();
    let taken: Taken = statement(CLAIM)
        .bind::<Array<SqlUuid>, _>(link_ids)
        .bind::<Array<Text>, _>(visitors)
        .bind::<Array<SqlUuid>, _>(click_ids)
        .bind::<Array<Nullable<SqlUuid>>, _>(contact_of)
        .bind::<Array<SqlUuid>, _>(workspace_ids)
        .bind::<Array<Text>, _>(contacts)
        .get_result(conn)
        .await?;
    let Taken { claimed, asked, holders, workspaces, contacts } = taken;
    let holders = asked.into_iter().zip(holders).chain(claimed.into_iter().map(|id| (id, id))).collect();
    let workspaces = workspaces.into_iter().map(WorkspaceId::from_uuid);
    Ok((holders, workspaces.zip(contacts).collect()))
}

/// The holders of places that others took while [`take`] ran.
async fn held(conn: &mut Connection, wanted: &Wanted<'_>) -> QueryResult<Holders> {
    let (link_ids, visitors): (Vec<Uuid>, Vec<&str>) = wanted.keys().copied().unzip();
    // more pairs than were asked for, which does no harm
    let rows: Vec<(Uuid, String, Uuid)> = first_clicks::table
        .filter(first_clicks::link_id.eq_any(link_ids))
        .filter(first_clicks::visitor.eq_any(visitors))
        .select((first_clicks::link_id, first_clicks::visitor, first_clicks::click_id))
        .load(conn)
        .await?;
    let asked = |(link_id, visitor, holder): (Uuid, String, Uuid)| {
        wanted.get(&(link_id, visitor.as_str())).map(|(asked, _)| (*asked, holder))
    };
    Ok(rows.into_iter().filter_map(asked).collect())
}
