//! Links in bulk.

use std::time::Duration;

use bus::{Change, Changed, Table};
use futures::StreamExt as _;
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use testkit::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

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
async fn a_request_beyond_its_limits_says_where_it_ended() {
    let api = Api::start_with(|settings| {
        settings.api.bulk_lines_max = 3;
        settings.api.bulk_idle_timeout = Duration::from_millis(300);
    })
    .await;
    let line = "{\"url\": \"https://example.com/\"}\n";

    let many = sent(&api, line.repeat(10)).await;
    assert_eq!(
        many.iter().map(brief).map(|(line, status, _)| (line, status)).collect::<Vec<_>>(),
        [(1, 201), (2, 201), (3, 201), (4, 413)]
    );
    assert_eq!(many[3]["code"], "too_many_lines");

    let (lines, body) = open_body();
    lines.send(format!("{line}{{\"url\": \"https://")).expect("open");
    let idle = results(&send(&api, body).await.text().await.expect("a body"));
    assert_eq!(idle.iter().map(brief).collect::<Vec<_>>(), [(1, 201, ""), (2, 408, "idle")]);
    assert_eq!(count(&api).await, 4);
}

#[tokio::test]
async fn more_passwords_than_a_request_may_have_are_refused_line_by_line() {
    let api = Api::start_with(|settings| {
        settings.api.bulk_passwords_max = 1;
        settings.api.bulk_batch_max = 2;
    })
    .await;
    let line = |password: Option<&str>| json!({"url": "https://example.com/", "password": password});
    let lines = [line(Some("open sesame")), line(None), line(None), line(Some("open sesame"))];
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();

    let results = sent(&api, lines.join("\n")).await;

    let told: Vec<_> = results.iter().map(brief).collect();
    assert_eq!(told, [(1, 201, ""), (2, 201, ""), (3, 201, ""), (4, 422, "invalid")]);
    let error = &results[3]["errors"][0];
    assert_eq!((&error["pointer"], &error["code"]), (&json!("/password"), &json!("limit_reached")));
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_whole_batches_and_its_place_to_others() {
    let api = Api::start_with(|settings| {
        settings.api.bulk_requests_max = 1;
        settings.api.bulk_workspace_requests_max = 1;
        settings.api.bulk_batch_max = 10;
    })
    .await;
    let line = "{\"url\": \"https://example.com/\"}\n";
    let (lines, body) = open_body();
    lines.send(line.repeat(20)).expect("open");
    let mut response = send(&api, body).await;
    response.chunk().await.expect("a chunk").expect("results");

    let refused = send(&api, line).await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (503, true));
    drop((response, lines));

    let one = until(LIMIT, async || {
        let response = send(&api, line).await;
        (response.status() == 200).then_some(response)
    })
    .await;
    assert_eq!(results(&one.text().await.expect("a body")).len(), 1);
    assert_eq!(count(&api).await % 10, 1, "whole batches, and the last one's link");
}

