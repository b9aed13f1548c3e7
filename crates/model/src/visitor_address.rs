//! What is kept of a visitor's address.

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// What is kept of a visitor's address once its place has been looked up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressTreatment {
    /// Nothing.
    #[default]
    Drop,
    /// The network: /24 of IPv4, /48 of IPv6.
    Truncate,
    /// The whole address.
    Keep,
}

impl AddressTreatment {
    /// What is left of `address`.
    pub fn apply(self, address: IpAddr) -> Option<IpAddr> {
        match (self, address.to_canonical()) {
            (Self::Drop, _) => None,
            (Self::Keep, address) => Some(address),
            (Self::Truncate, IpAddr::V4(v4)) => Some(Ipv4Net::new_assert(v4, 24).network().into()),
            (Self::Truncate, IpAddr::V6(v6)) => Some(Ipv6Net::new_assert(v6, 48).network().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn of_a_visitors_address_only_what_the_policy_says_is_kept() {
        assert_eq!(AddressTreatment::Drop.apply(address("8.8.8.8")), None);
        assert_eq!(AddressTreatment::Truncate.apply(address("8.8.8.8")), Some(address("8.8.8.0")));
        assert_eq!(
            AddressTreatment::Truncate.apply(address("2606:4700:1:2::3")),
            Some(address("2606:4700:1::"))
        );
        assert_eq!(AddressTreatment::Keep.apply(address("::ffff:8.8.8.8")), Some(address("8.8.8.8")));
    }
}
