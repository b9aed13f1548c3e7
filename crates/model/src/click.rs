//! A click: first what only the redirect knows, then what enrichment adds.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use crate::automation::{Automation, Verdict};
use crate::device::Device;
use crate::id::{ClickId, EventId, LinkId, WorkspaceId};
use crate::link::{LinkKind, LinkLabels};
use crate::location::Location;
use crate::visitor_address::AddressTreatment;

/// Longest User-Agent that is kept, in bytes.
pub const USER_AGENT_BYTES_MAX: usize = 1024;

/// Longest referrer that is kept, in bytes; its query is cut off.
pub const REFERRER_BYTES_MAX: usize = 1024;

/// Longest value of any other request header that is kept, in bytes.
pub const HEADER_BYTES_MAX: usize = 512;

/// How often a verdict may be amended.
pub const REVISIONS_MAX: usize = 8;

/// Request headers that a click carries as evidence, beside User-Agent, Referer and the address.
pub const KEPT_HEADERS: [&str; 22] = [
    "accept",
    "accept-language",
    "dnt",
    "purpose",
    "sec-ch-ua",
    "sec-ch-ua-form-factors",
    "sec-ch-ua-full-version",
    "sec-ch-ua-full-version-list",
    "sec-ch-ua-mobile",
    "sec-ch-ua-model",
    "sec-ch-ua-platform",
    "sec-ch-ua-platform-version",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "sec-gpc",
    "sec-purpose",
    "x-moz",
    "x-purpose",
    "x-requested-with",
    "ja4",
];

/// One request to a tracked link that was answered with a redirect, as the redirect saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Click {
    /// Its id; also the message id on CLICKS.
    pub id: ClickId,
    /// The redirect's clock.
    pub clicked_at: DateTime<Utc>,
    /// Who the link belongs to.
    pub workspace_id: WorkspaceId,
    /// The link as it was.
    pub link: ClickedLink,
    /// Where the visitor was sent.
    pub destination_url: String,
    /// What the request told.
    pub request: Request,
    /// What may be kept of the visitor's address: the workspace's policy, resolved.
    pub address_treatment: AddressTreatment,
    /// Whether what tells who it was has to go after enrichment ([`crate::privacy::Telling::Anonymous`]).
    pub is_anonymous: bool,
    /// Whether address and User-Agent have to go after enrichment: the visitor's wish ([`crate::privacy::Telling::Redacted`]).
    pub is_redacted: bool,
    /// W3C trace context of the request, if it had one.
    pub traceparent: Option<String>,
}

/// The link of a click, at the revision that the visitor met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClickedLink {
    /// Its id.
    pub id: LinkId,
    /// Who it is for.
    pub kind: LinkKind,
    /// Its revision.
    pub revision: u32,
    /// Host it was served under.
    pub domain: String,
    /// Its name under that host.
    pub slug: String,
    /// The whole URL that was visited.
    pub tracked_url: String,
    /// Where it leads, as configured.
    pub original_url: String,
    /// What the sender attached.
    pub labels: LinkLabels,
    /// When the message with it was sent.
    pub sent_at: Option<DateTime<Utc>>,
}

/// What a request tells of its sender.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, or what a link that keeps methods was asked with.
    pub method: String,
    /// The visitor's address, after the walk over trusted proxies.
    pub ip: Option<IpAddr>,
    /// How sure the address is.
    pub ip_quality: IpQuality,
    /// User-Agent, at most [`USER_AGENT_BYTES_MAX`].
    pub user_agent: Option<String>,
    /// Referer without its query, at most [`REFERRER_BYTES_MAX`].
    pub referrer: Option<String>,
    /// Those of [`KEPT_HEADERS`] that were there: lower-case name, value of at most [`HEADER_BYTES_MAX`].
    pub headers: Vec<(String, String)>,
}

/// How an address was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum IpQuality {
    /// The peer of the connection.
    #[default]
    Direct,
    /// Named by a trusted proxy.
    Proxied,
    /// A trusted proxy named something that is not an address (RFC 7239 section 6).
    Obfuscated,
}

impl Request {
    /// The value of one of [`KEPT_HEADERS`].
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The first language of Accept-Language (RFC 9110 section 12.5.4): `sv-SE`.
    pub fn language(&self) -> Option<&str> {
        let first = self.header("accept-language")?.split([',', ';']).next()?.trim();
        let well_formed = !first.is_empty() && first.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        well_formed.then_some(first)
    }

    /// The host of the page that the visitor came from, in lower case; of an app (`android-app://`) its name.
    pub fn referrer_host(&self) -> Option<String> {
        let url = url::Url::parse(self.referrer.as_deref()?).ok()?;
        let host = url.host_str().filter(|host| !host.is_empty())?;
        Some(host.to_ascii_lowercase())
    }
}

