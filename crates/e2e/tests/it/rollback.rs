//! P1: a broker that loses what it acknowledged loses no click.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{TestDatabase, until};

use crate::services::{LIMIT, Service};
use crate::stack::{Database, Link, Stack};

/// Clicks before the copy is made, after it, and after it was put back. The list of clicks shows 250 at once.
const CLICKS_EACH: u32 = 60;

#[tokio::test]
async fn no_click_is_lost_and_none_counted_twice_when_the_broker_comes_back_with_older_data() {
    let settings = [
        ("REDIRECT__SPOOL__SEGMENT_AGE_MAX", "200ms"),
        ("REDIRECT__SPOOL__CONFIRM_AFTER", "2s"),
        ("NATS__DUPLICATE_WINDOW", "1s"),
    ];
    let database = Database::Shared(TestDatabase::new().await);
    let mut stack = Stack::start_as(database, &settings).await;
    let link = stack.link(json!({})).await;
    let (visitors, clicked) = (stack.visitors.clone(), AtomicU32::new(0));
    visitors.click_while(&link, &clicked, CLICKS_EACH, std::future::ready(())).await;
    recorded_all(&stack, &link, clicked.load(Ordering::SeqCst)).await;

    // the broker takes clicks that nobody works off, and forgets that it did
    stack.services.kill(Service::Enrich).await;
    stack.nats.stop().await;
    let older = stack.nats.copy_data();
    stack.nats.restart().await;
    visitors.click_while(&link, &clicked, CLICKS_EACH, std::future::ready(())).await;
    let shipped = clicked.load(Ordering::SeqCst) as usize;
    until(LIMIT, async || (stack.nats.messages("CLICKS").await.len() == shipped).then_some(())).await;
    stack.nats.kill().await;
    stack.nats.replace_data(&older);

    // others fill the places that are free again
    let back = async {
        stack.nats.restart().await;
        stack.services.launch(Service::Enrich);
    };
    visitors.click_while(&link, &clicked, CLICKS_EACH, back).await;

    recorded_all(&stack, &link, clicked.into_inner()).await;
}

/// Waits until the clicks with numbers below `end` are recorded, each once and no other.
async fn recorded_all(stack: &Stack, link: &Link, end: u32) {
    let recorded = until(LIMIT, async || {
        let recorded = recorded(stack, link).await;
        (0..end).all(|number| recorded.contains_key(&number)).then_some(recorded)
    })
    .await;
    assert_eq!(recorded.len(), end as usize);
    assert!(recorded.values().all(|times| *times == 1), "{recorded:?}");
}

/// How often each number was recorded.
async fn recorded(stack: &Stack, link: &Link) -> BTreeMap<u32, u32> {
    let path = format!("/v1/clicks?link_id={}&limit=250", link.id);
    let (status, page) = stack.api(Method::GET, &path, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert_eq!(page["next_cursor"], Value::Null, "more clicks than are looked at");
    let mut recorded = BTreeMap::new();
    for click in page["data"].as_array().expect("a page") {
        let url = click["link"]["destination_url"].as_str().expect("a URL");
        let number = url.split_once("click=").and_then(|(_, number)| number.parse().ok()).expect("a number");
        *recorded.entry(number).or_default() += 1;
    }
    recorded
}
