//! Endpoints that are sent to in order: what failures, neighbours, replicas and crashes leave of it.

use std::time::Duration;

use bus::Message as _;
use chrono::Utc;
use model::delivery::DeliveryStatus;
use model::ordering::OnFailure;
use model::{EnrichedClick, EventId, LinkId, Ordering};
use store::endpoint_state;
use store::endpoints::EndpointOptions;
use store::replays::What;
use testkit::{Answer, Received, Script, Subscriber};
use uuid::Uuid;

use crate::rig::Rig;

const STOP: Ordering = Ordering::Strict(OnFailure::Stop);

/// In this order, and tried again at once.
fn in_order(ordering: Ordering) -> impl FnOnce(&mut EndpointOptions) {
    move |options| {
        options.ordering = ordering;
        options.retry_schedule = Some(vec![0, 0]);
    }
}

fn numbers(requests: &[Received]) -> Vec<u64> {
    let number = |request: &Received| request.header("clickwire-sequence")?.parse().ok();
    requests.iter().map(|request| number(request).unwrap_or_else(|| panic!("{request:?}"))).collect()
}

fn ids(requests: &[Received]) -> Vec<String> {
    requests.iter().map(|request| request.header("webhook-id").expect("an id").to_owned()).collect()
}

fn click_on(rig: &Rig, link_id: LinkId) -> EnrichedClick {
    let mut click = rig.click();
    click.click.link.id = link_id;
    click
}

#[tokio::test]
async fn everything_comes_in_order_though_some_of_it_fails_and_numbers_stay_the_same() {
    let rig = Rig::new().await;
    let script = [400, 400, 200, 200, 503, 200].map(Answer::Status);
    let subscriber = Subscriber::start(Script::new(script)).await;
    rig.endpoint_with(&subscriber.url(), in_order(STOP)).await;
    let running = rig.start().await;

    rig.publish_some(20).await;

    let delivered = rig.stand(DeliveryStatus::Delivered, 20).await;
    running.stop().await;
    let requests = subscriber.requests();
    let expected: Vec<u64> = [1, 1, 1, 2, 3].into_iter().chain(3..=20).collect();
    assert_eq!(numbers(&requests), expected);
    assert_eq!(subscriber.in_flight_max(), 1);
    for request in &requests {
        let delivery =
            delivered.iter().find(|d| Some(d.event_id.to_string().as_str()) == request.header("webhook-id"));
        let sequence = delivery.and_then(|delivery| delivery.sequence);
        assert_eq!(sequence, Some(numbers(std::slice::from_ref(request))[0]));
        let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(body["sequence"].as_u64(), sequence, "it is signed, too");
    }
}

#[tokio::test]
async fn a_link_that_is_held_up_holds_up_no_other() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::new([Answer::Held, Answer::Status(200)])).await;
    rig.endpoint_with(&subscriber.url(), in_order(Ordering::PerLink)).await;
    let running = rig.start().await;
    let (slow, quick) = (LinkId::generate(), LinkId::generate());
    let held = click_on(&rig, slow);
    rig.publish(&held).await;
    subscriber.received(1).await;

    let (behind, first, second) = (click_on(&rig, slow), click_on(&rig, quick), click_on(&rig, quick));
    for click in [&behind, &first, &second] {
        rig.publish(click).await;
        rig.all_acknowledged().await;
    }

    let id = |click: &EnrichedClick| click.event_id.to_string();
    rig.stand(DeliveryStatus::Delivered, 2).await;
    assert_eq!(ids(&subscriber.requests()), [id(&held), id(&first), id(&second)]);
    subscriber.release();
    rig.stand(DeliveryStatus::Delivered, 4).await;
    assert_eq!(ids(&subscriber.requests())[3..], [id(&behind)]);
    running.stop().await;
}

