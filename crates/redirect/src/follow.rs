//! Answers a tracked link: finds it, has the click on disk, sends the visitor on.
//!
//! Nothing that goes wrong with the click is the visitor's concern: whatever becomes of tracking, spool and broker, a
//! link that is known is followed.

mod asking;
mod nowhere;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use bus::ClickRef;
use chrono::{DateTime, Utc};

use model::click::IpQuality;
use model::link::Closed;
use model::orphan::{OrphanReason, PATH_BYTES_MAX};
use model::privacy::Telling;
use model::{ClickId, DestinationUrl, Link, Orphan, OrphanId};

use crate::cache::Entry;
use crate::links::{Guesser, Links, Route, Unknown};
use crate::methods::{Methods, is_read};
use crate::metrics::Metrics;
use crate::orphans::Orphans;
use crate::pages::{self, Refusal};
use crate::passwords::Passwords;
use crate::proxies::Proxies;
use crate::settings::Prefetch;
use crate::spool::Appender;
use crate::target::{self, Target};
use crate::{destination, inspect, previews, visitor};
use nowhere::Nowhere;
use service::tally::{Over, Taken, Tally, network};
use service::telemetry::{SpanKind, Step, Traces};

/// Who connected, where a preamble may have named somebody else, or nobody: then a request has no `peer_addr`.
pub struct Connected(pub Option<SocketAddr>);

/// Answers the requests of one worker.
pub struct Follow {
    /// Finds links.
    pub links: Links,
    /// Takes their clicks.
    pub clicks: Rc<Appender>,
    /// Takes visits that led nowhere.
    pub orphans: Orphans,
    /// Compares passwords.
    pub passwords: Arc<Passwords>,
    /// Counts how often a network asked for what is not there. One that has many networks can make it so that nobody's new
    /// links are looked up for a minute; those in memory are followed all the same.
    pub guesses: Arc<Tally>,
    /// Tell the client's address.
    pub proxies: Proxies,
    /// Whether proxies name clients in front of all requests of a connection.
    pub has_preambles: bool,
    /// Longest path and query.
    pub url_bytes_max: usize,
    /// What becomes of browsers that ask ahead.
    pub prefetch: Prefetch,
    /// Of a redirect.
    pub referrer_policy: HeaderValue,
    /// `Strict-Transport-Security` of hosts whose domain says nothing of its own.
    pub hsts: Option<HeaderValue>,
    /// Makes each visit the first step of a trace.
    pub traces: Traces,
    /// Counts the answers.
    pub metrics: Metrics,
}

impl Follow {
    /// Answers a request, whatever it is.
    pub async fn answer(&self, request: HttpRequest, body: Payload) -> HttpResponse {
        let started_at = Instant::now();
        let answer = self.follow(&request, body, started_at).await;
        self.metrics.answer_seconds.observe(started_at.elapsed().as_secs_f64());
        answer
    }

