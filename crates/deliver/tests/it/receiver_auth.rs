//! What opens the receiver's door: passwords, tokens, and tokens of a server.

use model::EndpointId;
use model::delivery::{Attempt, DeliveryStatus};
use testkit::{Answer, Response, Script, Subscriber};
use webhook::ReceiverAuth;
use webhook::auth::{ClientAuth, ClientCredentials};

use crate::rig::Rig;

/// An endpoint that lets us in by this, with one request at a time.
async fn endpoint(rig: &Rig, url: &str, auth: ReceiverAuth) -> EndpointId {
    let (id, _) = rig
        .endpoint_with(url, |options| {
            options.headers_sealed = None;
            options.max_in_flight = Some(1);
        })
        .await;
    rig.let_in_by(id, &auth).await;
    id
}

pub fn oauth2(tokens: &Subscriber) -> ReceiverAuth {
    ReceiverAuth::OAuth2(ClientCredentials {
        token_url: tokens.url().parse().expect("a URL"),
        client_id: "us".to_owned(),
        client_secret: "hunter2".to_owned(),
        scope: Some("hooks:write".to_owned()),
        audience: None,
        client_auth: ClientAuth::Basic,
    })
}

/// What a token server answers.
fn token(token: &str) -> Answer {
    let body = format!(r#"{{"access_token": "{token}", "token_type": "Bearer", "expires_in": 3600}}"#);
    Response::new(200).header("content-type", "application/json").body(body).into()
}

/// What is kept of the header that lets us in.
fn kept(attempt: &Attempt) -> Vec<&str> {
    let headers = attempt.request_headers.iter();
    headers.filter(|(name, _)| name == "authorization").map(|(_, value)| value.as_str()).collect()
}

#[tokio::test]
async fn password_and_token_are_shown_to_the_receiver_and_to_nobody_else() {
    let rig = Rig::new().await;
    let running = rig.start().await;
    for (auth, expected) in [
        (
            ReceiverAuth::Basic { username: "Aladdin".into(), password: "open sesame".into() },
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        (ReceiverAuth::Bearer { token: "abc".into() }, "Bearer abc"),
    ] {
        let subscriber = Subscriber::start(Answer::Status(200)).await;
        let id = endpoint(&rig, &subscriber.url(), auth).await;

        let attempt = rig.attempt(id).await;

        assert!(attempt.is_success(), "{:?}", attempt.error_detail);
        assert_eq!(subscriber.received(1).await[0].header("authorization"), Some(expected));
        assert_eq!(kept(&attempt), ["***"]);
    }
    running.stop().await;
}

#[tokio::test]
async fn one_token_serves_many_requests_and_is_exchanged_when_it_is_refused() {
    let rig = Rig::new().await;
    let tokens = Subscriber::start([token("first"), token("second")]).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    endpoint(&rig, &subscriber.url(), oauth2(&tokens)).await;
    let running = rig.start().await;

    rig.publish_some(5).await;
    rig.stand(DeliveryStatus::Delivered, 5).await;
    subscriber.change([Answer::Status(401), Answer::Status(200)]);
    rig.publish(&rig.click()).await;
    rig.stand(DeliveryStatus::Delivered, 6).await;

    let shown: Vec<_> = subscriber.requests();
    let shown: Vec<_> = shown.iter().filter_map(|request| request.header("authorization")).collect();
    assert_eq!(shown, [["Bearer first"; 6].as_slice(), &["Bearer second"]].concat());
    let asked = tokens.requests();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].header("authorization"), Some("Basic dXM6aHVudGVyMg=="));
    assert_eq!(asked[0].body, b"grant_type=client_credentials&scope=hooks%3Awrite");
    // the attempt with the old token is part of the one that was accepted
    let delivered = rig.deliveries().await;
    assert!(delivered.iter().all(|delivery| delivery.attempt_count == 1));
    running.stop().await;
}

