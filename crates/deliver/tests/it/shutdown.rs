//! The end of the process.

use std::time::Duration;

use model::delivery::DeliveryStatus;
use testkit::{Answer, Script, Subscriber};

use crate::rig::Rig;

#[tokio::test]
async fn a_stop_waits_for_the_answers_that_are_under_way() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Held)).await;
    rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;
    rig.publish(&rig.click()).await;
    subscriber.received(1).await;

    running.stop.cancel();
    subscriber.release();

    running.run.await.expect("it does not panic").expect("it ends in order");
    let deliveries = rig.deliveries().await;
    assert_eq!(deliveries.iter().map(|d| d.status).collect::<Vec<_>>(), [DeliveryStatus::Delivered]);
}

#[tokio::test]
async fn what_is_not_answered_in_time_is_handed_back_at_once() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::new([Answer::Hang, Answer::Status(200)])).await;
    // an endpoint may have more time than the end may take
    rig.endpoint_with(&subscriber.url(), |options| options.timeout_ms = Some(25_000)).await;
    let mut settings = rig.settings();
    settings.deliver.lease = Duration::from_secs(600);
    settings.deliver.request_timeout = Duration::from_secs(5);
    settings.deliver.drain_timeout = Duration::from_secs(5);
    let running = rig.start_with(settings.clone()).await;
    rig.publish(&rig.click()).await;
    subscriber.received(1).await;

    running.stop().await;
    let again = rig.start_with(settings).await;

    subscriber.received(2).await;
    rig.stand(DeliveryStatus::Delivered, 1).await;
    again.stop().await;
}
