//! Other services subscribe as `proto/README.md` says. (The one in Python is a receiver of `deploy/receivers`.)

use serde_json::json;
use testkit::until;
use tokio::sync::mpsc;

use crate::services::LIMIT;
use crate::stack::Stack;

#[path = "subscriber_example.rs"]
mod example;

/// What is generated from `proto/`.
#[allow(dead_code, reason = "the example needs one message of it")]
mod messages {
    include!(concat!(env!("OUT_DIR"), "/clickwire.events.v1.rs"));
}

const README: &str = include_str!("../../../../proto/README.md");
const EXAMPLE: &str = include_str!("subscriber_example.rs");

/// Clicks before the subscriber comes for the first time, and while it is away.
const CLICKS: usize = 5;

tokio::task_local! {
    /// Takes the ids that the example stores.
    static STORED: mpsc::UnboundedSender<String>;
}

/// What the example leaves to its reader.
async fn store_once(event_id: &str, click: &messages::EnrichedClick) -> Result<(), async_nats::Error> {
    assert_eq!(click.event_id, event_id);
    STORED.with(|stored| stored.send(event_id.to_owned()))?;
    Ok(())
}

#[test]
fn the_subscriber_in_rust_is_the_one_that_is_run() {
    let shown = README.split_once("```rust\n").and_then(|(_, rest)| rest.split_once("```")).expect("a block");

    assert!(EXAMPLE.ends_with(shown.0), "proto/README.md shows another program than subscriber_example.rs");
}

#[tokio::test]
async fn a_subscriber_that_goes_away_and_comes_back_is_given_every_click_of_a_person_once() {
    let stack = Stack::start().await;
    let link = stack.link(json!({})).await;
    let url = stack.nats.url().to_owned();
    let (stored, mut arrived) = mpsc::unbounded_channel();
    let follow = || {
        let (url, stored) = (url.clone(), stored.clone());
        tokio::spawn(STORED.scope(stored, async move { example::follow(&url).await }))
    };
    let mut ids = Vec::new();

    for round in 1..=2 {
        for _ in 0..CLICKS {
            stack.click(&link).await;
        }
        let following = follow();
        while ids.len() < round * CLICKS {
            let id = tokio::time::timeout(LIMIT, arrived.recv()).await.expect("the click arrives");
            ids.push(id.expect("somebody stores"));
        }
        // what was acknowledged is known to the broker when nothing is left
        until(LIMIT, || async { (left(&url).await == 0).then_some(()) }).await;
        following.abort();
    }

    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2 * CLICKS);
    assert!(arrived.try_recv().is_err());
}

/// Messages that the example's consumer has not acknowledged.
async fn left(url: &str) -> u64 {
    let client = async_nats::connect(url).await.expect("the server runs");
    let consumer: async_nats::jetstream::consumer::PullConsumer = async_nats::jetstream::new(client)
        .get_consumer_from_stream("ext-warehouse-clicks", "ENRICHED")
        .await
        .expect("the example made it");
    let info = consumer.cached_info();
    info.num_pending + u64::try_from(info.num_ack_pending).expect("few")
}
