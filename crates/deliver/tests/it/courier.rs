//! The slow lane.

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::delivery::DeliveryStatus;
use model::event_type::LINK_CLICKED;
use model::{DeliveryId, EndpointId};
use store::deliveries::{self, NewDelivery, Owed, Progress};
use store::{delivery_log, endpoint_state};
use testkit::{Answer, Script, Subscriber, until};
use uuid::Uuid;

use crate::rig::{LIMIT, Rig, verify};

#[tokio::test]
async fn a_failed_delivery_is_tried_again_with_the_same_id_and_the_same_bytes() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::new([Answer::Status(500), Answer::Status(200)])).await;
    let (endpoint_id, secret) =
        rig.endpoint_with(&subscriber.url(), |options| options.retry_schedule = Some(vec![1, 1])).await;
    let running = rig.start().await;

    rig.publish(&rig.click()).await;

    let requests = subscriber.received(2).await;
    let [first, second] = &requests[..] else { panic!("two requests") };
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(first.body, second.body);
    assert_eq!(
        (first.header("clickwire-attempt"), second.header("clickwire-attempt")),
        (Some("1"), Some("2"))
    );
    assert!(second.at - first.at >= chrono::Duration::seconds(1), "never before its time");
    assert!(verify(second, &secret));

    let delivery = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);
    assert_eq!(delivery.attempt_count, 2);
    let attempts = rig.attempts(&delivery).await;
    let told: Vec<_> = attempts.iter().map(|a| (a.number, a.status, a.error.as_deref())).collect();
    assert_eq!(told, [(1, Some(500), Some("status")), (2, Some(200), None)]);
    let url = rig.endpoint_now(endpoint_id).await.options.url;
    assert!(attempts.iter().all(|attempt| attempt.url.as_deref() == Some(url.as_str())), "{attempts:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_delivery_whose_schedule_is_exhausted_is_dead_told_of_and_can_be_asked_for_again() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(400))).await;
    rig.endpoint_with(&subscriber.url(), |options| options.retry_schedule = Some(vec![0])).await;
    let running = rig.start().await;

    rig.publish(&rig.click()).await;
    let dead = rig.stand(DeliveryStatus::Dead, 1).await.remove(0);
    assert_eq!((dead.attempt_count, dead.last_status), (2, Some(400)));

    subscriber.change(Script::always(Answer::Status(200)));
    let mut conn = rig.pool.get().await.expect("a connection");
    assert!(delivery_log::retry(&mut conn, rig.workspace_id, dead.id, Utc::now()).await.expect("a retry"));
    drop(conn);

    let delivery = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);
    let attempts = rig.attempts(&delivery).await;
    assert_eq!(attempts.last().map(|a| a.trigger.as_str()), Some("manual"));
    running.stop().await;
}

#[tokio::test]
async fn what_was_accepted_and_is_asked_for_again_tells_of_both_attempts() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::new([Answer::Status(202), Answer::Status(500)])).await;
    rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;
    let click = rig.click();
    rig.record(&click).await;
    rig.publish(&click).await;
    let accepted = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);

    let mut conn = rig.pool.get().await.expect("a connection");
    delivery_log::retry(&mut conn, rig.workspace_id, accepted.id, Utc::now()).await.expect("a retry");
    drop(conn);

    let attempts = until(LIMIT, || async {
        let attempts = rig.attempts(&accepted).await;
        (attempts.len() > 1).then_some(attempts)
    })
    .await;
    let told: Vec<_> = attempts.iter().map(|a| (a.number, a.status, a.trigger.as_str())).collect();
    assert_eq!(told, [(1, Some(202), "schedule"), (2, Some(500), "manual")]);
    assert_eq!(Some(attempts[0].started_at), accepted.attempted_at);
    assert_eq!(
        (attempts[0].timings, Some(attempts[0].duration_ms)),
        (accepted.timings, accepted.duration_ms)
    );
    running.stop().await;
}

#[tokio::test]
async fn what_a_dead_process_held_is_tried_again_when_its_lease_ends() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::new([Answer::Hang, Answer::Status(200)])).await;
    rig.endpoint(&subscriber.url()).await;
    let mut settings = rig.settings();
    settings.deliver.lease = Duration::from_secs(2);
    let running = rig.start_with(settings.clone()).await;
    rig.publish(&rig.click()).await;
    rig.all_acknowledged().await;
    rig.stand(DeliveryStatus::Pending, 1).await;

    // as a crash does: nothing is finished, nothing is handed back
    running.run.abort();
    let _ = running.run.await;
    let again = rig.start_with(settings).await;

    let delivery = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);
    let requests = subscriber.received(2).await;
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(
        delivery.attempt_count, 1,
        "an attempt that never ended does not count against the subscriber"
    );
    again.stop().await;
}

