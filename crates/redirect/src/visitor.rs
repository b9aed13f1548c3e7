//! What a request tells of its sender: address, browser, where it comes from.
//!
//! The address is the one thing here that others lie about for gain. It is whoever connects, unless that is a proxy
//! which the operator trusts; then the one header that the operator named is read from its end, because
//! each proxy appends and only the last entries were written by proxies we trust.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use serde::Deserialize;

use model::click::{
    HEADER_BYTES_MAX, IpQuality, KEPT_HEADERS, REFERRER_BYTES_MAX, Request, USER_AGENT_BYTES_MAX,
};

/// Most entries of a list of proxies that are looked at.
const HOPS_MAX: usize = 32;

/// A header in which proxies name the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressHeader {
    /// A list; each proxy appends.
    XForwardedFor,
    /// A list of parameters (RFC 7239).
    Forwarded,
    /// One address.
    XRealIp,
    /// One address.
    CfConnectingIp,
    /// One address.
    TrueClientIp,
}

impl AddressHeader {
    const fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => header::FORWARDED,
            Self::XRealIp => HeaderName::from_static("x-real-ip"),
            Self::CfConnectingIp => HeaderName::from_static("cf-connecting-ip"),
            Self::TrueClientIp => HeaderName::from_static("true-client-ip"),
        }
    }
}

/// Finds the client behind the proxies that an operator trusts.
#[derive(Debug, Clone)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    header: AddressHeader,
    name: HeaderName,
}

impl Proxies {
    /// Takes the word of `trusted`, in `header`.
    pub fn new(trusted: Vec<IpNet>, header: AddressHeader) -> Self {
        Self { trusted, header, name: header.name() }
    }

    /// The client's address, and how sure it is.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> (IpAddr, IpQuality) {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return (peer, IpQuality::Direct);
        }
        let lines: Vec<&str> =
            headers.get_all(&self.name).map(|value| value.to_str().unwrap_or_default()).collect();
        // two lines of a single address: somebody in between added one
        match (self.header, lines.as_slice()) {
            (_, []) => (peer, IpQuality::Direct),
            (AddressHeader::XForwardedFor, lines) => {
                self.walk(peer, lines.iter().rev().flat_map(|line| line.rsplit(',')).map(address))
            }
            (AddressHeader::Forwarded, lines) => {
                self.walk(peer, lines.iter().rev().flat_map(|line| elements(line).rev()).map(forwarded_for))
            }
            (_, [line]) => address(line).map_or((peer, IpQuality::Obfuscated), |ip| (ip, IpQuality::Proxied)),
            _ => (peer, IpQuality::Obfuscated),
        }
    }

    /// Over trusted hops, from the last one on, to the first that is not trusted.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> (IpAddr, IpQuality) {
        let mut client = peer;
        for (number, hop) in hops.enumerate() {
            match hop {
                Some(hop) if number < HOPS_MAX && self.trusts(hop) => client = hop,
                Some(hop) if number < HOPS_MAX => return (hop, IpQuality::Proxied),
                _ => return (client, IpQuality::Obfuscated),
            }
        }
        (client, IpQuality::Proxied)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }
}

/// The elements of a `Forwarded` line: commas within quotes do not separate.
fn elements(line: &str) -> std::vec::IntoIter<&str> {
    let mut is_quoted = false;
    let elements = line.split(|c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    });
    elements.collect::<Vec<_>>().into_iter()
}

fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut parameters = element.split(';').filter_map(|parameter| parameter.split_once('='));
    let (_, node) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(node.trim().trim_matches('"'))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, each perhaps with a zone.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_digits);
        return if is_port { v6(address) } else { None };
    }
    match text.split_once(':') {
        None => text.parse().ok(),
        Some((address, port)) if is_digits(port) && !address.is_empty() => {
            address.parse().ok().filter(IpAddr::is_ipv4)
        }
        Some(_) => v6(text),
    }
}

fn v6(text: &str) -> Option<IpAddr> {
    let address: Ipv6Addr = text.split_once('%').map_or(text, |(address, _)| address).parse().ok()?;
    Some(IpAddr::V6(address).to_canonical())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// What the headers of a request tell, each cut at its limit.
pub fn request(method: &str, client: Option<(IpAddr, IpQuality)>, headers: &HeaderMap) -> Request {
    let mut request = Request {
        method: method.to_owned(),
        ip: client.map(|(ip, _)| ip),
        ip_quality: client.map(|(_, quality)| quality).unwrap_or_default(),
        headers: Vec::with_capacity(headers.len().min(KEPT_HEADERS.len())),
        ..Request::default()
    };
    for (name, value) in headers {
        if name == header::USER_AGENT {
            request.user_agent.get_or_insert_with(|| text(value, USER_AGENT_BYTES_MAX));
        } else if name == header::REFERER {
            request.referrer.get_or_insert_with(|| referrer(value));
        } else if KEPT_HEADERS.contains(&name.as_str()) && request.header(name.as_str()).is_none() {
            request.headers.push((name.as_str().to_owned(), text(value, HEADER_BYTES_MAX)));
        }
    }
    request
}

/// W3C trace context of the request; `None` when there is none or it is malformed (Trace Context, section 3.2.2).
pub fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let is_hex = |range: std::ops::Range<usize>| {
        text.as_bytes()[range].iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
    };
    let is_zero = |range: std::ops::Range<usize>| text.as_bytes()[range].iter().all(|b| *b == b'0');
    let well_formed = text.len() == 55
        && text.starts_with("00-")
        && text.as_bytes()[35] == b'-'
        && text.as_bytes()[52] == b'-'
        && is_hex(3..35)
        && is_hex(36..52)
        && is_hex(53..55)
        && !is_zero(3..35)
        && !is_zero(36..52);
    well_formed.then_some(text)
}

