//! Nobody asks for more than their share.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use reqwest::header::HeaderMap;
use reqwest::{Body, Method};
use serde_json::json;

use crate::console::Browser;
use crate::harness::Api;
use crate::tour::{Told, told};

/// Refilled so slowly that a slow machine sees none of it.
fn slow(settings: &mut api::Settings) {
    let api = &mut settings.api;
    (api.requests_per_second, api.requests_burst) = (1, 600);
    (api.workspace_requests_per_second, api.workspace_requests_burst) = (1, 600);
    (api.unknown_requests_per_second, api.unknown_requests_burst) = (1, 600);
}

async fn ask(api: &Api, key: &str) -> Told {
    told(api.request(Method::GET, "/v1/event-types").bearer_auth(key)).await
}

fn number(headers: &HeaderMap, name: &str) -> u64 {
    headers[name].to_str().expect("text").parse().expect("a number")
}

/// The answer that refuses, which comes after some: a bucket gets one back each second, and a machine may be slow.
async fn refused(ask: impl AsyncFn() -> Told) -> Told {
    for _ in 0..1000 {
        let told = ask().await;
        if told.status == 429 {
            return told;
        }
    }
    panic!("it is not refused");
}

async fn limited(api: &Api, by: &str) -> bool {
    let text = reqwest::get(format!("{}/metrics", api.ops_url)).await.expect("metrics");
    let text = text.text().await.expect("text");
    text.lines().any(|line| line.starts_with(&format!("clickwire_api_rate_limited_total{{by=\"{by}\"}}")))
}

#[tokio::test]
async fn every_answer_says_what_is_left_and_a_key_that_asks_too_often_is_told_to_wait() {
    let api = Api::start_with(|settings| {
        slow(settings);
        settings.api.requests_burst = 5;
    })
    .await;

    let first = ask(&api, &api.key).await;
    assert_eq!((first.status, number(&first.headers, "ratelimit-limit")), (200, 5));
    assert_eq!(number(&first.headers, "ratelimit-remaining"), 4);
    assert_eq!(number(&first.headers, "ratelimit-reset"), 1);
    assert_eq!(first.headers["ratelimit-policy"], "5;w=5");

    let refused = refused(async || ask(&api, &api.key).await).await;
    assert_eq!(refused.json()["code"], "rate_limited");
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    assert_eq!(number(&refused.headers, "ratelimit-remaining"), 0);
    let wait = number(&refused.headers, "retry-after");
    assert_eq!(wait, 1);
    assert!(limited(&api, "key").await);

    // who waits as long as they were told is answered
    let other = api.key_with(&["*"], None).await;
    assert_eq!(ask(&api, &other).await.status, 200, "another key has its own share");
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(ask(&api, &api.key).await.status, 200);
}

#[tokio::test]
async fn many_keys_of_a_workspace_get_no_more_than_the_workspace() {
    let api = Api::start_with(|settings| {
        slow(settings);
        settings.api.workspace_requests_burst = 4;
    })
    .await;
    let (_, stranger) = api.other_workspace().await;

    let mut statuses = Vec::new();
    for _ in 0..10 {
        let key = api.key_with(&["*"], None).await;
        statuses.push(ask(&api, &key).await.status);
    }

    assert_eq!(statuses[..4], [200; 4]);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(ask(&api, &stranger).await.status, 200, "another workspace has its own share");
    assert!(limited(&api, "workspace").await);
    let browser = Browser::signed_in(&api).await;
    refused(async || ask(&api, &api.key).await).await;
    let request = api.request(Method::GET, "/settings/webhooks").header("cookie", browser.cookie());
    assert_eq!(told(request).await.status, 200, "people are not kept out by programs");
}

#[tokio::test]
async fn who_is_not_known_is_limited_by_address_and_who_is_known_is_not_held_up_by_them() {
    let api = Api::start_with(|settings| {
        slow(settings);
        settings.api.unknown_requests_burst = 6;
    })
    .await;
    assert_eq!(ask(&api, &api.key).await.status, 200);

    let mut statuses = Vec::new();
    for guess in 0..20 {
        let request = api.request(Method::GET, "/v1/links");
        let told = match guess % 3 {
            0 => told(request).await,
            1 => told(request.bearer_auth(format!("cw_{guess:043}"))).await,
            _ => told(api.request(Method::GET, "/v1/nothing")).await,
        };
        assert!(told.headers.contains_key("ratelimit-remaining"), "{}", told.status);
        statuses.push(told.status);
    }

    assert_eq!(statuses[..6], [401, 401, 404, 401, 401, 404]);
    assert!(statuses[6..].contains(&429), "{statuses:?}");
    assert_eq!(ask(&api, &api.key).await.status, 200, "a key that is known has its own share");
    assert!(limited(&api, "address").await);
}

