//! Visitors that are slow, and many: cut off after the time that the settings name, while others are served.

use std::time::Duration;

use testkit::slow::{drip, is_cut};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::get;
use crate::house::{House, LIMIT, Running, options};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

const HEAD: &str = "GET /abc HTTP/1.1\r\nhost: go.example.com\r\nx-filler: ";

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_byte_by_byte_is_cut_off_and_others_are_served_meanwhile() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.request_timeout = REQUEST_TIMEOUT;
    let redirect = Running::start(settings).await;

    let stream = TcpStream::connect(redirect.addr).await.expect("the redirect listens");
    let dripping = tokio::spawn(drip(stream, HEAD, REQUEST_TIMEOUT / 50));

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
