//! A private nats-server.

use std::time::Duration;

use embedded::{EmbeddedError, Nats, NatsOptions, SyncInterval};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_killed_server_comes_back_on_the_same_ports() {
    let dir = tempfile::tempdir().unwrap();
    let mut nats = Nats::start(NatsOptions::throwaway(dir.path())).await.unwrap();
    let (url, monitor_url) = (nats.url(), nats.monitor_url());

    nats.kill().await;
    nats.restart().await.unwrap();

    assert_eq!((nats.url(), nats.monitor_url()), (url, monitor_url));
}

#[tokio::test]
async fn the_configuration_says_how_durable_it_is() {
    for (sync_interval, line) in [
        (SyncInterval::Always, "sync_interval: always"),
        (SyncInterval::Every(Duration::from_millis(500)), "sync_interval: \"500ms\""),
        (SyncInterval::Usual, "sync_interval: \"2m\""),
    ] {
        let dir = tempfile::tempdir().unwrap();

        let _nats = Nats::start(NatsOptions::durable(dir.path(), sync_interval)).await.unwrap();

        let configuration = std::fs::read_to_string(dir.path().join("nats.conf")).unwrap();
        assert!(configuration.contains(line), "{configuration}");
    }
}

#[tokio::test]
async fn a_named_port_that_is_taken_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let first = Nats::start(NatsOptions::throwaway(dir.path().join("first"))).await.unwrap();
    let second =
        NatsOptions { port: Some(first.port()), ..NatsOptions::throwaway(dir.path().join("second")) };

    let refused = Nats::start(second).await;

    assert!(matches!(refused, Err(EmbeddedError::PortTaken { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_paused_server_answers_when_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let nats = Nats::start(NatsOptions::throwaway(dir.path())).await.unwrap();

    nats.pause();
    let mut client = TcpStream::connect(("127.0.0.1", nats.port())).await.unwrap();
    client.write_all(b"PING\r\n").await.unwrap();
    nats.resume();

    let mut greeting = [0; 4];
    client.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"INFO");
}
