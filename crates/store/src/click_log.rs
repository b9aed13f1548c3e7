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
use crate::statement::{Statement, Values, first_rows, statement};
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

impl ClickFilter {
    /// Whether it has conditions that no index answers: then a page looks at up to [`LOOKED_AT_MAX`] clicks.
    pub fn looks_through(&self) -> bool {
        self.campaign_id.is_some()
            || self.verdict.is_some()
            || self.country.is_some()
            || self.device.is_some()
    }
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

/// The oldest clicks from `since` on and before `until`, or those newer than `after`; at most `limit`.
pub async fn list_oldest_first(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    (since, until): (DateTime<Utc>, DateTime<Utc>),
    after: Option<ClickId>,
    limit: i64,
) -> QueryResult<Vec<RecordedClick>> {
    let begin = earliest(since);
    let (begin, day) = match after {
        Some(after) if after.uuid() >= begin => {
            (Uuid::from_u128(after.uuid().as_u128().saturating_add(1)), after.day())
        }
        _ => (begin, since.date_naive()),
    };
    let rows: Vec<Row> = statement(oldest_first_sql(limit))
        .bind::<SqlUuid, _>(workspace_id.uuid())
        .bind::<SqlUuid, _>(begin)
        .bind::<Date, _>(day)
        .bind::<SqlUuid, _>(earliest(until))
        .bind::<Date, _>(until.date_naive())
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(RecordedClick::from).collect())
}