#[tokio::test]
async fn a_bulk_request_counts_once() {
    let api = Api::start_with(|settings| {
        slow(settings);
        settings.api.requests_burst = 3;
    })
    .await;
    let lines = json!({"url": "https://example.com/"}).to_string() + "\n";

    let request = api.request(Method::POST, "/v1/links/bulk").bearer_auth(&api.key);
    let told = told(request.header("content-type", "application/x-ndjson").body(lines.repeat(50))).await;

    assert_eq!((told.status, told.text.lines().count()), (200, 50));
    assert_eq!(number(&told.headers, "ratelimit-remaining"), 2);
}

#[tokio::test]
async fn answers_that_are_given_in_place_of_the_one_that_was_asked_for_say_what_is_left_too() {
    let api = Api::start_with(|settings| {
        slow(settings);
        settings.api.requests_burst = 5;
        settings.api.test_timeout = Duration::from_millis(100);
        settings.api.request_timeout = Duration::from_secs(3);
    })
    .await;
    let never = Body::wrap_stream(futures::stream::pending::<Result<String, std::io::Error>>());

    let request = api.request(Method::POST, "/v1/links").bearer_auth(&api.key);
    let late = told(request.header("content-type", "application/json").body(never)).await;
    let long = api.request(Method::GET, &format!("/v1/links?campaign_id={}", "x".repeat(9000)));
    let long = told(long.bearer_auth(&api.key)).await;

    assert_eq!((late.status, &late.json()["code"]), (503, &json!("unavailable")), "{}", late.text);
    assert_eq!(late.headers["content-type"], "application/problem+json");
    assert_eq!((number(&late.headers, "ratelimit-limit"), number(&late.headers, "retry-after")), (5, 1));
    assert_eq!(late.headers["x-content-type-options"], "nosniff");
    assert_eq!((long.status, number(&long.headers, "ratelimit-limit")), (414, 600));
}

#[tokio::test]
async fn who_is_signed_in_to_the_console_may_ask_no_more_than_a_key() {
    let api = Api::start_with(|settings| {
        slow(settings);
        settings.api.requests_burst = 5;
    })
    .await;
    let browser = Browser::signed_in(&api).await;

    let open = || told(api.request(Method::GET, "/settings/webhooks").header("cookie", browser.cookie()));
    let refused = refused(async || open().await).await;

    assert_eq!(number(&refused.headers, "retry-after"), 1);
    assert!(refused.text.contains("Too many requests"), "{}", refused.text);
    assert!(limited(&api, "session").await);
    assert_eq!(ask(&api, &api.key).await.status, 200, "a program with the same key has its own share");
}

#[tokio::test]
async fn a_workspace_that_searches_leaves_connections_to_the_database_to_others() {
    let api = Api::start_with(|settings| settings.database.pool_max = 5).await;
    let browser = Browser::signed_in(&api).await;
    // a search of links has 3 s, which may be over before the table is let go
    for (table, paths, served) in [
        ("links", ["/v1/links?q=zzzz", "/v1/links?state=live", "/links?q=zzzz"], [200, 422]),
        ("clicks", ["/v1/clicks?verdict=human", "/v1/clicks?country=SE", "/clicks?device=tv"], [200, 200]),
    ] {
        let held = api.hold_from_readers(table).await;
        let search = |path| {
            let request = api.request(Method::GET, path).header("cookie", browser.cookie());
            told(request.bearer_auth(&api.key))
        };

        let mut asked: FuturesUnordered<_> = paths.into_iter().map(search).collect();
        let refused = asked.next().await.expect("one is answered");

        assert_eq!((refused.status, number(&refused.headers, "retry-after")), (503, 1), "{}", refused.text);
        assert_eq!(api.get("/v1/webhook-endpoints").await.status, 200, "what is quick finds a connection");
        held.let_go().await;
        let rest: Vec<u16> = asked.map(|told| told.status).collect().await;
        let is_served = rest.len() == 2 && rest.iter().all(|status| served.contains(status));
        assert!(is_served, "{table}: {rest:?}");
    }
}
