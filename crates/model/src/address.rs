//! Which addresses are public, and which may be posted to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// Which addresses a subscriber's URL may lead to.
///
/// A part of [`crate::EgressPolicy`], which is asked when an endpoint is saved (so that a hopeless URL is refused
/// where someone sees it) and, which is what keeps us safe, after DNS at every connect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct AddressPolicy {
    /// Networks that are allowed although they are not public: private receivers.
    allowed: Vec<IpNet>,
}

/// An address that must not be posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address}, which is {range}: webhooks are not sent there; an operator can allow it with `deliver.allowed_networks`"
)]
pub struct ForbiddenAddress {
    /// The address as it was given or resolved.
    pub address: IpAddr,
    /// What kind of address it is.
    pub range: &'static str,
}

/// IPv4 ranges that are not the public internet (IANA special-purpose registry, RFC 6890 and successors),
/// and Azure's virtual host address.
const V4_FORBIDDEN: [(Ipv4Net, &str); 16] = [
    (v4([0, 0, 0, 0], 8), "\"this network\" (0.0.0.0/8)"),
    (v4([10, 0, 0, 0], 8), "a private address (10.0.0.0/8)"),
    (v4([100, 64, 0, 0], 10), "shared address space (100.64.0.0/10)"),
    (v4([127, 0, 0, 0], 8), "a loopback address (127.0.0.0/8)"),
    (v4([168, 63, 129, 16], 32), "a cloud platform's own address (168.63.129.16)"),
    (v4([169, 254, 0, 0], 16), "a link-local address (169.254.0.0/16)"),
    (v4([172, 16, 0, 0], 12), "a private address (172.16.0.0/12)"),
    (v4([192, 0, 0, 0], 24), "a protocol assignment (192.0.0.0/24)"),
    (v4([192, 0, 2, 0], 24), "a documentation address (192.0.2.0/24)"),
    (v4([192, 88, 99, 0], 24), "a 6to4 relay (192.88.99.0/24)"),
    (v4([192, 168, 0, 0], 16), "a private address (192.168.0.0/16)"),
    (v4([198, 18, 0, 0], 15), "a benchmarking address (198.18.0.0/15)"),
    (v4([198, 51, 100, 0], 24), "a documentation address (198.51.100.0/24)"),
    (v4([203, 0, 113, 0], 24), "a documentation address (203.0.113.0/24)"),
    (v4([224, 0, 0, 0], 4), "a multicast address (224.0.0.0/4)"),
    (v4([240, 0, 0, 0], 4), "a reserved address (240.0.0.0/4)"),
];

/// IPv6 ranges that are not the public internet. Addresses that carry an IPv4 address are judged by that one.
const V6_FORBIDDEN: [(Ipv6Net, &str); 11] = [
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 8), "a reserved address (::/8)"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "a local translation address (64:ff9b:1::/48)"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "a discard address (100::/64)"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "a protocol assignment (2001::/23)"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "a documentation address (2001:db8::/32)"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "a documentation address (3fff::/20)"),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), "a segment routing address (5f00::/16)"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "a private address (fc00::/7)"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "a link-local address (fe80::/10)"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "a site-local address (fec0::/10)"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "a multicast address (ff00::/8)"),
];

/// All that is given out to the public of IPv6, in one piece.
const V6_GLOBAL: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Relays of 6to4 (RFC 3056) stand anywhere, and the IPv4 address behind one is in a network that we cannot see.
const V6_RELAYED: (Ipv6Net, &str) = (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), "a 6to4 address (2002::/16)");

const fn v4(octets: [u8; 4], prefix_len: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix_len)
}

const fn v6(segments: [u16; 8], prefix_len: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix_len)
}

impl AddressPolicy {
    /// Public addresses, and those in `allowed`.
    pub fn allowing(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether webhooks may be sent to this address.
    ///
    /// # Errors
    /// [`ForbiddenAddress`] names the range and the setting that would allow it.
    pub fn check(&self, address: IpAddr) -> Result<(), ForbiddenAddress> {
        let judged = embedded_v4(address).map_or(address, IpAddr::V4);
        let is_allowed = |net: &IpNet| net.contains(&judged) || net.contains(&address);
        if self.allowed.iter().any(is_allowed) {
            return Ok(());
        }
        match forbidden_range(judged).or_else(|| relayed(address)) {
            Some(range) => Err(ForbiddenAddress { address, range }),
            None => Ok(()),
        }
    }
}

/// Whether an address belongs to somebody on the public internet, so that it can have a place.
pub fn is_public(address: IpAddr) -> bool {
    forbidden_range(embedded_v4(address).map_or(address, IpAddr::V4)).is_none()
}

fn forbidden_range(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => V4_FORBIDDEN.iter().find(|(net, _)| net.contains(&v4)).map(|(_, name)| *name),
        IpAddr::V6(v6) => {
            let named = V6_FORBIDDEN.iter().find(|(net, _)| net.contains(&v6)).map(|(_, name)| *name);
            named.or_else(|| (!V6_GLOBAL.contains(&v6)).then_some("outside the public addresses (2000::/3)"))
        }
    }
}

fn relayed(address: IpAddr) -> Option<&'static str> {
    let (net, name) = V6_RELAYED;
    matches!(address, IpAddr::V6(v6) if net.contains(&v6)).then_some(name)
}

/// The IPv4 address that an IPv6 address leads to: mapped, NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let quad = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(quad(high, low)),
        [0x2002, high, low, ..] => Some(quad(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn addresses_that_are_not_public_are_refused() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.8.9.1",
            "168.63.129.16",
            "169.254.169.254",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.1",
            "198.19.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "::ffff:0:10.0.0.1",
            "::10.0.0.1",
            "100::1",
            "4000::1",
            "e000::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(AddressPolicy::default().check(address(text)).is_err(), "{text}");
            assert!(!is_public(address(text)), "{text}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "192.0.1.1",
            "2606:4700::1111",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(AddressPolicy::default().check(address(text)), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_6to4_address_is_not_posted_to_although_it_has_a_place() {
        assert!(AddressPolicy::default().check(address("2002:808:808::1")).is_err());
        assert!(is_public(address("2002:808:808::1")));
    }

    #[test]
    fn an_allowed_network_passes_in_every_notation() {
        let policy = AddressPolicy::allowing(vec!["127.0.0.0/8".parse().expect("a network")]);

        assert_eq!(policy.check(address("127.0.0.1")), Ok(()));
        assert_eq!(policy.check(address("::ffff:127.0.0.1")), Ok(()));
        assert!(policy.check(address("10.0.0.1")).is_err());
    }

    #[test]
    fn the_refusal_names_the_range_and_the_setting() {
        let error = AddressPolicy::default().check(address("10.0.0.1")).expect_err("private");

        assert_eq!(
            error.to_string(),
            "10.0.0.1, which is a private address (10.0.0.0/8): webhooks are not sent there; \
             an operator can allow it with `deliver.allowed_networks`"
        );
    }
}
