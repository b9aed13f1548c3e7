//! The queries under load and in competition.

use std::collections::{HashMap, HashSet};

use chrono::{Duration, Utc};
use model::delivery::DeliveryStatus;
use model::event_type::LINK_CLICKED;
use model::{BatchId, DeliveryId, EndpointId, EventId, WorkspaceId};
use store::batches::{self, NewBatch};
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::leases::{self, Finished};
use store::standing;
use testkit::TestDatabase;
use uuid::Uuid;

fn pending(due_in: Duration) -> Progress {
    Progress::due(Utc::now() + due_in, Some(b"{}".to_vec()))
}

fn waiting(endpoint_id: EndpointId, due_in: Duration) -> NewDelivery {
    let event_id = EventId::generate();
    NewDelivery {
        id: DeliveryId::generate_at(event_id.timestamp()),
        workspace_id: WorkspaceId::generate(),
        owed: Owed { endpoint_id, event_id },
        event_type: LINK_CLICKED,
        click_id: None,
        told_revision: 0,
        progress: pending(due_in),
        leased_until: None,
        line: None,
    }
}

fn me() -> Uuid {
    Uuid::from_u128(rand::random())
}

#[tokio::test]
async fn two_couriers_never_lease_the_same_delivery() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let (mut one, mut two) = (pool.get().await.expect("one"), pool.get().await.expect("two"));
    let endpoint = EndpointId::generate();
    let new: Vec<_> = (0..100).map(|_| waiting(endpoint, -Duration::seconds(1))).collect();
    deliveries::insert(&mut one, &new, &[], me(), Utc::now()).await.expect("an insert");

    let (now, until) = (Utc::now(), Utc::now() + Duration::seconds(5));
    let wanted = [(endpoint, 60)];
    let (a, b) = tokio::join!(
        leases::lease_due(&mut one, &wanted, me(), now, until),
        leases::lease_due(&mut two, &wanted, me(), now, until),
    );

    let ids: Vec<DeliveryId> =
        a.expect("a lease").into_iter().chain(b.expect("a lease")).map(|l| l.id).collect();
    assert_eq!(ids.len(), ids.iter().collect::<HashSet<_>>().len());
    assert!(ids.len() >= 60);
}

#[tokio::test]
async fn a_result_is_only_taken_from_whoever_holds_the_lease() {
    let database = TestDatabase::new().await;
    let mut conn = database.pool().get().await.expect("a connection");
    let delivery = waiting(EndpointId::generate(), -Duration::seconds(1));
    let (first, second, now) = (me(), me(), Utc::now());
    deliveries::insert(&mut conn, std::slice::from_ref(&delivery), &[], first, now).await.expect("an insert");
    let wanted = [(delivery.owed.endpoint_id, 10)];
    let until = now + Duration::seconds(5);
    let leased = leases::lease_due(&mut conn, &wanted, first, now, until).await.expect("a lease");
    assert!(leased.len() == 1 && !leased[0].is_taken_over);
    assert!(leases::lease_due(&mut conn, &wanted, second, now, until).await.expect("a lease").is_empty());

    // the first one freezes, and its lease ends
    let later = until + Duration::seconds(1);
    let leased = leases::lease_due(&mut conn, &wanted, second, later, later + Duration::seconds(5)).await;
    let taken_over: Vec<bool> = leased.expect("a lease").iter().map(|leased| leased.is_taken_over).collect();
    assert_eq!(taken_over, [true]);

    let finished = Finished {
        id: delivery.id,
        workspace_id: delivery.workspace_id,
        owed: delivery.owed,
        progress: Progress {
            status: DeliveryStatus::Dead,
            next_attempt_at: None,
            finished_at: Some(later),
            ..delivery.progress
        },
    };
    let finished = [finished];
    let late = leases::finish(&mut conn, &finished, &[], first, later).await.expect("a query");
    assert!(late.is_empty());
    let in_time = leases::finish(&mut conn, &finished, &[], second, later).await.expect("a query");
    assert_eq!(in_time.len(), 1);
    let twice = leases::finish(&mut conn, &finished, &[], second, later).await.expect("a query");
    assert!(twice.is_empty());
}

