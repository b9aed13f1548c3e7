//! Requests in bulk that end before their lines do.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{brief, count, open_body, results, send, sent};
use crate::harness::{Api, LIMIT};

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

    api.revoke_scoped_key().await;
    lines.send(line.to_owned()).expect("open");
    let rest = results(&response.text().await.expect("a body"));

    assert_eq!(rest.iter().map(brief).collect::<Vec<_>>(), [(2, 401, "unauthorized")]);
    assert_eq!(count(&api).await, 1);
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
