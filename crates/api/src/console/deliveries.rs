//! The deliveries of one webhook: by state and time, in pages, and several of them sent again at once.

use actix_web::get;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use chrono::{TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;

use model::delivery::DeliveryStatus;
use store::delivery_log::DeliveryFilter;
use store::endpoints::State;

use super::view::{DeliveryRow, Layout, delivery_row, html};
use super::{PageResult, Signed, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::{deliveries, endpoints};
use crate::fields;
use crate::page::{Page, PageRequest};
use crate::v1::endpoints::endpoint_id;
use crate::v1::time;

/// Deliveries of a page.
const SHOWN: i64 = 50;

/// Which state is shown, and what it is called.
const STATES: [(&str, &str, Option<DeliveryStatus>); 5] = [
    ("", "Any state", None),
    ("pending", "Waiting or retrying", Some(DeliveryStatus::Pending)),
    ("delivered", "Delivered", Some(DeliveryStatus::Delivered)),
    ("dead", "Given up", Some(DeliveryStatus::Dead)),
    ("offered", "To be fetched", Some(DeliveryStatus::Offered)),
];

/// How far back, in hours; 0 is any time.
const SPANS: [(i64, &str); 5] = [
    (0, "Any time"),
    (1, "The last hour"),
    (24, "The last day"),
    (7 * 24, "The last week"),
    (30 * 24, "The last 30 days"),
];

/// What the address says. What it says wrongly counts as not said.
#[derive(Deserialize)]
pub(super) struct Asked {
    status: Option<String>,
    hours: Option<i64>,
    cursor: Option<String>,
}

/// A choice of a select.
struct Choice {
    value: String,
    text: &'static str,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    layout: Layout,
    endpoint_id: String,
    url: String,
    /// Whether the webhook fetches its events.
    is_pulled: bool,
    states: Vec<Choice>,
    spans: Vec<Choice>,
    /// Whether anything narrows the list.
    is_narrowed: bool,
    rows: Vec<DeliveryRow>,
    /// The query of the next page.
    next: Option<String>,
    may_retry: bool,
    /// From which moment on all that was given up is sent again.
    since: String,
    span: &'static str,
}

#[get("/settings/webhooks/{id}/deliveries")]
pub(super) async fn show(
    signed: Signed,
    id: Path<String>,
    asked: Query<Asked>,
    shared: Data<Shared>,
) -> PageResult {
    let caller = &signed.caller;
    caller.require(Scope::DeliveriesRead)?;
    let endpoint = endpoints::find(&shared, caller, endpoint_id(&id)?).await?;
    let now = Utc::now();
    let state =
        STATES.into_iter().find(|(word, ..)| asked.status.as_deref() == Some(word)).unwrap_or(STATES[0]);
    let span = SPANS.into_iter().find(|(hours, _)| asked.hours == Some(*hours)).unwrap_or(SPANS[0]);
    let since = (span.0 > 0).then(|| now - TimeDelta::hours(span.0));
    let filter = DeliveryFilter {
        endpoint_id: Some(endpoint.id),
        status: state.2,
        since,
        ..DeliveryFilter::default()
    };
    // a cursor that is none begins at the first page
    let cursor =
        fields::read::<deliveries::Asked>(&json!({"cursor": asked.cursor})).ok().and_then(|a| a.page.before);
    let request = deliveries::Asked { filter, page: PageRequest { before: cursor, limit: SHOWN } };
    let rows = deliveries::list(&shared, caller, &request).await?;
    let Page { data, next_cursor } = request.page.page(rows, |row| row.id, |row| delivery_row(&row, now));
    let next = next_cursor.map(|cursor| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("status", state.0)
            .append_pair("hours", &span.0.to_string())
            .append_pair("cursor", &cursor);
        query.finish()
    });
    let page = DeliveriesPage {
        layout: signed.layout("webhooks"),
        endpoint_id: endpoint.id.to_string(),
        url: endpoint.options.url.to_string(),
        is_pulled: endpoint.options.is_pulled(),
        states: STATES
            .iter()
            .map(|(word, text, _)| Choice { value: (*word).to_owned(), text, is_chosen: *word == state.0 })
            .collect(),
        spans: SPANS
            .iter()
            .map(|(hours, text)| Choice { value: hours.to_string(), text, is_chosen: *hours == span.0 })
            .collect(),
        is_narrowed: state.2.is_some() || span.0 > 0 || cursor.is_some(),
        rows: data,
        next,
        may_retry: caller.may(Scope::DeliveriesWrite) && endpoint.state != State::Disabled,
        since: time(since.unwrap_or(endpoint.created_at)),
        span: if span.0 > 0 { span.1 } else { "its whole time" },
    };
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}
