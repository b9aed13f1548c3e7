//! Links that ask for a password.

use std::time::Duration;

use model::PasswordHash;
use model::link::RedirectStatus;
use store::links::LinkOptions;

use crate::client::{get, post, raw, send};
use crate::house::{House, Running, options};

const RIGHT: &str = "password=open+s%C3%A9same";

fn with_password() -> LinkOptions {
    LinkOptions { password: Some(PasswordHash::of("open sésame").expect("randomness")), ..options() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_becomes_a_click_with_the_right_password() {
    let house = House::new().await;
    house.link("abc", with_password()).await;
    let redirect = house.start().await;

    let asked = get(redirect.addr, "/abc?ref=7", &[]).await;

    insta::assert_snapshot!(asked.shown(), @r#"
    HTTP/1.1 200 OK
    cache-control: private, no-store, max-age=0
    content-length: 1395
    content-security-policy: default-src 'none'; style-src 'sha256-vRrB2rGxkwKLP1Axcay9W31764tzkzH6WBrYwBPI7rA='; base-uri 'none'; frame-ancestors 'none'
    content-type: text/html; charset=utf-8
    referrer-policy: no-referrer
    x-content-type-options: nosniff
    x-robots-tag: noindex, nofollow

    <!doctype html>
    <html lang="en">
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Password needed</title>
    <style></style>
    <main>
    <h1>This link asks for a password</h1>
    <form method="post">
    <p><label for="password">Password</label>
    <input id="password" name="password" type="password" required autofocus autocomplete="off"></p>
    <p><button type="submit">Continue</button></p>
    </form>
    </main>
    </html>
    "#);
    let headed = send(redirect.addr, "HEAD", "/abc", &[]).await;
    assert_eq!((headed.head.as_str(), headed.body.as_str()), (asked.head.as_str(), ""));
    let wrong = post(redirect.addr, "/abc?ref=7", "password=open", &[]).await;
    assert_eq!((wrong.status, wrong.header("location")), (403, None));
    assert!(wrong.body.contains("role=\"alert\">That is not the password."), "{}", wrong.body);
    assert!(!asked.body.contains("example.com") && !wrong.body.contains("example.com"));

    let right = post(redirect.addr, "/abc?ref=7", RIGHT, &[]).await;
    assert_eq!((right.status, right.location()), (303, "https://example.com/offer?utm_source=sms&ref=7"));
    assert_eq!(right.header("cache-control"), Some("private, no-store, max-age=0"));
    assert_eq!(right.header("referrer-policy"), Some("no-referrer"));
    let clicks = house.clicks_when(1).await;
    assert_eq!((clicks.len(), clicks[0].request.method.as_str()), (1, "POST"));
    assert_eq!(clicks[0].destination_url, right.location());
    assert_eq!(redirect.count("answers", "password_asked"), 2);
    assert_eq!(redirect.count("answers", "password_wrong"), 1);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_tries_the_password_of_a_link_only_so_often() {
    let house = House::new().await;
    house.link("abc", with_password()).await;
    house.link("other", with_password()).await;
    let mut settings = house.settings();
    settings.redirect.password_attempts_per_minute = 2;
    settings.redirect.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let redirect = Running::start(settings).await;
    let from = |client| [("x-forwarded-for", client)];

    for client in ["198.51.100.7", "198.51.100.8"] {
        assert_eq!(post(redirect.addr, "/abc", "password=x", &from(client)).await.status, 403);
    }
    let limited = post(redirect.addr, "/abc", RIGHT, &from("198.51.100.9")).await;

    assert_eq!(limited.status, 429);
    let seconds: u64 = limited.header("retry-after").expect("when").parse().expect("seconds");
    assert!((1..=60).contains(&seconds));
    assert!(limited.body.contains("role=\"alert\">That was tried too often."), "{}", limited.body);
    assert_eq!(get(redirect.addr, "/abc", &from("198.51.100.9")).await.status, 200);
    assert_eq!(post(redirect.addr, "/other", RIGHT, &from("198.51.100.9")).await.status, 303);
    assert_eq!(post(redirect.addr, "/abc", RIGHT, &from("203.0.113.9")).await.status, 303);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_form_is_refused() {
    let house = House::new().await;
    let status_code = RedirectStatus::TemporaryRedirect;
    house.link("abc", LinkOptions { status_code, ..with_password() }).await;
    let mut settings = house.settings();
    settings.redirect.request_timeout = Duration::from_secs(1);
    let redirect = Running::start(settings).await;

    let json = post(redirect.addr, "/abc", "{}", &[("content-type", "application/json")]).await;
    assert_eq!(json.status, 415);
    let large = post(redirect.addr, "/abc", &format!("password={}", "x".repeat(5000)), &[]).await;
    assert_eq!(large.status, 413);
    let put = send(redirect.addr, "PUT", "/abc", &[("content-length", "0")]).await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD, POST")));
    let slow = "POST /abc HTTP/1.1\r\nhost: go.example.com\r\ncontent-length: 20\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\npassword=";
    let slow = raw(redirect.addr, "POST", slow.as_bytes()).await.expect("an answer");
    assert_eq!(slow.status, 408);
    assert_eq!(post(redirect.addr, "/abc", "other=1", &[]).await.status, 403);
    assert_eq!(post(redirect.addr, "/abc", RIGHT, &[]).await.status, 303);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_too_large_is_refused_before_it_is_there() {
    let house = House::new().await;
    house.link("abc", with_password()).await;
    let redirect = house.start().await;
    let head =
        "POST /abc HTTP/1.1\r\nhost: go.example.com\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    let (form, forever) = (format!("password={}", "x".repeat(5000)), 1_000_000_000);

    let long = format!("{head}content-length: {forever}\r\n\r\n{form}");
    let endless = format!("{head}transfer-encoding: chunked\r\n\r\n{forever:x}\r\n{form}");

    for request in [long, endless] {
        let answer = raw(redirect.addr, "POST", request.as_bytes()).await.expect("an answer");
        assert_eq!(answer.status, 413);
    }
    redirect.stop().await;
}
