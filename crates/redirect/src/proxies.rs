//! Who asks: the client's address behind the proxies that an operator trusts.
//!
//! The address is the one thing in a request that others lie about for gain. It is whoever connects, unless that is a
//! proxy which the operator trusts; then the one header that the operator named is read from its end, because each proxy
//! appends and only the last entries were written by proxies we trust. What stands further left was written by who
//! knows whom, and is not even parsed.
//!
//! Who connects may itself be named by a proxy, in front of all requests of a connection: `preamble`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::str::FromStr;

use actix_web::http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;
use serde::Deserialize;

use model::click::IpQuality;

use crate::provider_ranges::ProviderRanges;

/// Most entries of a list of proxies that are looked at.
pub const HOPS_MAX: usize = 32;

/// Most bytes of such a list that are looked at, from its end.
const HOPS_BYTES_MAX: usize = 4 * 1024;

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

/// Why a text is not the name of an [`AddressHeader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be x-forwarded-for, forwarded, x-real-ip, cf-connecting-ip or true-client-ip")]
pub struct AddressHeaderError;

impl AddressHeader {
    /// Every header that can be named.
    pub const ALL: [Self; 5] =
        [Self::XForwardedFor, Self::Forwarded, Self::XRealIp, Self::CfConnectingIp, Self::TrueClientIp];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
            Self::XRealIp => "x-real-ip",
            Self::CfConnectingIp => "cf-connecting-ip",
            Self::TrueClientIp => "true-client-ip",
        }
    }

    /// Whether proxies append to it, rather than write one address.
    pub const fn is_list(self) -> bool {
        matches!(self, Self::XForwardedFor | Self::Forwarded)
    }

    /// Whether a provider writes its one address over a visitor's own. What it does not know, as `x-real-ip`, it passes on
    /// as it came.
    pub const fn is_of_provider(self) -> bool {
        matches!(self, Self::CfConnectingIp | Self::TrueClientIp)
    }

    const fn name(self) -> HeaderName {
        match self {
            Self::Forwarded => header::FORWARDED,
            other => HeaderName::from_static(other.as_str()),
        }
    }
}

impl FromStr for AddressHeader {
    type Err = AddressHeaderError;

    fn from_str(text: &str) -> Result<Self, AddressHeaderError> {
        let named = Self::ALL.into_iter().find(|header| header.as_str().eq_ignore_ascii_case(text));
        named.ok_or(AddressHeaderError)
    }
}

impl fmt::Display for AddressHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Finds the client behind the proxies that an operator trusts.
#[derive(Debug, Clone)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    /// Of a provider that writes its own header of one address.
    ranges: Option<ProviderRanges>,
    /// How many proxies append to the list, when they are counted and not known by address.
    hops: Option<NonZeroUsize>,
    header: AddressHeader,
    name: HeaderName,
}

/// Why the word of who connects is taken, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is not.
    No,
    /// It is one of the trusted proxies.
    Proxy,
    /// It is in the ranges of the provider that writes the header.
    Provider,
    /// Proxies are counted, and none is named: whoever connects is taken for the last of them.
    Counted,
}

/// One step on the way to the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Who connected, and whether its word is taken.
    Peer(IpAddr, Trust),
    /// An address that a trusted proxy wrote, and whether that is a trusted proxy too.
    Hop(IpAddr, bool),
    /// The list ends before as many proxies have written as there are: somebody came around them. How many wrote.
    TooFew(usize),
    /// What a trusted proxy wrote is not an address: nothing further is believed.
    NoAddress(&'a [u8]),
    /// The header is not there.
    NoHeader,
    /// A header of one address stands there more than once: somebody in between added one.
    Repeated,
    /// More entries or bytes than are looked at.
    TooLong,
}

impl Proxies {
    /// Takes the word of `trusted`, in `header`.
    pub fn new(trusted: Vec<IpNet>, header: AddressHeader) -> Self {
        Self { trusted, ranges: None, hops: None, header, name: header.name() }
    }

    /// Takes the word of these ranges as well, in a provider's own header.
    pub fn with_ranges(mut self, ranges: Option<ProviderRanges>) -> Self {
        self.ranges = ranges.filter(|_| self.header.is_of_provider());
        self
    }

    /// Counts so many proxies from the end of a list, who connects being the first, and asks no further hop's address. Not
    /// if that is 0.
    pub fn with_hops(mut self, hops: usize) -> Self {
        self.hops = NonZeroUsize::new(hops).filter(|_| self.header.is_list());
        self
    }

