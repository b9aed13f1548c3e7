//! What goes through a proxy of the operator's, and whose fault it is when it does not get there.

use std::net::SocketAddr;

use deliver::Settings;
use model::delivery::DeliveryStatus;
use testkit::certificates::SUBSCRIBER;
use testkit::proxy::{Mood, Proxy};
use testkit::{Answer, Subscriber, until};
use tokio::net::TcpListener;

use crate::mtls;
use crate::rig::{LIMIT, Rig};

/// The settings of a service that leaves through this.
fn through(rig: &Rig, is_socks: bool, credentials: &str, addr: SocketAddr) -> Settings {
    let scheme = if is_socks { "socks5" } else { "http" };
    let mut settings = rig.settings();
    settings.deliver.proxy = Some(format!("{scheme}://{credentials}@{addr}").parse().expect("a proxy"));
    settings
}

#[tokio::test]
async fn webhooks_go_through_either_proxy_to_the_address_that_was_checked() {
    for is_socks in [false, true] {
        let rig = Rig::new().await;
        let proxy = Proxy::start(is_socks, Mood::Works).await;
        let plain = Subscriber::start(Answer::Status(200)).await;
        let encrypted = mtls::Receiver::start().await;
        let (id, _) = rig.endpoint(&plain.url()).await;
        let secure = mtls::endpoint(&rig, &encrypted, SUBSCRIBER).await;
        let (inside, _) = rig.endpoint("http://169.254.169.254/latest/meta-data").await;
        let running = rig.start_with(through(&rig, is_socks, "us:secret", proxy.addr)).await;

        let (first, second) = (rig.attempt(id).await, rig.attempt(secure).await);
        let blocked = rig.attempt(inside).await;

        for attempt in [&first, &second] {
            assert!(attempt.is_success(), "{:?}", attempt.error_detail);
            assert_eq!(attempt.remote_ip.as_deref(), Some("127.0.0.1"));
            assert!(attempt.timings.connect_us.is_some());
        }
        assert!(second.timings.tls_us.is_some());
        let host =
            |url: &str| -> SocketAddr { url.split('/').nth(2).expect("a host").parse().expect("an address") };
        assert_eq!(proxy.asked(), [host(&plain.url()), host(&encrypted.url)]);
        assert_eq!((plain.count(), encrypted.shown().len()), (1, 1));
        assert_eq!(blocked.error.map(|error| error.as_str()), Some("blocked"));
        running.stop().await;
    }
}

#[tokio::test]
async fn connections_through_a_proxy_are_kept_and_used_again() {
    let rig = Rig::new().await;
    let proxy = Proxy::start(false, Mood::Works).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    rig.endpoint_with(&subscriber.url(), |options| options.max_in_flight = Some(1)).await;
    let running = rig.start_with(through(&rig, false, "us:secret", proxy.addr)).await;

    for count in 1..=3 {
        rig.publish(&rig.click()).await;
        rig.stand(DeliveryStatus::Delivered, count).await;
    }

    assert_eq!((subscriber.count(), proxy.asked().len()), (3, 1));
    running.stop().await;
}

#[tokio::test]
async fn it_is_told_whose_fault_it_is() {
    for is_socks in [false, true] {
        for (mood, credentials, error) in [
            (Mood::Works, "us:wrong!", "proxy"),
            (Mood::Forbids, "us:secret", "proxy"),
            (Mood::HangsUp, "us:secret", "proxy"),
            (Mood::Unreached, "us:secret", "connect"),
        ] {
            let rig = Rig::new().await;
            let proxy = Proxy::start(is_socks, mood).await;
            let subscriber = Subscriber::start(Answer::Status(200)).await;
            let (id, _) = rig.endpoint(&subscriber.url()).await;
            let running = rig.start_with(through(&rig, is_socks, credentials, proxy.addr)).await;

            let attempt = rig.attempt(id).await;

            let told = attempt.error_detail.unwrap_or_default();
            assert_eq!(attempt.error.map(|error| error.as_str()), Some(error), "{is_socks} {mood:?}: {told}");
            assert!(told.contains("proxy") && !told.contains("secret"), "{told}");
            assert_eq!(subscriber.count(), 0);
            running.stop().await;
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_down_is_not_charged_to_the_endpoint_and_nothing_is_lost() {
    let rig = Rig::new().await;
    let addr = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (id, _) =
        rig.endpoint_with(&subscriber.url(), |options| options.retry_schedule = Some(vec![1, 1])).await;
    let running = rig.start_with(through(&rig, false, "us:secret", addr)).await;

    // more than would open the circuit, and more tries than the schedule has
    rig.publish_some(8).await;
    until(LIMIT, || async {
        let deliveries = rig.deliveries().await;
        (deliveries.len() == 8 && deliveries.iter().all(|delivery| delivery.attempt_count >= 4)).then_some(())
    })
    .await;
    let tried = rig.deliveries().await;
    let proxy = Proxy::start_at(addr, false, Mood::Works).await;
    rig.stand(DeliveryStatus::Delivered, 8).await;
    let known = || async { rig.endpoint_now(id).await.health.filter(|health| health.delivered > 0) };
    let health = until(LIMIT, known).await;
    running.stop().await;

    assert!(tried.iter().all(|delivery| delivery.last_error.as_deref() == Some("proxy")), "{tried:?}");
    assert!(!proxy.asked().is_empty());
    assert_eq!((health.failed, health.last_failure_at), (0, None));
}
