//! What visitors are sent: redirects, and small pages for when there is nowhere to go.

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use bytes::Bytes;

use model::DestinationUrl;

use crate::methods::Methods;
use crate::style::{self, document};
use service::tally::Over;

/// Nobody keeps the answer: every visit comes to us, and an edit counts at once.
pub const NOT_STORED: HeaderValue = HeaderValue::from_static("private, no-store, max-age=0");

/// 301 and 308 are asked for in order to be kept: by the visitor's browser, and not for long.
const STORED_BRIEFLY: HeaderValue = HeaderValue::from_static("private, max-age=90");

/// Our pages do nothing and load nothing.
const INERT: HeaderValue = HeaderValue::from_static("default-src 'none'");

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");
const NOT_INDEXED: HeaderValue = HeaderValue::from_static("noindex, nofollow");
/// The tracked URL, which may name a person, is told to nobody.
pub const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");

/// Crawlers and previews may ask: without it, links have no cards in messengers.
const ROBOTS: &str = "User-agent: *\nDisallow:\n";

/// Seconds after which a visitor may try again when a link could not be looked up.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// How long a browser may remember `robots.txt` and that there is no icon.
const STORED_FOR_A_DAY: HeaderValue = HeaderValue::from_static("public, max-age=86400");

/// Why a visitor is sent nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such link, host or path.
    NotFound,
    /// What scanners for weak servers ask for.
    Noise,
    /// The link's time is over, or it was switched off.
    Gone,
    /// An operator has blocked the link.
    Blocked,
    /// The link's time has not come.
    NotStarted,
    /// The client asked too often for what is not there.
    Limited(Over),
    /// A browser asks ahead, and is not to.
    Prefetch,
    /// Not a method that follows links.
    Method(Methods),
    /// A webhook of ours: its endpoint's URL is a tracked link.
    Loop,
    /// The path and query are too long.
    TooLong,
    /// What was sent is not the form.
    MediaType,
    /// What was sent is larger than the form.
    TooLarge,
    /// What was sent did not arrive in time.
    Timeout,
    /// The link is not in memory and the database is away, or too many passwords wait to be compared.
    Unavailable,
}

/// The `Location` of a destination, and the page for who does not follow it.
pub fn location(url: &DestinationUrl) -> (HeaderValue, Bytes) {
    let location =
        HeaderValue::from_str(url.as_str()).expect("a parsed URL is ASCII without control characters");
    let href = escaped(url.as_str());
    let body = format!("<!doctype html>\n<title>Redirect</title>\n<p><a href=\"{href}\">Continue</a></p>\n");
    (location, body.into())
}

/// The same of a destination whose texts have been made before.
pub fn kept_location(location: &[u8], body: &[u8]) -> (HeaderValue, Bytes) {
    let location =
        HeaderValue::from_bytes(location).expect("a parsed URL is ASCII without control characters");
    (location, Bytes::copy_from_slice(body))
}

/// A redirect.
pub fn redirect(
    status: StatusCode,
    is_cacheable: bool,
    referrer_policy: HeaderValue,
    (location, body): (HeaderValue, Bytes),
) -> HttpResponse {
    let mut answer = html(status, body, referrer_policy);
    let headers = answer.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, if is_cacheable { STORED_BRIEFLY } else { NOT_STORED });
    answer
}

