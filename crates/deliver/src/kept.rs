//! What is kept of a request and its answer for people: readable, bounded, and without what opens somebody's door.

use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName};

use crate::endpoint::Endpoint;

/// Most headers of an answer that are kept.
const RESPONSE_HEADERS_MAX: usize = 32;

/// Most bytes of one kept header's value.
const RESPONSE_HEADER_BYTES_MAX: usize = 512;

/// Most bytes of an error's text that are kept.
const ERROR_DETAIL_BYTES_MAX: usize = 1024;

/// What is shown instead of a custom header's value.
pub(crate) const MASKED: &str = "***";

/// The headers of a request; of custom ones the names alone.
pub(crate) fn request_headers(headers: &HeaderMap, endpoint: &Endpoint) -> Vec<(String, String)> {
    let is_custom = |name: &HeaderName| endpoint.headers.iter().any(|(custom, _)| custom == name);
    headers
        .iter()
        .map(|(name, value)| {
            let shown = if is_custom(name) { MASKED.to_owned() } else { text(value.as_bytes()) };
            (name.as_str().to_owned(), shown)
        })
        .collect()
}

/// The headers of an answer. Those that mean something to us come first, so that no number of others pushes them out.
pub(crate) fn response_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let is_told = |name: &HeaderName| *name == RETRY_AFTER || *name == LOCATION;
    let (told, others): (Vec<_>, Vec<_>) = headers.iter().partition(|(name, _)| is_told(name));
    told.into_iter()
        .chain(others)
        .take(RESPONSE_HEADERS_MAX)
        .map(|(name, value)| {
            let value = value.as_bytes();
            (name.as_str().to_owned(), text(&value[..value.len().min(RESPONSE_HEADER_BYTES_MAX)]))
        })
        .collect()
}

/// The beginning of an error's text.
pub(crate) fn error_detail(detail: &str) -> String {
    text(&detail.as_bytes()[..detail.len().min(ERROR_DETAIL_BYTES_MAX)])
}

/// Bytes as text that PostgreSQL takes: UTF-8 without NUL.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}
