//! Clients that are slow, many or long-winded: cut off or refused at the limits that are set, while others are served.

use std::time::Duration;

use testkit::slow::{drip, is_cut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Api, LIMIT};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

const HEAD: &str = "GET /v1/links HTTP/1.1\r\nhost: localhost\r\nx-filler: ";

fn impatient(settings: &mut api::Settings) {
    settings.api.test_timeout = REQUEST_TIMEOUT / 2;
    settings.api.request_timeout = REQUEST_TIMEOUT;
}

/// The head of a request with a body, as long as a header says.
fn head_of_body(api: &Api, length: &str) -> String {
    format!(
        "POST /v1/links HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         {length}\r\n\r\n",
        api.key
    )
}

async fn connect(api: &Api) -> TcpStream {
    let addr = api.url.strip_prefix("http://").expect("its URL");
    TcpStream::connect(addr).await.expect("the API listens")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_byte_by_byte_is_cut_off_and_others_are_served_meanwhile() {
    let api = Api::start_with(impatient).await;

    let dripping = tokio::spawn(drip(connect(&api).await, HEAD, REQUEST_TIMEOUT / 50));

    assert_eq!(api.get("/v1/links").await.status, 200);
    let told = timeout(LIMIT, dripping).await.expect("it is cut off").expect("no panic");
    assert!(is_cut(&told), "{}", String::from_utf8_lossy(&told));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_byte_by_byte_is_cut_off_and_others_are_served_meanwhile() {
    let api = Api::start_with(impatient).await;
    let mut stream = connect(&api).await;
    stream.write_all(head_of_body(&api, "content-length: 4000").as_bytes()).await.expect("it is read");

    let dripping = tokio::spawn(drip(stream, r#"{"url": ""#, REQUEST_TIMEOUT / 50));

    assert_eq!(api.get("/v1/links").await.status, 200);
    let told = timeout(LIMIT, dripping).await.expect("it is cut off").expect("no panic");
    assert!(told.starts_with(b"HTTP/1.1 503 ") || is_cut(&told), "{}", String::from_utf8_lossy(&told));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_the_limit_that_ask_nothing_are_cut_off_and_who_waits_is_served() {
    let api = Api::start_with(|settings| {
        impatient(settings);
        (settings.api.workers, settings.api.connections_max) = (1, 4);
    })
    .await;
    let idle = futures::future::join_all((0..12).map(|_| connect(&api))).await;

    let answer = timeout(LIMIT, api.get("/v1/links")).await.expect("its turn comes");

    assert_eq!(answer.status, 200);
    for mut stream in idle {
        let mut told = Vec::new();
        let cut = timeout(LIMIT, stream.read_to_end(&mut told)).await;
        assert!(cut.is_ok() && is_cut(&told), "{}", String::from_utf8_lossy(&told));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_before_it_is_there() {
    let api = Api::start_with(|settings| settings.api.body_max_bytes = 4096).await;
    let (body, forever) = (format!("{{\"url\": \"{}", "x".repeat(5000)), 1_000_000_000);

    let long = head_of_body(&api, &format!("content-length: {forever}")) + &body;
    let endless = head_of_body(&api, "transfer-encoding: chunked") + &format!("{forever:x}\r\n{body}");

    for request in [long, endless] {
        let mut stream = connect(&api).await;
        stream.write_all(request.as_bytes()).await.expect("it is read");
        let mut told = [0; 13];
        timeout(LIMIT, stream.read_exact(&mut told)).await.expect("it is refused").expect("an answer");
        assert_eq!(&told, b"HTTP/1.1 413 ");
    }
}
