//! Recorded clicks, as people look at them.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Date, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::automation::Verdict;
use model::device::DeviceKind;
use model::{ClickId, LinkId, WorkspaceId};

use crate::parse::earliest;
use crate::statement::{Statement, Values, statement};
use crate::{Connection, QueryResult};

/// A recorded click.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedClick {
    /// Its id.
    pub id: ClickId,
    /// When `record` stored it.
    pub recorded_at: DateTime<Utc>,
    /// The message on ENRICHED: everything that is known of it.
    pub event: Vec<u8>,
    /// What its columns say of its link.
    pub link: OfLink,
}

/// The columns of a click that say what its link was for; `None` in clicks that were recorded before there were such columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OfLink {
    /// `shareable`, `message` or `honeypot`.
    pub kind: Option<String>,
    /// Sequence of messages it was sent in.
    pub sequence_id: Option<String>,
    /// Step of that sequence.
    pub step_id: Option<String>,
}

/// Clicks that are looked at for one page where no index answers a condition. Some milliseconds.
pub const LOOKED_AT_MAX: i64 = 20_000;

/// Which clicks are asked for; `None` is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClickFilter {
    /// Of this link.
    pub link_id: Option<LinkId>,
    /// Of links of this campaign.
    pub campaign_id: Option<String>,
    /// Of links of this conversation.
    pub conversation_id: Option<String>,
    /// Of links of this contact.
    pub contact_id: Option<String>,
    /// Of links of this message.
    pub message_id: Option<String>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
    /// From this country, by its ISO code.
    pub country: Option<String>,
    /// On this kind of device.
    pub device: Option<DeviceKind>,
    /// At this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// Before this moment.
    pub until: Option<DateTime<Utc>>,
}

/// How many clicks were made by whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClickCounts {
    /// By people.
    pub human: i64,
    /// By machines.
    pub automated: i64,
    /// By one or the other.
    pub unknown: i64,
}

/// A page of clicks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClickPage {
    /// The clicks, newest first.
    pub clicks: Vec<RecordedClick>,
    /// What comes next is older than this one, which may be none of the page; `None` when there is nothing more.
    pub next: Option<ClickId>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    recorded_at: DateTime<Utc>,
    #[diesel(sql_type = Binary)]
    event: Vec<u8>,
    #[diesel(sql_type = Nullable<Text>)]
    link_kind: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    sequence_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    step_id: Option<String>,
}

const COLUMNS: &str = "id, recorded_at, event, link_kind, sequence_id, step_id";

impl From<Row> for RecordedClick {
    fn from(row: Row) -> Self {
        let link = OfLink { kind: row.link_kind, sequence_id: row.sequence_id, step_id: row.step_id };
        Self { id: ClickId::from_uuid(row.id), recorded_at: row.recorded_at, event: row.event, link }
    }
}

/// The newest clicks that `filter` lets through, or those older than `before`; at most `limit`. With conditions that no index
/// answers there may be fewer: [`page`] tells where to go on.
pub async fn list(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    filter: &ClickFilter,
    before: Option<ClickId>,
    limit: i64,
) -> QueryResult<Vec<RecordedClick>> {
    let rows: Vec<Row> = Asking::of(filter, before).found(workspace_id, limit).load(conn).await?;
    Ok(rows.into_iter().map(RecordedClick::from).collect())
}

/// One page of the clicks that `filter` lets through, older than `before`; at most `limit`. Link, conversation, contact and message
/// have indexes; for the other conditions a page looks at [`LOOKED_AT_MAX`] clicks at most, so it may have fewer than `limit`,
/// even none, and still a next page.
pub async fn page(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    filter: &ClickFilter,
    before: Option<ClickId>,
    limit: i64,
) -> QueryResult<ClickPage> {
    #[derive(QueryableByName)]
    struct Last {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let asking = Asking::of(filter, before);
    let rows: Vec<Row> = asking.found(workspace_id, limit.saturating_add(1)).load(conn).await?;
    let mut clicks: Vec<RecordedClick> = rows.into_iter().map(RecordedClick::from).collect();
    let length = usize::try_from(limit).unwrap_or_default();
    let next = if clicks.len() > length {
        clicks.truncate(length);
        clicks.last().map(|click| click.id)
    } else if asking.looks.is_empty() {
        None
    } else {
        let last: Option<Last> = asking.last_looked_at(workspace_id).get_result(conn).await.optional()?;
        last.map(|last| ClickId::from_uuid(last.id))
    };
    Ok(ClickPage { clicks, next })
}

/// What is asked, in SQL. The text has a place for each condition that there is; a value that is not asked about is bound all the
/// same, so that there is one order of values.
struct Asking<'a> {
    filter: &'a ClickFilter,
    before: Option<ClickId>,
    /// Conditions that an index answers.
    finds: String,
    /// Conditions that are looked for.
    looks: String,
}

