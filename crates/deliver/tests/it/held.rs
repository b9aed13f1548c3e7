//! What waits for paused and disabled endpoints: for a while, and then it can be asked for again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::delivery::DeliveryStatus;
use model::{DeliveryId, EndpointId, EventId};
use serde_json::json;
use service::ops::Ops;
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::endpoints::{self, State};
use store::{delivery_log, held};
use testkit::{Answer, Script, Subscriber};

use crate::rig::Rig;

const HOLD: Duration = Duration::from_secs(3 * 24 * 3600);

async fn set_state(rig: &Rig, endpoint_id: EndpointId, state: State, at: DateTime<Utc>) {
    let mut conn = rig.pool.get().await.expect("a connection");
    endpoints::set_state(&mut conn, rig.workspace_id, endpoint_id, state, None, at).await.expect("a state");
}

/// A delivery that has been due since then.
async fn waiting(rig: &Rig, endpoint_id: EndpointId, due_at: DateTime<Utc>) -> DeliveryId {
    let event_id = EventId::generate();
    let new = NewDelivery {
        id: DeliveryId::generate_at(event_id.timestamp()),
        workspace_id: rig.workspace_id,
        owed: Owed { endpoint_id, event_id },
        event_type: model::event_type::LINK_CLICKED,
        click_id: None,
        told_revision: 0,
        progress: Progress::due(due_at, Some(b"{}".to_vec())),
        leased_until: None,
        line: None,
    };
    let mut conn = rig.pool.get().await.expect("a connection");
    let me = uuid::Uuid::from_u128(1);
    deliveries::insert(&mut conn, std::slice::from_ref(&new), &[], me, Utc::now()).await.expect("a delivery");
    new.id
}

/// `dead_total` of one reason.
fn counted(ops: &Ops, reason: &str) -> f64 {
    let families = ops.registry().gather();
    let dead = families.iter().find(|family| family.name() == "clickwire_deliver_dead_total");
    let metrics = dead.expect("it is registered").get_metric().iter();
    metrics
        .filter(|metric| metric.get_label().iter().any(|label| label.value() == reason))
        .map(|metric| metric.get_counter().get_value())
        .sum()
}

#[tokio::test]
async fn only_what_was_due_for_the_whole_hold_of_its_endpoint_ends() {
    let rig = Rig::new().await;
    let url = "https://crm.example.com/hooks";
    let now = Utc::now();
    let days = |days| now - chrono::Duration::days(days);
    let (active, lately, long) =
        (rig.endpoint(url).await.0, rig.endpoint(url).await.0, rig.endpoint(url).await.0);
    set_state(&rig, lately, State::Paused, days(2)).await;
    set_state(&rig, long, State::Paused, days(9)).await;
    let mut ended = Vec::new();
    for endpoint_id in [active, lately, long] {
        waiting(&rig, endpoint_id, days(2)).await;
        let old = waiting(&rig, endpoint_id, days(4)).await;
        let older = waiting(&rig, endpoint_id, days(5)).await;
        if endpoint_id == long {
            ended = vec![old, older];
        }
    }

    let mut conn = rig.pool.get().await.expect("a connection");
    let first = held::bury(&mut conn, HOLD, now, 1).await.expect("a step");
    let second = held::bury(&mut conn, HOLD, now, 10).await.expect("a step");
    let third = held::bury(&mut conn, HOLD, now, 10).await.expect("a step");
    drop(conn);

    for step in [first, second] {
        assert_eq!(
            step.iter().map(|held| (held.endpoint_id, held.deliveries)).collect::<Vec<_>>(),
            [(long, 1)]
        );
    }
    assert_eq!(third, []);
    let mut dead = rig.deliveries().await;
    dead.retain(|delivery| delivery.status == DeliveryStatus::Dead);
    let mut ids: Vec<_> = dead.iter().map(|delivery| delivery.id).collect();
    ids.sort();
    ended.sort();
    assert_eq!(ids, ended);
    assert!(dead.iter().all(|delivery| delivery.last_error.as_deref() == Some("paused_too_long")));
    let told = rig.told_of("delivery.dead").await;
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0]["deliveries"], &told[0]["endpoint_id"]), (&json!(1), &json!(long)));
}

#[tokio::test]
async fn what_was_held_too_long_ends_counted_and_can_be_asked_for_again() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    let (paused, _) = rig.endpoint(&subscriber.url()).await;
    let (disabled, _) = rig.endpoint(&subscriber.url()).await;
    let long_ago = Utc::now() - chrono::Duration::days(9);
    set_state(&rig, paused, State::Paused, long_ago).await;
    set_state(&rig, disabled, State::Disabled, long_ago).await;
    let kept = waiting(&rig, paused, long_ago).await;
    waiting(&rig, disabled, long_ago).await;

    let (running, ops) = rig.start_counted().await;

    let dead = rig.stand(DeliveryStatus::Dead, 2).await;
    let mut reasons: Vec<_> = dead.iter().filter_map(|delivery| delivery.last_error.as_deref()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["endpoint_disabled", "paused_too_long"]);
    for reason in reasons {
        assert_eq!(counted(&ops, reason), 1.0);
    }
    assert_eq!(subscriber.count(), 0);
    set_state(&rig, paused, State::Active, Utc::now()).await;
    let mut conn = rig.pool.get().await.expect("a connection");
    assert!(delivery_log::retry(&mut conn, rig.workspace_id, kept, Utc::now()).await.expect("a retry"));
    drop(conn);
    rig.say_that_endpoints_changed().await;
    rig.stand(DeliveryStatus::Delivered, 1).await;
    running.stop().await;
    assert_eq!(subscriber.count(), 1);
}
