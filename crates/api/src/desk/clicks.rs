//! Recorded clicks.

use chrono::{DateTime, Utc};

use bus::Message as _;
use model::{ClickId, EnrichedClick};
use store::click_log::{self, RecordedClick};
use store::links;

use super::begin_search;
pub use super::click_query::Asked;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;

/// A click that can be shown.
pub struct ShownClick {
    /// It, with what enrichment added.
    pub click: EnrichedClick,
    /// When `record` stored it.
    pub recorded_at: DateTime<Utc>,
}

/// One page of clicks and one row more.
///
/// # Errors
/// When the database is away, or holds an event that cannot be read.
pub async fn list(shared: &Shared, caller: &Caller, asked: &Asked) -> Result<Vec<ShownClick>, ApiError> {
    let mut conn = shared.pool.get().await?;
    let Asked { filter, page } = asked;
    let rows = click_log::list(&mut conn, caller.workspace_id, filter, page.before, page.rows()).await?;
    rows.into_iter().map(decode).collect()
}

/// One page of clicks, and the click that the next one begins after, if there may be one. It may have fewer than it may have, even
/// none, and still a next one: [`click_log::page`].
///
/// # Errors
/// When the database is away, or holds an event that cannot be read, or the workspace searches as much as it may at once.
pub async fn page(
    shared: &Shared,
    caller: &Caller,
    asked: &Asked,
) -> Result<(Vec<ShownClick>, Option<ClickId>), ApiError> {
    let _running = asked.filter.looks_through().then(|| begin_search(shared, caller)).transpose()?;
    page_for_export(shared, caller, asked).await
}

/// The same for an export, of which a workspace runs few at once anyway.
///
/// # Errors
/// When the database is away, or holds an event that cannot be read.
pub async fn page_for_export(
    shared: &Shared,
    caller: &Caller,
    asked: &Asked,
) -> Result<(Vec<ShownClick>, Option<ClickId>), ApiError> {
    let mut conn = shared.pool.get().await?;
    let Asked { filter, page } = asked;
    if let Some(link_id) = filter.link_id
        && links::find(&mut conn, caller.workspace_id, link_id).await?.is_none()
    {
        // who asks for a link of others does not have all its clicks looked at
        return Ok((Vec::new(), None));
    }
    let found = click_log::page(&mut conn, caller.workspace_id, filter, page.before, page.limit).await?;
    let clicks = found.clicks.into_iter().map(decode).collect::<Result<_, _>>()?;
    Ok((clicks, found.next))
}

/// The place of a click in words: `Linköping, Sweden`, or why there is none.
pub fn place(click: &EnrichedClick) -> String {
    let location = &click.location;
    let country = location.country_name.as_deref().or(location.country.as_deref());
    let parts: Vec<&str> =
        [location.city.as_deref().or(location.region.as_deref()), country].into_iter().flatten().collect();
    if parts.is_empty() {
        return click.location_missing.map_or("not known", |reason| reason.as_str()).to_owned();
    }
    parts.join(", ")
}

/// Reads what is recorded of a click.
pub(super) fn decode(row: RecordedClick) -> Result<ShownClick, ApiError> {
    let click = EnrichedClick::decode(&row.event).map_err(|error| {
        ApiError::Internal(anyhow::Error::new(error).context(format!("failed to read click {}", row.id)))
    })?;
    Ok(ShownClick { click, recorded_at: row.recorded_at })
}
