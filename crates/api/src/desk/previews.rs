//! Filters, tried on clicks that were made before they are saved.

use model::EndpointId;
use store::click_log::ClickFilter;
use webhook::Filter;
use webhook::filter::Refusal;

use super::clicks::{self, ShownClick};
use super::endpoint_body::FilterPreview;
use super::endpoints::find;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::page::PageRequest;

/// Clicks that a filter is tried on when nobody says how many.
const PREVIEWED_CLICKS: u32 = 50;

/// Tries a filter on the workspace's last clicks, newest first: why it keeps each back, if it does.
///
/// # Errors
/// When there is no such endpoint, or a click cannot be read.
pub async fn preview(
    shared: &Shared,
    caller: &Caller,
    id: EndpointId,
    wanted: FilterPreview,
) -> Result<Vec<(ShownClick, Option<Refusal>)>, ApiError> {
    let endpoint = find(shared, caller, id).await?;
    let own = || endpoint.options.filter.as_ref().map_or(Ok(Filter::default()), Filter::parse);
    let filter = wanted.filter.map_or_else(own, Ok).map_err(|error| {
        ApiError::Internal(anyhow::Error::new(error).context("failed to read the filter of an endpoint"))
    })?;
    try_filter(shared, caller, &filter, wanted.clicks).await
}

/// Tries a filter that no endpoint has yet.
///
/// # Errors
/// When the database is away, or a click cannot be read.
pub async fn try_filter(
    shared: &Shared,
    caller: &Caller,
    filter: &Filter,
    clicks: Option<u32>,
) -> Result<Vec<(ShownClick, Option<Refusal>)>, ApiError> {
    let count = clicks.unwrap_or(PREVIEWED_CLICKS);
    let page = PageRequest::first(count.into());
    let mut clicks =
        clicks::list(shared, caller, &clicks::Asked { filter: ClickFilter::default(), page }).await?;
    // a page brings one row more, to tell whether there is another
    clicks.truncate(count as usize);
    let judged = |shown: ShownClick| {
        let refusal = filter.refusal(&shown.click);
        (shown, refusal)
    };
    Ok(clicks.into_iter().map(judged).collect())
}
