//! The proxy that webhooks leave through, if the operator names one, and how it is spoken to: HTTP CONNECT (RFC 9110 section
//! 9.3.6) or SOCKS 5 (RFC 1928, RFC 1929).
//!
//! It is given the address that our policy has checked, never the name: what it would look up could be another one. So the policy
//! holds as it does without a proxy. What fails is the proxy's fault, unless it says that the destination cannot be reached.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

/// Longest answer to CONNECT, headers included.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// Longest user name and password of SOCKS.
const SOCKS_TEXT_BYTES_MAX: usize = 255;

/// A proxy. `Debug` and `Display` do not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    credentials: Option<(String, String)>,
}

/// What is spoken to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connect,
    Socks5,
}

/// Why a text names no proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlError {
    /// Not a URL, or one of something else.
    #[error("must be like `http://proxy.internal:3128` or `socks5://proxy.internal:1080`")]
    Malformed,
    /// A path, a query or a fragment.
    #[error("must have nothing behind the port")]
    Path,
    /// Longer than SOCKS can say.
    #[error("must have a user name and a password of at most {SOCKS_TEXT_BYTES_MAX} bytes each")]
    Credentials,
}

/// Why there is no way through the proxy.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// It cannot be reached, or hangs up.
    #[error("the proxy {0} cannot be reached")]
    Unreachable(Proxy, #[source] io::Error),
    /// It says nothing.
    #[error("the proxy {0} did not answer in time")]
    Silent(Proxy),
    /// It does not let us in.
    #[error("the proxy {0} refuses our user name and password, or wants some")]
    Credentials(Proxy),
    /// It does not let us there.
    #[error("the proxy {0} does not connect us: {1}")]
    Refused(Proxy, String),
    /// It speaks something else.
    #[error("what listens at {0} is no such proxy")]
    Protocol(Proxy),
    /// It could not reach the destination: not its fault.
    #[error("the proxy could not connect: {0}")]
    Destination(String),
}

impl TunnelError {
    /// Whether the proxy is at fault, and not the endpoint.
    pub const fn is_the_proxys(&self) -> bool {
        !matches!(self, Self::Destination(_))
    }
}

impl Proxy {
    /// A connection through it to an address.
    ///
    /// # Errors
    /// [`TunnelError`] says whose fault it is that there is none.
    pub async fn connect(&self, to: SocketAddr) -> Result<TcpStream, TunnelError> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let mut stream = connecting.await.map_err(|error| self.unreachable(error))?;
        // requests are written at once
        stream.set_nodelay(true).map_err(|error| self.unreachable(error))?;
        match self.kind {
            Kind::Connect => self.connect_by_http(&mut stream, to).await?,
            Kind::Socks5 => self.connect_by_socks(&mut stream, to).await?,
        }
        Ok(stream)
    }

    fn unreachable(&self, error: io::Error) -> TunnelError {
        TunnelError::Unreachable(self.clone(), error)
    }

    async fn connect_by_http(&self, stream: &mut TcpStream, to: SocketAddr) -> Result<(), TunnelError> {
        let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
        if let Some((username, password)) = &self.credentials {
            let value = webhook::auth::basic(username, password);
            request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| self.unreachable(error))?;
        // byte by byte: what follows the head is the destination's already
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == ANSWER_BYTES_MAX {
                return Err(TunnelError::Protocol(self.clone()));
            }
            head.push(stream.read_u8().await.map_err(|error| self.unreachable(error))?);
        }
        match status(&head) {
            Some(200..=299) => Ok(()),
            Some(407) => Err(TunnelError::Credentials(self.clone())),
            // what proxies say of a destination that does not answer
            Some(status @ 502..=504) => Err(TunnelError::Destination(format!("it answered {status}"))),
            Some(status) => Err(TunnelError::Refused(self.clone(), format!("it answered {status}"))),
            None => Err(TunnelError::Protocol(self.clone())),
        }
    }

    async fn connect_by_socks(&self, stream: &mut TcpStream, to: SocketAddr) -> Result<(), TunnelError> {
        // version 5, one way to be let in: by user and password (2), or without (0)
        let way = if self.credentials.is_some() { 2 } else { 0 };
        let [version, chosen] = self.ask(stream, &[5, 1, way]).await?;
        if version != 5 {
            return Err(TunnelError::Protocol(self.clone()));
        }
        if chosen != way {
            return Err(TunnelError::Credentials(self.clone()));
        }
        if let Some((username, password)) = &self.credentials {
            let mut request = vec![1];
            for text in [username, password] {
                // checked when it was read
                request.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
                request.extend_from_slice(text.as_bytes());
            }
            let [_, status] = self.ask(stream, &request).await?;
            if status != 0 {
                return Err(TunnelError::Credentials(self.clone()));
            }
        }
        let [version, reply, _, kind] = self.ask(stream, &socks_request(to)).await?;
        if version != 5 {
            return Err(TunnelError::Protocol(self.clone()));
        }
        if reply != 0 {
            return Err(self.socks_refusal(reply));
        }
        // where it connected from, which is nothing to us
        let bound: usize = match kind {
            1 => 4,
            4 => 16,
            3 => stream.read_u8().await.map_err(|error| self.unreachable(error))?.into(),
            _ => return Err(TunnelError::Protocol(self.clone())),
        };
        let mut address_and_port = vec![0_u8; bound + 2];
        stream.read_exact(&mut address_and_port).await.map_err(|error| self.unreachable(error))?;
        Ok(())
    }

    async fn ask<const N: usize>(
        &self,
        stream: &mut TcpStream,
        question: &[u8],
    ) -> Result<[u8; N], TunnelError> {
        let mut answer = [0; N];
        stream.write_all(question).await.map_err(|error| self.unreachable(error))?;
        stream.read_exact(&mut answer).await.map_err(|error| self.unreachable(error))?;
        Ok(answer)
    }

    /// What a reply other than success says (RFC 1928 section 6).
    fn socks_refusal(&self, reply: u8) -> TunnelError {
        let of_destination = |words: &str| TunnelError::Destination(words.to_owned());
        let of_proxy = |words: &str| TunnelError::Refused(self.clone(), words.to_owned());
        match reply {
            2 => of_proxy("its rules do not allow it"),
            3 => of_destination("the network is unreachable"),
            4 => of_destination("the host is unreachable"),
            5 => of_destination("the connection was refused"),
            6 => of_destination("the way is too long"),
            7 => of_proxy("it does not know CONNECT"),
            8 => of_proxy("it does not know such addresses"),
            _ => of_proxy("it failed"),
        }
    }
}

