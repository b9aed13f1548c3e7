//! Visitors that are slow, and many: cut off after the time that the settings name, while others are served.

use std::iter;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::client::get;
use crate::house::{House, LIMIT, Running, options};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// What a cut connection was told before: that it took too long, unless what it went on sending has crossed that.
fn is_cut(told: &[u8]) -> bool {
    told.is_empty() || told.starts_with(b"HTTP/1.1 408 ")
}

/// Sends a head that has no end, byte by byte, until the connection is cut; what it was told.
async fn drip(addr: SocketAddr) -> Vec<u8> {
    let stream = TcpStream::connect(addr).await.expect("the redirect listens");
    let (mut reader, mut writer) = stream.into_split();
    let dripping = tokio::spawn(async move {
        let mut pace = interval(REQUEST_TIMEOUT / 50);
        let head = b"GET /abc HTTP/1.1\r\nhost: go.example.com\r\nx-filler: ";
        for byte in head.iter().copied().chain(iter::repeat(b'x')) {
            pace.tick().await;
            if writer.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    });
    let mut told = Vec::new();
    // a reset is an end, too
    let _ = reader.read_to_end(&mut told).await;
    dripping.abort();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_byte_by_byte_is_cut_off_and_others_are_served_meanwhile() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.request_timeout = REQUEST_TIMEOUT;
    let redirect = Running::start(settings).await;

    let dripping = tokio::spawn(drip(redirect.addr));

    assert_eq!(get(redirect.addr, "/abc", &[]).await.status, 302);
    let told = timeout(LIMIT, dripping).await.expect("it is cut off").expect("no panic");
    assert!(is_cut(&told), "{}", String::from_utf8_lossy(&told));
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_the_limit_that_ask_nothing_are_cut_off_and_who_waits_is_served() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.request_timeout = REQUEST_TIMEOUT;
    (settings.redirect.workers, settings.redirect.connections_max) = (1, 4);
    let redirect = Running::start(settings).await;
    let idle = (0..12).map(|_| TcpStream::connect(redirect.addr));
    let idle = futures::future::try_join_all(idle).await.expect("the redirect listens");

    let answer = timeout(LIMIT, get(redirect.addr, "/abc", &[])).await.expect("its turn comes");

    assert_eq!(answer.status, 302);
    for mut stream in idle {
        let mut told = Vec::new();
        let cut = timeout(LIMIT, stream.read_to_end(&mut told)).await;
        assert!(cut.is_ok() && is_cut(&told), "{}", String::from_utf8_lossy(&told));
    }
    redirect.stop().await;
}
