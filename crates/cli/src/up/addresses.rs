//! Where `up` listens: an address that someone named is taken or refused, a default one gives way to a free port.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use anyhow::Context;

use crate::layers::Named;

/// Ports of the services when they run apart, too.
const REDIRECT_PORT: u16 = 8080;
const API_PORT: u16 = 8081;
const OPS_PORT: u16 = 9101;

/// The addresses of one run.
#[derive(Debug)]
pub(super) struct Addresses {
    pub redirect: SocketAddr,
    pub api: SocketAddr,
    pub ops: SocketAddr,
    notes: Vec<String>,
    taken: BTreeSet<u16>,
}

impl Addresses {
    /// What settings and options name, else the defaults on loopback.
    pub(super) fn choose(named: &Named, ops: Option<SocketAddr>) -> anyhow::Result<Self> {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut chosen =
            Self { redirect: nowhere, api: nowhere, ops: nowhere, notes: Vec::new(), taken: BTreeSet::new() };
        chosen.redirect = chosen.settle("tracked links", named.redirect.addr, REDIRECT_PORT)?;
        chosen.api = chosen.settle("API and console", named.api.addr, API_PORT)?;
        chosen.ops = chosen.settle("health and metrics", ops, OPS_PORT)?;
        Ok(chosen)
    }

    /// Which defaults gave way.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(super) fn redirect_url(&self) -> String {
        url(self.redirect)
    }

    pub(super) fn api_url(&self) -> String {
        url(self.api)
    }

    pub(super) fn ops_url(&self) -> String {
        url(self.ops)
    }

    fn settle(
        &mut self,
        what: &str,
        named: Option<SocketAddr>,
        default_port: u16,
    ) -> anyhow::Result<SocketAddr> {
        let addr = match named {
            // the URL must be known before the service listens
            Some(addr) if addr.port() == 0 => SocketAddr::new(addr.ip(), self.free_port()),
            Some(addr) => {
                TcpListener::bind(addr).with_context(|| format!("cannot listen on {addr} for {what}"))?;
                addr
            }
            None => self.default_or_free(what, default_port),
        };
        self.taken.insert(addr.port());
        Ok(addr)
    }

    fn default_or_free(&mut self, what: &str, default_port: u16) -> SocketAddr {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, default_port));
        if !self.taken.contains(&default_port) && TcpListener::bind(default).is_ok() {
            return default;
        }
        let port = self.free_port();
        self.notes.push(format!("port {default_port} is taken: {what} are on port {port}"));
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    fn free_port(&self) -> u16 {
        std::iter::repeat_with(embedded::free_port)
            .find(|port| !self.taken.contains(port))
            .expect("there are more ports than addresses")
    }
}

/// A URL that works on this machine: "any address" is not one to connect to.
fn url(addr: SocketAddr) -> String {
    let ip = match addr.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, addr.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_address_that_is_taken_is_refused() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let mut named = Named::default();
        named.api.addr = Some(addr);

        let error = Addresses::choose(&named, None).unwrap_err();

        assert_eq!(error.to_string(), format!("cannot listen on {addr} for API and console"));
    }

    #[test]
    fn a_default_port_that_is_taken_gives_way_and_says_so() {
        let mut named = Named::default();
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        named.redirect.addr = Some(free);
        named.api.addr = Some(free);
        // whoever has it, nobody can have it now
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, OPS_PORT));

        let chosen = Addresses::choose(&named, None).unwrap();

        assert_ne!(chosen.ops.port(), OPS_PORT);
        let port = chosen.ops.port();
        assert_eq!(chosen.notes(), [format!("port 9101 is taken: health and metrics are on port {port}")]);
        assert_ne!(chosen.redirect.port(), chosen.api.port());
    }

    #[test]
    fn any_address_is_reached_over_loopback() {
        assert_eq!(url("0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(url("[::]:80".parse().unwrap()), "http://[::1]:80");
    }
}
