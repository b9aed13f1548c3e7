//! Clicks outlive the broker's absence, restarts and torn files.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use redirect::App;
use redirect::settings::SyncMode;
use testkit::until;

use crate::client::{Browser, get};
use crate::house::{House, LIMIT, Running, options};

async fn click(redirect: &Running, count: usize) {
    let mut browser = Browser::connect(redirect.addr).await.expect("the redirect listens");
    for _ in 0..count {
        assert_eq!(browser.send("GET", "/abc", &[]).await.expect("an answer").status, 302);
    }
}

fn spool_files(house: &House) -> Vec<PathBuf> {
    let dir = house.settings().redirect.spool.dir;
    let entries = fs::read_dir(dir).expect("the spool").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "spool")).collect();
    files.sort();
    files
}

/// Acceptance test 7 of links and clicks.
#[tokio::test(flavor = "multi_thread")]
async fn clicks_wait_for_the_broker_and_arrive_once() {
    let mut house = House::new().await;
    house.link("abc", options()).await;
    let redirect = house.start().await;
    click(&redirect, 50).await;
    house.clicks_when(50).await;

    house.nats.kill().await;
    click(&redirect, 200).await;
    house.nats.restart().await;

    assert_eq!(house.clicks_when(250).await.len(), 250);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clicks_wait_for_the_next_start_and_arrive_once() {
    let mut house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.drain_timeout = Duration::from_millis(100);
    let redirect = Running::start(settings).await;
    click(&redirect, 20).await;
    house.clicks_when(20).await;
    house.nats.kill().await;
    click(&redirect, 100).await;
    redirect.stop().await;

    house.nats.restart().await;
    let redirect = house.start().await;

    assert_eq!(house.clicks_when(120).await.len(), 120);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_stops_ships_what_it_has() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let redirect = house.start().await;
    click(&redirect, 100).await;

    redirect.stop().await;

    assert_eq!(house.clicks().await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_costs_nothing_that_was_answered() {
    let mut house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.drain_timeout = Duration::from_millis(100);
    house.nats.kill().await;
    let redirect = Running::start(settings).await;
    click(&redirect, 30).await;
    redirect.stop().await;

    let last = spool_files(&house).pop().expect("a file");
    let whole = fs::read(&last).expect("readable");
    let torn = &whole[16..whole.len().min(16 + 100)];
    OpenOptions::new().append(true).open(last).and_then(|mut file| file.write_all(torn)).expect("writable");
    house.nats.restart().await;
    let redirect = house.start().await;

    assert_eq!(house.clicks_when(30).await.len(), 30);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_click_is_passed_over_and_the_others_arrive() {
    let mut house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.drain_timeout = Duration::from_millis(100);
    house.nats.kill().await;
    let redirect = Running::start(settings).await;
    click(&redirect, 30).await;
    redirect.stop().await;

    let last = spool_files(&house).pop().expect("a file");
    let mut bytes = fs::read(&last).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(last, bytes).expect("writable");
    house.nats.restart().await;
    let redirect = house.start().await;

    assert_eq!(house.clicks_when(29).await.len(), 29);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_keeps_no_click_of_another_and_readiness_tells_of_it() {
    let mut house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.drain_timeout = Duration::from_millis(100);
    house.nats.kill().await;
    let redirect = Running::start(settings).await;
    click(&redirect, 30).await;
    redirect.stop().await;
    // the system refuses to read it, whoever asks
    let first = spool_files(&house).remove(0);
    fs::rename(&first, first.with_file_name("0000000000000009.spool")).expect("renamed");
    fs::create_dir(first).expect("made");

    house.nats.restart().await;
    let ops = service::ops::Ops::new();
    let app = App::build_with(house.settings(), ops.clone()).await.expect("it starts");
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(app.run(stop.clone()));
    let told = || {
        let checks = ops.readiness().checks;
        checks.into_iter().find(|check| check.name == "redirect_spool").and_then(|check| check.error)
    };

    let said = until(LIMIT, async || told()).await;
    assert!(said.contains("cannot be read"), "{said}");
    assert_eq!(house.clicks_when(30).await.len(), 30);
    until(LIMIT, async || told().is_none().then_some(())).await;
    stop.cancel();
    running.await.expect("no panic").expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_makes_room_as_soon_as_clicks_are_shipped() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.spool.segment_bytes_max = 64 * 1024;
    settings.redirect.spool.bytes_max = 256 * 1024;
    let redirect = Running::start(settings).await;

    // some of them more than the spool holds
    click(&redirect, 1500).await;

    assert_eq!(house.clicks_when(1500).await.len(), 1500);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_spool_and_no_broker_visitors_are_sent_on() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.drain_timeout = Duration::from_millis(100);
    settings.redirect.spool.segment_bytes_max = 64 * 1024;
    settings.redirect.spool.bytes_max = 256 * 1024;
    settings.redirect.spool.direct_max = 10;
    house.nats.kill().await;
    let ops = service::ops::Ops::new();
    let app = App::build_with(settings, ops.clone()).await.expect("it starts");
    let (addr, stop) = (app.addr(), tokio_util::sync::CancellationToken::new());
    let running = tokio::spawn(app.run(stop.clone()));

    let mut browser = Browser::connect(addr).await.expect("the redirect listens");
    for _ in 0..1500 {
        assert_eq!(browser.send("GET", "/abc", &[]).await.expect("an answer").status, 302);
    }

    let full =
        ops.readiness().checks.into_iter().find(|check| check.name == "redirect_spool").expect("a check");
    assert!(full.error.is_some());
    let metrics = ops.registry().gather();
    let count = |name: &str| {
        let metric = metrics.iter().find(|metric| metric.name() == name).expect("a metric");
        metric.get_metric()[0].get_counter().get_value()
    };
    assert!(count("clickwire_redirect_clicks_lost_total") > 0.0);
    let spooled = count("clickwire_redirect_clicks_spooled_total");
    assert_eq!(spooled + count("clickwire_redirect_clicks_unspooled_total"), 1500.0);
    stop.cancel();
    running.await.expect("no panic").expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_do_not_share_a_spool() {
    let house = House::new().await;
    let redirect = house.start().await;

    let error = App::build(house.settings()).await.err().expect("refused").to_string();

    assert!(error.contains("another process uses the spool"), "{error}");
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_absent_at_the_start_is_no_reason_to_wait() {
    let mut house = House::new().await;
    house.link("abc", options()).await;
    house.nats.kill().await;
    let redirect = house.start().await;

    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);

    house.nats.restart().await;
    house.clicks_when(1).await;
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_click_flushed_clicks_wait_for_the_next_start_and_blank_ends_are_no_damage() {
    let mut house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.drain_timeout = Duration::from_millis(100);
    settings.redirect.spool.sync = SyncMode::Always;
    house.nats.kill().await;
    let redirect = Running::start(settings).await;
    futures::future::join_all((0..8).map(|_| click(&redirect, 25))).await;
    redirect.stop().await;
    // as a file is that was filled beforehand when the process is killed
    let last = spool_files(&house).pop().expect("a file");
    let length = fs::metadata(&last).expect("a file").len();
    OpenOptions::new().write(true).open(last).expect("writable").set_len(length + 3_000_000).expect("longer");

    house.nats.restart().await;
    let ops = service::ops::Ops::new();
    let app = App::build_with(house.settings(), ops.clone()).await.expect("it starts");
    let (addr, stop) = (app.addr(), tokio_util::sync::CancellationToken::new());
    let running = tokio::spawn(app.run(stop.clone()));
    assert_eq!(get(addr, "/abc", &[]).await.status, 302);

    assert_eq!(house.clicks_when(201).await.len(), 201);
    let registry = ops.registry().gather();
    let damaged =
        registry.iter().find(|metric| metric.name() == "clickwire_redirect_spool_damaged_bytes_total");
    assert_eq!(damaged.expect("a metric").get_metric()[0].get_counter().get_value(), 0.0);
    stop.cancel();
    running.await.expect("no panic").expect("a clean end");
}
