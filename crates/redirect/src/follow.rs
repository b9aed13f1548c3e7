//! Answers a tracked link: finds it, has the click on disk, sends the visitor on.
//!
//! Nothing that goes wrong with the click is the visitor's concern: whatever becomes of tracking, spool and broker, a
//! link that is known is followed.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Instant;

use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use bus::Message;
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;

use model::link::Closed;
use model::{Click, ClickId, DestinationUrl, Host, Slug};

use crate::destination;
use crate::links::{Links, Route};
use crate::metrics::Metrics;
use crate::pages::{self, Refusal};
use crate::spool::Appender;
use crate::visitor::{self, Proxies};

/// Answers the requests of one worker.
pub struct Follow {
    /// Finds links.
    pub links: Links,
    /// Takes their clicks.
    pub clicks: Rc<Appender>,
    /// Tell the client's address.
    pub proxies: Proxies,
    /// Longest path and query.
    pub url_bytes_max: usize,
    /// Of a redirect.
    pub referrer_policy: HeaderValue,
    /// Counts the answers.
    pub metrics: Metrics,
}

impl Follow {
    /// Answers a request, whatever it is.
    pub async fn answer(&self, request: HttpRequest) -> HttpResponse {
        let started_at = Instant::now();
        let answer = match self.follow(&request, started_at).await {
            Ok(answer) => answer,
            Err(refusal) => {
                self.count(refusal);
                pages::refusal(refusal)
            }
        };
        self.metrics.answer_seconds.observe(started_at.elapsed().as_secs_f64());
        answer
    }

    async fn follow(&self, request: &HttpRequest, started_at: Instant) -> Result<HttpResponse, Refusal> {
        let head = request.head();
        match head.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return Ok(pages::options()),
            _ => return Err(Refusal::Method),
        }
        if head.uri.path_and_query().is_some_and(|url| url.as_str().len() > self.url_bytes_max) {
            return Err(Refusal::TooLong);
        }
        let slug = match head.uri.path() {
            "/robots.txt" => return Ok(pages::robots()),
            "/favicon.ico" => return Ok(pages::favicon()),
            path => slug(path).ok_or(Refusal::NotFound)?,
        };
        let host = host(head).ok_or(Refusal::NotFound)?;
        let entry = self.links.find(&host, &slug, started_at).await.map_err(|_| Refusal::Unavailable)?;
        let route = entry.value.as_ref().ok_or(Refusal::NotFound)?;

        let now = Utc::now();
        match route.link.closed(now) {
            Some(closed) => self.turn_away(route, closed),
            None => Ok(self.send_on(request, route, now).await),
        }
    }

    async fn send_on(&self, request: &HttpRequest, route: &Route, now: DateTime<Utc>) -> HttpResponse {
        let link = &route.link;
        let query = request.uri().query();
        let merged = destination::with_visitors_query(&link.original_url, link.query_mode, query);
        if link.is_tracked {
            let destination_url = merged.as_ref().unwrap_or(&link.original_url);
            let click = self.click(request, route, destination_url, now);
            self.clicks.append(&click.outgoing()).await;
            self.metrics.followed_tracked.inc();
        } else {
            self.metrics.followed_untracked.inc();
        }
        let target = match &merged {
            Some(url) => pages::location(url),
            None => (route.location.clone(), route.body.clone()),
        };
        let status = StatusCode::from_u16(link.status_code.code()).expect("a redirect's status is one");
        pages::redirect(status, link.status_code.is_cacheable(), self.referrer_policy.clone(), target)
    }

    /// A link that leads nowhere at the moment. Such a visit is not a click.
    fn turn_away(&self, route: &Route, closed: Closed) -> Result<HttpResponse, Refusal> {
        if let Some(url) = &route.link.fallback_url {
            self.metrics.closed.inc();
            let target = pages::location(url);
            return Ok(pages::redirect(StatusCode::FOUND, false, self.referrer_policy.clone(), target));
        }
        Err(match closed {
            Closed::Disabled | Closed::Expired => Refusal::Gone,
            Closed::NotStarted => Refusal::NotFound,
        })
    }

    fn click(
        &self,
        request: &HttpRequest,
        route: &Route,
        destination_url: &DestinationUrl,
        now: DateTime<Utc>,
    ) -> Click {
        let head = request.head();
        let client = head.peer_addr.map(|peer| self.proxies.client(peer.ip(), &head.headers));
        Click {
            id: ClickId::generate_at(now),
            clicked_at: now,
            workspace_id: route.link.workspace_id,
            link: route.clicked.clone(),
            destination_url: destination_url.as_str().to_owned(),
            request: visitor::request(head.method.as_str(), client, &head.headers),
            address_treatment: route.link.address_treatment,
            traceparent: visitor::traceparent(&head.headers).map(str::to_owned),
        }
    }

    fn count(&self, refusal: Refusal) {
        match refusal {
            Refusal::NotFound => self.metrics.not_found.inc(),
            Refusal::Gone => self.metrics.closed.inc(),
            Refusal::Method | Refusal::TooLong => self.metrics.refused.inc(),
            Refusal::Unavailable => self.metrics.unavailable.inc(),
        }
    }
}

