//! Answers a tracked link: finds it, has the click on disk, sends the visitor on.
//!
//! Nothing that goes wrong with the click is the visitor's concern: whatever becomes of tracking, spool and broker, a
//! link that is known is followed.

mod asking;
mod minted;
mod nowhere;
mod recording;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix_http::{Payload, Request};
use actix_web::HttpResponse;
use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use chrono::{DateTime, Utc};

use model::click::IpQuality;
use model::link::Closed;
use model::orphan::{OrphanReason, PATH_BYTES_MAX};
use model::privacy::Telling;
use model::{DestinationUrl, Orphan, OrphanId};

use crate::links::{Guesser, Links, Met, Route, RouteEntry, Unknown};
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
use recording::telling;
use service::tally::{Over, Taken, Tally, network};
use service::telemetry::Traces;

/// What is told of a recipient's path: the token behind it opens the link.
const TOKEN_PATH: &str = "/_";

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
    pub async fn answer(&self, mut request: Request) -> HttpResponse {
        let started_at = Instant::now();
        let body = request.take_payload();
        let answer = self.follow(&request, body, started_at).await;
        self.metrics.answer_seconds.observe(started_at.elapsed().as_secs_f64());
        answer
    }

    async fn follow(&self, request: &Request, body: Payload, started_at: Instant) -> HttpResponse {
        let host = target::host(request.head());
        let found = match self.target(request.head()) {
            // boxed: visitors of other links would carry its room
            Ok(Target::Minted(minted)) => {
                return Box::pin(self.minted(request, body, host.as_deref(), &minted, started_at)).await;
            }
            Ok(target) => self.find(request, host.as_deref(), target, started_at).await,
            Err(refusal) => Err(refusal.into()),
        };
        let Found { entry, is_inspected } = match found {
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
        self.answer_of(request, body, Met::by_anybody(route), is_inspected, host, started_at).await
    }

    /// Answers who asks for a link that there is, or for what it is.
    async fn answer_of(
        &self,
        request: &Request,
        body: Payload,
        met: Met<'_>,
        is_inspected: bool,
        host: &str,
        started_at: Instant,
    ) -> HttpResponse {
        let answered = if is_inspected {
            self.inspect(request.head(), met)
        } else {
            self.meet(request, body, met, host, started_at).await
        };
        let mut answer = answered.unwrap_or_else(|refusal| self.refuse(refusal));
        if let Some(hsts) = met.hsts.as_ref().or(self.hsts.as_ref()) {
            answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        answer
    }

    /// What is asked for.
    fn target<'r>(&self, head: &'r RequestHead) -> Result<Target<'r>, Refusal> {
        match head.uri.path_and_query().is_some_and(|url| url.as_str().len() > self.url_bytes_max) {
            true => Err(Refusal::TooLong),
            false => Ok(Target::of(head.uri.path())),
        }
    }

    /// What stands under the link that is asked for, if one is.
    async fn find(
        &self,
        request: &Request,
        host: Option<&str>,
        target: Target<'_>,
        started_at: Instant,
    ) -> Result<Found, Nowhere> {
        let (name, is_inspected) = match target {
            Target::Link(name) => (name, false),
            Target::Inspect(name) => (name, true),
            other => return Err(Nowhere::Answered(self.no_link(request, host, other, started_at))),
        };
        self.check_prefetch(&request.head().headers)?;
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

    /// Refuses browsers that ask ahead, if they are to be.
    fn check_prefetch(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self.prefetch == Prefetch::Refuse && visitor::is_prefetch(headers) {
            true => Err(Refusal::Prefetch),
            false => Ok(()),
        }
    }

    /// Answers who follows a link that there is.
    async fn meet(
        &self,
        request: &Request,
        body: Payload,
        met: Met<'_>,
        host: &str,
        started_at: Instant,
    ) -> Result<HttpResponse, Refusal> {
        let (head, route, now) = (request.head(), met.route, Utc::now());
        if head.method == Method::OPTIONS {
            return Ok(pages::options(route.methods));
        }
        if !is_read(&head.method) && visitor::is_webhook(&head.headers) {
            return Err(Refusal::Loop);
        }
        if !route.methods.take(&head.method) {
            return Err(Refusal::Method(route.methods));
        }
        if let Some(closed) = met.closed_at(now) {
            return self.turn_away(request, host, route, closed, started_at);
        }
        // boxed: few are asked or shown something first, and all others would carry its room
        match (&route.preview, &route.password) {
            (Some(page), _) if is_read(&head.method) && previews::is_agent(&head.headers) => {
                Ok(Box::pin(self.preview(request, met, page, now, started_at)).await)
            }
            (_, Some(hash)) => Box::pin(self.unlock(request, body, met, hash, started_at)).await,
            (_, None) if route.asks_first => Ok(Box::pin(self.confirm(request, met, now, started_at)).await),
            (_, None) => Ok(self.send_on(request, met, now, started_at).await),
        }
    }

    async fn send_on(
        &self,
        request: &Request,
        route: Met<'_>,
        now: DateTime<Utc>,
        started_at: Instant,
    ) -> HttpResponse {
        let (merged, telling) = {
            let (query, no_track) = destination::without_no_track(request.uri().query());
            let merged = query.as_deref().and_then(|query| {
                destination::with_visitors_query(&route.rest.destination, route.query_mode, query)
            });
            (merged, telling(route.route, &request.head().headers, no_track))
        };
        if telling != Telling::Nothing {
            self.append(request, route, merged.as_ref(), telling, now, started_at).await;
            self.metrics.followed_tracked.inc();
        } else {
            self.metrics.followed_untracked.inc();
        }
        let target = match &merged {
            Some(url) => pages::location(url),
            None => route.target(),
        };
        if route.password.is_some() || route.asks_first {
            // what was posted is not posted on
            return pages::redirect(StatusCode::SEE_OTHER, false, pages::NO_REFERRER, target);
        }
        let status = StatusCode::from_u16(route.status_code.code()).expect("a redirect's status is one");
        pages::redirect(status, route.status_code.is_cacheable(), self.referrer_policy.clone(), target)
    }

    /// Where the link leads, for who asks before following it. Not a visit.
    fn inspect(&self, head: &RequestHead, met: Met<'_>) -> Result<HttpResponse, Refusal> {
        if head.method == Method::OPTIONS {
            return Ok(pages::options(Methods::Follow));
        }
        if !is_read(&head.method) {
            return Err(Refusal::Method(Methods::Follow));
        }
        self.metrics.inspected.inc();
        Ok(inspect::page(met.route, met.closed_at(Utc::now())))
    }

    /// A link that leads nowhere at the moment. Such a visit is not a click.
    fn turn_away(
        &self,
        request: &Request,
        host: &str,
        route: &Route,
        closed: Closed,
        started_at: Instant,
    ) -> Result<HttpResponse, Refusal> {
        self.tell(request, host, Some(route), closed.into(), started_at);
        // a fallback is as much the owner's as what was blocked
        let serves = |url: &&DestinationUrl| closed != Closed::Blocked && !nowhere::leads_back(url, host);
        if let Some(url) = route.rest.fallback_url.as_ref().filter(serves) {
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
        request: &Request,
        host: &str,
        route: Option<&Route>,
        reason: OrphanReason,
        started_at: Instant,
    ) {
        let head = request.head();
        if !is_read(&head.method) {
            return;
        }
        let telling = route.map_or(Telling::Full, |route| {
            let no_track = destination::without_no_track(head.uri.query()).1;
            // a limit counts clicks, and this is none: who would pass unseen does
            route.recording.telling(visitor::wishes(&head.headers, no_track), route.signals, false)
        });
        if telling == Telling::Nothing {
            return;
        }
        self.metrics.orphan(reason);
        self.orphans.tell(self.client(request), started_at, || {
            let now = Utc::now();
            let told = visitor::request(head.method.as_str(), None, &head.headers);
            let path = head.uri.path();
            let path = if target::may_hold_token(path) { TOKEN_PATH } else { path };
            let is_full = telling == Telling::Full;
            Orphan {
                id: OrphanId::generate_at(now),
                occurred_at: now,
                workspace_id: route.map(|route| route.workspace_id),
                reason,
                host: host.to_owned(),
                path: path[..path.floor_char_boundary(PATH_BYTES_MAX)].to_owned(),
                link_id: route.map(|route| route.link_id),
                method: head.method.to_string(),
                user_agent: told.user_agent.filter(|_| is_full).map(Into::into),
                referrer: told.referrer.filter(|_| is_full).map(Into::into),
            }
        });
    }

    /// Who asks, for limits.
    fn client(&self, request: &Request) -> IpAddr {
        self.asker(request).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |(client, _)| client)
    }

    /// Who asks, and how sure that is. Where a PROXY preamble names nobody it is the proxy, whatever stands in headers: a
    /// proxy that passes bytes on has written none of them.
    fn asker(&self, request: &Request) -> Option<(IpAddr, IpQuality)> {
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
            | Refusal::Loop
            | Refusal::TooLong
            | Refusal::MediaType
            | Refusal::TooLarge
            | Refusal::Timeout => self.metrics.refused.inc(),
            Refusal::Unavailable => self.metrics.unavailable.inc(),
        }
        pages::refusal(refusal)
    }
}

/// What a link's host and slug lead to.
struct Found {
    entry: Arc<RouteEntry>,
    is_inspected: bool,
}

/// Who asks for many links that are not there tries to find one.
struct Guessing<'a> {
    follow: &'a Follow,
    request: &'a Request,
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
