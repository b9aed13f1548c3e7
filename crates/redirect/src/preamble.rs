//! The PROXY protocol, versions 1 and 2: a proxy that passes bytes on names its client before the first of them.
//!
//! Only a trusted proxy is asked for a preamble, and then has to send one: without it, nobody could say whose requests these
//! are. Of anybody else, a preamble is a request that cannot be read. What is read is exactly the preamble: the stream
//! then begins with the first request.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::metrics::Metrics;
use crate::proxies::Proxies;

/// Longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What version 1 begins with. Its shortest line is longer than [`SIGNATURE`].
const WORD: &[u8] = b"PROXY ";

/// Most bytes that may follow the head of version 2: addresses, and what else a proxy tells.
const BODY_BYTES_MAX: usize = 4096;

/// Finds out who is behind a connection.
#[derive(Debug, Clone)]
pub struct Preambles {
    proxies: Proxies,
    patience: Duration,
    metrics: Metrics,
}

/// What a preamble says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The proxy connects for this client.
    Named(SocketAddr),
    /// The proxy connects for itself, or does not know for whom.
    Proxy,
}

/// Why there is no preamble.
#[derive(Debug, thiserror::Error)]
pub enum PreambleError {
    /// The connection ended within it.
    #[error("failed to read a PROXY preamble")]
    Read(#[from] io::Error),
    /// It did not come in time.
    #[error("no PROXY preamble within {0:?}")]
    Timeout(Duration),
    /// Something else came.
    #[error("not a PROXY preamble")]
    Invalid,
    /// It is longer than is read.
    #[error("a PROXY preamble is too long")]
    TooLong,
}

impl From<PreambleError> for io::Error {
    fn from(error: PreambleError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl Preambles {
    /// Asks trusted proxies, and waits so long for each.
    pub fn new(proxies: Proxies, patience: Duration, metrics: Metrics) -> Self {
        Self { proxies, patience, metrics }
    }

    /// Who is behind a new connection; `None`: a proxy whose preamble names nobody. Of a trusted proxy's connection it reads
    /// the preamble.
    ///
    /// # Errors
    /// [`PreambleError`], after which the connection is to be closed.
    pub async fn client(&self, stream: &mut TcpStream) -> Result<Option<SocketAddr>, PreambleError> {
        let peer = stream.peer_addr()?;
        if !self.proxies.trusts(peer.ip().to_canonical()) {
            return Ok(Some(peer));
        }
        let read = timeout(self.patience, read(stream)).await;
        match read.unwrap_or(Err(PreambleError::Timeout(self.patience))) {
            Ok(Source::Named(client)) => Ok(Some(client)),
            Ok(Source::Proxy) => Ok(None),
            Err(error) => {
                self.metrics.preambles_refused.inc();
                Err(error)
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Result<Source, PreambleError> {
    let mut text = [0; LINE_BYTES_MAX];
    stream.read_exact(&mut text[..SIGNATURE.len()]).await?;
    if text.starts_with(SIGNATURE) {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let [version_and_command, family, length @ ..] = head;
        let length = usize::from(u16::from_be_bytes(length));
        if length > BODY_BYTES_MAX {
            return Err(PreambleError::TooLong);
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        return version_2(version_and_command, family, &body).ok_or(PreambleError::Invalid);
    }
    if !text.starts_with(WORD) {
        return Err(PreambleError::Invalid);
    }
    let mut filled = SIGNATURE.len();
    while filled < text.len() {
        // looked at first: what stands behind the line is not ours to read
        let seen = stream.peek(&mut text[filled..]).await?;
        if seen == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let end = text[filled..filled + seen].iter().position(|b| *b == b'\n').map(|at| at + 1);
        let taken = filled + end.unwrap_or(seen);
        stream.read_exact(&mut text[filled..taken]).await?;
        filled = taken;
        if end.is_some() {
            return version_1(&text[..filled]).ok_or(PreambleError::Invalid);
        }
    }
    Err(PreambleError::TooLong)
}

/// `PROXY TCP4 198.51.100.7 10.0.0.1 56324 443` and its end, or `PROXY UNKNOWN` and whatever.
fn version_1(line: &[u8]) -> Option<Source> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return None;
    }
    let is_family: fn(&IpAddr) -> bool = match words.next()? {
        "UNKNOWN" => return Some(Source::Proxy),
        "TCP4" => IpAddr::is_ipv4,
        "TCP6" => IpAddr::is_ipv6,
        _ => return None,
    };
    let mut address = || words.next()?.parse::<IpAddr>().ok().filter(is_family);
    let (client, _) = (address()?, address()?);
    // the number's own reader takes a sign as well
    let is_number = |word: &&str| word.bytes().all(|b| b.is_ascii_digit());
    let mut port = || words.next().filter(is_number)?.parse::<u16>().ok();
    let (client_port, _) = (port()?, port()?);
    words.next().is_none().then(|| Source::Named(SocketAddr::new(client, client_port)))
}

/// What follows the signature: version and command, family and protocol, and addresses with whatever else stands behind them.
fn version_2(version_and_command: u8, family: u8, body: &[u8]) -> Option<Source> {
    match version_and_command {
        // the proxy's own connection, as for a health check
        0x20 => return Some(Source::Proxy),
        0x21 => {}
        _ => return None,
    }
    let (client, port): (IpAddr, &[u8]) = match family {
        // TCP over IPv4: two addresses, then two ports
        0x11 => {
            let addresses = body.first_chunk::<12>()?;
            (addresses.first_chunk::<4>().map(|client| IpAddr::from(*client))?, &addresses[8..10])
        }
        // TCP over IPv6
        0x21 => {
            let addresses = body.first_chunk::<36>()?;
            (addresses.first_chunk::<16>().map(|client| IpAddr::from(*client))?, &addresses[32..34])
        }
        // not known to the proxy, or of its own machine
        0x00 | 0x31 => return Some(Source::Proxy),
        _ => return None,
    };
    let port = u16::from_be_bytes([port[0], port[1]]);
    Some(Source::Named(SocketAddr::new(client, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(address: &str) -> Option<Source> {
        Some(Source::Named(address.parse().expect("an address")))
    }

    #[test]
    fn a_line_of_version_1_names_the_client() {
        for (line, expected) in [
            ("PROXY TCP4 198.51.100.7 10.0.0.1 56324 443\r\n", named("198.51.100.7:56324")),
            ("PROXY TCP6 2001:db8::7 fd00::1 56324 443\r\n", named("[2001:db8::7]:56324")),
            ("PROXY UNKNOWN\r\n", Some(Source::Proxy)),
            ("PROXY UNKNOWN ff:: ff:: 1 1\r\n", Some(Source::Proxy)),
            ("PROXY TCP4 198.51.100.7 10.0.0.1 56324 443\n", None),
            ("PROXY TCP4 2001:db8::7 fd00::1 56324 443\r\n", None),
            ("PROXY TCP6 198.51.100.7 10.0.0.1 56324 443\r\n", None),
            ("PROXY TCP4 198.51.100.7 10.0.0.1 56324\r\n", None),
            ("PROXY TCP4 198.51.100.7 10.0.0.1 56324 443 1\r\n", None),
            ("PROXY TCP4 198.51.100.7 10.0.0.1 65536 443\r\n", None),
            ("PROXY TCP4 198.51.100.7 10.0.0.1 +80 443\r\n", None),
            ("PROXY TCP4  198.51.100.7 10.0.0.1 1 443\r\n", None),
            ("PROXY UDP4 198.51.100.7 10.0.0.1 1 443\r\n", None),
            ("PROXY \r\n", None),
            ("GET / HTTP/1.1\r\n", None),
        ] {
            assert_eq!(version_1(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn addresses_of_version_2_name_the_client() {
        let v4 = [198, 51, 100, 7, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        v6[15] = 7;
        v6[32..34].copy_from_slice(&[0xdc, 0x04]);
        let with_more = [&v4[..], &[0x04, 0, 1, 0]].concat();

        assert_eq!(version_2(0x21, 0x11, &v4), named("198.51.100.7:56324"));
        assert_eq!(version_2(0x21, 0x11, &with_more), named("198.51.100.7:56324"));
        assert_eq!(version_2(0x21, 0x21, &v6), named("[2001:db8::7]:56324"));
        for (command, family, body) in
            [(0x20, 0x11, &v4[..]), (0x20, 0, &[]), (0x21, 0, &[]), (0x21, 0x31, &[0; 216])]
        {
            assert_eq!(version_2(command, family, body), Some(Source::Proxy), "{command:x} {family:x}");
        }
        for (command, family, body) in [
            (0x11, 0x11, &v4[..]),
            (0x22, 0x11, &v4),
            (0x21, 0x12, &v4),
            (0x21, 0x11, &v4[..11]),
            (0x21, 0x21, &v4),
        ] {
            assert_eq!(version_2(command, family, body), None, "{command:x} {family:x}");
        }
    }

    /// A line as proxies send it, or nearly, or any bytes.
    fn any_line() -> impl Strategy<Value = Vec<u8>> {
        let address =
            "([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-f]{0,4}(:[0-9a-f]{0,4}){2,7}|2001:db8::[0-9a-f]{1,4})";
        let family = prop::sample::select(&["TCP4", "TCP6", "UNKNOWN", "UDP4", "TCP"][..]);
        let rest = " (10\\.0\\.0\\.1|fd00::1) [+]?[0-9]{1,5} [+]?[0-9]{1,5} ?\r?\n";
        let line = (family, address, rest).prop_map(|(family, address, rest)| {
            let line = format!("PROXY {family} {address}{rest}");
            line.into_bytes()
        });
        prop_oneof![4 => line, 1 => prop::collection::vec(any::<u8>(), 0..120)]
    }

    proptest! {
        #[test]
        fn whom_a_line_names_stands_in_it(line in any_line()) {
            match version_1(&line) {
                Some(Source::Named(client)) => {
                    let text = std::str::from_utf8(&line).expect("what names somebody is text");
                    let words: Vec<&str> = text.trim_end().split(' ').collect();
                    prop_assert_eq!(words.len(), 6);
                    prop_assert_eq!(words[2].parse::<IpAddr>(), Ok(client.ip()));
                    prop_assert_eq!(words[4].parse::<u16>(), Ok(client.port()));
                    prop_assert!(!text.contains('+'));
                }
                Some(Source::Proxy) => prop_assert!(line.starts_with(b"PROXY UNKNOWN")),
                None => {}
            }
        }

        #[test]
        fn whom_addresses_of_version_2_name_stands_in_them(
            bytes in prop::collection::vec(any::<u8>(), 0..120),
            command in prop_oneof![Just(0x20u8), Just(0x21u8), any::<u8>()],
            family in prop_oneof![Just(0x11u8), Just(0x21u8), Just(0x31u8), any::<u8>()],
        ) {
            match version_2(command, family, &bytes) {
                Some(Source::Named(client)) => {
                    prop_assert_eq!((command, client.is_ipv4()), (0x21, family == 0x11));
                    let octets = match client.ip() {
                        IpAddr::V4(ip) => ip.octets().to_vec(),
                        IpAddr::V6(ip) => ip.octets().to_vec(),
                    };
                    prop_assert!(bytes.starts_with(&octets));
                }
                Some(Source::Proxy) => prop_assert!(command == 0x20 || matches!(family, 0x00 | 0x31)),
                None => {}
            }
        }
    }
}
