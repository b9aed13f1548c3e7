//! The scripted subscriber, seen through an ordinary HTTP client.

use std::time::Duration;

use testkit::{Answer, Response, Script, Subscriber};

/// Ends a request that is never answered.
const GIVE_UP: Duration = Duration::from_millis(200);

fn client() -> reqwest::Client {
    // the client is built with TLS although these URLs have none
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client")
}

async fn post(subscriber: &Subscriber) -> reqwest::Result<reqwest::Response> {
    client().post(subscriber.url()).body("hello").timeout(GIVE_UP).send().await
}

#[tokio::test]
async fn answers_come_in_order_and_the_last_one_for_ever() {
    let refusal = Response::new(429).header("Retry-After", "7").body("later");
    let subscriber = Subscriber::start([Answer::Status(500), refusal.into(), Answer::Status(200)]).await;
    let client = client();

    let mut statuses = Vec::new();
    for _ in 0..4 {
        let response = client.post(subscriber.url()).body("hello").send().await.unwrap();
        statuses.push(response.status().as_u16());
        if response.status() == 429 {
            assert_eq!(response.headers()["retry-after"], "7");
            assert_eq!(response.text().await.unwrap(), "later");
        }
    }

    assert_eq!(statuses, [500, 429, 200, 200]);
}

#[tokio::test]
async fn a_request_is_kept_as_it_arrived() {
    let subscriber = Subscriber::start(Answer::Status(204)).await;
    let body: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let client = client();

    for _ in 0..2 {
        client.post(subscriber.url()).header("Webhook-Id", "evt_1").body(body.clone()).send().await.unwrap();
    }

    let requests = subscriber.received(2).await;
    assert_eq!(requests[0].method, "POST");
    assert_eq!(requests[0].path, "/hook");
    assert_eq!(requests[0].header("webhook-id"), Some("evt_1"));
    assert_eq!(requests[0].body, body);
    assert_eq!(requests[0].connection, requests[1].connection, "kept alive");
}

#[tokio::test]
async fn a_held_request_is_answered_when_it_is_released() {
    let subscriber = Subscriber::start(Answer::Held).await;
    let requests: Vec<_> =
        (0..3).map(|_| tokio::spawn(client().post(subscriber.url()).body("hello").send())).collect();
    subscriber.received(3).await;
    assert_eq!(subscriber.in_flight(), 3);

    subscriber.release();

    for request in requests {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(subscriber.in_flight_max(), 3);
}

#[tokio::test]
async fn a_hanging_subscriber_never_answers() {
    let subscriber = Subscriber::start(Answer::Hang).await;

    assert!(post(&subscriber).await.unwrap_err().is_timeout());
    assert_eq!(subscriber.count(), 1);
}

#[tokio::test]
async fn a_dripping_subscriber_is_slower_than_patience() {
    let subscriber = Subscriber::start(Answer::Slow(GIVE_UP)).await;

    assert!(post(&subscriber).await.unwrap_err().is_timeout());
}

#[tokio::test]
async fn misbehaviour_reaches_the_client_as_an_error() {
    for answer in [Answer::Cut, Answer::Garbage, Answer::HugeHeaders] {
        let subscriber = Subscriber::start(answer.clone()).await;

        let error = post(&subscriber).await.expect_err("no response");

        assert!(!error.is_timeout(), "{answer:?}: {error:?}");
        assert_eq!(subscriber.count(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_body_may_be_cut_or_never_end() {
    let subscriber = Subscriber::start([Answer::CutBody, Answer::Endless]).await;

    let cut = post(&subscriber).await.unwrap().bytes().await.unwrap_err();
    let endless = post(&subscriber).await.unwrap().bytes().await.unwrap_err();

    assert!(!cut.is_timeout() && endless.is_timeout(), "{cut:?} {endless:?}");
}

#[tokio::test]
async fn a_redirect_leads_where_it_is_told() {
    let subscriber = Subscriber::start(Script::always(Answer::Redirect("http://127.0.0.1:1/".into()))).await;

    let response = post(&subscriber).await.unwrap();

    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (302, &"http://127.0.0.1:1/".parse().unwrap())
    );
}
