//! The client's address is found behind proxies that are trusted, and nobody else's word is taken.

use super::*;
use actix_web::http::header::HeaderValue;
use proptest::prelude::*;

const TRUSTED: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];

fn proxies(header: AddressHeader) -> Proxies {
    Proxies::new(TRUSTED.iter().map(|net| net.parse().expect("a network")).collect(), header)
}

fn headers(header: AddressHeader, lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(header.name(), HeaderValue::from_bytes(line.as_bytes()).expect("a value"));
    }
    headers
}

fn client(header: AddressHeader, peer: &str, lines: &[&str]) -> (String, IpQuality) {
    let peer = peer.parse().expect("an address");
    let (client, quality) = proxies(header).client(peer, &headers(header, lines));
    (client.to_string(), quality)
}

#[test]
fn a_list_is_walked_from_its_end_over_trusted_proxies() {
    use IpQuality::{Direct, Obfuscated, Proxied};
    let cases: [(&str, &[&str], &str, IpQuality); 18] = [
        // nobody vouches for the header
        ("192.0.2.9", &["198.51.100.7"], "192.0.2.9", Direct),
        ("10.0.0.1", &[], "10.0.0.1", Direct),
        ("10.0.0.1", &["198.51.100.7"], "198.51.100.7", Proxied),
        ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7", Proxied),
        // what the client itself sent stands on the left
        ("10.0.0.1", &["1.1.1.1, 198.51.100.7"], "198.51.100.7", Proxied),
        ("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.2"], "198.51.100.7", Proxied),
        ("10.0.0.1", &["1.1.1.1", "198.51.100.7, 10.0.0.2"], "198.51.100.7", Proxied),
        ("10.0.0.1", &["\u{ff}, unknown, \",198.51.100.7"], "198.51.100.7", Proxied),
        // all of them are trusted: the first is the client
        ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3", Proxied),
        // something that is not an address ends the walk
        ("10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1", Obfuscated),
        ("10.0.0.1", &["198.51.100.7, _hidden, 10.0.0.2"], "10.0.0.2", Obfuscated),
        ("10.0.0.1", &["198.51.100.7,"], "10.0.0.1", Obfuscated),
        // notations
        ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7", Proxied),
        ("10.0.0.1", &["2001:db8::1"], "2001:db8::1", Proxied),
        ("fd00::1", &["[2001:db8::1]:4711"], "2001:db8::1", Proxied),
        ("10.0.0.1", &["fe80::1%eth0"], "fe80::1", Proxied),
        ("10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7", Proxied),
        ("10.0.0.1", &["[2001:db8::1]x"], "10.0.0.1", Obfuscated),
    ];
    for (peer, lines, address, quality) in cases {
        let found = client(AddressHeader::XForwardedFor, peer, lines);
        assert_eq!(found, (address.to_owned(), quality), "{peer} {lines:?}");
    }
}

/// Acceptance test 5 of links and clicks.
#[test]
fn a_forged_x_forwarded_for_from_an_untrusted_peer_is_ignored_and_a_chain_of_three_proxies_resolves() {
    let header = AddressHeader::XForwardedFor;

    let forged = client(header, "203.0.113.5", &["8.8.8.8, 10.0.0.2"]);
    let chained = client(header, "10.0.0.1", &["8.8.8.8, 203.0.113.5, 10.3.0.1, 10.2.0.1"]);

    assert_eq!(forged, ("203.0.113.5".to_owned(), IpQuality::Direct));
    assert_eq!(chained, ("203.0.113.5".to_owned(), IpQuality::Proxied));
}

#[test]
fn a_list_that_is_too_long_is_not_believed() {
    let header = AddressHeader::XForwardedFor;
    let many = vec!["10.0.0.2"; HOPS_MAX + 1].join(",");
    let wide = format!("198.51.100.7, 10.0.0.2{}", " ".repeat(HOPS_BYTES_MAX));
    let last = || ("10.0.0.2".to_owned(), IpQuality::Obfuscated);

    assert_eq!(client(header, "10.0.0.1", &[&many]), last());
    assert_eq!(client(header, "10.0.0.1", &[&many[9..]]).1, IpQuality::Proxied);
    assert_eq!(client(header, "10.0.0.1", &[&wide]), ("10.0.0.1".to_owned(), IpQuality::Obfuscated));
    assert_eq!(client(header, "10.0.0.1", &[&wide, "10.0.0.2"]), last());
}