#[tokio::test]
async fn without_the_database_a_request_says_which_lines_were_not_made() {
    let mut database = testkit::OwnDatabase::start().await;
    let nats = testkit::defaults(bus::DEFAULTS, "nats");
    let nats = bus::Settings { url: "nats://127.0.0.1:9".to_owned(), ..nats };
    let mut settings = crate::harness::settings(database.settings(), nats);
    settings.database.connect_timeout = Duration::from_secs(1);
    let api = Api::serve(settings, database.pool()).await;
    let (lines, body) = open_body();
    let line = "{\"url\": \"https://example.com/\"}\n";
    lines.send(line.repeat(2)).expect("open");
    let mut response = send(&api, body).await;
    let first = response.chunk().await.expect("a chunk").expect("results");
    assert_eq!(results(std::str::from_utf8(&first).expect("text")).len(), 2);

    database.stop().await;
    lines.send(line.repeat(3)).expect("open");
    let rest = results(&response.text().await.expect("a body"));

    assert_eq!(rest.iter().map(brief).collect::<Vec<_>>(), [(3, 503, "unavailable")]);
    database.restart().await;
    until(LIMIT, async || api.pool.get().await.is_ok().then_some(())).await;
    until(LIMIT, async || (count(&api).await == 2).then_some(())).await;
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
async fn a_request_that_ends_no_line_is_ended() {
    let api = Api::start_with(|settings| settings.api.bulk_idle_timeout = Duration::from_millis(500)).await;

    for trickle in ["x", "\n"] {
        let (lines, body) = open_body();
        let sending = tokio::spawn(async move {
            while lines.send(trickle.to_owned()).is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let response = timeout(LIMIT, async { send(&api, body).await.text().await.expect("a body") });

        let told = results(&response.await.expect("an end"));

        assert_eq!((told.len(), brief(&told[0]).2), (1, "idle"), "{told:?}");
        sending.abort();
    }
    let (lines, body) = open_body();
    for _ in 0..20 {
        lines.send("x".repeat(64 * 1024)).expect("open");
    }
    let told = results(&send(&api, body).await.text().await.expect("a body"));
    assert_eq!(told.iter().map(brief).collect::<Vec<_>>(), [(1, 413, "body_too_large")]);
    drop(lines);
}

#[tokio::test]
async fn a_key_that_is_revoked_makes_no_more_links() {
    let api = Api::start_with(|settings| settings.api.bulk_key_interval = Duration::from_millis(1)).await;
    let key = api.key_with(&["links:write"], None).await;
    let (lines, body) = open_body();
    let line = "{\"url\": \"https://example.com/\"}\n";
    lines.send(line.to_owned()).expect("open");
    let request = api.request(Method::POST, "/v1/links/bulk").bearer_auth(&key);
    let mut response =
        request.header("content-type", "application/x-ndjson").body(body).send().await.expect("an answer");
    response.chunk().await.expect("a chunk").expect("a result");

    let keys = api.get("/v1/api-keys").await.body["data"].as_array().expect("keys").clone();
    let id = keys.iter().find(|key| key["name"] == "Scoped").expect("the key")["id"].clone();
    assert_eq!(api.delete(&format!("/v1/api-keys/{}", id.as_str().expect("an id"))).await.status, 204);
    lines.send(line.to_owned()).expect("open");
    let rest = results(&response.text().await.expect("a body"));

    assert_eq!(rest.iter().map(brief).collect::<Vec<_>>(), [(2, 401, "unauthorized")]);
    assert_eq!(count(&api).await, 1);
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

/// Sends broken lines and reads nothing until no more are taken, then reads what there is. Tells how much was taken, and
/// what was answered.
async fn unread(api: &Api) -> (usize, String) {
    const TAKEN_MAX: usize = 64 * 1024 * 1024;
    let mut stream = TcpStream::connect(api.url.trim_start_matches("http://")).await.expect("a connection");
    let head = format!(
        "POST /v1/links/bulk HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
        api.key
    );
    stream.write_all(head.as_bytes()).await.expect("open");
    let lines = "{}\n".repeat(10_000);
    let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
    let mut taken = 0;
    while taken < TAKEN_MAX {
        match timeout(Duration::from_secs(3), stream.write_all(chunk.as_bytes())).await {
            Ok(Ok(())) => taken += chunk.len(),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let mut answer = Vec::new();
    // a reset is an end like any other
    let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("an end");
    (taken, String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_client_that_reads_nothing_nothing_is_read_and_its_answer_breaks_off() {
    let api = Api::start_with(|settings| settings.api.bulk_idle_timeout = Duration::from_millis(500)).await;

    let (taken, answer) = unread(&api).await;

    assert!(taken < 32 * 1024 * 1024, "{taken} bytes were taken");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"line\":1,"), "{} bytes", answer.len());
    assert!(!answer.ends_with("0\r\n\r\n"), "it looks whole");
}
