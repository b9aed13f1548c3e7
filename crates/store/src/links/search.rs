//! Finding links of a workspace by what is known of them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};

use model::slug::fold;
use model::{Host, LinkId, WorkspaceId};

use super::{Link, read};
use crate::link_row::Row;
use crate::link_state::{LinkState, is_in};
use crate::lost::limit_statements;
use crate::schema::{domains, links};
use crate::{Connection, QueryResult};

/// How long a search may take: one for a text looks at every link of the workspace.
pub const LIST_TIME_MAX: Duration = Duration::from_secs(3);

/// Which links are asked for; `None` is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkFilter {
    /// With the sender's own id.
    pub external_id: Option<String>,
    /// Sent in this campaign.
    pub campaign_id: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Whose slug or URL contains this text.
    pub text: Option<String>,
    /// Served under this host.
    pub host: Option<Host>,
    /// In this state at this moment.
    pub state: Option<(LinkState, DateTime<Utc>)>,
}

impl LinkFilter {
    /// Whether it has conditions that no index answers: then a page may look at every link of the workspace.
    pub fn looks_through(&self) -> bool {
        self.text.is_some() || self.state.is_some() || self.host.is_some()
    }
}

/// The newest links that `filter` lets through, or those older than `before`; at most `limit`, none archived. It fails when
/// it takes longer than [`LIST_TIME_MAX`].
pub async fn list(
    conn: &mut Connection,
    workspace_id: WorkspaceId,
    filter: &LinkFilter,
    before: Option<LinkId>,
    limit: i64,
) -> QueryResult<Vec<Link>> {
    let mut query = links::table
        .inner_join(domains::table)
        .filter(links::workspace_id.eq(workspace_id.uuid()).and(links::archived_at.is_null()))
        .order(links::id.desc())
        .limit(limit)
        .select((Row::as_select(), domains::host))
        .into_boxed();
    if let Some(external_id) = &filter.external_id {
        query = query.filter(links::external_id.eq(external_id));
    }
    if let Some(campaign_id) = &filter.campaign_id {
        query = query.filter(links::campaign_id.eq(campaign_id));
    }
    if let Some(tag) = &filter.tag {
        // the index holds only links that have tags, and has to be told so
        let has_tags = links::tags.ne(Vec::<String>::new());
        query = query.filter(links::tags.contains(vec![tag.clone()]).and(has_tags));
    }
    if let Some(text) = &filter.text {
        let of_slug = links::slug.like(containing(&fold(text)));
        query = query.filter(of_slug.or(links::original_url.ilike(containing(text))));
    }
    if let Some(host) = &filter.host {
        query = query.filter(domains::host.eq(host.as_str()));
    }
    if let Some((state, now)) = filter.state {
        query = query.filter(is_in(state, now));
    }
    if let Some(before) = before {
        query = query.filter(links::id.lt(before.uuid()));
    }
    let rows: Vec<(Row, String)> = conn
        .transaction(async |conn| {
            limit_statements(conn, LIST_TIME_MAX).await?;
            query.load(conn).await
        })
        .await?;
    rows.into_iter().map(read).collect()
}

/// A pattern for LIKE that finds `text` as it stands, whatever signs are in it.
fn containing(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}