/// The slug of a path in its comparable form: `/{slug}` or `/{slug}/`, percent-decoded once.
fn slug(path: &str) -> Option<Cow<'_, str>> {
    let text = path.strip_prefix('/')?;
    let text = text.strip_suffix('/').unwrap_or(text);
    // as most are written it is what is compared already; whether it may be a slug is asked when it is not in memory
    let is_folded = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    if !text.is_empty() && text.bytes().all(is_folded) {
        return Some(Cow::Borrowed(text));
    }
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    let slug: Slug = decoded.parse().ok()?;
    Some(Cow::Owned(slug.as_str().to_owned()))
}

/// The host that was asked for, in its comparable form: of the request line if it has one (RFC 9112 section 3.2.2).
fn host(head: &RequestHead) -> Option<Cow<'_, str>> {
    let text = match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers.get(header::HOST)?.to_str().ok()?,
    };
    let is_folded = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    let name = match text.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => text,
    };
    let is_plain = !name.is_empty()
        && name.len() <= model::link::HOST_BYTES_MAX
        && !name.ends_with('.')
        && name.bytes().all(is_folded)
        && !name.contains("xn--");
    if is_plain {
        return Some(Cow::Borrowed(name));
    }
    Host::from_header(text).ok().map(|host| Cow::Owned(host.as_str().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_read_from_its_path_once_decoded() {
        let cases = [
            ("/abc", Some("abc")),
            ("/abc/", Some("abc")),
            ("/ABC", Some("abc")),
            ("/a%62c", Some("abc")),
            ("/caf%C3%A9", Some("café")),
            ("/cafe%CC%81", Some("café")),
            ("/", None),
            ("//", None),
            ("/abc//", None),
            ("//abc", None),
            ("/abc/def", None),
            ("/a%2562c", None),
            ("/a%2Fc", None),
            ("/%ff", None),
            ("/%00", None),
            ("/a%", None),
            ("/a%zz", None),
            ("/.well-known/x", None),
            ("*", None),
        ];
        for (path, expected) in cases {
            assert_eq!(slug(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_host_is_compared_without_port_and_case() {
        let of = |value: &'static str| {
            let mut head = RequestHead::default();
            head.headers.insert(header::HOST, HeaderValue::from_static(value));
            host(&head).map(Cow::into_owned)
        };
        let cases = [
            ("go.example.com", Some("go.example.com")),
            ("go.example.com:8080", Some("go.example.com")),
            ("Go.Example.COM.", Some("go.example.com")),
            ("[::1]:8080", Some("[::1]")),
            ("", None),
            (":80", None),
            ("a b", None),
            ("a/b", None),
        ];
        for (value, expected) in cases {
            assert_eq!(of(value).as_deref(), expected, "{value}");
        }
        assert_eq!(host(&RequestHead::default()), None);
    }
}