#[tokio::test]
async fn each_endpoint_with_waiting_deliveries_is_found_once_with_its_earliest() {
    let database = TestDatabase::new().await;
    let mut conn = database.pool().get().await.expect("a connection");
    let (busy, quiet) = (EndpointId::generate(), EndpointId::generate());
    let mut new: Vec<_> = (0..500).map(|i| waiting(busy, Duration::seconds(i))).collect();
    new.push(waiting(quiet, Duration::hours(1)));
    deliveries::insert(&mut conn, &new, &[], me(), Utc::now()).await.expect("an insert");

    let found = leases::waiting(&mut conn, None, 10).await.expect("a query");

    let ids: HashSet<EndpointId> = found.iter().map(|w| w.endpoint_id).collect();
    assert_eq!((found.len(), ids), (2, HashSet::from([busy, quiet])));
    let earliest = found.iter().find(|w| w.endpoint_id == busy).expect("the busy one").due_at;
    assert!(earliest <= Utc::now());
    // a look that shows one of them, and the next
    let one = leases::waiting(&mut conn, None, 1).await.expect("a query");
    let next = leases::waiting(&mut conn, Some(one[0].endpoint_id), 1).await.expect("a query");
    let end = leases::waiting(&mut conn, Some(next[0].endpoint_id), 1).await.expect("a query");
    assert_eq!((vec![one[0], next[0]], end), (found.clone(), vec![]));
    assert_eq!(deliveries::count_waiting(&mut conn, 100).await.expect("a count"), 100);
}

#[tokio::test]
async fn what_exists_is_known_before_a_batch_is_sent() {
    let database = TestDatabase::new().await;
    let mut conn = database.pool().get().await.expect("a connection");
    let (known, new) = (
        waiting(EndpointId::generate(), Duration::zero()),
        waiting(EndpointId::generate(), Duration::zero()),
    );
    deliveries::insert(&mut conn, std::slice::from_ref(&known), &[], me(), Utc::now())
        .await
        .expect("an insert");

    let standing = standing::ask(&mut conn, &[known.owed, new.owed], Utc::now()).await.expect("a query");

    assert_eq!(standing.existing, HashMap::from([(known.owed, 0)]));
    assert_eq!(standing.untried, HashSet::from([known.owed]));
    assert!(standing.endpoints_version >= 1);
    let again = deliveries::insert(&mut conn, &[known], &[], me(), Utc::now()).await.expect("an insert");
    assert!(again.is_empty());
}

#[tokio::test]
async fn what_waits_or_is_in_hand_may_still_be_told_otherwise_and_what_is_in_a_batch_or_was_left_may_not() {
    let database = TestDatabase::new().await;
    let mut conn = database.pool().get().await.expect("a connection");
    let new: [NewDelivery; 4] =
        std::array::from_fn(|_| waiting(EndpointId::generate(), -Duration::seconds(1)));
    let now = Utc::now();
    deliveries::insert(&mut conn, &new, &[], me(), now).await.expect("an insert");
    let [waits, in_hand, left, in_batch] = &new;
    for (delivery, until) in [(in_hand, now + Duration::seconds(5)), (left, now)] {
        let wanted = [(delivery.owed.endpoint_id, 1)];
        let leased = leases::lease_due(&mut conn, &wanted, me(), now, until).await;
        assert_eq!(leased.expect("a lease").len(), 1);
    }
    let batch = NewBatch {
        id: BatchId::generate_at(in_batch.id.timestamp()),
        workspace_id: in_batch.workspace_id,
        endpoint_id: in_batch.owed.endpoint_id,
        is_replay: false,
        deliveries: vec![in_batch.id],
        body: b"{}".to_vec(),
    };
    batches::make(&mut conn, &batch, now).await.expect("a batch");

    let asked = [waits.owed, in_hand.owed, left.owed, in_batch.owed];
    let standing = standing::ask(&mut conn, &asked, now).await.expect("a query");

    assert_eq!(standing.existing.len(), 4);
    assert_eq!(standing.untried, HashSet::from([waits.owed, in_hand.owed]));
}
