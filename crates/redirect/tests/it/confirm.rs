//! A file of the spool stays until the database holds its clicks, and what is lost on the way is sent again.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bus::Message;
use chrono::Utc;
use model::automation::{Automation, Verdict};
use model::click::Enrichment;
use model::device::Device;
use model::location::Location;
use model::{Click, ClickId, EnrichedClick, EventId};
use redirect::Settings;
use store::clicks::NewClick;
use store::quarantine::Quarantined;
use testkit::{OwnDatabase, until};

use crate::house::{House, LIMIT, Running, options};

/// More messages than a consumer may have and not be behind.
const WAITING: usize = 10_001;

/// No test waits for it.
const NEVER: Duration = Duration::from_secs(3600);

/// Files are closed at once, and nothing is sent again.
fn settings(house: &House) -> Settings {
    let mut settings = house.settings();
    settings.redirect.spool.segment_age_max = Duration::from_millis(50);
    settings.redirect.spool.confirm_after = NEVER;
    settings.redirect.spool.unconfirmed_age_max = NEVER;
    // shorter than confirm_after, as it must be; the streams have the window that they were made with
    settings.nats.duplicate_window = Duration::from_millis(50);
    settings
}

async fn record(house: &House, clicks: &[Click]) {
    let enriched: Vec<EnrichedClick> = clicks.iter().map(enriched).collect();
    let new: Vec<_> = enriched.iter().map(|click| NewClick { click, event: b"" }).collect();
    let mut conn = house.pool.get().await.expect("the database runs");
    store::clicks::record(&mut conn, &new, Utc::now()).await.expect("recorded");
}

fn enriched(click: &Click) -> EnrichedClick {
    EnrichedClick {
        event_id: EventId::of_click(click.id, 0),
        click: click.clone(),
        location: Location::default(),
        location_missing: None,
        device: Device::default(),
        automation: Automation {
            verdict: Verdict::Human,
            class: None,
            score: 0,
            reasons: Vec::new(),
            ruleset: "1".into(),
        },
        is_first_click: None,
        redacted_fields: Vec::new(),
        enrichment: Enrichment::default(),
        enriched_at: Utc::now(),
        test: false,
        earlier: Vec::new(),
        first_click_before: None,
        is_erased: false,
    }
}

async fn put_aside(house: &House, id: ClickId) {
    let message = Quarantined {
        stream: "CLICKS".into(),
        stream_sequence: 1,
        message_id: Some(id.to_string()),
        consumer: "enrich".into(),
        subject: "s".into(),
        reason: "r".into(),
        payload: Vec::new(),
        quarantined_at: Utc::now(),
        removed_at: None,
    };
    let mut conn = house.pool.get().await.expect("the database runs");
    store::quarantine::insert(&mut conn, &[message]).await.expect("kept");
}

/// Files of the spool with this extension that hold clicks.
fn files(house: &House, extension: &str) -> Vec<PathBuf> {
    let mut files = house.spool_files(extension);
    files.retain(|path| fs::metadata(path).is_ok_and(|file| file.len() > 16));
    files
}

async fn no_file_is_left(house: &House) {
    until(LIMIT, async || files(house, "spool").is_empty().then_some(())).await;
}

