//! Clicks outlive the broker's absence, restarts and torn files.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;

use redirect::App;
use redirect::settings::SyncMode;
use testkit::until;

use crate::client::get;
use crate::house::{House, LIMIT, Running, options};

/// A house whose broker is away and whose redirect has stopped, with as many clicks in its spool.
async fn with_clicks_left(count: usize) -> House {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.drain_timeout = Duration::from_millis(100);
    house.nats.kill().await;
    let redirect = Running::start(settings).await;
    redirect.click(count).await;
    redirect.stop().await;
    house
}

/// Acceptance test 7 of links and clicks.
#[tokio::test(flavor = "multi_thread")]
async fn clicks_wait_for_the_broker_and_arrive_once() {
    let mut house = House::new().await;
    house.link("abc", options()).await;
    let redirect = house.start().await;
    redirect.click(50).await;
    house.clicks_when(50).await;

    house.nats.kill().await;
    redirect.click(200).await;
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
    redirect.click(20).await;
    house.clicks_when(20).await;
    house.nats.kill().await;
    redirect.click(100).await;
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
    redirect.click(100).await;

    redirect.stop().await;

    assert_eq!(house.clicks().await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_costs_nothing_that_was_answered() {
    let mut house = with_clicks_left(30).await;

    let last = house.spool_files("spool").pop().expect("a file");
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
    let mut house = with_clicks_left(30).await;

    let last = house.spool_files("spool").pop().expect("a file");
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
    let mut house = with_clicks_left(30).await;
    // the system refuses to read it, whoever asks
    let first = house.spool_files("spool").remove(0);
    fs::rename(&first, first.with_file_name("0000000000000009.spool")).expect("renamed");
    fs::create_dir(first).expect("made");

    house.nats.restart().await;
    let redirect = house.start().await;

    let said = until(LIMIT, async || redirect.complaint("redirect_spool")).await;
    assert!(said.contains("cannot be read"), "{said}");
    assert_eq!(house.clicks_when(30).await.len(), 30);
    until(LIMIT, async || redirect.complaint("redirect_spool").is_none().then_some(())).await;
    redirect.stop().await;
}

/// A redirect whose spool holds a few hundred clicks.
async fn with_small_spool(house: &House) -> Running {
    let mut settings = house.settings();
    settings.redirect.spool.segment_bytes_max = 64 * 1024;
    settings.redirect.spool.bytes_max = 256 * 1024;
    Running::start(settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_makes_room_as_soon_as_clicks_are_shipped() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let redirect = with_small_spool(&house).await;

    // some of them more than the spool holds
    redirect.click(1500).await;

    assert_eq!(house.clicks_when(1500).await.len(), 1500);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_spool_clicks_wait_in_memory_for_a_stream_that_takes_nothing_for_a_while() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let redirect = with_small_spool(&house).await;
    redirect.click(1).await;
    house.clicks_when(1).await;
    house.nats.leave_room("CLICKS", 0).await;

    redirect.click(1500).await;
    assert!(redirect.metric("clicks_in_memory") > 0.0);
    // the pauses between them double
    until(LIMIT, async || (redirect.metric("publish_failures_total") >= 6.0).then_some(())).await;
    house.nats.leave_room("CLICKS", 10_000).await;

    assert_eq!(house.clicks_when(1501).await.len(), 1501);
    redirect.metric_is("clicks_in_memory", 0.0).await;
    assert_eq!(redirect.metric("clicks_lost_total"), 0.0);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_spool_and_no_broker_visitors_are_sent_on() {
    let mut house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.drain_timeout = Duration::from_millis(100);
    settings.redirect.spool.segment_bytes_max = 64 * 1024;
    settings.redirect.spool.bytes_max = 256 * 1024;
    settings.redirect.spool.direct_max = 10;
    house.nats.kill().await;
    let redirect = Running::start(settings).await;

    redirect.click(1500).await;

    assert!(redirect.complaint("redirect_spool").is_some());
    assert!(redirect.metric("clicks_lost_total") > 0.0);
    let spooled = redirect.metric("clicks_spooled_total");
    assert_eq!(spooled + redirect.metric("clicks_unspooled_total"), 1500.0);

    // it must go on being asked; should nobody come, it sees for itself that there is room again
    until(LIMIT, async || redirect.is_ready().then_some(())).await;
    assert!(redirect.complaint("redirect_spool").is_some());
    house.nats.restart().await;
    until(LIMIT, async || redirect.complaint("redirect_spool").is_none().then_some(())).await;
    redirect.stop().await;
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
    futures::future::join_all((0..8).map(|_| redirect.click(25))).await;
    redirect.stop().await;
    // as a file is that was filled beforehand when the process is killed
    let last = house.spool_files("spool").pop().expect("a file");
    let length = fs::metadata(&last).expect("a file").len();
    OpenOptions::new().write(true).open(last).expect("writable").set_len(length + 3_000_000).expect("longer");

    house.nats.restart().await;
    let redirect = house.start().await;
    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);

    assert_eq!(house.clicks_when(201).await.len(), 201);
    assert_eq!(redirect.metric("spool_damaged_bytes_total"), 0.0);
    redirect.stop().await;
}