    async fn follow(&self, request: &HttpRequest, body: Payload, started_at: Instant) -> HttpResponse {
        let head = request.head();
        let host = target::host(head);
        let Found { entry, is_inspected } = match self.find(request, host.as_deref(), started_at).await {
            Ok(found) => found,
            Err(nowhere) => {
                // boxed: visitors of links would carry its room
                return Box::pin(self.nowhere(request, host.as_deref(), nowhere, started_at)).await;
            }
        };
        let (Some(route), Some(host)) = (&entry.value, &host) else {
            let nowhere = Nowhere::NoLink { is_inspected };
            return Box::pin(self.nowhere(request, host.as_deref(), nowhere, started_at)).await;
        };
        let met = if is_inspected {
            self.inspect(head, route)
        } else {
            self.meet(request, body, route, host, started_at).await
        };
        let mut answer = met.unwrap_or_else(|refusal| self.refuse(refusal));
        if let Some(hsts) = route.hsts.as_ref().or(self.hsts.as_ref()) {
            answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        answer
    }

    /// What stands under the link that is asked for, if one is.
    async fn find(
        &self,
        request: &HttpRequest,
        host: Option<&str>,
        started_at: Instant,
    ) -> Result<Found, Nowhere> {
        let head = request.head();
        if head.uri.path_and_query().is_some_and(|url| url.as_str().len() > self.url_bytes_max) {
            return Err(Refusal::TooLong.into());
        }
        let (name, is_inspected) = match Target::of(head.uri.path()) {
            Target::Link(name) => (name, false),
            Target::Inspect(name) => (name, true),
            other => return Err(Nowhere::Answered(self.no_link(request, host, other, started_at))),
        };
        if self.prefetch == Prefetch::Refuse && visitor::is_prefetch(&head.headers) {
            return Err(Refusal::Prefetch.into());
        }
        let host = host.ok_or(Refusal::NotFound)?;
        let guessing = Guessing { follow: self, request, started_at };
        let entry =
            self.links.find(host, &name, started_at, &guessing).await.map_err(|unknown| match unknown {
                Unknown::Unavailable => Refusal::Unavailable,
                Unknown::Refused(over) => Refusal::Limited(over),
            })?;
        if entry.value.is_none() && !is_inspected {
            self.tell(request, host, None, OrphanReason::UnknownSlug, started_at);
        }
        Ok(Found { entry, is_inspected })
    }

    /// Answers who asks for a link that there is.
    async fn meet(
        &self,
        request: &HttpRequest,
        body: Payload,
        route: &Route,
        host: &str,
        started_at: Instant,
    ) -> Result<HttpResponse, Refusal> {
        let (head, link, now) = (request.head(), &route.link, Utc::now());
        if head.method == Method::OPTIONS {
            return Ok(pages::options(Methods::of(link)));
        }
        if !Methods::of(link).take(&head.method) {
            return Err(Refusal::Method(Methods::of(link)));
        }
        if let Some(closed) = link.closed(now) {
            return self.turn_away(request, host, route, closed, started_at);
        }
        // boxed: few are asked or shown something first, and all others would carry its room
        match (&route.preview, &link.password) {
            (Some(page), _) if is_read(&head.method) && previews::is_agent(&head.headers) => {
                Ok(Box::pin(self.preview(request, route, page, now, started_at)).await)
            }
            (_, Some(hash)) => Box::pin(self.unlock(request, body, route, hash, started_at)).await,
            (_, None) if link.asks_first() => {
                Ok(Box::pin(self.confirm(request, route, now, started_at)).await)
            }
            (_, None) => Ok(self.send_on(request, route, now, started_at).await),
        }
    }

    async fn send_on(
        &self,
        request: &HttpRequest,
        route: &Route,
        now: DateTime<Utc>,
        started_at: Instant,
    ) -> HttpResponse {
        let link = &route.link;
        let (merged, telling) = {
            let (query, no_track) = destination::without_no_track(request.uri().query());
            let merged =
                destination::with_visitors_query(&route.destination, link.query_mode, query.as_deref());
            (merged, telling(link, request.headers(), no_track))
        };
        if telling != Telling::Nothing {
            self.append(request, route, merged.as_ref(), telling, now, started_at).await;
            self.metrics.followed_tracked.inc();
        } else {
            self.metrics.followed_untracked.inc();
        }
        let target = match &merged {
            Some(url) => pages::location(url),
            None => (route.location.clone(), route.body.clone()),
        };
        if link.password.is_some() || link.asks_first() {
            // what was posted is not posted on
            return pages::redirect(StatusCode::SEE_OTHER, false, pages::NO_REFERRER, target);
        }
        let status = StatusCode::from_u16(link.status_code.code()).expect("a redirect's status is one");
        pages::redirect(status, link.status_code.is_cacheable(), self.referrer_policy.clone(), target)
    }

    /// Where the link leads, for who asks before following it. Not a visit.
    fn inspect(&self, head: &RequestHead, route: &Route) -> Result<HttpResponse, Refusal> {
        if head.method == Method::OPTIONS {
            return Ok(pages::options(Methods::Follow));
        }
        if !is_read(&head.method) {
            return Err(Refusal::Method(Methods::Follow));
        }
        self.metrics.inspected.inc();
        Ok(inspect::page(route, route.link.closed(Utc::now())))
    }

    /// A link that leads nowhere at the moment. Such a visit is not a click.
    fn turn_away(
        &self,
        request: &HttpRequest,
        host: &str,
        route: &Route,
        closed: Closed,
        started_at: Instant,
    ) -> Result<HttpResponse, Refusal> {
        self.tell(request, host, Some(&route.link), closed.into(), started_at);
        // a fallback is as much the owner's as what was blocked
        let serves = |url: &&DestinationUrl| closed != Closed::Blocked && !nowhere::leads_back(url, host);
        if let Some(url) = route.link.fallback_url.as_ref().filter(serves) {
            self.metrics.closed.inc();
            let target = pages::location(url);
            return Ok(pages::redirect(StatusCode::FOUND, false, self.referrer_policy.clone(), target));
        }
        Err(match closed {
            Closed::Disabled | Closed::Expired | Closed::Exhausted => Refusal::Gone,
            Closed::NotStarted => Refusal::NotStarted,
            Closed::Blocked => Refusal::Blocked,
        })
    }

    /// Tells of a visit that led nowhere, unless the link's owner or the visitor wants nothing recorded.
    fn tell(
        &self,
        request: &HttpRequest,
        host: &str,
        link: Option<&Link>,
        reason: OrphanReason,
        started_at: Instant,
    ) {
        let head = request.head();
        if !is_read(&head.method) {
            return;
        }
        let telling = link.map_or(Telling::Full, |link| {
            let no_track = destination::without_no_track(head.uri.query()).1;
            // a limit counts clicks, and this is none: who would pass unseen does
            link.recording.telling(visitor::wishes(&head.headers, no_track), link.signals, false)
        });
        if telling == Telling::Nothing {
            return;
        }
        self.metrics.orphan(reason);
        self.orphans.tell(self.client(request), started_at, || {
            let now = Utc::now();
            let told = visitor::request(head.method.as_str(), None, &head.headers);
            let path = head.uri.path();
            let is_full = telling == Telling::Full;
            Orphan {
                id: OrphanId::generate_at(now),
                occurred_at: now,
                workspace_id: link.map(|link| link.workspace_id),
                reason,
                host: host.to_owned(),
                path: path[..path.floor_char_boundary(PATH_BYTES_MAX)].to_owned(),
                link_id: link.map(|link| link.id),
                method: head.method.to_string(),
                user_agent: told.user_agent.filter(|_| is_full).map(Into::into),
                referrer: told.referrer.filter(|_| is_full).map(Into::into),
            }
        });
    }

    /// Who asks, for limits.
    fn client(&self, request: &HttpRequest) -> IpAddr {
        self.asker(request).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |(client, _)| client)
    }

