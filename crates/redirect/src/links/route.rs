//! A link in memory, and what a visitor meets of it. Of the link itself only what visits need: all that its sender says of it
//! stands in the template of its clicks, once.

use std::hint::black_box;
use std::ops::Deref;

use actix_web::http::header::HeaderValue;
use bus::ClickTemplate;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use url::Url;

use model::click::ClickedLink;
use model::link::{Availability, Closed, QueryMode, Recording, RedirectStatus, tracked_url};
use model::privacy::SignalPolicies;
use model::{DestinationUrl, Host, Link, LinkId, PasswordHash, Slug, SlugCase, WorkspaceId};

use super::{RouteEntry, max_age_value};
use crate::cache::Touch;
use crate::methods::Methods;
use crate::pages;
use crate::previews;

/// A link, and what its visitors are sent that does not depend on them.
#[derive(Debug)]
pub struct Route {
    /// The link's id.
    pub link_id: LinkId,
    /// Who it belongs to.
    pub workspace_id: WorkspaceId,
    /// Whether it leads anywhere.
    pub availability: Availability,
    /// What may be asked of it.
    pub methods: Methods,
    /// Whether visitors are asked before they follow it ([`Link::asks_first`]).
    pub asks_first: bool,
    /// Whether its clicks are limited.
    pub is_limited: bool,
    /// What is recorded of its clicks.
    pub recording: Recording,
    /// What becomes of clicks whose visitors ask for privacy.
    pub signals: SignalPolicies,
    /// Status of the redirect.
    pub status_code: RedirectStatus,
    /// What becomes of the visitor's query.
    pub query_mode: QueryMode,
    /// What all of its clicks tell, and the page of the redirect for visitors who bring no query.
    pub clicks: ClickTemplate,
    /// `Strict-Transport-Security` of its domain.
    pub hsts: Option<HeaderValue>,
    /// What a visitor has to know.
    pub password: Option<Box<PasswordHash>>,
    /// The page for programs that fetch previews.
    pub preview: Option<Bytes>,
    /// What few visits need.
    pub rest: Box<Rest>,
}

/// What few visits to a link need: kept apart, so that more of what all need is at hand.
#[derive(Debug)]
pub struct Rest {
    /// Host it is served under.
    pub domain: Host,
    /// Its name under that host.
    pub slug: Slug,
    /// Whether capital letters in slugs tell its domain's links apart.
    pub slug_case: SlugCase,
    /// Where it leads, with the link's campaign parameters.
    pub destination: DestinationUrl,
    /// Where visitors go while it leads nowhere.
    pub fallback_url: Option<DestinationUrl>,
}

/// A link as one visitor meets it.
#[derive(Clone, Copy)]
pub struct Met<'a> {
    /// The link.
    pub route: &'a Route,
    /// Whose link it is, if it is one of many recipients'.
    pub recipient: Option<u64>,
    /// Why it leads that recipient nowhere.
    pub closed: Option<Closed>,
}

impl<'a> Met<'a> {
    /// The link as everybody meets it.
    pub fn by_anybody(route: &'a Route) -> Self {
        Self { route, recipient: None, closed: None }
    }

    /// Why it leads nowhere at `now`, if it does not.
    pub fn closed_at(&self, now: DateTime<Utc>) -> Option<Closed> {
        self.route.availability.closed(now).or(self.closed)
    }
}

impl Deref for Met<'_> {
    type Target = Route;

    fn deref(&self) -> &Route {
        self.route
    }
}

impl Route {
    pub(super) fn new(link: Link, public_url: &Url) -> Self {
        let clicked = ClickedLink {
            id: link.id,
            kind: link.kind,
            revision: link.revision,
            domain: link.domain.to_string(),
            slug: link.slug.to_string(),
            tracked_url: tracked_url(public_url, &link.domain, &link.slug),
            original_url: link.original_url.to_string(),
            labels: link.labels.clone(),
            sent_at: link.sent_at,
        };
        // parameters that make it too long are refused when the link is saved; without them it still leads there
        let destination =
            link.utm.applied_to(&link.original_url).unwrap_or_else(|_| link.original_url.clone());
        let clicks = ClickTemplate::new(
            link.workspace_id,
            &clicked,
            destination.as_str(),
            link.address_treatment,
            &pages::location(&destination).1,
        );
        let preview = link.preview.as_ref().map(|preview| previews::page(preview, &clicked.tracked_url));
        Self {
            link_id: link.id,
            workspace_id: link.workspace_id,
            availability: link.availability(),
            methods: Methods::of(&link),
            asks_first: link.asks_first(),
            is_limited: link.max_clicks.is_some(),
            recording: link.recording,
            signals: link.signals,
            status_code: link.status_code,
            query_mode: link.query_mode,
            clicks,
            hsts: link.hsts_max_age.map(max_age_value),
            password: link.password.map(Box::new),
            preview,
            rest: Box::new(Rest {
                domain: link.domain,
                slug: link.slug,
                slug_case: link.slug_case,
                destination,
                fallback_url: link.fallback_url,
            }),
        }
    }

    /// Where visitors are sent who bring no query.
    pub fn target(&self) -> (HeaderValue, Bytes) {
        pages::kept_location(self.clicks.destination(), self.clicks.beside())
    }

    /// What it takes in memory, about.
    pub(super) fn size(&self) -> usize {
        let Rest { domain, slug, destination, fallback_url, .. } = &*self.rest;
        let urls = [Some(destination), fallback_url.as_ref()].into_iter().flatten();
        let urls = urls.map(|url| url.as_str().len()).sum::<usize>();
        let texts = domain.as_str().len() + slug.as_str().len() + urls;
        let preview = self.preview.as_ref().map_or(0, Bytes::len);
        size_of::<RouteEntry>() + size_of::<Rest>() + self.clicks.size_elsewhere() + texts + preview
    }
}

impl Touch for Route {
    fn touch(&self) {
        let times = (self.availability.starts_at.is_some(), self.availability.expires_at.is_some());
        let flags = (self.methods, self.recording, self.status_code);
        let options = (self.hsts.is_some(), self.password.is_some(), self.preview.is_some());
        black_box((self.link_id, times, flags, options, self.clicks.touch()));
    }
}
