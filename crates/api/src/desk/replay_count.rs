//! How much a replay would be about, before it is begun.

use chrono::{DateTime, Utc};

use bus::Message as _;
use model::EnrichedClick;
use model::event_type::LINK_CLICKED;
use store::Connection;
use store::endpoints::Endpoint;
use store::replay_source::{self, SeenClick, is_on_its_way};
use store::replays::{Position, Selection, What};
use webhook::Filter;

use crate::error::ApiError;

/// Deliveries or clicks that are looked at in one query.
const PAGE: i64 = 1000;

/// Most deliveries or clicks that are looked at: a request must end.
const SEEN_MAX: usize = 50_000;

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Events that match.
    pub matching: u64,
    /// Whether all were looked at; if not, there may be more.
    pub is_complete: bool,
}

/// Counts what a replay would put in line, up to a limit.
///
/// # Errors
/// When the database is away.
pub async fn count(
    conn: &mut Connection,
    selection: &Selection,
    endpoint: &Endpoint,
    now: DateTime<Utc>,
) -> Result<Count, ApiError> {
    let wanted = Wanted::of(endpoint)?;
    let (mut matching, mut seen, mut position) = (0, 0, None);
    while seen < SEEN_MAX {
        let page = match selection.what {
            What::Missing => wanted.page(conn, selection, position, now).await?,
            What::Dead | What::Delivered | What::Any => delivery_page(conn, selection, position).await?,
        };
        seen += page.seen;
        matching += page.matching as u64;
        if i64::try_from(page.seen).unwrap_or(i64::MAX) < PAGE {
            return Ok(Count { matching, is_complete: true });
        }
        position = page.last;
    }
    Ok(Count { matching, is_complete: false })
}

struct Page {
    seen: usize,
    matching: usize,
    last: Option<Position>,
}

async fn delivery_page(
    conn: &mut Connection,
    selection: &Selection,
    position: Option<Position>,
) -> Result<Page, ApiError> {
    let page = replay_source::deliveries(conn, selection, None, position, PAGE).await?;
    Ok(Page {
        seen: page.len(),
        matching: page.iter().filter(|seen| seen.matches).count(),
        last: page.last().map(|seen| seen.id.uuid()),
    })
}

/// Which clicks the endpoint wants, by the same rules as `deliver`.
struct Wanted {
    wants_clicks: bool,
    filter: Option<Filter>,
    owed_from: DateTime<Utc>,
}

impl Wanted {
    fn of(endpoint: &Endpoint) -> Result<Self, ApiError> {
        let filter = endpoint.options.filter.as_ref().map(Filter::parse).transpose();
        Ok(Self {
            wants_clicks: endpoint.options.event_types.iter().any(|pattern| pattern.matches(LINK_CLICKED)),
            filter: filter.map_err(|error| ApiError::Internal(error.into()))?,
            owed_from: endpoint.owed_from,
        })
    }

    async fn page(
        &self,
        conn: &mut Connection,
        selection: &Selection,
        position: Option<Position>,
        now: DateTime<Utc>,
    ) -> Result<Page, ApiError> {
        if !self.wants_clicks {
            return Ok(Page { seen: 0, matching: 0, last: None });
        }
        let page = replay_source::clicks(conn, selection, position, self.filter.is_some(), PAGE).await?;
        Ok(Page {
            seen: page.len(),
            matching: page.iter().filter(|seen| self.lets_through(seen, now)).count(),
            last: page.last().map(|seen| seen.id.uuid()),
        })
    }

    fn lets_through(&self, seen: &SeenClick, now: DateTime<Utc>) -> bool {
        let passes = |filter: &Filter| {
            let event = seen.event.as_deref().map(EnrichedClick::decode);
            event.and_then(Result::ok).is_some_and(|click| filter.matches(&click))
        };
        seen.is_missing
            && !is_on_its_way(seen.clicked_at, self.owed_from, now)
            && self.filter.as_ref().is_none_or(passes)
    }
}
