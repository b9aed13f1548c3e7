//! Recorded clicks, and the trace of one: redirected, enriched, recorded, each delivery.

use chrono::{DateTime, Utc};
use utoipa::IntoParams;

use bus::Message as _;
use model::automation::Verdict;
use model::{ClickId, EnrichedClick, LinkId};
use store::click_log::{self, ClickCounts, ClickFilter, RecordedClick};
use store::delivery_log::{self, DeliveryFilter, LoggedDelivery};

use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, FromFields, moment, parsed, word};
use crate::page::PageRequest;

/// Most deliveries of one click that its trace shows.
const TRACED_DELIVERIES_MAX: i64 = 250;

pub(super) const VERDICTS: &[(&str, Verdict)] =
    &[("human", Verdict::Human), ("automated", Verdict::Automated), ("unknown", Verdict::Unknown)];

/// Which clicks are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub struct ClickQuery {
    /// Of this link.
    link_id: Option<String>,
    /// `human`, `automated` or `unknown`.
    verdict: Option<String>,
    /// At this moment or later.
    since: Option<DateTime<Utc>>,
    /// Before this moment.
    until: Option<DateTime<Utc>>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Entries of a page, 1 to 250. Default: 50.
    limit: Option<u32>,
}

/// What a query for clicks says.
pub struct Asked {
    /// Which.
    pub filter: ClickFilter,
    /// Which page.
    pub page: PageRequest<ClickId>,
}

impl FromFields for Asked {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let filter = ClickFilter {
            link_id: fields.optional("link_id", parsed::<LinkId>),
            verdict: fields.optional("verdict", word(VERDICTS)),
            since: fields.optional("since", moment),
            until: fields.optional("until", moment),
        };
        Some(Self { filter, page: PageRequest::from_fields(fields) })
    }
}

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

/// A click and its deliveries.
///
/// # Errors
/// When the workspace has no such click.
pub async fn find(
    shared: &Shared,
    caller: &Caller,
    id: ClickId,
) -> Result<(ShownClick, Vec<LoggedDelivery>), ApiError> {
    let mut conn = shared.pool.get().await?;
    let row =
        click_log::find(&mut conn, caller.workspace_id, id).await?.ok_or(ApiError::NotFound("click"))?;
    let of_click = DeliveryFilter { click_id: Some(id), ..DeliveryFilter::default() };
    let deliveries =
        delivery_log::list(&mut conn, caller.workspace_id, &of_click, None, TRACED_DELIVERIES_MAX).await?;
    Ok((decode(row)?, deliveries))
}

/// How many clicks the workspace had since a moment.
///
/// # Errors
/// When the database is away.
pub async fn count_since(
    shared: &Shared,
    caller: &Caller,
    since: DateTime<Utc>,
) -> Result<ClickCounts, ApiError> {
    let mut conn = shared.pool.get().await?;
    Ok(click_log::count_since(&mut conn, caller.workspace_id, since).await?)
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