#[tokio::test]
async fn no_endpoint_takes_the_slots_of_another() {
    let rig = Rig::new().await;
    let (broken, healthy) = (
        Subscriber::start(Script::always(Answer::Hang)).await,
        Subscriber::start(Script::new([Answer::Status(500), Answer::Status(200)])).await,
    );
    rig.endpoint_with(&broken.url(), |options| options.max_in_flight = Some(2)).await;
    let mut settings = rig.settings();
    settings.deliver.request_timeout = Duration::from_secs(20);
    let running = rig.start_with(settings).await;
    rig.publish_some(300).await;
    rig.all_acknowledged().await;

    rig.endpoint_with(&healthy.url(), |options| options.retry_schedule = Some(vec![1])).await;
    rig.publish(&rig.click()).await;

    healthy.received(2).await;
    rig.stand(DeliveryStatus::Delivered, 1).await;
    assert!(broken.in_flight_max() <= 2);
    running.stop.cancel();
    let _ = until(LIMIT, || async { running.run.is_finished().then_some(()) }).await;
}

#[tokio::test]
async fn a_body_that_was_not_kept_waits_for_its_click_to_be_recorded_and_ends_with_the_reason() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    let (endpoint_id, _) = rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;
    let click = rig.click();
    rig.publish(&click).await;
    let accepted = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);
    let mut conn = rig.pool.get().await.expect("a connection");

    // nobody has recorded the click yet, so there is nothing to render from
    let (asked_at, second) = (Utc::now(), chrono::Duration::seconds(1));
    delivery_log::retry(&mut conn, rig.workspace_id, accepted.id, asked_at).await.expect("a retry");
    until(LIMIT, || async {
        let now = rig.deliveries().await.remove(0);
        assert_eq!(now.status, DeliveryStatus::Pending, "{now:?}");
        (now.next_attempt_at > Some(asked_at + second)).then_some(())
    })
    .await;
    rig.record(&click).await;
    let requests = subscriber.received(2).await;
    assert_eq!(requests[0].body, requests[1].body);
    rig.stand(DeliveryStatus::Delivered, 1).await;

    // what nobody has recorded for so long is lost
    let before = Utc::now() - chrono::Duration::minutes(11);
    let lost = accepted_at(&rig, endpoint_id, before);
    deliveries::insert(&mut conn, std::slice::from_ref(&lost), &[], Uuid::nil(), before)
        .await
        .expect("an insert");
    delivery_log::retry(&mut conn, rig.workspace_id, lost.id, Utc::now()).await.expect("a retry");
    drop(conn);
    let dead = rig.stand(DeliveryStatus::Dead, 1).await.remove(0);
    assert_eq!((dead.id, dead.last_error.as_deref()), (lost.id, Some("event_lost")));
    running.stop().await;
}

/// A delivery of a click that nobody records, accepted at first try then.
fn accepted_at(rig: &Rig, endpoint_id: EndpointId, at: DateTime<Utc>) -> NewDelivery {
    let click = rig.click();
    NewDelivery {
        id: DeliveryId::generate_at(click.event_id.timestamp()),
        workspace_id: rig.workspace_id,
        owed: Owed { endpoint_id, event_id: click.event_id },
        event_type: LINK_CLICKED,
        click_id: Some(click.click.id),
        told_revision: 0,
        progress: Progress {
            status: DeliveryStatus::Delivered,
            attempt_count: 1,
            next_attempt_at: None,
            attempted_at: Some(at),
            finished_at: Some(at),
            last_status: Some(200),
            ..Progress::due(at, None)
        },
        leased_until: None,
        line: None,
    }
}

#[tokio::test]
async fn an_endpoint_with_a_rate_gets_everything_through_one_courier_and_the_others_are_not_held_up() {
    let rig = Rig::new().await;
    let (slow, quick) =
        (Subscriber::start(Answer::Status(200)).await, Subscriber::start(Answer::Status(200)).await);
    let rate = |options: &mut store::endpoints::EndpointOptions| {
        (options.rate_per_second, options.rate_burst) = (Some(20), Some(1));
    };
    let (rated, _) = rig.endpoint_with(&slow.url(), rate).await;
    rig.endpoint(&quick.url()).await;
    let begun = Utc::now();
    let running = rig.start().await;
    let other = rig.start().await;

    rig.publish_some(30).await;

    rig.stand(DeliveryStatus::Delivered, 60).await;
    assert_eq!((slow.count(), quick.count()), (30, 30));
    let deliveries = rig.deliveries().await;
    assert!(deliveries.iter().all(|delivery| delivery.attempt_count == 1));
    let mut conn = rig.pool.get().await.expect("a connection");
    let me = Uuid::from_u128(7);
    let wanted = [(rated, rig.workspace_id)];
    let hold = endpoint_state::hold(&mut conn, &wanted, me, begun, begun).await;
    assert!(hold.expect("a query").is_empty(), "somebody else has it");
    let later = Utc::now() + chrono::Duration::minutes(1);
    let hold = endpoint_state::hold(&mut conn, &wanted, me, later, later).await;
    assert!(hold.expect("a query").contains_key(&rated), "whoever had it has not renewed it");
    running.stop().await;
    other.stop().await;
}