/// Without its query and fragment, which may hold what is nobody's business.
fn referrer(value: &HeaderValue) -> String {
    let mut referrer = text(value, REFERRER_BYTES_MAX);
    if let Some(end) = referrer.find(['?', '#']) {
        referrer.truncate(end);
    }
    referrer
}

fn text(value: &HeaderValue, bytes_max: usize) -> String {
    let bytes = value.as_bytes();
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(bytes_max)]).into_owned();
    // a cut or broken letter became a longer sign
    while text.len() > bytes_max {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUSTED: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];

    fn client(header: AddressHeader, peer: &str, lines: &[&str]) -> (String, IpQuality) {
        let trusted = TRUSTED.iter().map(|net| net.parse().expect("a network")).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header.name(), HeaderValue::from_str(line).expect("a value"));
        }
        let proxies = Proxies::new(trusted, header);
        let (client, quality) = proxies.client(peer.parse().expect("an address"), &headers);
        (client.to_string(), quality)
    }

    #[test]
    fn a_list_is_walked_from_its_end_over_trusted_proxies() {
        use IpQuality::{Direct, Obfuscated, Proxied};
        let cases: [(&str, &[&str], &str, IpQuality); 17] = [
            // nobody vouches for the header
            ("192.0.2.9", &["198.51.100.7"], "192.0.2.9", Direct),
            ("10.0.0.1", &[], "10.0.0.1", Direct),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7", Proxied),
            ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7", Proxied),
            // what the client itself sent stands on the left
            ("10.0.0.1", &["1.1.1.1, 198.51.100.7"], "198.51.100.7", Proxied),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.2"], "198.51.100.7", Proxied),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.7, 10.0.0.2"], "198.51.100.7", Proxied),
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

    #[test]
    fn a_list_that_is_too_long_is_not_believed() {
        let list = vec!["10.0.0.2"; HOPS_MAX + 1].join(",");

        assert_eq!(
            client(AddressHeader::XForwardedFor, "10.0.0.1", &[&list]),
            ("10.0.0.2".to_owned(), IpQuality::Obfuscated)
        );
    }

    #[test]
    fn the_standard_header_is_understood() {
        use IpQuality::{Obfuscated, Proxied};
        let cases = [
            ("for=198.51.100.7;proto=https", "198.51.100.7", Proxied),
            ("For=\"[2001:db8::1]:4711\"", "2001:db8::1", Proxied),
            ("for=1.1.1.1, for=198.51.100.7;by=10.0.0.9, for=10.0.0.2", "198.51.100.7", Proxied),
            ("for=198.51.100.7;host=\"a,b\"", "198.51.100.7", Proxied),
            ("for=198.51.100.7, for=_hidden", "10.0.0.1", Obfuscated),
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

        assert_eq!(
            client(header, "10.0.0.1", &["198.51.100.7"]),
            ("198.51.100.7".into(), IpQuality::Proxied)
        );
        for lines in [&["x"][..], &["1.1.1.1, 2.2.2.2"], &["1.1.1.1", "2.2.2.2"]] {
            assert_eq!(
                client(header, "10.0.0.1", lines),
                ("10.0.0.1".into(), IpQuality::Obfuscated),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn headers_are_kept_up_to_their_limits() {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: &[u8]| {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"));
        };
        set("user-agent", "é".repeat(USER_AGENT_BYTES_MAX).as_bytes());
        set("referer", b"https://example.com/page?token=secret#x");
        set("accept-language", b"sv-SE");
        set("accept-language", b"en");
        set("sec-gpc", b"\xff");
        set("cookie", b"session=secret");

        let request = request("GET", None, &headers);

        assert!(request.user_agent.expect("kept").len() <= USER_AGENT_BYTES_MAX);
        assert_eq!(request.referrer.as_deref(), Some("https://example.com/page"));
        let mut kept = request.headers;
        kept.sort();
        assert_eq!(
            kept,
            [
                ("accept-language".to_owned(), "sv-SE".to_owned()),
                ("sec-gpc".to_owned(), "\u{fffd}".to_owned())
            ]
        );
    }

    #[test]
    fn only_a_well_formed_trace_context_is_carried_on() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static("traceparent"), HeaderValue::from_static(value));
            traceparent(&headers).map(str::to_owned)
        };

        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(good).as_deref(), Some(good));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
