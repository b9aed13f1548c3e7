//! Ports for servers that are stopped and started again.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::fd::IntoRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rand::RngExt;

/// Below the range from which systems take ports for outgoing connections. In that range somebody's
/// connection could take our port while the server is down, and a client that connects again and again to a
/// closed port there can end up connected to itself.
const PORTS: Range<u16> = 12_000..32_000;

/// How many ports are tried before we say that none is free.
const TRIES_MAX: u32 = 1_000;

/// A port of 127.0.0.1 that nobody listens on at the moment, and that no other process is given by this function while we live;
/// somebody else may be quicker to take it.
///
/// # Panics
/// When [`TRIES_MAX`] random ports are all taken.
pub fn free_port() -> u16 {
    let mut rng = rand::rng();
    (0..TRIES_MAX)
        .map(|_| rng.random_range(PORTS))
        .find(|&port| is_free(port) && claim(port))
        .expect("a machine has more ports than servers")
}

/// Takes a name that stands for the port, for the life of this process: between looking at a port and listening on it others
/// would find it free too.
fn claim(port: u16) -> bool {
    let bound = SocketAddr::from_abstract_name(format!("clickwire-port-{port}"))
        .and_then(|name| UnixDatagram::bind_addr(&name));
    match bound {
        Ok(socket) => {
            let _kept_open = socket.into_raw_fd();
            true
        }
        Err(error) => error.kind() != ErrorKind::AddrInUse,
    }
}

/// Whether nobody listens on this port of 127.0.0.1.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
