//! What subscribers say about themselves: gone, too much, elsewhere.

use chrono::{Duration, Utc};
use model::delivery::DeliveryStatus;
use model::{EndpointId, EndpointUrl};
use store::endpoint_state::{self, Learned};
use store::endpoints::{self, State};
use testkit::{Answer, Response, Script, Subscriber, until};

use crate::rig::{LIMIT, Rig};

impl Rig {
    pub async fn move_to(&self, endpoint_id: EndpointId, url: &str) {
        let mut options = self.endpoint_now(endpoint_id).await.options;
        options.url = url.parse().expect("a URL");
        let mut conn = self.pool.get().await.expect("a connection");
        endpoints::update(&mut conn, self.workspace_id, endpoint_id, &options, Utc::now())
            .await
            .expect("it is saved");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_and_nothing_more_is_owed_to_it() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(410))).await;
    let (endpoint_id, _) = rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;

    rig.publish(&rig.click()).await;

    let dead = rig.stand(DeliveryStatus::Dead, 1).await.remove(0);
    assert_eq!(dead.last_status, Some(410));
    until(LIMIT, || async { (rig.endpoint_now(endpoint_id).await.state == State::Disabled).then_some(()) })
        .await;
    assert_eq!(rig.endpoint_now(endpoint_id).await.state_reason.as_deref(), Some("gone"));
    rig.publish(&rig.click()).await;
    rig.all_acknowledged().await;
    running.stop().await;
    assert_eq!((subscriber.count(), rig.deliveries().await.len()), (1, 1));
}

#[tokio::test]
async fn an_endpoint_that_was_moved_is_not_disabled_because_nothing_is_left_where_it_was() {
    let rig = Rig::new().await;
    let [before, after] = ["https://crm.example.com/before", "https://crm.example.com/after"];
    let (endpoint_id, _) = rig.endpoint(before).await;
    rig.move_to(endpoint_id, after).await;
    let mut conn = rig.pool.get().await.expect("a connection");

    let mut disabled = Vec::new();
    for url in [before, after] {
        let url: EndpointUrl = url.parse().expect("a URL");
        let now = Utc::now();
        let gone = endpoint_state::disable_gone(&mut conn, rig.workspace_id, endpoint_id, &url, now).await;
        disabled.push(gone.expect("a query"));
    }

    assert_eq!(disabled, [false, true]);
    assert_eq!(rig.told_of("endpoint.disabled").await.len(), 1);
}

#[tokio::test]
async fn retry_after_pauses_the_whole_endpoint() {
    let rig = Rig::new().await;
    let throttled = Response::new(429).header("Retry-After", "3");
    let subscriber = Subscriber::start(Script::new([Answer::Response(throttled), Answer::Status(200)])).await;
    let (endpoint_id, _) =
        rig.endpoint_with(&subscriber.url(), |options| options.retry_schedule = Some(vec![0])).await;
    let running = rig.start().await;
    rig.publish(&rig.click()).await;
    rig.stand(DeliveryStatus::Pending, 1).await;

    rig.publish_some(3).await;

    rig.all_acknowledged().await;
    rig.stand(DeliveryStatus::Pending, 4).await;
    assert_eq!(subscriber.count(), 1);
    until(LIMIT, || async { rig.endpoint_now(endpoint_id).await.health?.paused_until }).await;
    rig.stand(DeliveryStatus::Delivered, 4).await;
    let requests = subscriber.requests();
    assert!(requests[1].at - requests[0].at >= chrono::Duration::seconds(3));
    running.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_was_moved_does_not_wait_for_what_its_old_server_asked_for() {
    let rig = Rig::new().await;
    let throttled = Response::new(429).header("Retry-After", "600");
    let old = Subscriber::start(Script::always(Answer::Response(throttled))).await;
    let new = Subscriber::start(Answer::Status(200)).await;
    let (endpoint_id, _) = rig.endpoint(&old.url()).await;
    let running = rig.start().await;
    rig.publish(&rig.click()).await;
    until(LIMIT, || async { rig.endpoint_now(endpoint_id).await.health?.paused_until }).await;

    rig.move_to(endpoint_id, &new.url()).await;
    rig.publish(&rig.click()).await;

    new.received(1).await;
    assert_eq!(old.count(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_pause_and_failures_stay_at_their_server_and_are_forgotten_at_another() {
    let rig = Rig::new().await;
    let first = "https://crm.example.com/hooks";
    let (endpoint_id, _) = rig.endpoint(first).await;
    let (workspace_id, now) = (rig.workspace_id, Utc::now());
    let mut conn = rig.pool.get().await.expect("a connection");
    let (url, later): (EndpointUrl, _) = (first.parse().expect("a URL"), now + Duration::hours(1));
    let learned = Learned {
        endpoint_id,
        workspace_id,
        url: url.clone(),
        delivered: 0,
        failed: 3,
        failed_messages: 1,
        first_failure_at: Some(now),
        last_failure_at: Some(now),
        last_success_at: None,
    };
    endpoint_state::add(&mut conn, std::slice::from_ref(&learned), now).await.expect("it is noted");
    endpoint_state::pause(&mut conn, workspace_id, endpoint_id, &url, later, now).await.expect("a pause");

    let mut known = Vec::new();
    for next in ["https://crm.example.com/more", "https://hooks.example.com/"] {
        rig.move_to(endpoint_id, next).await;
        // answers from where it was that come late, and what was learned and not written before
        endpoint_state::add(&mut conn, std::slice::from_ref(&learned), now).await.expect("a query");
        endpoint_state::pause(&mut conn, workspace_id, endpoint_id, &url, later, now).await.expect("a query");
        let health = rig.endpoint_now(endpoint_id).await.health.expect("something was learned");
        known.push((health.paused_until.is_some(), health.first_failure_at.is_some(), health.failed));
    }

    assert_eq!(known, [(true, true, 3), (false, false, 0)]);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let rig = Rig::new().await;
    let elsewhere = Subscriber::start(Script::always(Answer::Status(200))).await;
    let subscriber = Subscriber::start(Script::always(Answer::Redirect(elsewhere.url()))).await;
    rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;

    rig.publish(&rig.click()).await;

    let delivery = rig.stand(DeliveryStatus::Pending, 1).await.remove(0);
    assert_eq!((delivery.last_status, delivery.last_error.as_deref()), (Some(302), Some("status")));
    let attempt = rig.attempts(&delivery).await.remove(0);
    assert!(attempt.response_headers.to_string().contains(&elsewhere.url()), "where it pointed is kept");
    running.stop().await;
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn an_address_inside_is_refused_and_the_attempt_says_so() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Answer::Status(200))).await;
    rig.endpoint(&subscriber.url()).await;
    rig.endpoint(&subscriber.url().replace("127.0.0.1", "localhost")).await;
    let mut settings = rig.settings();
    settings.deliver.allowed_networks.clear();
    let running = rig.start_with(settings).await;

    rig.publish(&rig.click()).await;

    for delivery in rig.stand(DeliveryStatus::Pending, 2).await {
        assert_eq!(delivery.last_error.as_deref(), Some("blocked"));
        let attempt = rig.attempts(&delivery).await.remove(0);
        let detail = attempt.error_detail.expect("a reason");
        assert!(detail.contains("deliver.allowed_networks"), "{detail}");
    }
    running.stop().await;
    assert_eq!(subscriber.count(), 0);
}