impl<'a> Asking<'a> {
    fn of(filter: &'a ClickFilter, before: Option<ClickId>) -> Self {
        let (mut finds, mut looks) = (String::from("workspace_id = $1"), Vec::new());
        let condition_of = |is_asked: bool, condition: &str, unasked: &str| {
            format!(" AND {}", if is_asked { condition } else { unasked })
        };
        for (is_some, condition, unasked) in [
            (filter.link_id.is_some(), "link_id = $2", "($2::uuid IS NULL OR true)"),
            (filter.conversation_id.is_some(), "conversation_id = $3", "($3::text IS NULL OR true)"),
            (filter.contact_id.is_some(), "contact_id = $4", "($4::text IS NULL OR true)"),
            (filter.message_id.is_some(), "message_id = $5", "($5::text IS NULL OR true)"),
            // ids sort by time; the day only tells PostgreSQL which partitions to leave out
            (
                filter.since.is_some(),
                "id >= $6 AND day >= $7",
                "($6::uuid IS NULL OR $7::date IS NULL OR true)",
            ),
            (
                filter.until.is_some(),
                "id < $8 AND day <= $9",
                "($8::uuid IS NULL OR $9::date IS NULL OR true)",
            ),
            (before.is_some(), "id < $10 AND day <= $11", "($10::uuid IS NULL OR $11::date IS NULL OR true)"),
        ] {
            finds.push_str(&condition_of(is_some, condition, unasked));
        }
        for (is_some, condition) in [
            (filter.campaign_id.is_some(), "campaign_id = $12"),
            (filter.verdict.is_some(), "verdict = $13"),
            (filter.country.is_some(), "country = $14"),
            (filter.device.is_some(), "device_type = $15"),
        ] {
            if is_some {
                looks.push(condition);
            }
        }
        Self { filter, before, finds, looks: looks.join(" AND ") }
    }

    fn found(&self, workspace_id: WorkspaceId, limit: i64) -> Statement<impl Values + Send + '_> {
        let Self { finds, looks, .. } = self;
        let sql = if looks.is_empty() {
            format!("SELECT {COLUMNS} FROM clicks WHERE {finds} AND {TYPES} ORDER BY id DESC LIMIT $16")
        } else {
            format!(
                "SELECT {COLUMNS} FROM (
                     SELECT {COLUMNS}, campaign_id, verdict, country, device_type FROM clicks
                     WHERE {finds} ORDER BY id DESC LIMIT {LOOKED_AT_MAX}
                 ) AS looked_at WHERE {looks} AND {TYPES} ORDER BY id DESC LIMIT $16"
            )
        };
        self.bound(workspace_id, sql).bind::<BigInt, _>(limit)
    }

    /// The last click that is looked at for a page; none when they are fewer.
    fn last_looked_at(&self, workspace_id: WorkspaceId) -> Statement<impl Values + Send + '_> {
        let finds = &self.finds;
        let offset = LOOKED_AT_MAX - 1;
        let sql = format!(
            "SELECT id FROM clicks WHERE {finds} AND {TYPES} ORDER BY id DESC LIMIT 1 OFFSET {offset} + $16"
        );
        self.bound(workspace_id, sql).bind::<BigInt, _>(0)
    }

    fn bound(&self, workspace_id: WorkspaceId, sql: String) -> Statement<impl Values + Send + '_> {
        let Self { filter, before, .. } = self;
        statement(sql)
            .bind::<SqlUuid, _>(workspace_id.uuid())
            .bind::<Nullable<SqlUuid>, _>(filter.link_id.map(LinkId::uuid))
            .bind::<Nullable<Text>, _>(&filter.conversation_id)
            .bind::<Nullable<Text>, _>(&filter.contact_id)
            .bind::<Nullable<Text>, _>(&filter.message_id)
            .bind::<Nullable<SqlUuid>, _>(filter.since.map(earliest))
            .bind::<Nullable<Date>, _>(filter.since.map(|at| at.date_naive()))
            .bind::<Nullable<SqlUuid>, _>(filter.until.map(earliest))
            .bind::<Nullable<Date>, _>(filter.until.map(|at| at.date_naive()))
            .bind::<Nullable<SqlUuid>, _>(before.map(ClickId::uuid))
            .bind::<Nullable<Date>, _>(before.map(ClickId::day))
            .bind::<Nullable<Text>, _>(&filter.campaign_id)
            .bind::<Nullable<Text>, _>(filter.verdict.map(Verdict::as_str))
            .bind::<Nullable<Text>, _>(&filter.country)
            .bind::<Nullable<Text>, _>(filter.device.map(DeviceKind::as_str))
    }
}

/// Names the type of each value that is looked for.
const TYPES: &str =
    "($12::text IS NULL OR true) AND ($13::text IS NULL OR true) AND ($14::text IS NULL OR true)
    AND ($15::text IS NULL OR true)";

/// The workspace's click with this id.
pub async fn find(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: ClickId,
) -> QueryResult<Option<RecordedClick>> {
    let found =
        statement(format!("SELECT {COLUMNS} FROM clicks WHERE day = $2 AND id = $3 AND workspace_id = $1"));
    let row: Option<Row> = found
        .bind::<SqlUuid, _>(workspace_id.uuid())
        .bind::<Date, _>(id.day())
        .bind::<SqlUuid, _>(id.uuid())
        .get_result(conn)
        .await
        .optional()?;
    Ok(row.map(RecordedClick::from))
}
