//! Checkpoints: what they cover, once and without gaps, and how a receiver proves with them that nothing is missing.

use std::collections::BTreeMap;

use chrono::Duration;
use model::checkpoint::Checkpoint;
use model::event_type::{ENDPOINT_CHECKPOINT, EventTypePattern};
use model::{EventId, LinkId};
use serde_json::Value;
use store::checkpoints::{self, Wanted};
use store::deliveries::NewDelivery;
use testkit::{Answer, Received, Subscriber, TestDatabase, until};

use crate::lines::Counted;
use crate::rig::{LIMIT, Rig};

impl Counted {
    /// Makes the checkpoint that is due after so many minutes.
    async fn close_after(&mut self, minutes: i64) -> Option<Checkpoint> {
        let (endpoint_id, workspace_id) = (self.endpoint_id, self.workspace_id);
        let wanted = [Wanted { endpoint_id, workspace_id, every: Duration::minutes(5) }];
        let now = self.now + Duration::minutes(minutes);
        let due = checkpoints::due(&mut self.conn, &wanted, now).await.expect("a query");
        match due.first() {
            Some(due) => checkpoints::close(&mut self.conn, due, now).await.expect("a query"),
            None => None,
        }
    }

    async fn listed(&mut self, after: u64) -> Vec<(u64, u64)> {
        let (workspace_id, endpoint_id) = (self.workspace_id, self.endpoint_id);
        let listed = checkpoints::list(&mut self.conn, workspace_id, endpoint_id, after, 10).await;
        let range =
            |closed: checkpoints::Closed| (closed.checkpoint.first_sequence, closed.checkpoint.last_sequence);
        listed.expect("a query").into_iter().map(range).collect()
    }
}

#[tokio::test]
async fn each_checkpoint_begins_where_the_one_before_ended_and_is_made_when_its_time_has_come() {
    let database = TestDatabase::new().await;
    let mut counted = Counted::begin(&database).await;
    let link = LinkId::generate();
    let new: Vec<NewDelivery> = (0..4).map(|n| counted.delivery(link, 60 - n)).collect();
    assert_eq!(counted.close_after(0).await, None, "nothing was owed");

    counted.store(&new[..3]).await;
    let first = counted.close_after(0).await.expect("a checkpoint");
    let ids: Vec<(u64, EventId)> = (1..).zip(new[..3].iter().map(|new| new.owed.event_id)).collect();
    assert_eq!(Some(&first), Checkpoint::of(&ids).as_ref());
    counted.store(&new[3..]).await;
    assert_eq!(counted.close_after(4).await, None, "it is not time");
    let second = counted.close_after(5).await.expect("a checkpoint");

    assert_eq!((second.first_sequence, second.last_sequence, second.count), (4, 4, 1));
    assert_eq!(counted.close_after(60).await, None, "nothing is new");
    assert_eq!((counted.listed(0).await, counted.listed(3).await), (vec![(1, 3), (4, 4)], vec![(4, 4)]));
    let old = counted.now + Duration::days(1);
    let removed = checkpoints::remove_old(&mut counted.conn, old, 10).await.expect("a query");
    assert_eq!((removed, counted.listed(0).await), (1, vec![(4, 4)]), "the last one stays");
}

#[tokio::test]
async fn the_telling_of_a_checkpoint_alone_makes_none_and_two_replicas_make_one() {
    let database = TestDatabase::new().await;
    let mut counted = Counted::begin(&database).await;
    let (link, now) = (LinkId::generate(), counted.now);
    let (click, later) = (counted.delivery(link, 9), counted.delivery(link, 1));
    let telling = NewDelivery { event_type: ENDPOINT_CHECKPOINT, ..counted.delivery(link, 5) };
    counted.store(&[click]).await;
    let (endpoint_id, workspace_id) = (counted.endpoint_id, counted.workspace_id);
    let wanted = [Wanted { endpoint_id, workspace_id, every: Duration::minutes(5) }];
    let due = checkpoints::due(&mut counted.conn, &wanted, now).await.expect("a query").remove(0);
    assert!(checkpoints::close(&mut counted.conn, &due, now).await.expect("a query").is_some());
    assert_eq!(checkpoints::close(&mut counted.conn, &due, now).await.expect("a query"), None);

    counted.store(&[telling]).await;
    assert_eq!(counted.close_after(10).await, None);
    counted.store(&[later]).await;
    let covered = counted.close_after(10).await.expect("a checkpoint");

    assert_eq!((covered.first_sequence, covered.last_sequence), (2, 3));
}

#[tokio::test]
async fn a_receiver_proves_with_what_it_was_sent_that_nothing_is_missing() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let types =
        ["link.clicked", "endpoint.*"].map(|text| text.parse::<EventTypePattern>().expect("a pattern"));
    rig.endpoint_with(&subscriber.url(), |options| {
        options.checkpoint_minutes = Some(1);
        options.event_types = types.to_vec();
    })
    .await;
    let other = Subscriber::start(Answer::Status(200)).await;
    rig.endpoint_with(&other.url(), |options| options.event_types = types.to_vec()).await;
    let running = rig.start().await;

    rig.publish_some(3).await;
    other.received(3).await;
    subscriber.received(3).await;
    until(LIMIT, || async { rig.told_of(ENDPOINT_CHECKPOINT).await.pop() }).await;
    rig.relay().await;
    let requests = subscriber.received(4).await;
    rig.all_told().await;
    running.stop().await;

    let is_telling =
        |request: &&Received| request.header("clickwire-event-type") == Some(ENDPOINT_CHECKPOINT);
    let told: Value =
        serde_json::from_slice(&requests.iter().find(is_telling).expect("one").body).expect("JSON");
    let number = |name: &str| told["data"][name].as_u64().expect("a number");
    let (first, last) = (number("first_sequence"), number("last_sequence"));
    let by_number: BTreeMap<u64, EventId> = requests.iter().map(numbered).collect();
    let covered: Vec<(u64, EventId)> = by_number.range(first..=last).map(|(n, id)| (*n, *id)).collect();
    assert_eq!(covered.len() as u64, number("count"));
    let recomputed = Checkpoint::of(&covered).expect("some");
    assert_eq!(Some(recomputed.sha256().as_str()), told["data"]["sha256"].as_str());
    assert_eq!(told["sequence"].as_u64(), by_number.keys().next_back().copied());
    assert_eq!(other.count(), 3, "a checkpoint is for whom it tells of");
}

fn numbered(request: &Received) -> (u64, EventId) {
    let header = |name| request.header(name).unwrap_or_else(|| panic!("{name}: {request:?}"));
    let number = header("clickwire-sequence").parse().expect("a number");
    (number, header("webhook-id").parse().expect("an id"))
}
