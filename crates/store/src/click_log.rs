//! Recorded clicks, as people look at them.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use model::automation::Verdict;
use model::{ClickId, LinkId, WorkspaceId};

use crate::parse::earliest;
use crate::schema::clicks;
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

/// Which clicks are asked for; `None` is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClickFilter {
    /// Of this link.
    pub link_id: Option<LinkId>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
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

type Row = (Uuid, DateTime<Utc>, Vec<u8>, Option<String>, Option<String>, Option<String>);

type Columns =
    (clicks::id, clicks::recorded_at, clicks::event, clicks::link_kind, clicks::sequence_id, clicks::step_id);
const COLUMNS: Columns =
    (clicks::id, clicks::recorded_at, clicks::event, clicks::link_kind, clicks::sequence_id, clicks::step_id);

impl From<Row> for RecordedClick {
    fn from((id, recorded_at, event, kind, sequence_id, step_id): Row) -> Self {
        let link = OfLink { kind, sequence_id, step_id };
        Self { id: ClickId::from_uuid(id), recorded_at, event, link }
    }
}

/// The newest clicks that `filter` lets through, or those older than `before`; at most `limit`.
pub async fn list(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    filter: &ClickFilter,
    before: Option<ClickId>,
    limit: i64,
) -> QueryResult<Vec<RecordedClick>> {
    let mut query = clicks::table
        .filter(clicks::workspace_id.eq(workspace_id.uuid()))
        .order(clicks::id.desc())
        .limit(limit)
        .select(COLUMNS)
        .into_boxed();
    if let Some(link_id) = filter.link_id {
        query = query.filter(clicks::link_id.eq(link_id.uuid()));
    }
    if let Some(verdict) = filter.verdict {
        query = query.filter(clicks::verdict.eq(verdict.as_str()));
    }
    // ids sort by time; the day only tells PostgreSQL which partitions to leave out
    if let Some(since) = filter.since {
        query = query.filter(clicks::id.ge(earliest(since))).filter(clicks::day.ge(since.date_naive()));
    }
    if let Some(until) = filter.until {
        query = query.filter(clicks::id.lt(earliest(until))).filter(clicks::day.le(until.date_naive()));
    }
    if let Some(before) = before {
        query = query.filter(clicks::id.lt(before.uuid())).filter(clicks::day.le(before.day()));
    }
    let rows: Vec<Row> = query.load(conn).await?;
    Ok(rows.into_iter().map(RecordedClick::from).collect())
}

/// The workspace's click with this id.
pub async fn find(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    id: ClickId,
) -> QueryResult<Option<RecordedClick>> {
    let row: Option<Row> = clicks::table
        .find((id.day(), id.uuid()))
        .filter(clicks::workspace_id.eq(workspace_id.uuid()))
        .select(COLUMNS)
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(RecordedClick::from))
}

/// Counts the workspace's clicks since a moment, by verdict.
pub async fn count_since(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    since: DateTime<Utc>,
) -> QueryResult<ClickCounts> {
    let rows: Vec<(String, i64)> = clicks::table
        .filter(clicks::workspace_id.eq(workspace_id.uuid()))
        .filter(clicks::day.ge(since.date_naive()))
        .filter(clicks::id.ge(earliest(since)))
        .group_by(clicks::verdict)
        .select((clicks::verdict, diesel::dsl::count_star()))
        .load(conn)
        .await?;
    let of = |verdict: Verdict| {
        rows.iter().find(|(word, _)| word == verdict.as_str()).map_or(0, |(_, count)| *count)
    };
    Ok(ClickCounts {
        human: of(Verdict::Human),
        automated: of(Verdict::Automated),
        unknown: of(Verdict::Unknown),
    })
}
