//! Where a webhook may be sent: the one set of rules, asked when an endpoint is saved and again at every request.
//!
//! Both askers get the same answer for the same URL and the same addresses, and every refusal names the setting
//! with which an operator would allow it.

use std::net::IpAddr;

use url::Host;

use crate::address::{AddressPolicy, ForbiddenAddress};
use crate::url::EndpointUrl;

/// Ports below this one are given to other protocols, but for [`WEB_PORTS`].
const WELL_KNOWN_END: u16 = 1024;

/// Where the web is.
const WEB_PORTS: [u16; 2] = [80, 443];

/// Ports above the well-known ones at which servers of other protocols listen: an HTTP request can do harm there.
const OTHER_PROTOCOLS: [u16; 21] = [
    1433,  // SQL Server
    1521,  // Oracle
    1719,  // H.323
    1720,  // H.323
    1723,  // PPTP
    2049,  // NFS
    3306,  // MySQL
    3659,  // Apple password server
    4045,  // NFS locks
    4190,  // Sieve
    5060,  // SIP
    5061,  // SIP over TLS
    5432,  // PostgreSQL
    6000,  // X11
    6379,  // Redis
    6566,  // scanners
    6667,  // IRC
    6697,  // IRC over TLS
    10080, // Amanda
    11211, // memcached
    27017, // MongoDB
];

/// Which URLs may be posted to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// Which addresses.
    pub addresses: AddressPolicy,
    /// Only `https://`.
    pub https_only: bool,
    /// Ports that are allowed although another protocol owns them.
    pub allowed_ports: Vec<u16>,
}

/// Which rule forbids a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForbiddenDestination {
    /// The connection would not be encrypted.
    #[error("must begin with `https://`: `deliver.https_only` is set")]
    NotEncrypted,
    /// Another protocol is spoken there.
    #[error("port {0} belongs to another protocol; an operator can allow it with `deliver.allowed_ports`")]
    Port(u16),
    /// The URL holds an address that is not public.
    #[error(transparent)]
    Address(#[from] ForbiddenAddress),
    /// One of the name's addresses is not public.
    #[error("`{name}` leads to {forbidden}")]
    Name {
        /// Which name.
        name: String,
        /// The first address that is refused.
        forbidden: ForbiddenAddress,
    },
}

impl ForbiddenDestination {
    /// The stable word in the API.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotEncrypted => "https_only",
            Self::Port(_) => "forbidden_port",
            Self::Address(_) | Self::Name { .. } => "forbidden_address",
        }
    }
}

impl EgressPolicy {
    /// Checks what needs no look-up: scheme, port, and an address in the URL.
    ///
    /// # Errors
    /// [`ForbiddenDestination`] says which rule forbids it.
    pub fn check_url(&self, url: &EndpointUrl) -> Result<(), ForbiddenDestination> {
        if self.https_only && !url.is_https() {
            return Err(ForbiddenDestination::NotEncrypted);
        }
        let port = url.port();
        if is_of_other_protocol(port) && !self.allowed_ports.contains(&port) {
            return Err(ForbiddenDestination::Port(port));
        }
        match url.host() {
            Host::Ipv4(address) => Ok(self.addresses.check(IpAddr::V4(address))?),
            Host::Ipv6(address) => Ok(self.addresses.check(IpAddr::V6(address))?),
            Host::Domain(_) => Ok(()),
        }
    }

    /// Checks what a name leads to: *all* of its addresses must be allowed. Whoever mixes public and private
    /// answers wants us to pick the private one.
    ///
    /// # Errors
    /// [`ForbiddenDestination::Name`] names the first address that is refused.
    pub fn check_name(
        &self,
        name: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<(), ForbiddenDestination> {
        let refused = addresses.into_iter().find_map(|address| self.addresses.check(address).err());
        match refused {
            Some(forbidden) => Err(ForbiddenDestination::Name { name: name.to_owned(), forbidden }),
            None => Ok(()),
        }
    }
}

fn is_of_other_protocol(port: u16) -> bool {
    (port < WELL_KNOWN_END && !WEB_PORTS.contains(&port)) || OTHER_PROTOCOLS.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: &EgressPolicy, url: &str) -> Result<(), &'static str> {
        policy.check_url(&url.parse().expect(url)).map_err(|error| error.code())
    }

    #[test]
    fn only_ports_of_the_web_and_free_ones_are_posted_to() {
        let policy = EgressPolicy::default();
        for port in ["", ":80", ":443", ":1024", ":8443", ":65535"] {
            assert_eq!(check(&policy, &format!("https://example.com{port}/")), Ok(()), "{port}");
        }
        for port in [0, 1, 22, 25, 53, 81, 110, 389, 445, 1023, 3306, 5432, 6379, 11211] {
            let url = format!("https://example.com:{port}/");
            assert_eq!(check(&policy, &url), Err("forbidden_port"), "{port}");
        }

        let allowing = EgressPolicy { allowed_ports: vec![81], ..policy };
        assert_eq!(check(&allowing, "https://example.com:81/"), Ok(()));
        assert_eq!(check(&allowing, "https://example.com:82/"), Err("forbidden_port"));
    }

    #[test]
    fn plain_http_is_refused_where_only_https_is_allowed() {
        let policy = EgressPolicy { https_only: true, ..EgressPolicy::default() };

        assert_eq!(check(&policy, "http://example.com/"), Err("https_only"));
        assert_eq!(check(&policy, "https://example.com/"), Ok(()));
    }

    #[test]
    fn a_name_is_refused_for_any_of_its_addresses() {
        let policy = EgressPolicy::default();
        let answer = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| address.parse().expect("an address"));
            policy.check_name("hooks.example", addresses.collect::<Vec<IpAddr>>())
        };

        assert_eq!(answer(&["93.184.215.14", "2606:4700::1111"]), Ok(()));
        let error = answer(&["93.184.215.14", "10.0.0.1"]).expect_err("mixed");
        assert_eq!(
            error.to_string(),
            "`hooks.example` leads to 10.0.0.1, which is a private address (10.0.0.0/8): webhooks are not sent \
             there; an operator can allow it with `deliver.allowed_networks`"
        );
    }

    #[test]
    fn every_refusal_names_the_setting_that_would_allow_it() {
        let refusals = [
            (ForbiddenDestination::NotEncrypted, "deliver.https_only"),
            (ForbiddenDestination::Port(25), "deliver.allowed_ports"),
            (
                AddressPolicy::default()
                    .check("::1".parse().expect("an address"))
                    .expect_err("loopback")
                    .into(),
                "deliver.allowed_networks",
            ),
        ];
        for (refusal, setting) in refusals {
            assert!(refusal.to_string().contains(setting), "{refusal}");
        }
    }
}