/// A click with what enrichment added: what subscribers of ENRICHED get.
#[derive(Debug, Clone, PartialEq)]
pub struct EnrichedClick {
    /// The click; its request's address is already what the policy leaves of it.
    pub click: Click,
    /// Id of this telling of it.
    pub event_id: EventId,
    /// Where the visitor's address is registered.
    pub location: Location,
    /// Why there is no location, if there is none.
    pub location_missing: Option<LocationMissing>,
    /// What the visitor's browser runs on.
    pub device: Device,
    /// Person or machine.
    pub automation: Automation,
    /// Whether it is the first click of its visitor on its link; `None` when that could not be asked.
    pub is_first_click: Option<bool>,
    /// Fields that a policy emptied, as paths in the payload's `data`.
    pub redacted_fields: Vec<String>,
    /// Whether something that should have been looked up could not be.
    pub enrichment: Enrichment,
    /// When it was enriched.
    pub enriched_at: DateTime<Utc>,
    /// A sample that no visitor made.
    pub test: bool,
    /// The verdicts of earlier revisions, oldest first, at most [`REVISIONS_MAX`]; none in the first telling.
    pub earlier: Vec<Automation>,
    /// What the first telling said of [`EnrichedClick::is_first_click`]; only in an amendment.
    pub first_click_before: Option<bool>,
    /// Its contact was erased ([`EnrichedClick::erase`]): it is counted, and told nobody any more.
    pub is_erased: bool,
}

impl EnrichedClick {
    /// The next telling of this click, with another verdict; `None` when it has been amended [`REVISIONS_MAX`] times.
    pub fn amended(&self, automation: Automation, now: DateTime<Utc>) -> Option<Self> {
        let mut earlier = self.earlier.clone();
        earlier.push(self.automation.clone());
        if earlier.len() > REVISIONS_MAX {
            return None;
        }
        let first_click_before = self.first_click_before.or(self.is_first_click);
        let is_first_click =
            first_click_after(self.is_first_click, self.automation.verdict, automation.verdict);
        Some(Self {
            event_id: EventId::of_click(self.click.id, self.event_id.revision() + 1),
            automation,
            earlier,
            is_first_click,
            first_click_before,
            enriched_at: now,
            ..self.clone()
        })
    }

    /// What was told at this revision, as far as the verdict goes; `None` when this one is older than that. Of a click that an
    /// earlier amendment told as a person's it is not known any more whether that was said to be the first.
    pub fn as_of(&self, revision: u32) -> Option<Self> {
        if revision == self.event_id.revision() {
            return Some(self.clone());
        }
        let index = usize::try_from(revision).ok()?;
        let automation = self.earlier.get(index)?.clone();
        let told: Vec<Verdict> = self.earlier[..=index].iter().map(|earlier| earlier.verdict).collect();
        let at_first = self.first_click_before.or(self.is_first_click);
        let is_first_click =
            told.windows(2).fold(at_first, |before, step| first_click_after(before, step[0], step[1]));
        Some(Self {
            event_id: EventId::of_click(self.click.id, revision),
            automation,
            earlier: self.earlier[..index].to_vec(),
            is_first_click,
            ..self.clone()
        })
    }
}

/// Whether a click is the first one, when its verdict changes from `before` to `after`.
fn first_click_after(is_first: Option<bool>, before: Verdict, after: Verdict) -> Option<bool> {
    match (before, after) {
        // machines are no first visitors
        (_, Verdict::Automated) => is_first.map(|_| false),
        // nobody has asked
        (Verdict::Automated, _) => None,
        _ => is_first,
    }
}

/// Why a click has no location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocationMissing {
    /// Loopback, private or no address at all: such an address has no place.
    NoPublicAddress,
    /// The files do not know it.
    NotFound,
    /// No file was loaded, or it could not be read.
    NoData,
}

impl LocationMissing {
    /// What people read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoPublicAddress => "no public address",
            Self::NotFound => "not found",
            Self::NoData => "no location data",
        }
    }
}

/// How much of the enrichment could be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Enrichment {
    /// All of it.
    #[default]
    Complete,
    /// A file or the database was missing.
    Partial,
}

impl Enrichment {
    /// The word in the payload.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_first_tag() {
        let with = |value: &str| Request {
            headers: vec![("accept-language".into(), value.into())],
            ..Request::default()
        };

        assert_eq!(with("sv-SE,sv;q=0.9,en;q=0.8").language(), Some("sv-SE"));
        assert_eq!(with("en;q=0.5").language(), Some("en"));
        for rubbish in ["", "*", "<script>", ","] {
            assert_eq!(with(rubbish).language(), None, "{rubbish}");
        }
        assert_eq!(Request::default().language(), None);
    }

    #[test]
    fn the_host_of_a_referrer_is_told_apart_from_its_page() {
        let host = |referrer: &str| {
            Request { referrer: Some(referrer.into()), ..Request::default() }.referrer_host()
        };

        assert_eq!(host("https://News.Example.com:8443/a").as_deref(), Some("news.example.com"));
        assert_eq!(host("android-app://com.Example.mail/").as_deref(), Some("com.example.mail"));
        for nothing in ["", "news.example.com", "about:blank", "https://"] {
            assert_eq!(host(nothing), None, "{nothing}");
        }
        assert_eq!(Request::default().referrer_host(), None);
    }
}
