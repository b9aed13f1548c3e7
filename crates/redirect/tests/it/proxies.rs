//! Who visits, behind proxies of several kinds.

use std::net::SocketAddr;
use std::time::Duration;

use model::click::IpQuality;
use redirect::Settings;
use redirect::proxies::AddressHeader;
use testkit::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{get, raw};
use crate::house::{House, LIMIT, Running, options};

const V1: &[u8] = b"PROXY TCP4 198.51.100.7 10.0.0.1 56324 443\r\n";
const REQUEST: &[u8] = b"GET /abc HTTP/1.1\r\nhost: go.example.com\r\n\r\n";

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
}

fn behind_a_balancer(house: &House) -> Settings {
    let mut settings = house.settings();
    settings.redirect.trusted_proxies =
        vec!["127.0.0.0/8".parse().expect("a network"), "10.0.0.0/8".parse().expect("a network")];
    settings.redirect.proxy_protocol = true;
    settings
}

/// Status of the answer to these bytes; `None` when the connection is closed without one.
async fn answered(addr: SocketAddr, parts: &[&[u8]]) -> Option<u16> {
    raw(addr, "GET", &parts.concat()).await.map(|answer| answer.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preamble_names_the_visitor_and_then_its_proxies_are_asked() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let redirect = Running::start(behind_a_balancer(&house)).await;
    let v4 = v2(0x21, 0x11, &[198, 51, 100, 8, 10, 0, 0, 1, 0xdc, 4, 1, 0xbb, 4, 0, 1, 0]);
    let inner = b"PROXY TCP4 10.0.0.2 10.0.0.1 56324 443\r\n";
    let forwarded = b"GET /abc HTTP/1.1\r\nhost: go.example.com\r\nx-forwarded-for: 198.51.100.9\r\n\r\n";

    for (preamble, request) in [
        (V1, REQUEST),
        (&v4, REQUEST),
        // who was named is no proxy, whatever it sends
        (V1, forwarded),
        (inner, forwarded),
        // nobody is named, and nobody is believed
        (b"PROXY UNKNOWN\r\n", REQUEST),
        (&v2(0x20, 0, &[]), REQUEST),
        (b"PROXY UNKNOWN\r\n", forwarded),
        (&v2(0x20, 0, &[]), forwarded),
    ] {
        assert_eq!(answered(redirect.addr, &[preamble, request]).await, Some(302));
    }

    let clicks = house.clicks_when(8).await;
    let found: Vec<_> = clicks
        .iter()
        .map(|click| (click.request.ip.expect("an address").to_string(), click.request.ip_quality))
        .collect();
    let expected = [
        ("198.51.100.7", IpQuality::Proxied),
        ("198.51.100.8", IpQuality::Proxied),
        ("198.51.100.7", IpQuality::Proxied),
        ("198.51.100.9", IpQuality::Proxied),
        ("127.0.0.1", IpQuality::Obfuscated),
        ("127.0.0.1", IpQuality::Obfuscated),
        ("127.0.0.1", IpQuality::Obfuscated),
        ("127.0.0.1", IpQuality::Obfuscated),
    ];
    assert_eq!(found, expected.map(|(address, quality)| (address.to_owned(), quality)));
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preamble_that_comes_in_pieces_is_read_to_its_end_and_no_further() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let redirect = Running::start(behind_a_balancer(&house)).await;
    let v6 = {
        let mut body = [0; 36];
        body[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        v2(0x21, 0x21, &body)
    };

    for preamble in [V1, &v6] {
        let mut stream = TcpStream::connect(redirect.addr).await.expect("the redirect listens");
        stream.set_nodelay(true).expect("a socket");
        for byte in preamble {
            stream.write_all(&[*byte]).await.expect("written");
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            stream.write_all(REQUEST).await.expect("written");
            let mut answer = Vec::new();
            while !answer.ends_with(b"</p>\n") {
                assert!(stream.read_buf(&mut answer).await.expect("an answer") > 0, "closed");
            }
            assert!(answer.starts_with(b"HTTP/1.1 302"));
        }
    }

    let clicks = house.clicks_when(4).await;
    let found: Vec<_> =
        clicks.iter().map(|click| click.request.ip.expect("an address").to_string()).collect();
    assert_eq!(found, ["198.51.100.7", "198.51.100.7", "2001:db8::", "2001:db8::"]);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_connection_without_a_preamble_is_closed_and_others_need_none() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = behind_a_balancer(&house);
    settings.redirect.request_timeout = Duration::from_millis(300);
    let redirect = Running::start(settings.clone()).await;
    let endless = [b"PROXY TCP4 ", "1".repeat(200).as_bytes(), b"\r\n"].concat();
    let wrong: [&[u8]; 6] = [
        REQUEST,
        b"PROXY TCP4 198.51.100.7 10.0.0.1 56324\r\n",
        &endless,
        &v2(0x21, 0x11, &[198, 51, 100, 7]),
        &v2(0x31, 0x11, &[0; 12]),
        &v2(0x21, 0x11, &[0; 5000]),
    ];

    for preamble in wrong {
        assert_eq!(answered(redirect.addr, &[preamble, REQUEST]).await, None, "{preamble:?}");
    }
    // one that begins and does not go on is waited for only so long
    assert_eq!(answered(redirect.addr, &[b"PROXY TCP4 198.51"]).await, None);
    assert_eq!(answered(redirect.addr, &[]).await, None);
    redirect.metric_is("preambles_refused_total", 8.0).await;
    assert_eq!(answered(redirect.addr, &[V1, REQUEST]).await, Some(302));
    redirect.stop().await;

    settings.redirect.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
    let redirect = Running::start(settings).await;
    assert_eq!(answered(redirect.addr, &[REQUEST]).await, Some(302));
    assert_eq!(answered(redirect.addr, &[V1, REQUEST]).await, Some(400));
    let clicks = house.clicks_when(2).await;
    assert_eq!(clicks[1].request.ip, Some("127.0.0.1".parse().expect("an address")));
    assert_eq!(clicks[1].request.ip_quality, IpQuality::Direct);
    redirect.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_a_provider_is_believed_from_its_ranges_alone() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let ranges = house.spool_dir.path().join("ranges.txt");
    std::fs::write(&ranges, "# published\n192.0.2.0/24\n").expect("written");
    let mut settings = house.settings();
    settings.redirect.address_header = AddressHeader::CfConnectingIp;
    settings.redirect.provider_ranges = ranges.clone();
    let redirect = Running::start(settings.clone()).await;
    let named = [("cf-connecting-ip", "198.51.100.7")];

    get(redirect.addr, "/abc", &named).await;
    let outside = house.clicks_when(1).await;
    assert_eq!(outside[0].request.ip, Some("127.0.0.1".parse().expect("an address")));

    std::fs::write(&ranges, "192.0.2.0/24\n127.0.0.0/8\n").expect("written");
    until(LIMIT, async || {
        get(redirect.addr, "/abc", &named).await;
        let clicks = house.clicks().await;
        clicks.iter().any(|click| click.request.ip_quality == IpQuality::Proxied).then_some(())
    })
    .await;
    redirect.stop().await;

    std::fs::write(&ranges, "<html>not found</html>\n").expect("written");
    let error = redirect::App::build_with(settings, service::ops::Ops::new()).await.err().expect("no ranges");
    assert!(
        format!("{error:#}").contains("redirect.provider_ranges cannot be used: line 1 of "),
        "{error:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_that_are_counted_need_no_addresses() {
    let house = House::new().await;
    house.link("abc", options()).await;
    let mut settings = house.settings();
    settings.redirect.trusted_hops = 2;
    let redirect = Running::start(settings).await;

    get(redirect.addr, "/abc", &[("x-forwarded-for", "1.1.1.1, 198.51.100.7, 203.0.113.1")]).await;
    get(redirect.addr, "/abc", &[("x-forwarded-for", "1.1.1.1")]).await;

    let clicks = house.clicks_when(2).await;
    let found =
        |at: usize| (clicks[at].request.ip.expect("an address").to_string(), clicks[at].request.ip_quality);
    assert_eq!(found(0), ("198.51.100.7".to_owned(), IpQuality::Proxied));
    assert_eq!(found(1), ("127.0.0.1".to_owned(), IpQuality::Obfuscated));
    redirect.stop().await;
}