/// A small page that says why there is no redirect.
pub fn refusal(refusal: Refusal) -> HttpResponse {
    let (status, page) = match refusal {
        Refusal::NotFound | Refusal::NotStarted => {
            (StatusCode::NOT_FOUND, page!("Not found", "There is no such link."))
        }
        // no person reads it
        Refusal::Noise => (StatusCode::NOT_FOUND, "<!doctype html>\n<title>Not found</title>\n"),
        Refusal::Blocked => (
            StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            page!("Blocked", "This link was blocked by who runs this service."),
        ),
        Refusal::Gone => (StatusCode::GONE, page!("Gone", "This link is no longer active.")),
        Refusal::Limited(_) => (
            StatusCode::TOO_MANY_REQUESTS,
            page!(
                "Too many requests",
                "Too many links were asked for that do not exist. Please wait a minute."
            ),
        ),
        Refusal::Prefetch => (
            StatusCode::SERVICE_UNAVAILABLE,
            page!("Not ahead", "This link is not fetched ahead of a visit."),
        ),
        Refusal::Method(_) => {
            (StatusCode::METHOD_NOT_ALLOWED, page!("Method not allowed", "Links are followed with GET."))
        }
        Refusal::Loop => (
            StatusCode::LOOP_DETECTED,
            page!(
                "A tracked link",
                "This is a tracked link, and no webhook is taken here: each would be a click, and each click a webhook. Give \
                 the webhook the address of the program that is to get it."
            ),
        ),
        Refusal::TooLong => (StatusCode::URI_TOO_LONG, page!("Too long", "This address is too long.")),
        Refusal::MediaType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            page!("Not a form", "A password is sent with the form that asks for it."),
        ),
        Refusal::TooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, page!("Too large", "That is larger than any password."))
        }
        Refusal::Timeout => {
            (StatusCode::REQUEST_TIMEOUT, page!("Too slow", "The form did not arrive in time."))
        }
        Refusal::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            page!("Unavailable", "This link cannot be followed right now. Please try again in a moment."),
        ),
    };
    let mut answer = html(status, Bytes::from_static(page.as_bytes()), NO_REFERRER);
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, NOT_STORED);
    headers.insert(header::CONTENT_SECURITY_POLICY, style::POLICY);
    match refusal {
        Refusal::Method(methods) => headers.insert(header::ALLOW, methods.allowed()),
        Refusal::Unavailable => headers.insert(header::RETRY_AFTER, RETRY_AFTER),
        Refusal::Limited(over) => headers.insert(header::RETRY_AFTER, retry_after(over)),
        _ => return answer,
    };
    answer
}

/// Whole seconds after which a client may do it again.
pub fn retry_after(Over(wait): Over) -> HeaderValue {
    HeaderValue::from(wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1))
}

/// What may be asked of a link.
pub fn options(methods: Methods) -> HttpResponse {
    let mut answer = HttpResponse::with_body(StatusCode::NO_CONTENT, BoxBody::new(()));
    answer.headers_mut().insert(header::ALLOW, methods.allowed());
    answer.headers_mut().insert(header::CACHE_CONTROL, NOT_STORED);
    answer
}

/// `/robots.txt`
pub fn robots() -> HttpResponse {
    let mut answer =
        HttpResponse::with_body(StatusCode::OK, BoxBody::new(Bytes::from_static(ROBOTS.as_bytes())));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    answer.headers_mut().insert(header::CACHE_CONTROL, STORED_FOR_A_DAY);
    answer
}

/// `/favicon.ico`: browsers ask for it by themselves.
pub fn favicon() -> HttpResponse {
    let mut answer = HttpResponse::with_body(StatusCode::NO_CONTENT, BoxBody::new(()));
    answer.headers_mut().insert(header::CACHE_CONTROL, STORED_FOR_A_DAY);
    answer
}

/// A page that loads nothing, is not indexed, and is what it says it is.
pub fn html(status: StatusCode, body: Bytes, referrer_policy: HeaderValue) -> HttpResponse {
    let mut answer = HttpResponse::with_body(status, BoxBody::new(body));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HTML);
    headers.insert(header::CONTENT_SECURITY_POLICY, INERT);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    headers.insert(header::REFERRER_POLICY, referrer_policy);
    headers.insert(ROBOTS_TAG, NOT_INDEXED);
    answer
}

/// Text within an element or an attribute.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A whole page, put together when we are compiled.
macro_rules! page {
    ($title:literal, $text:literal) => {
        document!($title, $title, "<p>", $text, "</p>\n")
    };
}
use page;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_cannot_leave_its_attribute() {
        let url: DestinationUrl = "https://example.com/?a='>\"<b>&c=1".parse().expect("a URL");

        let (location, body) = location(&url);

        assert_eq!(location, "https://example.com/?a=%27%3E%22%3Cb%3E&c=1");
        assert!(std::str::from_utf8(&body).expect("text").contains("%3E%22%3Cb%3E&amp;c=1\">"), "{body:?}");
        assert_eq!(escaped("\"'<>&"), "&quot;&#39;&lt;&gt;&amp;");
    }
}
