//! What cannot be used is named; traces reach the collector that is named.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use service::telemetry::{Format, Settings, SpanKind, Traces, init};

fn settings(log_filter: &str, otlp_endpoint: Option<String>) -> Settings {
    Settings { log_filter: log_filter.to_owned(), log_format: Format::Json, otlp_endpoint }
}

#[test]
fn a_filter_that_is_none_is_named() {
    let error = init("test", &settings("info,redirect=loud", None)).err().unwrap();

    assert_eq!(
        error.to_string(),
        "telemetry.log_filter: `info,redirect=loud` must be a level or levels by module, as in \"info,redirect=debug\""
    );
}

#[tokio::test]
async fn a_trace_is_continued_and_sent_to_the_collector() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let request = thread::spawn(move || {
        let (mut stream, _) = collector.accept().unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !request.windows(7).any(|window| window == b"a_click") {
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "the collector was sent no span");
            request.extend_from_slice(&buffer[..read]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        String::from_utf8_lossy(&request).into_owned()
    });
    let settings_with_collector = settings("error", Some(endpoint));
    let telemetry = init("test", &settings_with_collector).unwrap();
    assert!(init("test", &settings("info", None)).is_err());

    let traces = Traces::new(&settings_with_collector);
    let unwanted = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    assert!(traces.step("a_click", SpanKind::Server, Some(unwanted)).is_none());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut step = traces.step("a_click", SpanKind::Server, Some(parent)).unwrap();
    step.note("http.response.status_code", 302_i64);
    let child = step.traceparent();
    assert!(child.ends_with("-01") && child.len() == parent.len(), "{child}");
    assert!(child.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{child}");
    assert!(!child.contains("b7ad6b7169203331"), "{child}");
    drop(step);
    tokio::task::spawn_blocking(move || drop(telemetry)).await.unwrap();

    let request = request.join().unwrap();
    assert!(request.starts_with("POST /v1/traces HTTP/1.1"), "{request}");
    assert!(request.contains("clickwire-test"), "{request}");
}