    /// Who asks, and how sure that is. Where a PROXY preamble names nobody it is the proxy, whatever stands in headers: a
    /// proxy that passes bytes on has written none of them.
    fn asker(&self, request: &HttpRequest) -> Option<(IpAddr, IpQuality)> {
        let head = request.head();
        let connected = if self.has_preambles { request.conn_data::<Connected>() } else { None };
        let Some(peer) = head.peer_addr else {
            let proxy = connected?.0?;
            return Some((proxy.ip().to_canonical(), IpQuality::Obfuscated));
        };
        let (client, quality) = self.proxies.client(peer.ip(), &head.headers);
        let is_named = connected.is_some_and(|connected| connected.0 != head.peer_addr);
        let quality = if is_named && quality == IpQuality::Direct { IpQuality::Proxied } else { quality };
        Some((client, quality))
    }

    /// Appends the click to the spool, as the first step of its trace. It is encoded before the wait: what waits holds
    /// nothing of it.
    fn append(
        &self,
        request: &HttpRequest,
        route: &Route,
        destination_url: Option<&DestinationUrl>,
        telling: Telling,
        now: DateTime<Utc>,
        started_at: Instant,
    ) -> impl Future<Output = ()> {
        let head = request.head();
        // nobody is followed who is nobody
        let theirs = visitor::traceparent(&head.headers).filter(|_| telling != Telling::Anonymous);
        let id = ClickId::generate_at(now);
        let mut step = match telling {
            Telling::Anonymous => None,
            _ => self.traces.step("redirect", SpanKind::Server, theirs),
        };
        if let Some(step) = &mut step {
            step.note("clickwire.click.id", id.to_string());
        }
        let ours = step.as_ref().map(Step::traceparent);
        let click = ClickRef {
            template: &route.clicks,
            id,
            clicked_at: now,
            destination_url: destination_url.map(DestinationUrl::as_str),
            telling,
            request: visitor::request(head.method.as_str(), self.asker(request), &head.headers),
            traceparent: ours.as_deref().or(theirs),
        };
        let appended = self.clicks.append(&click, started_at);
        async move {
            appended.await;
            drop(step);
        }
    }

    /// Counts a refusal; its page.
    fn refuse(&self, refusal: Refusal) -> HttpResponse {
        match refusal {
            Refusal::NotFound => self.metrics.not_found.inc(),
            Refusal::Noise => self.metrics.noise.inc(),
            Refusal::Gone | Refusal::NotStarted => self.metrics.closed.inc(),
            Refusal::Blocked => self.metrics.blocked.inc(),
            Refusal::Limited(_) => self.metrics.limited.inc(),
            Refusal::Prefetch => self.metrics.prefetch_refused.inc(),
            Refusal::Method(_)
            | Refusal::TooLong
            | Refusal::MediaType
            | Refusal::TooLarge
            | Refusal::Timeout => self.metrics.refused.inc(),
            Refusal::Unavailable => self.metrics.unavailable.inc(),
        }
        pages::refusal(refusal)
    }
}

/// What may be told of a click on this link by this visitor.
fn telling(link: &Link, headers: &HeaderMap, no_track: bool) -> Telling {
    link.recording.telling(visitor::wishes(headers, no_track), link.signals, link.max_clicks.is_some())
}

/// What a link's host and slug lead to.
struct Found {
    entry: Arc<Entry<Route>>,
    is_inspected: bool,
}

/// Who asks for many links that are not there tries to find one.
struct Guessing<'a> {
    follow: &'a Follow,
    request: &'a HttpRequest,
    started_at: Instant,
}

impl Guesser for Guessing<'_> {
    fn take(&self) -> Result<Taken, Over> {
        self.follow.guesses.take(network(self.follow.client(self.request)), self.started_at)
    }

    fn give_back(&self, guess: Taken) {
        self.follow.guesses.give_back(guess);
    }
}
