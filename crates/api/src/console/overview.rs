//! Overview: what happened today, and whether webhooks arrive.

use actix_web::get;
use actix_web::web::Data;
use askama::Template;
use chrono::{NaiveTime, Utc};

use store::click_log::{ClickCounts, ClickFilter};
use store::links::LinkFilter;

use super::view::{Chip, ClickRow, Layout, click_row, endpoint_chip, html};
use super::{PageResult, Signed, session};
use crate::app::Shared;
use crate::auth::Scope;
use crate::desk::{clicks, endpoints, links};
use crate::page::PageRequest;

/// Clicks that are shown.
const CLICKS_SHOWN: i64 = 10;
/// Endpoints that are shown.
const ENDPOINTS_SHOWN: i64 = 5;

pub struct EndpointLine {
    pub id: String,
    pub url: String,
    pub chip: Chip,
    pub sentence: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    layout: Layout,
    counts: ClickCounts,
    clicks: Vec<ClickRow>,
    endpoints: Vec<EndpointLine>,
    has_links: bool,
}

#[get("/")]
pub async fn page(signed: Signed, shared: Data<Shared>) -> PageResult {
    let caller = &signed.caller;
    let now = Utc::now();
    let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    let mut page = OverviewPage {
        layout: signed.layout("overview"),
        counts: ClickCounts::default(),
        clicks: Vec::new(),
        endpoints: Vec::new(),
        has_links: true,
    };
    if caller.may(Scope::ClicksRead) {
        page.counts = clicks::count_since(&shared, caller, midnight).await?;
        let asked =
            clicks::Asked { filter: ClickFilter::default(), page: PageRequest::first(CLICKS_SHOWN - 1) };
        let rows = clicks::list(&shared, caller, &asked).await?;
        page.clicks = rows.iter().map(|shown| click_row(shown, now)).collect();
    }
    if caller.may(Scope::EndpointsRead) {
        let rows = endpoints::list(&shared, caller, &PageRequest::first(ENDPOINTS_SHOWN - 1)).await?;
        page.endpoints = rows
            .iter()
            .map(|endpoint| {
                let (chip, sentence) = endpoint_chip(endpoint, now);
                EndpointLine {
                    id: endpoint.id.to_string(),
                    url: endpoint.options.url.to_string(),
                    chip,
                    sentence,
                }
            })
            .collect();
    }
    if caller.may(Scope::LinksRead) {
        let any = LinkFilter::default();
        page.has_links = !links::list(&shared, caller, &any, &PageRequest::first(0)).await?.is_empty();
    }
    Ok(session::taken(&shared, html(&page), signed.flash.as_ref()))
}
