//! Endpoints that fetch their events: nothing is sent to them, and everything is there.

use bus::{Change, Table};
use chrono::Utc;
use futures::StreamExt as _;
use model::automation::Verdict;
use model::delivery::DeliveryStatus;
use model::{DeliveryId, EventId};
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::endpoints::{DeliveryMode, EndpointOptions};
use store::pulled::{self, Position};
use store::settling;
use testkit::{Answer, Script, Subscriber};

use crate::amendments::amended;
use crate::batching::{first_telling, insert};
use crate::rig::{LIMIT, Rig};

fn pulls(options: &mut EndpointOptions) {
    options.delivery = DeliveryMode::Pull;
}

#[tokio::test]
async fn what_is_fetched_is_stored_and_told_of_and_not_sent() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    let (pulling, _) = rig.endpoint_with(&subscriber.url(), pulls).await;
    let (sent_to, _) = rig.endpoint(&subscriber.url()).await;
    let mut notices = rig.bus.changes(Table::Deliveries);
    assert_eq!(notices.next().await, Some(Change::Reconnected));
    let running = rig.start().await;

    let click = rig.click();
    rig.publish(&click).await;

    let offered = rig.stand(DeliveryStatus::Offered, 1).await.remove(0);
    assert_eq!((offered.endpoint_id, offered.event_id), (pulling, click.event_id));
    let told = tokio::time::timeout(LIMIT, notices.next()).await.expect("in time");
    let changed = match told {
        Some(Change::Row(changed)) => changed,
        other => panic!("{other:?}"),
    };
    assert_eq!((changed.workspace_id, changed.keys), (rig.workspace_id, vec![pulling.to_string()]));
    let delivered = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);
    assert_eq!(delivered.endpoint_id, sent_to);
    rig.all_acknowledged().await;
    running.stop().await;
    assert_eq!(subscriber.count(), 1, "to the other");

    let mut conn = rig.pool.get().await.expect("a connection");
    let page = pulled::page(&mut conn, rig.workspace_id, pulling, Position::beginning(), 10).await;
    let bodies: Vec<_> = page.expect("a page").into_iter().map(|row| row.body).collect();
    assert_eq!(bodies, [Some(webhook::payload::link_clicked(&click))], "as it would be sent");
}

#[tokio::test]
async fn what_waits_for_an_endpoint_that_begins_to_fetch_is_there_for_it() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    let (pulling, _) = rig.endpoint_with(&subscriber.url(), pulls).await;
    let event_id = EventId::generate();
    let waiting = NewDelivery {
        line: None,
        id: DeliveryId::generate_at(event_id.timestamp()),
        workspace_id: rig.workspace_id,
        owed: Owed { endpoint_id: pulling, event_id },
        event_type: model::event_type::LINK_CLICKED,
        click_id: None,
        told_revision: 0,
        progress: Progress::due(Utc::now(), Some(b"{}".to_vec())),
        leased_until: None,
    };
    let mut conn = rig.pool.get().await.expect("a connection");
    let me = uuid::Uuid::from_u128(1);
    deliveries::insert(&mut conn, &[waiting], &[], me, Utc::now()).await.expect("a delivery");
    drop(conn);

    let running = rig.start().await;

    let offered = rig.stand(DeliveryStatus::Offered, 1).await;
    assert_eq!((offered[0].event_id, offered[0].next_attempt_at), (event_id, None));
    running.stop().await;
    assert_eq!(subscriber.count(), 0);
}

#[tokio::test]
async fn what_is_told_otherwise_after_it_was_fetched_is_there_to_be_fetched_again() {
    let rig = Rig::new().await;
    let (id, _) = rig.endpoint_with("http://127.0.0.1:9/", |options| options.settle_ms = 1000).await;
    let click = rig.click();
    let change = amended(&click, Verdict::Automated);
    insert(&rig, &[first_telling(&rig, id, &click)]).await;
    let mut conn = rig.pool.get().await.expect("a connection");
    let page = pulled::page(&mut conn, rig.workspace_id, id, Position::beginning(), 10).await;
    let fetched = page.expect("a page").last().expect("an event").position;

    let body = webhook::payload::link_clicked(&change);
    let otherwise = NewDelivery {
        told_revision: 1,
        progress: Progress::due(Utc::now(), Some(body.clone())),
        ..first_telling(&rig, id, &click)
    };
    let told = settling::tell(&mut conn, &[otherwise], Utc::now()).await.expect("it is told");

    assert_eq!(told.len(), 1);
    let page = pulled::page(&mut conn, rig.workspace_id, id, fetched, 10).await.expect("a page");
    let bodies: Vec<_> = page.into_iter().map(|row| (row.event_id, row.body)).collect();
    assert_eq!(bodies, [(click.event_id, Some(body))]);
}
