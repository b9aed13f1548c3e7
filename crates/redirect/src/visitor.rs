//! What a request tells of its sender: browser, language, where it comes from. Who it is, `proxies` says.

use std::borrow::Cow;
use std::net::IpAddr;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use bus::RequestRef;

use model::click::{HEADER_BYTES_MAX, IpQuality, KEPT_HEADERS, REFERRER_BYTES_MAX, USER_AGENT_BYTES_MAX};
use model::privacy::Wishes;
use webhook::headers::ATTEMPT_HEADER;

/// Headers in which browsers say that they ask ahead: the current one, then those of older browsers.
const PREFETCH_HEADERS: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];

/// What they say there.
const PREFETCH_WORDS: [&str; 3] = ["prefetch", "prerender", "preview"];

/// W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Headers that most requests have of those that are kept.
const KEPT_USUALLY: usize = 8;

/// What the headers of a request tell, each cut at its limit.
pub fn request<'a>(
    method: &'a str,
    client: Option<(IpAddr, IpQuality)>,
    headers: &'a HeaderMap,
) -> RequestRef<'a> {
    let mut request = RequestRef {
        method,
        ip: client.map(|(ip, _)| ip),
        ip_quality: client.map(|(_, quality)| quality).unwrap_or_default(),
        headers: Vec::with_capacity(KEPT_USUALLY),
        ..RequestRef::default()
    };
    for (name, value) in headers {
        let name = name.as_str();
        if name == header::USER_AGENT.as_str() {
            request.user_agent.get_or_insert_with(|| text(value, USER_AGENT_BYTES_MAX));
        } else if name == header::REFERER.as_str() {
            request.referrer.get_or_insert_with(|| referrer(value));
        } else if KEPT_HEADERS.contains(&name) && request.headers.iter().all(|(kept, _)| *kept != name) {
            request.headers.push((name, text(value, HEADER_BYTES_MAX)));
        }
    }
    request
}

/// Whether a browser asks ahead of its person, who may never come.
pub fn is_prefetch(headers: &HeaderMap) -> bool {
    PREFETCH_HEADERS.iter().any(|name| {
        let value = headers.get(*name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut words = value.split([';', ',']).map(str::trim);
        words.any(|word| PREFETCH_WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
    })
}

/// Whether `deliver` sent it: a webhook that leads here would make a click of each of its attempts, and each click a webhook.
pub fn is_webhook(headers: &HeaderMap) -> bool {
    headers.contains_key(ATTEMPT_HEADER)
}

/// What the request asks for: `Sec-GPC: 1` (Global Privacy Control, section 3.3), `DNT: 1`.
pub fn wishes(headers: &HeaderMap, no_track: bool) -> Wishes {
    let is_set = |name: &str| headers.get(name).is_some_and(|value| value.as_bytes().trim_ascii() == b"1");
    Wishes { gpc: is_set("sec-gpc"), dnt: is_set("dnt"), no_track }
}

/// W3C trace context of the request; `None` when there is none or it is malformed (Trace Context, section 3.2.2).
pub fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let is_hex = |range: std::ops::Range<usize>| {
        text.as_bytes()[range].iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
    };
    let is_zero = |range: std::ops::Range<usize>| text.as_bytes()[range].iter().all(|b| *b == b'0');
    let well_formed = text.len() == 55
        && text.starts_with("00-")
        && text.as_bytes()[35] == b'-'
        && text.as_bytes()[52] == b'-'
        && is_hex(3..35)
        && is_hex(36..52)
        && is_hex(53..55)
        && !is_zero(3..35)
        && !is_zero(36..52);
    well_formed.then_some(text)
}

/// Without its query and fragment, which may hold what is nobody's business.
fn referrer(value: &HeaderValue) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    let end = bytes.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(bytes.len());
    text_of(&bytes[..end], REFERRER_BYTES_MAX)
}

fn text(value: &HeaderValue, bytes_max: usize) -> Cow<'_, str> {
    text_of(value.as_bytes(), bytes_max)
}

fn text_of(bytes: &[u8], bytes_max: usize) -> Cow<'_, str> {
    let bytes = &bytes[..bytes.len().min(bytes_max)];
    // nearly always, and several times as fast
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::from_utf8_lossy(bytes);
    // a cut or broken letter became a longer sign
    if text.len() > bytes_max {
        let text = text.to_mut();
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderName;

    #[test]
    fn headers_are_kept_up_to_their_limits() {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: &[u8]| {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"));
        };
        set("user-agent", "é".repeat(USER_AGENT_BYTES_MAX).as_bytes());
        set("referer", b"https://example.com/page?token=secret#x");
        set("accept-language", b"sv-SE");
        set("accept-language", b"en");
        set("sec-gpc", b"\xff");
        set("cookie", b"session=secret");

        let request = request("GET", None, &headers);

        assert!(request.user_agent.expect("kept").len() <= USER_AGENT_BYTES_MAX);
        assert_eq!(request.referrer.as_deref(), Some("https://example.com/page"));
        let mut kept = request.headers;
        kept.sort();
        assert_eq!(kept, [("accept-language", "sv-SE".into()), ("sec-gpc", "\u{fffd}".into())]);
    }

    #[test]
    fn a_browser_that_asks_ahead_is_told_apart() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            is_prefetch(&headers)
        };
        for (name, value) in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "Prefetch; anonymous-client-ip"),
            ("purpose", "prefetch"),
            ("x-purpose", "preview"),
            ("x-moz", "prefetch"),
        ] {
            assert!(with(name, value), "{name}: {value}");
        }
        assert!(!with("sec-purpose", "prefetching") && !with("accept", "prefetch"));
        assert!(!is_prefetch(&HeaderMap::new()));
    }

    #[test]
    fn only_a_well_formed_trace_context_is_carried_on() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static("traceparent"), HeaderValue::from_static(value));
            traceparent(&headers).map(str::to_owned)
        };

        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(good).as_deref(), Some(good));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
