//! P1 to P4 when it gets rough: the redirect and deliver are killed over and over, the broker is away for long, or frozen.
//!
//! `scripts/test` runs these small; `scripts/chaos` runs them at full length.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bus::Message as _;
use model::Click;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Subscriber, until};

use crate::crash::assert_all_arrived;
use crate::services::{LIMIT, Service};
use crate::stack::{Stack, VISITORS};

/// How often the redirect is killed, and the variable that says otherwise.
const KILLS: (u32, &str) = (20, "CLICKWIRE_CHAOS_KILLS");

/// How many seconds the broker is away at least, and the variable that says otherwise.
const OUTAGE_SECONDS: (u32, &str) = (0, "CLICKWIRE_CHAOS_OUTAGE_SECONDS");

/// Clicks between two kills, so that each meets a redirect at work.
const CLICKS_EACH: u32 = 40;

/// Clicks while the broker is away or frozen; more if that takes longer.
const CLICKS_OF_OUTAGE: u32 = 400;

/// Requests to one endpoint at a time.
const IN_FLIGHT_MAX: usize = 32;

/// So many deliveries may be doubled by a kill: those without an answer, and as many whose answer is not stored yet.
const DOUBLED_MAX: usize = 2 * IN_FLIGHT_MAX;

/// How long the slower of two subscribers takes, so that kills meet requests without an answer.
const ANSWERED_AFTER: Duration = Duration::from_millis(100);

/// A number that a variable may say; the usual one without it.
pub fn amount((usual, variable): (u32, &str)) -> u32 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")),
        Err(_) => usual,
    }
}

/// Says after every tenth kill how far it is.
fn tell_progress(kill: u32, kills: u32, clicked: &AtomicU32, began: Instant) {
    if kill.is_multiple_of(10) || kill == kills {
        let (clicks, seconds) = (clicked.load(Ordering::SeqCst), began.elapsed().as_secs());
        eprintln!("{kill} of {kills} kills, {clicks} clicks, {seconds} s");
    }
}

#[tokio::test]
async fn no_click_is_lost_in_a_storm_of_kills() {
    let mut stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;
    let (visitors, clicked) = (stack.visitors.clone(), AtomicU32::new(0));
    let (kills, began) = (amount(KILLS), Instant::now());

    for kill in 1..=kills {
        let crash = async {
            stack.services.kill(Service::Redirect).await;
            stack.services.launch(Service::Redirect);
            stack.services.wait_ready(Service::Redirect).await;
        };
        visitors.click_while(&link, &clicked, CLICKS_EACH, crash).await;
        tell_progress(kill, kills, &clicked, began);
    }

    assert_all_arrived(&subscriber, clicked.into_inner(), VISITORS * kills as usize).await;
}

/// Killed before the answer to a request, after one, and after a result was stored, in turn.
#[tokio::test]
async fn no_delivery_is_lost_and_few_are_doubled_in_a_storm_of_kills() {
    let mut stack = Stack::start().await;
    let quick = Subscriber::start(Answer::Status(200)).await;
    let slow = Subscriber::start(Answer::Late(ANSWERED_AFTER)).await;
    for subscriber in [&quick, &slow] {
        stack.endpoint(subscriber, json!({ "max_in_flight": IN_FLIGHT_MAX })).await;
    }
    let link = stack.link(json!({})).await;
    let (visitors, clicked) = (stack.visitors.clone(), AtomicU32::new(0));
    let (kills, began) = (amount(KILLS), Instant::now());

    for kill in 1..=kills {
        let crash = async {
            match kill % 3 {
                0 => one_more(&slow).await,
                1 => one_more(&quick).await,
                _ => one_more_is_stored(&stack).await,
            }
            stack.services.kill(Service::Deliver).await;
            stack.services.launch(Service::Deliver);
            stack.services.wait_ready(Service::Deliver).await;
        };
        visitors.click_while(&link, &clicked, CLICKS_EACH, crash).await;
        tell_progress(kill, kills, &clicked, began);
    }

    let clicks = clicked.into_inner();
    for subscriber in [&quick, &slow] {
        assert_all_arrived(subscriber, clicks, 0).await;
        let doubled = subscriber.count() - clicks as usize;
        eprintln!("{clicks} clicks, {doubled} deliveries doubled by {kills} kills");
        assert!(doubled <= DOUBLED_MAX * kills as usize, "{doubled} deliveries were doubled");
    }
}

/// Waits until one more request has come.
async fn one_more(subscriber: &Subscriber) {
    let before = subscriber.count();
    until(LIMIT, || async { (subscriber.count() > before).then_some(()) }).await;
}

/// Waits until the result of one more delivery is stored.
async fn one_more_is_stored(stack: &Stack) {
    let newest = async || {
        let (_, page) = stack.api(Method::GET, "/v1/deliveries?status=delivered&limit=1", Value::Null).await;
        page["data"][0]["id"].clone()
    };
    let before = newest().await;
    until(LIMIT, || async { (newest().await != before).then_some(()) }).await;
}

/// Acceptance test 7 of links and clicks.
#[tokio::test]
async fn clicks_that_waited_for_the_broker_arrive_all_and_in_order() {
    let mut stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;
    let (visitors, clicked) = (stack.visitors.clone(), AtomicU32::new(0));
    visitors.click_while(&link, &clicked, 100, std::future::ready(())).await;

    stack.nats.kill().await;
    let outage = tokio::time::sleep(Duration::from_secs(amount(OUTAGE_SECONDS).into()));
    visitors.click_while(&link, &clicked, CLICKS_OF_OUTAGE, outage).await;
    visitors.click_while(&link, &clicked, 100, stack.nats.restart()).await;

    assert_all_arrived(&subscriber, clicked.into_inner(), 0).await;
    assert_in_order(&stack).await;
}

#[tokio::test]
async fn a_frozen_broker_holds_no_visitor_up() {
    let stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;
    let (visitors, clicked) = (stack.visitors.clone(), AtomicU32::new(0));
    visitors.click_while(&link, &clicked, 50, std::future::ready(())).await;

    stack.nats.pause();
    // each of them is redirected: `click_while` waits for every answer
    visitors.click_while(&link, &clicked, CLICKS_OF_OUTAGE, std::future::ready(())).await;
    stack.nats.resume();

    assert_all_arrived(&subscriber, clicked.into_inner(), 0).await;
}

/// On CLICKS the clicks stand in the order in which they were made.
async fn assert_in_order(stack: &Stack) {
    let clicks: Vec<Click> = until(LIMIT, || async {
        let messages = stack.nats.messages("CLICKS").await;
        Some(messages.iter().map(|(_, payload)| Click::decode(payload).expect("a click")).collect())
    })
    .await;
    let mut last = BTreeMap::new();
    for click in &clicks {
        let before = last.insert(click.link.id, click.clicked_at);
        // two workers' batches of one moment may stand either way round
        assert!(before.is_none_or(|before| before <= click.clicked_at), "{} came too late", click.id);
    }
}
