//! Erasure of contacts: the jobs that empty whatever names a contact, in bounded steps.
//!
//! [`begin`] sets the tombstone, which is obeyed from that moment ([`crate::tombstones`]). Then [`step`] looks through the
//! workspace's links and clicks page by page and empties what is the contact's, with deliveries, attempts and first clicks that hang on
//! it. A step is one transaction, and moves the job's position with what it has emptied: whoever dies loses nothing, and several
//! may work. `api` does the first steps while the caller waits, `record` the rest.
//!
//! Everything is looked through once more after [`LOOK_AGAIN`]: what somebody had in hand when the tombstone was set (a
//! batch of clicks that was about to be recorded, a link that was being made) is in the tables by then. So is what came back to
//! clicks that name nobody any more: a delivery of one, or an amendment that brought its event again. Those are found by when
//! they were emptied.

mod pages;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Bytea, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

use model::{ErasureId, LinkId, WorkspaceId};

use crate::schema::erasures;
use crate::statement::statement;
use crate::tombstones::Scrubbed;
use crate::{Connection, QueryResult};

/// How long after the first look everything is looked through again: longer than anybody keeps a batch in hand.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5 * 60);

/// A job whose step failed is left alone for so long.
pub const PUT_OFF: Duration = Duration::from_secs(60);

/// A step that hangs gives its job up, so that somebody else can go on.
const STEP_TIMEOUT: &str = "SET LOCAL statement_timeout = '10s'; \
    SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// Empties the event of a click: bytes of ENRICHED in, bytes of ENRICHED out. `bus` knows how.
pub type Scrub = fn(&[u8]) -> Vec<u8>;

#[derive(Queryable, Selectable)]
#[diesel(table_name = erasures)]
struct Row {
    id: Uuid,
    workspace_id: Uuid,
    contact_hash: Vec<u8>,
    erased_at: DateTime<Utc>,
    erased_by: String,
    stage: String,
    position: Option<Uuid>,
    looks_left: i16,
    scrubbed_at: Option<DateTime<Utc>>,
    links: i64,
    clicks: i64,
    deliveries: i64,
    deliveries_ended: i64,
    first_clicks: i64,
    quarantined: i64,
}

/// The erasure of a contact, and what came of it so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub id: ErasureId,
    /// Since when the contact is erased.
    pub erased_at: DateTime<Utc>,
    /// Who asked for it first, as the audit log names them.
    pub erased_by: String,
    /// When everything had been looked through since it was last asked for; `None`: it is being done.
    pub scrubbed_at: Option<DateTime<Utc>>,
    /// Links that name nobody any more.
    pub links: u64,
    /// Clicks that tell nobody any more.
    pub clicks: u64,
    /// Deliveries whose bytes are gone.
    pub deliveries: u64,
    /// Those among them that waited, and were not sent.
    pub deliveries_ended: u64,
    /// Places among first clicks.
    pub first_clicks: u64,
    /// Messages that had been put aside.
    pub quarantined: u64,
}

impl From<Row> for Erasure {
    fn from(row: Row) -> Self {
        Self {
            id: ErasureId::from_uuid(row.id),
            erased_at: row.erased_at,
            erased_by: row.erased_by,
            scrubbed_at: row.scrubbed_at,
            links: row.links.unsigned_abs(),
            clicks: row.clicks.unsigned_abs(),
            deliveries: row.deliveries.unsigned_abs(),
            deliveries_ended: row.deliveries_ended.unsigned_abs(),
            first_clicks: row.first_clicks.unsigned_abs(),
            quarantined: row.quarantined.unsigned_abs(),
        }
    }
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is not due, has ended, or somebody else does it.
    NotOurs,
    /// Something was looked at. Whoever keeps these links in memory should look again.
    Looked(Vec<LinkId>),
}

/// What was found on a page.
#[derive(Default)]
struct Found {
    last: Option<Uuid>,
    seen: i64,
    links: Vec<Uuid>,
    clicks: u64,
    first_clicks: u64,
    scrubbed: Scrubbed,
}