#[test]
fn what_a_client_puts_in_front_does_not_hide_it() {
    let rubbish = "\",x;".repeat(5_000);

    for (header, entry) in
        [(AddressHeader::XForwardedFor, "198.51.100.7"), (AddressHeader::Forwarded, "for=198.51.100.7")]
    {
        let line = format!("{rubbish}, {entry}");
        assert_eq!(client(header, "10.0.0.1", &[&line]), ("198.51.100.7".to_owned(), IpQuality::Proxied));
    }
}

#[test]
fn the_standard_header_is_understood() {
    use IpQuality::{Obfuscated, Proxied};
    let cases = [
        ("for=198.51.100.7;proto=https", "198.51.100.7", Proxied),
        ("For=\"[2001:db8::1]:4711\"", "2001:db8::1", Proxied),
        ("for=1.1.1.1, for=198.51.100.7;by=10.0.0.9, for=10.0.0.2", "198.51.100.7", Proxied),
        ("for=198.51.100.7;host=\"a,b\"", "198.51.100.7", Proxied),
        ("host=\"x;for=1.1.1.1\";for=198.51.100.7", "198.51.100.7", Proxied),
        ("for=198.51.100.7;host=\"a\\\"b,for=1.1.1.1\"", "198.51.100.7", Proxied),
        ("for=\", for=198.51.100.7", "198.51.100.7", Proxied),
        ("for=198.51.100.7, for=_hidden", "10.0.0.1", Obfuscated),
        ("for=198.51.100.7, for=\"_hidden\", for=10.0.0.2", "10.0.0.2", Obfuscated),
        ("for=1.1.1.1;for=198.51.100.7", "10.0.0.1", Obfuscated),
        ("proto=https", "10.0.0.1", Obfuscated),
    ];
    for (line, address, quality) in cases {
        let found = client(AddressHeader::Forwarded, "10.0.0.1", &[line]);
        assert_eq!(found, (address.to_owned(), quality), "{line}");
    }
}

#[test]
fn a_single_address_is_taken_when_there_is_one() {
    let header = AddressHeader::XRealIp;

    assert_eq!(client(header, "10.0.0.1", &["198.51.100.7"]), ("198.51.100.7".into(), IpQuality::Proxied));
    for lines in [&["x"][..], &["1.1.1.1, 2.2.2.2"], &["1.1.1.1", "2.2.2.2"]] {
        assert_eq!(
            client(header, "10.0.0.1", lines),
            ("10.0.0.1".into(), IpQuality::Obfuscated),
            "{lines:?}"
        );
    }
}

#[test]
fn proxies_that_are_counted_are_not_asked_for_their_addresses() {
    use IpQuality::{Direct, Obfuscated, Proxied};
    let header = AddressHeader::XForwardedFor;
    let cases = [
        (false, 1, "192.0.2.9", "1.1.1.1, 198.51.100.7", "198.51.100.7", Proxied),
        (false, 2, "192.0.2.9", "1.1.1.1, 198.51.100.7, 203.0.113.1", "198.51.100.7", Proxied),
        // also over those that are named
        (true, 1, "10.0.0.1", "198.51.100.7, 10.0.0.2", "10.0.0.2", Proxied),
        // who is not one of those is not counted
        (true, 1, "192.0.2.9", "198.51.100.7", "192.0.2.9", Direct),
        // fewer have written than there are: what they wrote may be anybody's
        (false, 3, "192.0.2.9", "1.1.1.1, 198.51.100.7", "192.0.2.9", Obfuscated),
        (false, 2, "192.0.2.9", "198.51.100.7, unknown", "192.0.2.9", Obfuscated),
        (false, 2, "192.0.2.9", "unknown, 203.0.113.1", "203.0.113.1", Obfuscated),
        (false, 0, "192.0.2.9", "198.51.100.7", "192.0.2.9", Direct),
    ];
    for (is_named, hops, peer, line, address, quality) in cases {
        let trusted = is_named.then(|| "10.0.0.0/8".parse().expect("a network"));
        let proxies = Proxies::new(Vec::from_iter(trusted), header).with_hops(hops);
        let found = proxies.client(peer.parse().expect("an address"), &headers(header, &[line]));
        assert_eq!(found, (address.parse().expect("an address"), quality), "{hops} {peer} {line}");
    }
}

