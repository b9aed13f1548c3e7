//! One request against subscribers that are slow, endless, oversized or broken.

use std::time::{Duration, Instant};

use model::delivery::{Attempt, DeliveryStatus, Timings};
use testkit::{Answer, Response, Script, Subscriber};

use crate::rig::Rig;

/// One attempt, as a test request makes it.
async fn attempt(rig: &Rig, url: &str) -> Attempt {
    let (endpoint_id, _) = rig.endpoint_with(url, |options| options.timeout_ms = Some(1500)).await;
    rig.attempt(endpoint_id).await
}

#[tokio::test]
async fn whatever_a_subscriber_answers_costs_bounded_time_and_memory() {
    let rig = Rig::new().await;
    let running = rig.start().await;
    let drip = Answer::Slow(Duration::from_millis(100));
    for (answer, status, error) in [
        (Answer::Endless, Some(200), None),
        (drip, None, Some("timeout")),
        (Answer::Hang, None, Some("timeout")),
        (Answer::HugeHeaders, None, Some("protocol")),
        (Answer::Garbage, None, Some("protocol")),
        (Answer::Cut, None, Some("protocol")),
        (Answer::CutBody, Some(200), None),
    ] {
        let name = format!("{answer:?}");
        let subscriber = Subscriber::start(Script::always(answer)).await;

        let since = Instant::now();
        let attempt = attempt(&rig, &subscriber.url()).await;

        assert_eq!((attempt.status, attempt.error.map(|e| e.as_str())), (status, error), "{name}");
        assert!(since.elapsed() < Duration::from_secs(5), "{name}");
        let kept = attempt.response_body.map_or(0, |body| body.len());
        assert!(kept <= deliver::sender::RESPONSE_KEPT_MAX, "{name}: {kept}");
    }
    running.stop().await;
}

#[tokio::test]
async fn bytes_that_are_not_text_are_kept_as_text() {
    let rig = Rig::new().await;
    let running = rig.start().await;
    let response = Response::new(500).header("X-Odd", "a\u{e9}b").body(b"nul \0, not UTF-8 \xff".to_vec());
    let subscriber = Subscriber::start(Script::always(response)).await;

    let attempt = attempt(&rig, &subscriber.url()).await;

    let body = attempt.response_body.expect("a body");
    assert_eq!(body, "nul \u{fffd}, not UTF-8 \u{fffd}");
    assert!(attempt.remote_ip.is_some());
    running.stop().await;
}

#[tokio::test]
async fn who_cannot_be_reached_is_told_apart() {
    let rig = Rig::new().await;
    let running = rig.start().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let plain = Subscriber::start(Script::always(Answer::Garbage)).await;
    for (url, class) in [
        (format!("http://{closed}/"), "connect"),
        (plain.url().replace("http://", "https://"), "tls"),
        ("http://[::1]:9/".to_owned(), "blocked"),
        ("http://169.254.169.254/latest/meta-data".to_owned(), "blocked"),
        ("http://localhost:9/".to_owned(), "blocked"),
    ] {
        let attempt = attempt(&rig, &url).await;

        // where a machine knows localhost by its IPv4 address only, that one is allowed here and closed
        let expected = [class, if url.contains("localhost") { "connect" } else { class }];
        let error = attempt.error.map_or("none", |error| error.as_str());
        assert!(expected.contains(&error), "{url}: {error} {:?}", attempt.error_detail);
    }
    running.stop().await;
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Response::new(200).body("ok"))).await;
    rig.endpoint_with(&subscriber.url(), |options| options.max_in_flight = Some(1)).await;
    let running = rig.start().await;
    for count in 1..=5 {
        rig.publish(&rig.click()).await;
        subscriber.received(count).await;
    }

    running.stop().await;
    let last = subscriber.requests().iter().map(|request| request.connection).max();
    assert_eq!(last, Some(0), "one connection");
}

#[tokio::test]
async fn an_attempt_says_where_its_time_went() {
    let rig = Rig::new().await;
    let running = rig.start().await;
    let response = Response::new(200).body("ok");
    let subscriber =
        Subscriber::start(Script::new([response.into(), Answer::Late(Duration::from_millis(50))])).await;

    let first = attempt(&rig, &subscriber.url()).await;
    let second = attempt(&rig, &subscriber.url()).await;

    let timings = first.timings;
    assert_eq!((timings.dns_us, timings.is_reused), (None, Some(false)), "an address needs no look-up");
    assert!(timings.connect_us.is_some_and(|us| us > 0));
    let timings = second.timings;
    assert_eq!((timings.dns_us, timings.connect_us, timings.is_reused), (None, None, Some(true)));
    assert!(timings.first_byte_us.is_some_and(|us| us >= 50_000 && us / 1000 <= second.duration_ms));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let refused = attempt(&rig, &format!("http://{closed}/")).await;
    assert_eq!(refused.timings, Timings::default());
    running.stop().await;
}

#[tokio::test]
async fn a_success_at_first_try_keeps_where_its_time_went() {
    let rig = Rig::new().await;
    let subscriber = Subscriber::start(Script::always(Response::new(200).body("ok"))).await;
    rig.endpoint(&subscriber.url()).await;
    let running = rig.start().await;

    rig.publish(&rig.click()).await;

    let delivered = rig.stand(DeliveryStatus::Delivered, 1).await.remove(0);
    let timings = delivered.timings;
    assert_eq!((delivered.attempt_count, timings.is_reused, timings.tls_us), (1, Some(false), None));
    assert!(timings.connect_us.is_some() && timings.first_byte_us.is_some(), "{timings:?}");
    assert!(rig.attempts(&delivered).await.is_empty(), "one row tells it");
    running.stop().await;
}