/// So that the stream does not take a click that is published again for the first.
async fn forget_ids_soon(house: &House) {
    let forgetful = bus::Settings { duplicate_window: Duration::from_millis(100), ..house.nats.settings() };
    let bus = bus::Bus::connect(&forgetful, "test").await.expect("a URL");
    bus.setup().await.expect("the streams are changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_stays_until_its_clicks_are_recorded_or_in_quarantine() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let redirect = Running::start(settings(&house)).await;
    redirect.click(30).await;
    let clicks = house.clicks_when(30).await;

    redirect.metric_is("spool_unconfirmed_clicks", 30.0).await;
    record(&house, &clicks[1..]).await;
    redirect.metric_is("spool_unconfirmed_clicks", 1.0).await;

    assert_eq!(files(&house, "spool").len(), 1);
    put_aside(&house, clicks[0].id).await;
    no_file_is_left(&house).await;
    redirect.metric_is("spool_unconfirmed_clicks", 0.0).await;
    assert_eq!(redirect.metric("clicks_confirmed_total"), 30.0);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_does_not_get_is_published_again_under_its_id() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = settings(&house);
    settings.redirect.spool.confirm_after = Duration::from_millis(500);
    forget_ids_soon(&house).await;
    let redirect = Running::start(settings).await;
    redirect.click(10).await;
    let clicks = house.clicks_when(10).await;
    record(&house, &clicks[..7]).await;
    let missing: BTreeSet<ClickId> = clicks[7..].iter().map(|click| click.id).collect();

    let again = until(LIMIT, async || {
        let again = house.clicks().await.split_off(10);
        (again.len() >= 3).then_some(again)
    })
    .await;

    assert_eq!(again.iter().map(|click| click.id).collect::<BTreeSet<_>>(), missing);
    assert!(again.iter().all(|click| clicks.contains(click)));
    assert!(redirect.metric("clicks_republished_total") >= 3.0);
    record(&house, &again).await;
    no_file_is_left(&house).await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_published_again_keeps_no_other_file_from_being_confirmed() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = settings(&house);
    settings.redirect.spool.confirm_after = Duration::from_millis(500);
    forget_ids_soon(&house).await;
    let redirect = Running::start(settings).await;
    let mut count = 0;
    while files(&house, "spool").len() < 2 {
        redirect.click(1).await;
        count += 1;
    }
    let clicks = house.clicks_when(count).await;
    house.nats.leave_room("CLICKS", 0).await;
    until(LIMIT, async || (redirect.metric("publish_failures_total") > 0.0).then_some(())).await;

    // it is the only one in its file
    record(&house, &clicks[count - 1..]).await;

    redirect.metric_is("clicks_confirmed_total", 1.0).await;
    until(LIMIT, async || (files(&house, "spool").len() == 1).then_some(())).await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_again_before_the_stream_was_full_is_not_published_once_more() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = settings(&house);
    settings.redirect.spool.segment_age_max = Duration::from_secs(1);
    settings.redirect.spool.confirm_after = Duration::from_millis(500);
    settings.redirect.spool.window_max = 2;
    forget_ids_soon(&house).await;
    let redirect = Running::start(settings).await;
    redirect.click(6).await;
    let clicks = house.clicks_when(6).await;
    assert_eq!(files(&house, "spool").len(), 1);

    for _ in 0..2 {
        house.nats.leave_room("CLICKS", 2).await;
        let failures = redirect.metric("publish_failures_total");
        until(LIMIT, async || {
            let is_full = redirect.metric("publish_failures_total") > failures;
            (is_full && redirect.metric("clicks_republished_total") % 2.0 == 0.0).then_some(())
        })
        .await;
    }
    house.nats.leave_room("CLICKS", 1000).await;

    let again = until(LIMIT, async || {
        let again = house.clicks().await.split_off(6);
        (again.len() >= 6).then_some(again)
    })
    .await;
    assert_eq!(again[..6], clicks);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_consumers_behind_nothing_is_published_again() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = settings(&house);
    settings.redirect.spool.confirm_after = Duration::from_millis(100);
    let bus = house.nats.bus("test").await;
    // what nobody takes from ENRICHED
    let template = some_click(&house).await;
    let waiting = |_| enriched(&Click { id: ClickId::generate(), ..template.clone() }).outgoing();
    let results = bus.publisher().publish_all((0..WAITING).map(waiting).collect()).await;
    assert!(results.iter().all(Result::is_ok));
    let redirect = Running::start(settings).await;

    redirect.click(3).await;
    redirect.metric_is("spool_unconfirmed_clicks", 4.0).await;
    // each of these is asked for after the three were, and more than confirm_after passes
    for count in 1..=10 {
        redirect.click(1).await;
        let clicks = house.clicks_when(4 + count).await;
        record(&house, &clicks[4 + count - 1..]).await;
        redirect.metric_is("clicks_confirmed_total", count as f64).await;
    }

    assert_eq!(redirect.metric("clicks_republished_total"), 0.0);
    redirect.stop().await;
}

/// A click that went through a redirect, which has stopped.
async fn some_click(house: &House) -> Click {
    let redirect = Running::start(settings(house)).await;
    redirect.click(1).await;
    let click = house.clicks_when(1).await.remove(0);
    redirect.stop().await;
    click
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_process_shipped_is_confirmed_too() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let redirect = Running::start(settings(&house)).await;
    redirect.click(20).await;
    let clicks = house.clicks_when(20).await;
    redirect.stop().await;
    assert!(!files(&house, "spool").is_empty());

    let redirect = Running::start(settings(&house)).await;
    redirect.metric_is("spool_unconfirmed_clicks", 20.0).await;
    record(&house, &clicks).await;

    no_file_is_left(&house).await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_database_away_files_stay_and_visitors_do_not_notice() {
    let mut database = OwnDatabase::start().await;
    let house = House::with(database.settings()).await;
    house.link("abc", options()).await;
    let redirect = Running::start(settings(&house)).await;
    redirect.click(1).await;
    database.kill().await;

    redirect.click(20).await;
    let clicks = house.clicks_when(21).await;

    redirect.metric_is("spool_unconfirmed_clicks", 21.0).await;
    database.restart().await;
    until(LIMIT, async || house.pool.get().await.ok().map(drop)).await;
    record(&house, &clicks).await;
    no_file_is_left(&house).await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowded_spool_lets_go_of_unconfirmed_files_and_counts_their_clicks() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = settings(&house);
    settings.redirect.spool.segment_age_max = NEVER;
    settings.redirect.spool.segment_bytes_max = 64 * 1024;
    settings.redirect.spool.bytes_max = 256 * 1024;
    let redirect = Running::start(settings).await;

    redirect.click(1500).await;

    house.clicks_when(1500).await;
    until(LIMIT, async || {
        let freed = redirect.metric("clicks_freed_unconfirmed_total");
        // what was never spooled went to the broker from memory
        let rest = redirect.metric("clicks_spooled_total") - freed;
        (freed > 0.0 && redirect.metric("spool_unconfirmed_clicks") == rest).then_some(())
    })
    .await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clicks_that_never_arrive_are_put_aside_and_not_deleted() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = settings(&house);
    settings.redirect.spool.confirm_after = Duration::from_millis(200);
    settings.redirect.spool.unconfirmed_age_max = Duration::from_millis(200);
    let redirect = Running::start(settings).await;

    redirect.click(5).await;
    redirect.metric_is("clicks_put_aside_total", 5.0).await;

    assert!(redirect.metric("clicks_republished_total") >= 5.0);
    assert!(!files(&house, "unconfirmed").is_empty());
    assert!(files(&house, "spool").is_empty());
    redirect.stop().await;
}
