//! Causes that no process makes at will, as the page of a link tells them. The others are made, and looked for wherever they are
//! told, in the tests across services (`troubleshooting.rs`).

use chrono::{TimeDelta, Utc};
use model::EnrichedClick;
use model::click::{Enrichment, LocationMissing};
use model::ownership::OwnershipCheck;
use store::deliveries::Progress;

use crate::console::Browser;
use crate::console_hooks::delivery;
use crate::harness::{Api, enriched_click_at, record};

/// A link that is clicked again and again, each time later.
struct Clicked<'a> {
    api: &'a Api,
    link: String,
    browser: Browser<'a>,
    clicks: i64,
}

impl<'a> Clicked<'a> {
    async fn new(api: &'a Api) -> Self {
        Self { api, link: api.link().await, browser: Browser::signed_in(api).await, clicks: 0 }
    }

    async fn click(&mut self, change: impl Fn(&mut EnrichedClick)) -> EnrichedClick {
        self.clicks += 1;
        let at = Utc::now() + TimeDelta::seconds(self.clicks);
        let mut click = enriched_click_at(self.api.workspace_id, &self.link, at);
        change(&mut click);
        record(self.api, std::slice::from_ref(&click)).await;
        click
    }

    async fn is_told(&mut self, code: &str) {
        let (status, page) = self.browser.open(&format!("/links/{}", self.link)).await;
        let (_, finding) =
            page.split_once(&format!("data-code=\"{code}\"")).unwrap_or_else(|| panic!("{code}: {page}"));
        let finding = finding.split("</li>").next().unwrap_or_default();
        assert!(status == 200 && finding.contains("What to do:"), "{code}: {finding}");
        assert!(!finding.contains('`'), "what is typed is set as code: {finding}");
        assert!(finding.contains(&format!("/docs/troubleshooting#{code}")), "{code}: {finding}");
    }
}

#[tokio::test]
async fn what_a_payload_lacks_is_told() {
    let api = Api::start().await;
    api.endpoint().await;
    let mut clicked = Clicked::new(&api).await;

    clicked.click(|click| click.enrichment = Enrichment::Partial).await;
    clicked.is_told("partial").await;
    clicked.is_told("broker_away").await;
    clicked.click(|click| click.location_missing = Some(LocationMissing::NotFound)).await;
    clicked.is_told("location_not_found").await;
    clicked.click(|click| click.is_erased = true).await;
    clicked.is_told("erased").await;
}

#[tokio::test]
async fn what_became_of_a_delivery_is_told() {
    let api = Api::start().await;
    let endpoint = api.endpoint().await;
    let mut clicked = Clicked::new(&api).await;
    let failed = |status, error| Progress {
        attempt_count: 1,
        last_status: status,
        last_error: Some(error),
        ..Progress::due(Utc::now() + TimeDelta::hours(1), None)
    };

    for (status, error, code) in [
        (Some(410), "status", "answer_gone"),
        (None, "event_lost", "event_lost"),
        (None, "of a newer release", "failed"),
    ] {
        let click = clicked.click(|_| {}).await;
        delivery(&api, &endpoint, &click, failed(status, error)).await;
        clicked.is_told(code).await;
    }
    let click = clicked.click(|_| {}).await;
    delivery(&api, &endpoint, &click, Progress::offered(None)).await;
    clicked.is_told("offered").await;
    let click = clicked.click(|_| {}).await;
    delivery(&api, &endpoint, &click, Progress::due(Utc::now(), None)).await;
    api.delete(&format!("/v1/webhook-endpoints/{endpoint}")).await;
    clicked.is_told("endpoint_removed").await;
}

#[tokio::test]
async fn a_webhook_that_is_not_verified_is_told_to_be_slow_for_that() {
    let api = Api::start_with(|settings| settings.deliver.ownership = OwnershipCheck::Required).await;
    let endpoint = api.endpoint().await;
    let mut clicked = Clicked::new(&api).await;

    let click = clicked.click(|_| {}).await;
    delivery(&api, &endpoint, &click, Progress::due(Utc::now(), None)).await;

    clicked.is_told("unverified").await;
}
