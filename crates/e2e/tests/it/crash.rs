//! P1, P3 and P4: whatever is killed, no click that was answered is lost, and a duplicate is recognised.

use std::sync::atomic::AtomicU32;

use serde_json::json;
use testkit::{Answer, OwnDatabase, Subscriber, until};

use crate::services::{LIMIT, Service};
use crate::stack::{Arrived, Database, Stack, VISITORS, note_arrived};

/// Clicks while one process is killed and started again; more if that takes longer.
const CLICKS_EACH: u32 = 400;

#[tokio::test]
async fn no_click_is_lost_when_each_process_is_killed_in_turn() {
    let mut stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;
    let (visitors, clicked) = (stack.visitors.clone(), AtomicU32::new(0));

    for service in Service::ALL {
        let crash = async {
            stack.services.kill(service).await;
            stack.services.launch(service);
            stack.services.wait_ready(service).await;
        };
        visitors.click_while(&link, &clicked, CLICKS_EACH, crash).await;
    }

    assert_all_arrived(&subscriber, clicked.into_inner(), VISITORS).await;
}

#[tokio::test]
async fn no_click_is_lost_when_the_broker_is_killed() {
    let mut stack = Stack::start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;
    let (visitors, clicked) = (stack.visitors.clone(), AtomicU32::new(0));

    visitors.click_while(&link, &clicked, 200, stack.nats.kill()).await;
    visitors.click_while(&link, &clicked, 200, stack.nats.restart()).await;

    assert_all_arrived(&subscriber, clicked.into_inner(), 0).await;
}

#[tokio::test]
async fn no_click_is_lost_when_the_database_is_killed() {
    let mut stack = Stack::start_with(Database::Own(OwnDatabase::start().await)).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    stack.endpoint(&subscriber, json!({})).await;
    let link = stack.link(json!({})).await;
    let (visitors, clicked) = (stack.visitors.clone(), AtomicU32::new(0));
    let Database::Own(database) = &mut stack.database else { panic!("it was started with its own") };
    visitors.click_while(&link, &clicked, 100, std::future::ready(())).await;

    visitors.click_while(&link, &clicked, 200, database.kill()).await;
    visitors.click_while(&link, &clicked, 200, database.restart()).await;

    assert_all_arrived(&subscriber, clicked.into_inner(), 0).await;
}

/// Waits until every number below `end` has arrived, and looks at the ids they came under: all deliveries of one
/// click have one. A visitor whose answer was lost with the redirect has clicked twice, which are two clicks.
pub async fn assert_all_arrived(subscriber: &Subscriber, end: u32, clicked_twice_max: usize) {
    // each request is read once: the subscriber shares the thread with this
    let (mut arrived, mut read) = (Arrived::new(), 0);
    until(LIMIT, || {
        let new = subscriber.requests_from(read);
        read += new.len();
        note_arrived(&mut arrived, &new);
        let are_all_there = arrived.keys().copied().eq(0..end);
        async move { are_all_there.then_some(()) }
    })
    .await;
    let under_several_ids = arrived.values().filter(|ids| ids.len() > 1).count();
    assert!(under_several_ids <= clicked_twice_max, "{under_several_ids} clicks came under several ids");
}