/// CONNECT to an address.
fn socks_request(to: SocketAddr) -> Vec<u8> {
    let mut request = vec![5, 1, 0];
    match to.ip() {
        IpAddr::V4(address) => {
            request.push(1);
            request.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            request.push(4);
            request.extend_from_slice(&address.octets());
        }
    }
    request.extend_from_slice(&to.port().to_be_bytes());
    request
}

/// The status of an answer's head.
fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    let mut words = line.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next().filter(|status| status.len() == 3)?.parse().ok()
}

impl FromStr for Proxy {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let url: Url = text.parse().map_err(|_| ProxyUrlError::Malformed)?;
        let (kind, usual_port) = match url.scheme() {
            "http" => (Kind::Connect, 80),
            "socks5" => (Kind::Socks5, 1080),
            _ => return Err(ProxyUrlError::Malformed),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(ProxyUrlError::Malformed)?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyUrlError::Path);
        }
        let plain = |text: &str| {
            percent_encoding::percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
        };
        let password = url.password().unwrap_or_default();
        let is_fitting = |text: &String| text.len() <= SOCKS_TEXT_BYTES_MAX;
        let credentials = match (plain(url.username()), plain(password)) {
            (Some(username), Some(_)) if username.is_empty() => None,
            (Some(username), Some(password)) if is_fitting(&username) && is_fitting(&password) => {
                Some((username, password))
            }
            _ => return Err(ProxyUrlError::Credentials),
        };
        // an IPv6 address is written without brackets where it is connected to
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { kind, host, port: url.port().unwrap_or(usual_port), credentials })
    }
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Connect => "http",
            Kind::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(text: &str) -> Proxy {
        text.parse().expect(text)
    }

    #[test]
    fn a_proxy_is_read_from_its_url() {
        let with = proxy("http://us:p%40ss@proxy.internal:3128");
        assert_eq!(with.credentials, Some(("us".to_owned(), "p@ss".to_owned())));
        assert_eq!(format!("{with} {with:?}").matches("p@ss").count(), 0);
        assert_eq!(with.to_string(), "http://proxy.internal:3128");
        let socks = proxy("socks5://[::1]");
        assert_eq!((socks.kind, socks.host.as_str(), socks.port), (Kind::Socks5, "::1", 1080));
        assert_eq!((proxy("http://proxy/").port, proxy("http://proxy").credentials), (80, None));

        let long = format!("socks5://us:{}@proxy", "x".repeat(SOCKS_TEXT_BYTES_MAX + 1));
        for (text, error) in [
            ("proxy.internal:3128", ProxyUrlError::Malformed),
            ("https://proxy", ProxyUrlError::Malformed),
            ("socks4://proxy", ProxyUrlError::Malformed),
            ("", ProxyUrlError::Malformed),
            ("http://proxy/path", ProxyUrlError::Path),
            ("http://proxy?a", ProxyUrlError::Path),
            (long.as_str(), ProxyUrlError::Credentials),
        ] {
            assert_eq!(text.parse::<Proxy>().err(), Some(error), "{text}");
        }
    }

    #[test]
    fn socks_is_given_an_address_as_the_specification_has_it() {
        let to = |text: &str| socks_request(text.parse().expect("an address"));

        assert_eq!(to("192.0.2.7:443"), [5, 1, 0, 1, 192, 0, 2, 7, 1, 187]);
        let six = to("[2001:db8::1]:80");
        assert_eq!((&six[..4], &six[20..]), (&[5, 1, 0, 4][..], &[0, 80][..]));
    }

    #[test]
    fn a_destination_that_does_not_answer_is_not_the_proxys_fault() {
        let proxy = proxy("socks5://proxy");

        for (reply, is_the_proxys) in
            [(1, true), (2, true), (3, false), (4, false), (5, false), (6, false), (7, true)]
        {
            assert_eq!(proxy.socks_refusal(reply).is_the_proxys(), is_the_proxys, "{reply}");
        }
    }

    #[test]
    fn only_an_answer_of_http_has_a_status() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        for head in
            [&b"SSH-2.0 200 x\r\n\r\n"[..], b"HTTP/1.1 20\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\xff\r\n\r\n"]
        {
            assert_eq!(status(head), None);
        }
    }
}