    /// The client's address, and how sure it is.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> (IpAddr, IpQuality) {
        self.explain(peer, headers, |_| {})
    }

    /// Like [`Proxies::client`], and tells each step that led there.
    pub fn explain<'a>(
        &self,
        peer: IpAddr,
        headers: &'a HeaderMap,
        mut tell: impl FnMut(Step<'a>),
    ) -> (IpAddr, IpQuality) {
        let peer = peer.to_canonical();
        let trust = self.trust_in(peer);
        tell(Step::Peer(peer, trust));
        if trust == Trust::No {
            return (peer, IpQuality::Direct);
        }
        let mut lines = headers.get_all(&self.name).map(|value| value.as_bytes());
        let Some(first) = lines.next() else {
            tell(Step::NoHeader);
            return (peer, IpQuality::Direct);
        };
        match self.header {
            AddressHeader::XForwardedFor => {
                let lines: Vec<_> = std::iter::once(first).chain(lines).collect();
                self.walk(peer, &lines, |line| split_last(line, b',', Quotes::Plain), address, tell)
            }
            AddressHeader::Forwarded => {
                let lines: Vec<_> = std::iter::once(first).chain(lines).collect();
                self.walk(peer, &lines, |line| split_last(line, b',', Quotes::Hide), forwarded_for, tell)
            }
            _ if lines.next().is_some() => {
                tell(Step::Repeated);
                (peer, IpQuality::Obfuscated)
            }
            _ => match address(first) {
                Some(client) => {
                    tell(Step::Hop(client, self.trusts(client)));
                    (client, IpQuality::Proxied)
                }
                None => {
                    tell(Step::NoAddress(first));
                    (peer, IpQuality::Obfuscated)
                }
            },
        }
    }

    /// Over trusted hops, from the last one on, to the first that is not trusted.
    fn walk<'a>(
        &self,
        peer: IpAddr,
        lines: &[&'a [u8]],
        split: impl Fn(&'a [u8]) -> (Option<&'a [u8]>, &'a [u8]),
        read: impl Fn(&'a [u8]) -> Option<IpAddr>,
        mut tell: impl FnMut(Step<'a>),
    ) -> (IpAddr, IpQuality) {
        let mut client = peer;
        let (mut hops, mut bytes) = (0, 0);
        for line in lines.iter().rev() {
            let mut rest = Some(*line);
            while let Some(text) = rest {
                let end = &text[text.len().saturating_sub(HOPS_BYTES_MAX + 1)..];
                let (before, entry) = split(end);
                // of what was cut off as much is left
                rest = before.map(|before| &text[..text.len() - end.len() + before.len()]);
                hops += 1;
                bytes += entry.len() + 1;
                if hops > HOPS_MAX || bytes > HOPS_BYTES_MAX {
                    tell(Step::TooLong);
                    return (client, IpQuality::Obfuscated);
                }
                let Some(hop) = read(entry) else {
                    tell(Step::NoAddress(entry));
                    return (client, IpQuality::Obfuscated);
                };
                let is_trusted = match self.hops {
                    Some(all) => hops < all.get(),
                    None => self.trusts(hop),
                };
                tell(Step::Hop(hop, is_trusted));
                client = hop;
                if !is_trusted {
                    return (client, IpQuality::Proxied);
                }
            }
        }
        if self.hops.is_some() {
            // what is there may have been written by anybody
            tell(Step::TooFew(hops));
            return (peer, IpQuality::Obfuscated);
        }
        (client, IpQuality::Proxied)
    }

    /// Whether the word of who connects is taken about the client.
    fn trust_in(&self, peer: IpAddr) -> Trust {
        if self.trusts(peer) {
            Trust::Proxy
        } else if self.hops.is_some() && self.trusted.is_empty() {
            Trust::Counted
        } else if self.ranges.as_ref().is_some_and(|ranges| ranges.contain(peer)) {
            Trust::Provider
        } else {
            Trust::No
        }
    }

    /// Whether an address is that of a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }
}

/// Whether separators within quotation marks separate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// They do: quotation marks mean nothing.
    Plain,
    /// They do not.
    Hide,
}

/// What stands before the last separator, if there is one, and what stands behind it. Read from the end, where what a
/// trusted proxy wrote is well-formed whatever stands before it.
fn split_last(text: &[u8], separator: u8, quotes: Quotes) -> (Option<&[u8]>, &[u8]) {
    let mut is_quoted = false;
    for at in (0..text.len()).rev() {
        if quotes == Quotes::Hide && text[at] == b'"' {
            let backslashes = text[..at].iter().rev().take_while(|b| **b == b'\\').count();
            is_quoted ^= backslashes % 2 == 0;
        } else if text[at] == separator && !is_quoted {
            return (Some(&text[..at]), &text[at + 1..]);
        }
    }
    (None, text)
}

/// The one parameter `for` of an element of `Forwarded`.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = Some(element);
    while let Some(text) = rest {
        let (before, parameter) = split_last(text, b';', Quotes::Hide);
        rest = before;
        let Some(equals) = parameter.iter().position(|b| *b == b'=') else { continue };
        if !parameter[..equals].trim_ascii().eq_ignore_ascii_case(b"for") {
            continue;
        }
        let node = parameter[equals + 1..].trim_ascii();
        let node = node.strip_prefix(b"\"").and_then(|node| node.strip_suffix(b"\"")).unwrap_or(node);
        // each parameter stands there once (RFC 7239 section 4)
        if found.replace(node).is_some() {
            return None;
        }
    }
    address(found?)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, each perhaps with a zone.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
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

#[cfg(test)]
mod tests;