fn oldest_first_sql(limit: i64) -> String {
    // ids sort by time; the day only tells PostgreSQL which partitions to leave out
    let select = format!(
        "SELECT {COLUMNS} FROM clicks WHERE workspace_id = (SELECT $1) \
         AND id >= (SELECT $2) AND day >= $3 AND id < (SELECT $4) AND day <= $5"
    );
    first_rows(&select, "id", "$6", limit)
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
/// same, so that there is one order of values. The planner sees days alone: [`first_rows`].
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
        let (mut finds, mut looks) = (String::from("workspace_id = (SELECT $1)"), Vec::new());
        let condition_of = |is_asked: bool, condition: &str, unasked: &str| {
            format!(" AND {}", if is_asked { condition } else { unasked })
        };
        for (is_some, condition, unasked) in [
            (filter.link_id.is_some(), "link_id = (SELECT $2)", "($2::uuid IS NULL OR true)"),
            (filter.conversation_id.is_some(), "conversation_id = (SELECT $3)", "($3::text IS NULL OR true)"),
            (filter.contact_id.is_some(), "contact_id = (SELECT $4)", "($4::text IS NULL OR true)"),
            (filter.message_id.is_some(), "message_id = (SELECT $5)", "($5::text IS NULL OR true)"),
            // ids sort by time; the day only tells PostgreSQL which partitions to leave out
            (
                filter.since.is_some(),
                "id >= (SELECT $6) AND day >= $7",
                "($6::uuid IS NULL OR $7::date IS NULL OR true)",
            ),
            (
                filter.until.is_some(),
                "id < (SELECT $8) AND day <= $9",
                "($8::uuid IS NULL OR $9::date IS NULL OR true)",
            ),
            (
                before.is_some(),
                "id < (SELECT $10) AND day <= $11",
                "($10::uuid IS NULL OR $11::date IS NULL OR true)",
            ),
        ] {
            finds.push_str(&condition_of(is_some, condition, unasked));
        }
        for (is_some, condition) in [
            (filter.campaign_id.is_some(), "campaign_id = (SELECT $12)"),
            (filter.verdict.is_some(), "verdict = (SELECT $13)"),
            (filter.country.is_some(), "country = (SELECT $14)"),
            (filter.device.is_some(), "device_type = (SELECT $15)"),
        ] {
            if is_some {
                looks.push(condition);
            }
        }
        Self { filter, before, finds, looks: looks.join(" AND ") }
    }

    fn found(&self, workspace_id: WorkspaceId, limit: i64) -> Statement<impl Values + Send + '_> {
        self.bound(workspace_id, self.found_sql(limit)).bind::<BigInt, _>(limit)
    }

    fn found_sql(&self, limit: i64) -> String {
        let Self { finds, looks, .. } = self;
        if looks.is_empty() {
            let select = format!("SELECT {COLUMNS} FROM clicks WHERE {finds} AND {TYPES}");
            return first_rows(&select, "id DESC", "$16", limit);
        }
        format!(
            "SELECT {COLUMNS} FROM (
                 SELECT {COLUMNS}, campaign_id, verdict, country, device_type FROM clicks
                 WHERE {finds} ORDER BY id DESC LIMIT {LOOKED_AT_MAX}
             ) AS looked_at WHERE {looks} AND {TYPES} ORDER BY id DESC LIMIT (SELECT $16)"
        )
    }

    /// The last click that is looked at for a page; none when they are fewer.
    fn last_looked_at(&self, workspace_id: WorkspaceId) -> Statement<impl Values + Send + '_> {
        self.bound(workspace_id, self.last_sql()).bind::<BigInt, _>(0)
    }

    fn last_sql(&self) -> String {
        let finds = &self.finds;
        let offset = LOOKED_AT_MAX - 1;
        format!(
            "SELECT id FROM clicks WHERE {finds} AND {TYPES} ORDER BY id DESC LIMIT 1 OFFSET {offset} + $16"
        )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::Planned;

    async fn planned(sql: &str) -> Planned {
        let (id, day) = ("gen_random_uuid()", Utc::now().date_naive());
        let types = "uuid, uuid, text, text, text, uuid, date, uuid, date, uuid, date, text, text, text, text, bigint";
        let values = format!(
            "{id}, {id}, 'x', 'x', 'x', {id}, '{day}', {id}, '{day}', {id}, '{day}', 'x', 'x', 'x', 'x', 51"
        );
        Planned::of(sql, types, &values).await.reading("clicks")
    }

    #[tokio::test]
    async fn clicks_are_listed_in_the_order_of_an_index_with_plans_that_are_made_once() {
        let any = ClickFilter::default;
        let of_link = ClickFilter { link_id: Some(LinkId::generate()), ..any() };
        let of_contact = ClickFilter { contact_id: Some("x".to_owned()), ..any() };
        let automated = ClickFilter { verdict: Some(Verdict::Automated), ..any() };
        for (sql, index) in [
            (Asking::of(&any(), None).found_sql(51), "workspace_id_id_idx"),
            (Asking::of(&of_link, None).found_sql(51), "link_id_id_idx"),
            (Asking::of(&of_contact, None).found_sql(51), "workspace_id_contact_id_id_idx"),
            (Asking::of(&automated, None).found_sql(51), "workspace_id_id_idx"),
            (Asking::of(&automated, None).last_sql(), "workspace_id_id_idx"),
        ] {
            let planned = planned(&sql).await;
            assert!(planned.scans_of_today().iter().all(|scan| scan.contains(index)), "{planned}");
            assert!(planned.is_made_once, "{planned}");
        }
    }

    #[tokio::test]
    async fn clicks_are_read_from_the_oldest_in_the_order_of_an_index_with_a_plan_that_is_made_once() {
        let (id, day) = ("gen_random_uuid()", Utc::now().date_naive());
        let values = format!("{id}, {id}, '{day}', {id}, '{day}', 51");
        let types = "uuid, uuid, date, uuid, date, bigint";
        let planned = Planned::of(&oldest_first_sql(51), types, &values).await.reading("clicks");

        assert!(
            planned.scans_of_today().iter().all(|scan| scan.contains("workspace_id_id_idx")),
            "{planned}"
        );
        assert!(planned.is_made_once, "{planned}");
    }

    #[tokio::test]
    async fn later_days_than_a_page_can_be_of_are_left_out() {
        let filter = ClickFilter::default();
        let first = planned(&Asking::of(&filter, None).found_sql(51)).await;
        let next = planned(&Asking::of(&filter, Some(ClickId::generate())).found_sql(51)).await;

        assert!(next.scans_of_others() < first.scans_of_others(), "{next}");
    }
}
