//! Links in bulk.

mod ends;

use bus::{Change, Changed, Table};
use futures::StreamExt as _;
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::harness::{Api, LIMIT};

async fn send(api: &Api, body: impl Into<Body>) -> Response {
    let request = api.request(Method::POST, "/v1/links/bulk").bearer_auth(&api.key);
    request.header("content-type", "application/x-ndjson").body(body).send().await.expect("an answer")
}

fn results(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

async fn sent(api: &Api, body: impl Into<Body>) -> Vec<Value> {
    let response = send(api, body).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    results(&response.text().await.expect("a body"))
}

fn brief(result: &Value) -> (u64, u64, &str) {
    let number = |name: &str| result[name].as_u64().expect("a number");
    (number("line"), number("status"), result["code"].as_str().unwrap_or_default())
}

/// A body that is sent while results are read.
fn open_body() -> (mpsc::UnboundedSender<String>, Body) {
    let (lines, mut arriving) = mpsc::unbounded_channel::<String>();
    let chunks = futures::stream::poll_fn(move |context| arriving.poll_recv(context));
    (lines, Body::wrap_stream(chunks.map(Ok::<_, std::io::Error>)))
}

async fn count(api: &Api) -> i64 {
    let mut conn = api.pool.get().await.expect("the database runs");
    let page = store::links::list(&mut conn, api.workspace_id, &Default::default(), None, 1_000_000).await;
    i64::try_from(page.expect("links").len()).expect("few")
}

#[tokio::test]
async fn each_line_has_its_result_in_order_and_a_broken_one_stops_nothing() {
    let api = Api::start().await;
    let long = format!("{{\"url\": \"https://example.com/{}\"}}", "x".repeat(70_000));
    let lines = [
        r#"{"url": "https://example.com/1"}"#,
        "",
        "{",
        r#"{"url": "javascript:alert(1)", "tags": ["a", 1]}"#,
        &long,
        r#"{"url": "http://localhost:8080/x"}"#,
        r#"{"url": "https://example.com/7", "domain": "x.example"}"#,
        "[]\r",
        "\u{feff}{}",
        r#"{"url": "https://example.com/10", "contact_id": "c", "password": "open sesame", "max_clicks": 1}"#,
    ];

    let results = sent(&api, lines.join("\n")).await;

    let told: Vec<_> = results.iter().map(brief).collect();
    assert_eq!(
        told,
        [
            (1, 201, ""),
            (3, 400, "malformed"),
            (4, 422, "invalid"),
            (5, 413, "body_too_large"),
            (6, 422, "invalid"),
            (7, 422, "invalid"),
            (8, 422, "invalid"),
            (9, 400, "malformed"),
            (10, 201, ""),
        ]
    );
    assert_eq!(results[0].as_object().expect("an object").len(), 4, "{}", results[0]);
    let alone = api.post("/v1/links", json!({"url": "javascript:alert(1)", "tags": ["a", 1]})).await.body;
    for (field, value) in alone.as_object().expect("an object") {
        assert_eq!(results[2][field], *value, "{field}");
    }
    let last = api.get(&format!("/v1/links/{}", results[8]["id"].as_str().expect("an id"))).await.body;
    assert_eq!(last["tracked_url"], results[8]["tracked_url"]);
    assert_eq!((&last["kind"], &last["has_password"]), (&json!("message"), &json!(true)));
    assert_eq!((&last["url"], &last["max_clicks"]), (&json!("https://example.com/10"), &json!(1)));
}

#[tokio::test]
async fn a_name_is_given_once_within_a_request_and_beside_others() {
    let api = Api::start().await;
    let url = "https://example.com/";
    api.post("/v1/links", json!({"url": url, "slug": "there", "external_id": "there"})).await;
    let lines = [
        json!({"url": url, "slug": "there"}),
        json!({"url": url, "external_id": "there"}),
        json!({"url": url, "slug": "new", "external_id": "one"}),
        json!({"url": url, "slug": "NEW"}),
        json!({"url": url, "external_id": "one"}),
        json!({"url": url}),
    ];
    let body: Vec<String> = lines.iter().map(Value::to_string).collect();

    let results = sent(&api, body.join("\n")).await;

    let codes: Vec<&str> = results.iter().map(|result| brief(result).2).collect();
    assert_eq!(
        codes,
        ["slug_taken", "external_id_taken", "", "slug_taken", "external_id_taken", ""],
        "{results:?}"
    );
    assert_eq!(count(&api).await, 3);
    let again = sent(&api, body[2].clone()).await;
    assert_eq!(brief(&again[0]).2, "external_id_taken");
}

#[tokio::test]
async fn slugs_are_compared_as_their_domains_do() {
    let api = Api::start().await;
    assert_eq!(api.post("/v1/domains", json!({"host": "a.example", "case": "sensitive"})).await.status, 201);
    assert_eq!(api.post("/v1/domains", json!({"host": "b.example"})).await.status, 201);
    let line = |domain: &str, slug: &str| {
        json!({"url": "https://example.com/", "domain": domain, "slug": slug}).to_string()
    };
    let lines = [
        ("a.example", "Sale"),
        ("a.example", "sale"),
        ("a.example", "Sale"),
        ("b.example", "Sale"),
        ("b.example", "SALE"),
    ];

    let results = sent(&api, lines.map(|(domain, slug)| line(domain, slug)).join("\n")).await;

    let told: Vec<_> = results.iter().map(brief).collect();
    let taken = "slug_taken";
    assert_eq!(told, [(1, 201, ""), (2, 201, ""), (3, 409, taken), (4, 201, ""), (5, 409, taken)]);
    let urls: Vec<_> = results.iter().filter_map(|result| result["tracked_url"].as_str()).collect();
    assert_eq!(urls, ["http://a.example/Sale", "http://a.example/sale", "http://b.example/sale"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_links_are_made_in_batches_that_are_told_of_once() {
    const LINKS: usize = 20_000;
    let api = Api::start_with_nats().await;
    let mut changes = api.bus.as_ref().expect("a bus").changes(Table::Links);
    assert_eq!(changes.next().await, Some(Change::Reconnected));
    let body: String = (0..LINKS)
        .map(|n| format!("{{\"url\":\"https://example.com/{n}\",\"external_id\":\"{n}\"}}\n"))
        .collect();

    let results = sent(&api, body.clone()).await;

    assert_eq!(results.len(), LINKS);
    for (at, result) in results.iter().enumerate() {
        assert_eq!(brief(result), (at as u64 + 1, 201, ""));
    }
    assert_eq!(count(&api).await, LINKS as i64);
    let audit = api.get("/v1/audit?limit=250").await.body["data"].as_array().expect("a page").clone();
    assert!((40..250).contains(&audit.len()), "{} batches", audit.len());
    let links: u64 = audit.iter().filter_map(|entry| entry["details"]["links"].as_u64()).sum();
    assert_eq!(links, LINKS as u64);
    assert!(audit.iter().all(|entry| entry["action"] == "link.imported"));
    let mut heard = 0;
    for _ in 0..audit.len() {
        let change = tokio::time::timeout(LIMIT, changes.next()).await.expect("a notice");
        let Some(Change::Row(Changed { keys, .. })) = change else { panic!("{change:?}") };
        assert!((1..=500).contains(&keys.len()));
        heard += keys.len();
    }
    assert_eq!(heard, LINKS);
    let mut conn = api.pool.get().await.expect("the database runs");
    let waiting = store::outbox::lock_oldest(&mut conn, 1000).await.expect("events");
    let ids = |event: &store::outbox::Waiting| event.data["ids"].as_array().map_or(0, Vec::len);
    assert_eq!(waiting.iter().map(ids).sum::<usize>(), LINKS);
    assert!(
        waiting
            .iter()
            .all(|event| event.event_type == "link.imported" && event.data.to_string().len() < 64 * 1024)
    );

    let again = sent(&api, body.lines().take(1000).collect::<Vec<_>>().join("\n")).await;
    assert!(again.iter().all(|result| brief(result).2 == "external_id_taken"));
    assert_eq!(count(&api).await, LINKS as i64);
}

#[tokio::test]
async fn who_waits_for_a_result_before_sending_on_gets_it() {
    let api = Api::start().await;
    let (lines, body) = open_body();
    lines.send("{\"url\": \"https://example.com/1\"}\n".to_owned()).expect("open");
    let mut response = send(&api, body).await;

    let first = response.chunk().await.expect("a chunk").expect("a result");
    lines.send("{\"url\": \"https://example.com/2\"}".to_owned()).expect("open");
    drop(lines);
    let second = response.chunk().await.expect("a chunk").expect("a result");

    assert_eq!(brief(&results(std::str::from_utf8(&first).expect("text"))[0]), (1, 201, ""));
    assert_eq!(brief(&results(std::str::from_utf8(&second).expect("text"))[0]), (2, 201, ""));
    assert_eq!(response.chunk().await.expect("the end"), None);
}

#[tokio::test]
async fn a_body_that_is_not_lines_is_refused_as_a_whole() {
    let api = Api::start().await;
    let request = |content_type: &'static str| {
        let request = api.request(Method::POST, "/v1/links/bulk").bearer_auth(&api.key);
        request.header("content-type", content_type).body("{}").send()
    };

    let refused = request("application/json").await.expect("an answer");
    assert_eq!(refused.status(), 415);
    let told: Value = serde_json::from_str(&refused.text().await.expect("a body")).expect("JSON");
    assert_eq!(told["detail"], "send the body as `Content-Type: application/x-ndjson`");
    let reader = api.key_with(&["links:read"], None).await;
    assert_eq!(api.call_as(&reader, Method::POST, "/v1/links/bulk", None).await.status, 403);
    assert_eq!(sent(&api, "").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_workspace_keeps_no_other_out() {
    let api = Api::start().await;
    let (_, other) = api.other_workspace().await;
    let line = "{\"url\": \"https://example.com/\"}\n";
    let mut open = Vec::new();
    for _ in 0..2 {
        let (lines, body) = open_body();
        lines.send(line.to_owned()).expect("open");
        open.push((send(&api, body).await, lines));
    }

    let refused = send(&api, line).await;
    let request = api.request(Method::POST, "/v1/links/bulk").bearer_auth(&other);
    let others = request.header("content-type", "application/x-ndjson").body(line).send().await;

    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (503, true));
    let others = others.expect("an answer").text().await.expect("a body");
    assert_eq!(results(&others).iter().map(brief).collect::<Vec<_>>(), [(1, 201, "")]);
}

#[tokio::test]
async fn lines_of_nothing_but_errors_are_not_answered_with_many_times_as_much() {
    let api = Api::start().await;
    let names: Vec<String> = (0..5000).map(|n| format!("\"{n}\":1")).collect();
    let body = format!("{{{}}}\n", names.join(",")).repeat(20);

    let answer = send(&api, body.clone()).await.text().await.expect("a body");

    assert_eq!(results(&answer).len(), 20);
    assert!(answer.len() < body.len() / 2, "{} bytes for {}", answer.len(), body.len());
}