#[tokio::test]
async fn requests_that_begin_together_ask_for_one_token() {
    let rig = Rig::new().await;
    let tokens = Subscriber::start(token("only")).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let (id, _) = rig.endpoint_with(&subscriber.url(), |options| options.headers_sealed = None).await;
    rig.let_in_by(id, &oauth2(&tokens)).await;
    let running = rig.start().await;

    rig.publish_some(20).await;

    rig.stand(DeliveryStatus::Delivered, 20).await;
    assert_eq!(tokens.count(), 1);
    running.stop().await;
}

#[tokio::test]
async fn where_only_https_is_allowed_no_token_server_is_asked_in_the_clear() {
    let rig = Rig::new().await;
    let (tokens, subscriber) =
        (Subscriber::start(token("good")).await, Subscriber::start(Answer::Status(200)).await);
    let id = endpoint(&rig, &subscriber.url().replace("http://", "https://"), oauth2(&tokens)).await;
    let mut settings = rig.settings();
    settings.deliver.https_only = true;
    let running = rig.start_with(settings).await;

    let attempt = rig.attempt(id).await;

    assert_eq!(attempt.error.map(|error| error.as_str()), Some("token"));
    let detail = attempt.error_detail.expect("a reason");
    assert!(detail.contains("token server") && detail.contains("deliver.https_only"), "{detail}");
    running.stop().await;
    assert_eq!(tokens.count(), 0);
}

#[tokio::test]
async fn a_token_server_that_gives_none_is_told_of_and_not_asked_by_every_delivery() {
    let rig = Rig::new().await;
    let refusal = Response::new(400).body(r#"{"error": "invalid_client", "sent": "hunter2"}"#);
    let tokens = Subscriber::start(Script::always(refusal)).await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let id = endpoint(&rig, &subscriber.url(), oauth2(&tokens)).await;
    let running = rig.start().await;

    let attempt = rig.attempt(id).await;
    assert_eq!(attempt.error.map(|error| error.as_str()), Some("token"));
    let detail = attempt.error_detail.as_deref().unwrap_or_default();
    assert!(detail.contains("400") && detail.contains("invalid_client"), "{detail}");
    assert!(!detail.contains("hunter2"), "{detail}");
    assert_eq!((kept(&attempt), attempt.status), (vec!["***"], None));

    let asked = tokens.count();
    rig.publish_some(5).await;
    let failed = rig.stand(DeliveryStatus::Pending, 5).await;

    assert!(tokens.count() - asked < failed.len(), "{} asked", tokens.count() - asked);
    assert_eq!(subscriber.count(), 0);
    // with a token it goes on
    tokens.change(token("good"));
    assert!(rig.attempt(id).await.is_success());
    running.stop().await;
}

#[tokio::test]
async fn a_token_server_inside_is_not_asked() {
    let rig = Rig::new().await;
    let running = rig.start().await;
    let subscriber = Subscriber::start(Answer::Status(200)).await;
    let hanging = Subscriber::start(Answer::Hang).await;
    let mut auth = oauth2(&hanging);
    for (url, expected) in [
        ("http://169.254.169.254/token".to_owned(), "is not asked"),
        (hanging.url(), "did not answer in time"),
        (hanging.url().replace("http://", "https://"), "the token server"),
    ] {
        if let ReceiverAuth::OAuth2(credentials) = &mut auth {
            credentials.token_url = url.parse().expect("a URL");
        }
        let (id, _) = rig
            .endpoint_with(&subscriber.url(), |options| {
                options.headers_sealed = None;
                options.timeout_ms = Some(1500);
            })
            .await;
        rig.let_in_by(id, &auth).await;

        let attempt = rig.attempt(id).await;

        assert_eq!(attempt.error.map(|error| error.as_str()), Some("token"), "{url}");
        assert!(attempt.error_detail.as_ref().is_some_and(|detail| detail.contains(expected)), "{attempt:?}");
    }
    assert_eq!(subscriber.count(), 0);
    running.stop().await;
}
