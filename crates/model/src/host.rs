//! The name of the host that a link is served under.

use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::text::as_text;

/// Longest host name, in bytes (RFC 1035 section 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;

/// A host name in its comparable form: lower case, ASCII, without port and trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Box<str>);

/// Why a text is not a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a host name like `go.example.com`, without scheme, port or path")]
pub struct HostError;

impl Host {
    /// The comparable form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host of a domain that there is, as it was kept.
    pub fn kept(text: String) -> Self {
        Self(text.into())
    }

    /// Whether a text is a host in its comparable form, as most are: a name, or four numbers. What else looks like an address
    /// needs a parser: `127.1` is one, and `1.2.3.256` is nothing.
    pub fn is_plain(text: &str) -> bool {
        Self::is_plain_name(text) || text.parse::<Ipv4Addr>().is_ok()
    }

    fn is_plain_name(text: &str) -> bool {
        let is_folded = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
        let last = text.rsplit_once('.').map_or(text, |(_, last)| last);
        !text.is_empty()
            && text.len() <= HOST_BYTES_MAX
            && text.bytes().all(is_folded)
            && !text.contains("xn--")
            && !has_empty_label(text)
            && !last.starts_with("0x")
            && !last.bytes().all(|b| b.is_ascii_digit())
    }

    /// The host of a `Host` header, which may carry a port.
    ///
    /// # Errors
    /// [`HostError`] when what stands before the port is not a host name.
    pub fn from_header(value: &str) -> Result<Self, HostError> {
        match value.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
                host.parse()
            }
            _ => value.parse(),
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() || text.len() > HOST_BYTES_MAX || text.contains(['/', '?', '#', '@', '\\', '%']) {
            return Err(HostError);
        }
        if Self::is_plain(text) {
            return Ok(Self(text.into()));
        }
        let host = url::Host::parse(text).map_err(|_| HostError)?.to_string();
        if has_empty_label(&host) {
            return Err(HostError);
        }
        Ok(Self(host.into()))
    }
}

fn has_empty_label(host: &str) -> bool {
    host.starts_with('.') || host.ends_with('.') || host.contains("..")
}

as_text! { Host }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_in_one_form() {
        for (typed, kept) in [
            ("Go.Example.COM", "go.example.com"),
            ("go.example.com.", "go.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("[::1]", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("1.example.2go", "1.example.2go"),
        ] {
            assert_eq!(typed.parse::<Host>().expect(typed).as_str(), kept);
        }
        for (header, kept) in
            [("go.example.com:8080", "go.example.com"), ("[::1]:8080", "[::1]"), ("[::1]", "[::1]")]
        {
            assert_eq!(Host::from_header(header).expect(header).as_str(), kept);
        }
        for wrong in ["", "https://go.example.com", "go.example.com/x", "a b", "go.example.com:x", "%67o"]
            .into_iter()
            .chain([".", "..", ".a", "a..b", "a..", "1.2.3.256", "1.2.3.4.5", "go.0x", "go.example.1"])
        {
            assert_eq!(Host::from_header(wrong), Err(HostError), "{wrong}");
        }
    }
}
