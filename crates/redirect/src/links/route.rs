//! A link in memory, and what a visitor meets of it.

use std::hint::black_box;
use std::ops::Deref;

use actix_web::http::header::HeaderValue;
use bus::ClickTemplate;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use url::Url;

use model::click::ClickedLink;
use model::link::{Closed, tracked_url};
use model::{DestinationUrl, Link};

use super::max_age_value;
use crate::cache::Touch;
use crate::pages;
use crate::previews;

/// A link, and what its visitors are sent that does not depend on them.
#[derive(Debug)]
pub struct Route {
    /// The link.
    pub link: Link,
    /// What all of its clicks tell, and the page of the redirect for visitors who bring no query.
    pub clicks: ClickTemplate,
    /// Where it leads, with the link's campaign parameters.
    pub destination: DestinationUrl,
    /// The page for programs that fetch previews.
    pub preview: Option<Bytes>,
    /// `Strict-Transport-Security` of its domain.
    pub hsts: Option<HeaderValue>,
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
        self.route.link.closed(now).or(self.closed)
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
        let hsts = link.hsts_max_age.map(max_age_value);
        Self { link, clicks, destination, preview, hsts }
    }

    /// Where visitors are sent who bring no query.
    pub fn target(&self) -> (HeaderValue, Bytes) {
        pages::kept_location(self.clicks.destination(), self.clicks.beside())
    }

    /// What it takes, about: the link's texts stand in the template as well.
    pub(super) fn size(&self) -> usize {
        let preview = self.preview.as_ref().map_or(0, Bytes::len);
        2 * self.clicks.size() + self.destination.as_str().len() + 2 * preview
    }
}

impl Touch for Route {
    fn touch(&self) {
        let link = &self.link;
        let flags = (link.enabled, link.is_blocked, link.is_exhausted, link.recording, link.signals);
        let options = (link.password.is_some(), self.preview.is_some(), self.hsts.is_some(), link.max_clicks);
        let times = (link.starts_at.is_some(), link.expires_at.is_some());
        let redirect = (link.status_code, link.query_mode, self.clicks.touch());
        black_box((flags, options, times, redirect));
    }
}
