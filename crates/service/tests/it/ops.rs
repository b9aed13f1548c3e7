//! The ops port answers what orchestrators and Prometheus ask.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::IntCounter;
use service::ops::{self, Ops};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub struct Served {
    pub addr: SocketAddr,
    pub stop: CancellationToken,
    pub server: JoinHandle<std::io::Result<()>>,
}

pub fn serve(ops: Ops) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(ops.serve(listener, stop.clone()));
    Served { addr, stop, server }
}

pub async fn get(addr: SocketAddr, path: &'static str) -> (String, String) {
    spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    })
    .await
    .unwrap()
}

async fn probe(addr: SocketAddr) -> Result<(), String> {
    spawn_blocking(move || ops::probe(addr).map_err(|error| format!("{error:#}"))).await.unwrap()
}

#[tokio::test]
async fn readiness_names_the_checks_that_fail() {
    let ops = Ops::new();
    let connected = Arc::new(AtomicBool::new(false));
    let state = connected.clone();
    ops.check(
        "nats",
        move || if state.load(Ordering::Relaxed) { Ok(()) } else { Err("not connected".into()) },
    );
    ops.check("spool", || Ok(()));
    let served = serve(ops);

    let (status, body) = get(served.addr, "/readyz").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(
        body,
        r#"{"ready":false,"checks":[{"name":"nats","error":"not connected"},{"name":"spool","error":null}]}"#
    );
    assert_eq!(probe(served.addr).await, Err("not ready: nats: not connected".to_owned()));

    connected.store(true, Ordering::Relaxed);
    assert_eq!(get(served.addr, "/readyz").await.0, "HTTP/1.1 200 OK");
    assert_eq!(probe(served.addr).await, Ok(()));
}

#[tokio::test]
async fn what_is_only_mentioned_leaves_the_process_ready() {
    let ops = Ops::new();
    ops.check("nats", || Ok(()));
    ops.mention("spool", || Err("it is full".into()));
    let served = serve(ops);

    let (status, body) = get(served.addr, "/readyz").await;

    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(
        body,
        r#"{"ready":true,"checks":[{"name":"nats","error":null},{"name":"spool","error":"it is full"}]}"#
    );
    assert_eq!(probe(served.addr).await, Ok(()));
}

#[tokio::test]
async fn a_process_that_is_not_ready_is_alive() {
    let ops = Ops::new();
    ops.check("nats", || Err("not connected".into()));
    let served = serve(ops);

    assert_eq!(
        get(served.addr, "/livez").await,
        ("HTTP/1.1 200 OK".to_owned(), format!("ok {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[tokio::test]
async fn metrics_show_the_process_and_what_was_registered() {
    let ops = Ops::new();
    let clicks = IntCounter::new("clickwire_test_clicks_total", "Clicks.").unwrap();
    ops.registry().register(Box::new(clicks.clone())).unwrap();
    clicks.inc_by(3);
    let served = serve(ops);

    let (_, body) = get(served.addr, "/metrics").await;

    assert!(body.contains("clickwire_test_clicks_total 3"), "{body}");
    assert!(body.contains("process_resident_memory_bytes "), "{body}");
}

#[tokio::test]
async fn the_ops_port_closes_when_told_to_stop() {
    let served = serve(Ops::new());
    assert_eq!(probe(served.addr).await, Ok(()));

    served.stop.cancel();

    timeout(Duration::from_secs(5), served.server).await.unwrap().unwrap().unwrap();
    let error = probe(served.addr).await.unwrap_err();
    assert!(error.starts_with(&format!("nothing listens on {}", served.addr)), "{error}");
}
