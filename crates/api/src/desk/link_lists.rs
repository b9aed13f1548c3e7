//! Links by what became of them: those that ended, those with most clicks, and what each of a list had lately.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use model::{LinkId, Slug};
use store::links::Link;
use store::rollups::{self, Dimension, Range};
use store::{link_state, links};

use super::analytics::link_of;
use super::now;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// The newest links that ended since then and lead nowhere of their own, at most `limit`.
///
/// # Errors
/// When the database is away.
pub async fn ended(
    shared: &Shared,
    caller: &Caller,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(LinkId, Slug)>, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(link_state::ended(&mut conn, caller.workspace_id, since, now(), limit).await?)
}

/// The links with most clicks in a time, those with most first; at most `limit`, none archived.
///
/// # Errors
/// When the database is away.
pub async fn most_clicked(
    shared: &Shared,
    caller: &Caller,
    range: Range,
    limit: i64,
) -> Result<Vec<Link>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let workspace_id = caller.workspace_id;
    let top = rollups::top(&mut conn, workspace_id, range, Dimension::Link, None, limit).await?;
    let clicked = top.values.iter().filter(|value| value.counts.clicks > 0);
    let ids: Vec<LinkId> = clicked.filter_map(link_of).collect();
    let found = links::find_all(&mut conn, workspace_id, &ids).await?;
    let mut by_id: HashMap<LinkId, Link> = found.into_iter().map(|link| (link.id, link)).collect();
    Ok(ids.iter().filter_map(|id| by_id.remove(id)).collect())
}

/// Clicks that are not automated of each of these links, by 24 hours from the beginning of the range on.
///
/// # Errors
/// When the database is away.
pub async fn days(
    shared: &Shared,
    caller: &Caller,
    ids: &[LinkId],
    range: Range,
) -> Result<HashMap<LinkId, Vec<u64>>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let days = usize::try_from((range.until() - range.since()).num_days() + 1).unwrap_or(1);
    let mut by_link: HashMap<LinkId, Vec<u64>> = HashMap::new();
    for day in rollups::days_of_links(&mut conn, caller.workspace_id, ids, range).await? {
        let counts = by_link.entry(day.link_id).or_insert_with(|| vec![0; days]);
        if let Some(count) = counts.get_mut(day.day as usize) {
            *count = u64::try_from(day.clicks).unwrap_or_default();
        }
    }
    Ok(by_link)
}