#[tokio::test]
async fn two_replicas_keep_one_order_and_one_of_them_holds_the_endpoint() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (endpoint_id, _) = rig.endpoint_with(&subscriber.url(), in_order(STOP)).await;
    let begun = Utc::now();
    let (one, other) = (rig.start().await, rig.start().await);

    rig.publish_some(40).await;

    rig.stand(DeliveryStatus::Delivered, 40).await;
    let mut conn = rig.pool.get().await.expect("a connection");
    let (wanted, me) = ([(endpoint_id, rig.workspace_id)], Uuid::from_u128(7));
    let hold = endpoint_state::hold(&mut conn, &wanted, me, begun, begun).await;
    assert!(hold.expect("a query").is_empty(), "somebody has it");
    one.stop().await;
    other.stop().await;
    assert_eq!(numbers(&subscriber.requests()), (1..=40).collect::<Vec<u64>>());
    assert_eq!(subscriber.in_flight_max(), 1);
    let now = Utc::now();
    let hold = endpoint_state::hold(&mut conn, &wanted, me, now, now).await;
    assert!(hold.expect("a query").contains_key(&endpoint_id), "who stops lets it go");
}

#[tokio::test]
async fn when_the_holder_dies_another_goes_on_where_he_was() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::new([Answer::Hang, Answer::Status(200)])).await;
    rig.endpoint_with(&subscriber.url(), in_order(STOP)).await;
    let mut settings = rig.settings();
    settings.deliver.lease = Duration::from_secs(2);
    let running = rig.start_with(settings.clone()).await;
    rig.publish_some(3).await;
    rig.all_acknowledged().await;
    subscriber.received(1).await;

    // as a crash does: nothing is finished, nothing is handed back
    running.run.abort();
    let _ = running.run.await;
    let again = rig.start_with(settings).await;

    rig.stand(DeliveryStatus::Delivered, 3).await;
    assert_eq!(numbers(&subscriber.requests()), [1, 1, 2, 3]);
    again.stop().await;
}

#[tokio::test]
async fn what_fails_too_often_is_passed_over_where_the_endpoint_says_so() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::new([400, 400, 200].map(Answer::Status))).await;
    let skipping = Ordering::Strict(OnFailure::SkipAfter(2));
    rig.endpoint_with(&subscriber.url(), in_order(skipping)).await;
    let running = rig.start().await;

    rig.publish_some(2).await;

    let delivered = rig.stand(DeliveryStatus::Delivered, 1).await;
    let dead = rig.stand(DeliveryStatus::Dead, 1).await;
    running.stop().await;
    assert_eq!(numbers(&subscriber.requests()), [1, 1, 2]);
    assert_eq!((dead[0].sequence, dead[0].attempt_count, delivered[0].sequence), (Some(1), 2, Some(2)));
}

#[tokio::test]
async fn a_message_that_comes_again_gets_no_second_number() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    rig.endpoint_with(&subscriber.url(), in_order(STOP)).await;
    let running = rig.start().await;
    let click = rig.click();
    rig.publish(&click).await;
    rig.stand(DeliveryStatus::Delivered, 1).await;

    // as a broker does that has lost what it knew of the message
    let mut again = click.outgoing();
    again.id = EventId::generate().to_string();
    rig.bus.publisher().publish(again).await.expect("another message id");
    rig.all_acknowledged().await;
    rig.publish(&rig.click()).await;

    rig.stand(DeliveryStatus::Delivered, 2).await;
    running.stop().await;
    assert_eq!(numbers(&subscriber.requests()), [1, 2]);
    assert_eq!(rig.deliveries().await.len(), 2);
}

#[tokio::test]
async fn a_replay_has_the_numbers_of_what_it_replays_and_waits_for_nothing_live() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (endpoint_id, _) = rig.endpoint_with(&subscriber.url(), in_order(STOP)).await;
    let running = rig.start().await;
    for click in rig.publish_some(3).await {
        rig.record(&click).await;
    }
    rig.stand(DeliveryStatus::Delivered, 3).await;
    // the next one is held, and with it all that is live
    subscriber.change(Script::new([Answer::Held, Answer::Status(200)]));
    rig.publish(&rig.click()).await;
    subscriber.received(4).await;

    let replay = rig.replay(endpoint_id, What::Delivered, 100).await;
    assert_eq!(rig.ends(replay).await.done, 3);

    let requests = subscriber.received(7).await;
    assert_eq!(numbers(&requests), [1, 2, 3, 4, 1, 2, 3]);
    let replayed = |request: &Received| request.header("clickwire-replayed") == Some("true");
    assert_eq!(
        requests.iter().map(replayed).collect::<Vec<_>>(),
        [false, false, false, false, true, true, true]
    );
    subscriber.release();
    rig.stand(DeliveryStatus::Delivered, 7).await;
    running.stop().await;
}