#[test]
fn a_providers_own_header_is_believed_of_its_ranges_and_others_are_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ranges");
    std::fs::write(&path, "192.0.2.0/24\n").expect("written");
    let ranges = || Some(ProviderRanges::read(&path).expect("ranges"));
    let client = |header, peer: &str| {
        let proxies = proxies(header).with_ranges(ranges());
        let (client, _) =
            proxies.client(peer.parse().expect("an address"), &headers(header, &["198.51.100.7"]));
        client.to_string()
    };

    assert_eq!(client(AddressHeader::CfConnectingIp, "192.0.2.9"), "198.51.100.7");
    assert_eq!(client(AddressHeader::CfConnectingIp, "::ffff:192.0.2.9"), "198.51.100.7");
    assert_eq!(client(AddressHeader::CfConnectingIp, "10.0.0.1"), "198.51.100.7");
    assert_eq!(client(AddressHeader::CfConnectingIp, "203.0.113.9"), "203.0.113.9");
    assert_eq!(client(AddressHeader::TrueClientIp, "192.0.2.9"), "198.51.100.7");
    // a visitor's own comes through the provider
    assert_eq!(client(AddressHeader::XRealIp, "192.0.2.9"), "192.0.2.9");
    assert_eq!(client(AddressHeader::XForwardedFor, "192.0.2.9"), "192.0.2.9");
}

#[test]
fn each_step_of_the_walk_is_told() {
    let header = AddressHeader::XForwardedFor;
    let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let headers = headers(header, &["8.8.8.8, unknown, 10.0.0.2"]);
    let mut steps = Vec::new();

    let found = proxies(header).explain(ip("10.0.0.1"), &headers, |step| steps.push(step));

    assert_eq!(found, (ip("10.0.0.2"), IpQuality::Obfuscated));
    assert_eq!(
        steps,
        [
            Step::Peer(ip("10.0.0.1"), Trust::Proxy),
            Step::Hop(ip("10.0.0.2"), true),
            Step::NoAddress(b" unknown")
        ]
    );
}

#[test]
fn a_header_is_named_as_in_settings() {
    for header in AddressHeader::ALL {
        assert_eq!(header.as_str().parse(), Ok(header));
        assert_eq!(header.name().as_str(), header.as_str());
    }
    assert_eq!("CF-Connecting-IP".parse(), Ok(AddressHeader::CfConnectingIp));
    assert_eq!("x-client".parse::<AddressHeader>(), Err(AddressHeaderError));
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(any::<u8>().prop_filter("a value", |b| *b >= 32 && *b != 127), 0..60);
    let nearly =
        "((for|by|FOR)=)?\"?\\[?(10\\.0\\.0\\.[1-3]|[0-9a-f:.%]{0,12}|unknown|_x)\\]?(:[0-9]{0,6})?\"?";
    let list = prop::collection::vec(nearly, 0..40).prop_map(|entries| entries.join(", ").into_bytes());
    prop_oneof![bytes, list]
}

fn any_header() -> impl Strategy<Value = AddressHeader> {
    prop::sample::select(AddressHeader::ALL.to_vec())
}

proptest! {
    #[test]
    fn no_header_whatever_it_holds_is_used_from_an_untrusted_peer(
        header in any_header(),
        sent in any_header(),
        peer in any::<[u8; 4]>().prop_filter("not trusted", |peer| peer[0] != 10),
        lines in prop::collection::vec(any_line(), 0..4),
    ) {
        let mut headers = HeaderMap::new();
        for line in &lines {
            headers.append(sent.name(), HeaderValue::from_bytes(line).expect("a value"));
        }

        let found = proxies(header).client(peer.into(), &headers);

        prop_assert_eq!(found, (peer.into(), IpQuality::Direct));
    }

    #[test]
    fn whatever_a_header_holds_the_client_is_the_peer_or_stands_there(
        header in any_header(),
        lines in prop::collection::vec(any_line(), 0..4),
    ) {
        let peer: IpAddr = [10, 0, 0, 9].into();
        let mut headers = HeaderMap::new();
        for line in &lines {
            headers.append(header.name(), HeaderValue::from_bytes(line).expect("a value"));
        }
        let proxies = proxies(header);
        let mut hops = Vec::new();

        let (client, quality) = proxies.explain(peer, &headers, |step| {
            if let Step::Hop(hop, is_trusted) = step {
                hops.push((hop, is_trusted));
            }
        });

        prop_assert_eq!(client, hops.last().map_or(peer, |(hop, _)| *hop));
        prop_assert!(hops.len() <= HOPS_MAX);
        // the walk goes on over trusted hops only
        prop_assert!(hops.iter().rev().skip(1).all(|(_, is_trusted)| *is_trusted));
        prop_assert_eq!(quality == IpQuality::Direct, lines.is_empty());
    }
}
