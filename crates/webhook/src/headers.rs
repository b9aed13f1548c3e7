//! Headers that an endpoint's owner adds to each request: a bearer token, a tenant, a routing hint.
//!
//! Names that would change what the request is, whom it reaches or what it proves are refused.

use std::collections::BTreeMap;
use std::fmt;

use model::{EndpointId, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::sealing::{Keyring, OpenError, Purpose};

/// Header that every request of ours to an endpoint has: which attempt it is, from 1. By it `redirect` knows what comes from us.
pub const ATTEMPT_HEADER: &str = "clickwire-attempt";

/// Most custom headers of an endpoint.
pub const HEADERS_MAX: usize = 20;

/// Most bytes of all names and values together.
pub const BYTES_MAX: usize = 4 * 1024;

/// Names that are not an owner's to set: hop-by-hop (RFC 9110 section 7.6.1), routing, framing, and our own.
const FORBIDDEN: [&str; 15] = [
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Beginnings of names that are not an owner's to set.
const FORBIDDEN_BEGINNINGS: [&str; 3] = ["content-", "webhook-", "clickwire-"];

/// Custom headers, by lower-case name. `Debug` shows the names only: values are often credentials.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct CustomHeaders(BTreeMap<String, String>);

/// Why headers are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadersError {
    /// More than [`HEADERS_MAX`].
    #[error("must be at most {HEADERS_MAX} headers")]
    TooMany,
    /// More than [`BYTES_MAX`].
    #[error("must be at most {BYTES_MAX} bytes, names and values together")]
    TooLong,
    /// Not a token (RFC 9110 section 5.6.2).
    #[error("`{0}` is not a header name")]
    Name(String),
    /// One of the names that are ours or the connection's.
    #[error("`{0}` cannot be set by an endpoint")]
    Forbidden(String),
    /// Two spellings of one name.
    #[error("`{0}` is there twice")]
    Twice(String),
    /// Control characters or anything beyond ASCII.
    #[error("the value of `{0}` must consist of visible ASCII characters and spaces")]
    Value(String),
}

impl CustomHeaders {
    /// Checks headers as an endpoint's owner wrote them; names are folded to lower case.
    ///
    /// # Errors
    /// [`HeadersError`] names the header that is wrong, never its value.
    pub fn new(headers: impl IntoIterator<Item = (String, String)>) -> Result<Self, HeadersError> {
        let mut checked = BTreeMap::new();
        let mut size_bytes = 0;
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            check_name(&name)?;
            let value = value.trim();
            if !value.bytes().all(|b| b == b'\t' || b == b' ' || b.is_ascii_graphic()) {
                return Err(HeadersError::Value(name));
            }
            size_bytes += name.len() + value.len();
            if checked.insert(name.clone(), value.to_owned()).is_some() {
                return Err(HeadersError::Twice(name));
            }
            if checked.len() > HEADERS_MAX {
                return Err(HeadersError::TooMany);
            }
        }
        if size_bytes > BYTES_MAX {
            return Err(HeadersError::TooLong);
        }
        Ok(Self(checked))
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As they are stored with their endpoint.
    pub fn seal(&self, keyring: &Keyring, workspace_id: WorkspaceId, endpoint_id: EndpointId) -> Vec<u8> {
        let json = serde_json::to_vec(&self.0).expect("a map of strings is JSON");
        keyring.seal(&Purpose::Headers.of(workspace_id, endpoint_id), &json)
    }

    /// Reads what [`CustomHeaders::seal`] wrote for this endpoint.
    ///
    /// # Errors
    /// [`OpenError`] when the key is gone or the bytes are another endpoint's.
    pub fn open(
        keyring: &Keyring,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        sealed: &[u8],
    ) -> Result<Self, OpenError> {
        let json = keyring.open(&Purpose::Headers.of(workspace_id, endpoint_id), sealed)?;
        serde_json::from_slice(&json).map_err(|_| OpenError::Content)
    }
}

fn check_name(name: &str) -> Result<(), HeadersError> {
    let is_token = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !is_token {
        return Err(HeadersError::Name(name.to_owned()));
    }
    let is_forbidden =
        FORBIDDEN.contains(&name) || FORBIDDEN_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
    if is_forbidden {
        return Err(HeadersError::Forbidden(name.to_owned()));
    }
    Ok(())
}

impl TryFrom<BTreeMap<String, String>> for CustomHeaders {
    type Error = HeadersError;

    fn try_from(headers: BTreeMap<String, String>) -> Result<Self, HeadersError> {
        Self::new(headers)
    }
}

impl From<CustomHeaders> for BTreeMap<String, String> {
    fn from(headers: CustomHeaders) -> Self {
        headers.0
    }
}

impl fmt::Debug for CustomHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<CustomHeaders, HeadersError> {
        CustomHeaders::new([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn credentials_and_routing_hints_are_accepted() {
        for (name, value) in
            [("Authorization", "Bearer abc"), ("X-Tenant", "7"), ("cookie", "a=b"), ("x-empty", "")]
        {
            let headers = one(name, value).expect(name);

            assert_eq!(headers.iter().collect::<Vec<_>>(), [(name.to_lowercase().as_str(), value)]);
        }
    }

    #[test]
    fn names_that_are_not_the_owners_to_set_are_refused() {
        for name in [
            "Host",
            "Connection",
            "Transfer-Encoding",
            "TE",
            "Upgrade",
            "Content-Type",
            "Content-Length",
            "webhook-id",
            "Webhook-Signature",
            "Clickwire-Attempt",
            "User-Agent",
            "traceparent",
            "Expect",
        ] {
            assert_eq!(one(name, "x"), Err(HeadersError::Forbidden(name.to_lowercase())));
        }
    }

    #[test]
    fn what_could_smuggle_another_header_is_refused() {
        for name in ["", "a b", "a:b", ":authority", "a\r\nb", "ä"] {
            assert!(matches!(one(name, "x"), Err(HeadersError::Name(_))), "{name}");
        }
        for value in ["a\r\nb: c", "a\nb", "a\0b", "ä"] {
            assert_eq!(one("x-a", value), Err(HeadersError::Value("x-a".into())), "{value}");
        }
    }

    #[test]
    fn number_and_size_are_limited() {
        let many = |n: usize| (0..n).map(|i| (format!("x-{i}"), "v".to_owned()));

        assert!(CustomHeaders::new(many(HEADERS_MAX)).is_ok());
        assert_eq!(CustomHeaders::new(many(HEADERS_MAX + 1)), Err(HeadersError::TooMany));
        assert_eq!(one("x-long", &"v".repeat(BYTES_MAX)), Err(HeadersError::TooLong));
        assert_eq!(
            CustomHeaders::new([("X-A".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())]),
            Err(HeadersError::Twice("x-a".into()))
        );
    }

    #[test]
    fn sealed_headers_open_for_their_endpoint_only() {
        let keyring = Keyring::new(&crate::sealing::generate_key(), &[]).expect("a keyring");
        let (workspace, endpoint) = (WorkspaceId::generate(), EndpointId::generate());
        let headers = one("authorization", "Bearer abc").expect("headers");

        let sealed = headers.seal(&keyring, workspace, endpoint);

        assert_eq!(CustomHeaders::open(&keyring, workspace, endpoint, &sealed), Ok(headers));
        assert_eq!(
            CustomHeaders::open(&keyring, workspace, EndpointId::generate(), &sealed),
            Err(OpenError::Forged)
        );
    }

    #[test]
    fn values_do_not_show_in_logs() {
        assert_eq!(
            format!("{:?}", one("authorization", "Bearer abc").expect("headers")),
            r#"{"authorization"}"#
        );
    }
}