/// Sets the tombstone of a contact, or has everything looked through once more when there is one; belongs into the
/// transaction that tells of it.
///
/// What was put aside is emptied here: a message that cannot be read does not say whose it is, but its bytes can be
/// searched while the id is known. So are places on templates, which name recipients longer than clicks are kept.
pub async fn begin(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    contact: &str,
    erased_by: &str,
    now: DateTime<Utc>,
) -> QueryResult<Erasure> {
    #[derive(QueryableByName)]
    struct Begun {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    statement(
        "INSERT INTO erasure_salts (workspace_id, salt) \
         VALUES ($1, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))) ON CONFLICT DO NOTHING",
    )
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .execute(conn)
    .await?;
    let begun: Begun = statement(
        "INSERT INTO erasures (id, workspace_id, contact_hash, erased_at, erased_by, due_at) \
         SELECT $1, $2, sha256(salt || convert_to($3, 'UTF8')), $5, $4, $5 FROM erasure_salts WHERE workspace_id = $2 \
         ON CONFLICT (workspace_id, contact_hash) DO UPDATE \
             SET stage = 'links', position = NULL, looks_left = 1, due_at = $5, scrubbed_at = NULL \
         RETURNING id",
    )
    .bind::<SqlUuid, _>(ErasureId::generate_at(now).uuid())
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<Text, _>(contact)
    .bind::<Text, _>(erased_by)
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await?;
    let quarantined = scrub_quarantine(conn, workspace_id, contact, now).await?;
    let first_clicks = forget_recipient(conn, workspace_id, contact).await?;
    let own = erasures::table.filter(erasures::id.eq(begun.id));
    let row: Row = diesel::update(own)
        .set((
            erasures::quarantined.eq(erasures::quarantined + quarantined),
            erasures::first_clicks.eq(erasures::first_clicks + first_clicks),
        ))
        .returning(Row::as_returning())
        .get_result(conn)
        .await?;
    Ok(row.into())
}

/// Gives up the places that the contact has among first clicks of the workspace's templates.
async fn forget_recipient(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    contact: &str,
) -> QueryResult<i64> {
    let forgotten = statement(
        "DELETE FROM first_clicks USING link_templates WHERE link_templates.workspace_id = $1 \
             AND first_clicks.link_id = link_templates.link_id AND first_clicks.visitor = $2 COLLATE \"C\" \
             AND first_clicks.is_hash IS NOT TRUE",
    )
    .bind::<SqlUuid, _>(workspace_id.uuid())
    .bind::<Text, _>(contact)
    .execute(conn)
    .await?;
    Ok(i64::try_from(forgotten).unwrap_or(i64::MAX))
}

/// Empties the messages of the workspace that were put aside and hold the contact, as the field of a link that it is in
/// `click.proto`.
async fn scrub_quarantine(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    contact: &str,
    now: DateTime<Utc>,
) -> QueryResult<i64> {
    let emptied = statement(
        "UPDATE quarantine SET payload = '', reason = '', removed_at = $3 \
         WHERE removed_at IS NULL AND strpos(subject, $1) > 0 AND position($2 IN payload) > 0",
    )
    .bind::<Text, _>(workspace_id.to_string())
    .bind::<Bytea, _>(field_of_contact(contact))
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(i64::try_from(emptied).unwrap_or(i64::MAX))
}

/// `contact_id` as Protobuf encodes it: key of field 10, length, text.
fn field_of_contact(contact: &str) -> Vec<u8> {
    let mut field = vec![10 << 3 | 2];
    let mut length = contact.len();
    while length >= 0x80 {
        field.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend_from_slice(contact.as_bytes());
    field
}

/// How many erasures of the workspace are not done; counts no further than `limit`.
pub async fn count_open(conn: &mut Connection, workspace_id: WorkspaceId, limit: i64) -> QueryResult<i64> {
    let open: Vec<Uuid> = erasures::table
        .filter(erasures::workspace_id.eq(workspace_id.uuid()).and(erasures::stage.ne("done")))
        .limit(limit)
        .select(erasures::id)
        .load(conn)
        .await?;
    Ok(i64::try_from(open.len()).unwrap_or(i64::MAX))
}

/// The workspace's erasure with this id, as it stands.
pub async fn find(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: ErasureId,
) -> QueryResult<Option<Erasure>> {
    let own = erasures::table.find(id.uuid()).filter(erasures::workspace_id.eq(workspace_id.uuid()));
    let row: Option<Row> = own.select(Row::as_select()).first(conn).await.optional()?;
    Ok(row.map(Erasure::from))
}

/// The erasures that are due, at most `limit`.
pub async fn due(conn: &mut Connection, now: DateTime<Utc>, limit: i64) -> QueryResult<Vec<ErasureId>> {
    let ids: Vec<Uuid> = erasures::table
        .filter(erasures::stage.ne("done").and(erasures::due_at.le(now)))
        .order(erasures::due_at)
        .limit(limit)
        .select(erasures::id)
        .load(conn)
        .await?;
    Ok(ids.into_iter().map(ErasureId::from_uuid).collect())
}

/// Looks at one page, empties what is the contact's, and moves the job, in one transaction.
pub async fn step(
    conn: &mut Connection,
    id: ErasureId,
    scrub: Scrub,
    now: DateTime<Utc>,
) -> QueryResult<Step> {
    conn.transaction(async |conn| {
        conn.batch_execute(STEP_TIMEOUT).await?;
        let job: Option<Row> = erasures::table
            .find(id.uuid())
            .filter(erasures::stage.ne("done").and(erasures::due_at.le(now)))
            .select(Row::as_select())
            .for_update()
            .skip_locked()
            .first(conn)
            .await
            .optional()?;
        let Some(job) = job else { return Ok(Step::NotOurs) };
        let is_links = job.stage == "links";
        let found = if is_links {
            pages::links_page(conn, &job, now).await?
        } else {
            pages::clicks_page(conn, &job, scrub, now).await?
        };
        advance(conn, &job, is_links, &found, now).await?;
        QueryResult::Ok(Step::Looked(found.links.into_iter().map(LinkId::from_uuid).collect()))
    })
    .await
}

/// Puts a job off whose step failed, so that others are not kept waiting by it. Who works on it meanwhile has the last word.
pub async fn postpone(conn: &mut Connection, id: ErasureId, now: DateTime<Utc>) -> QueryResult<()> {
    let until = now + TimeDelta::from_std(PUT_OFF).unwrap_or_default();
    let own =
        erasures::table.find(id.uuid()).filter(erasures::stage.ne("done").and(erasures::due_at.le(now)));
    diesel::update(own).set(erasures::due_at.eq(until)).execute(conn).await?;
    Ok(())
}

async fn advance(
    conn: &mut Connection,
    job: &Row,
    is_links: bool,
    found: &Found,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let is_last = found.seen < pages::PAGE;
    let again = TimeDelta::from_std(LOOK_AGAIN).unwrap_or_default();
    // stage, position, looks, due, and whether everything was looked through
    let (stage, position, looks_left, due_at, is_scrubbed) = match (is_last, is_links) {
        (false, _) => (job.stage.as_str(), found.last, job.looks_left, now, false),
        (true, true) => ("clicks", None, job.looks_left, now, false),
        (true, false) if job.looks_left > 0 => ("links", None, job.looks_left - 1, now + again, true),
        (true, false) => ("done", None, 0, now, true),
    };
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let links = i64::try_from(found.links.len()).unwrap_or(i64::MAX);
    diesel::update(erasures::table.find(job.id))
        .set((
            erasures::stage.eq(stage),
            erasures::position.eq(position),
            erasures::looks_left.eq(looks_left),
            erasures::due_at.eq(due_at),
            erasures::scrubbed_at.eq(job.scrubbed_at.or(is_scrubbed.then_some(now))),
            erasures::links.eq(erasures::links + links),
            erasures::clicks.eq(erasures::clicks + number(found.clicks)),
            erasures::deliveries.eq(erasures::deliveries + number(found.scrubbed.deliveries)),
            erasures::deliveries_ended.eq(erasures::deliveries_ended + number(found.scrubbed.ended)),
            erasures::first_clicks.eq(erasures::first_clicks + number(found.first_clicks)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
