//! A tracked link, as far as a redirect and the events that tell of it need it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::host::Host;
use crate::id::{LinkId, WorkspaceId};
use crate::password::PasswordHash;
use crate::privacy::SignalPolicies;
use crate::slug::{Slug, SlugCase};
use crate::url::DestinationUrl;
use crate::utm::Utm;
use crate::visitor_address::AddressTreatment;

pub use crate::tracking::{DecidedBy, Recording, Tracking, TrackingSays};

/// A link with what the workspace has decided for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// Who it belongs to.
    pub workspace_id: WorkspaceId,
    /// Who it is for.
    pub kind: LinkKind,
    /// Counts the changes; a click tells which one its visitor met.
    pub revision: u32,
    /// Host it is served under.
    pub domain: Host,
    /// Its name under that host.
    pub slug: Slug,
    /// Where it leads, as configured.
    pub original_url: DestinationUrl,
    /// Campaign parameters that its URL gets on the way.
    pub utm: Utm,
    /// What the sender wants to hear again with each click.
    pub labels: LinkLabels,
    /// When the message with it was sent.
    pub sent_at: Option<DateTime<Utc>>,
    /// Status of the redirect.
    pub status_code: RedirectStatus,
    /// What becomes of the visitor's query.
    pub query_mode: QueryMode,
    /// What a visitor has to know.
    pub password: Option<PasswordHash>,
    /// Whether it leads anywhere.
    pub enabled: bool,
    /// It leads nowhere before.
    pub starts_at: Option<DateTime<Utc>>,
    /// It leads nowhere from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// How many clicks it may have.
    pub max_clicks: Option<u32>,
    /// Whether it had as many clicks as it may have. Soft: clicks within a second after the last one still pass.
    pub is_exhausted: bool,
    /// Where visitors go while it leads nowhere: its own, else the workspace's.
    pub fallback_url: Option<DestinationUrl>,
    /// What is recorded of its clicks.
    pub recording: Recording,
    /// Who decided that.
    pub recording_decided_by: DecidedBy,
    /// What is kept of visitors' addresses.
    pub address_treatment: AddressTreatment,
    /// What becomes of clicks whose visitors ask for privacy.
    pub signals: SignalPolicies,
    /// What messengers show of it.
    pub preview: Option<LinkPreview>,
    /// Seconds in which browsers are to reach its domain over https alone.
    pub hsts_max_age: Option<u32>,
    /// Whether capital letters in slugs tell its domain's links apart.
    pub slug_case: SlugCase,
    /// Whether an operator has blocked it or its domain, whatever its workspace says.
    pub is_blocked: bool,
}

/// Who a link is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// Anybody: it may be passed on.
    #[default]
    Shareable,
    /// One recipient of one message; its slug is longer, so that nobody guesses it.
    Message,
    /// Nobody: people do not see it in the message that hides it, so that who follows it is a machine.
    Honeypot,
}

impl LinkKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Shareable, Self::Message, Self::Honeypot];

    /// The word in the API and in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shareable => "shareable",
            Self::Message => "message",
            Self::Honeypot => "honeypot",
        }
    }
}

/// What a sender attaches to a link; opaque to us, repeated in every event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct LinkLabels {
    /// The sender's own id of the link.
    pub external_id: Option<String>,
    /// Campaign the link was sent in.
    pub campaign_id: Option<String>,
    /// Conversation the link was sent in.
    pub conversation_id: Option<String>,
    /// Who the link was sent to.
    pub contact_id: Option<String>,
    /// Message the link was sent in.
    pub message_id: Option<String>,
    /// `sms`, `email`, `whatsapp`, ….
    pub channel: Option<String>,
    /// Sequence of messages the link was sent in.
    pub sequence_id: Option<String>,
    /// Step of that sequence.
    pub step_id: Option<String>,
    /// Free words to filter by.
    pub tags: Vec<String>,
    /// Free pairs.
    pub metadata: BTreeMap<String, String>,
}

/// What messengers show of a link, in place of what its destination says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct LinkPreview {
    /// The headline.
    pub title: String,
    /// What stands below it.
    pub description: Option<String>,
    /// A picture, which messengers fetch where it lies.
    pub image_url: Option<DestinationUrl>,
}

/// Status of a redirect (RFC 9110 section 15.4). 301 and 308 are kept by browsers, so that clicks go uncounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum RedirectStatus {
    /// 302, the default.
    #[default]
    Found,
    /// 307: keeps the method.
    TemporaryRedirect,
    /// 301: cacheable.
    MovedPermanently,
    /// 308: cacheable, keeps the method.
    PermanentRedirect,
}

/// Why a number is not the status of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 302, 307, 301 or 308")]
pub struct RedirectStatusError;

impl RedirectStatus {
    /// The number.
    pub const fn code(self) -> u16 {
        match self {
            Self::Found => 302,
            Self::TemporaryRedirect => 307,
            Self::MovedPermanently => 301,
            Self::PermanentRedirect => 308,
        }
    }

    /// Whether a cache may keep the answer unless told otherwise (RFC 9111 section 4.2.2).
    pub const fn is_cacheable(self) -> bool {
        matches!(self, Self::MovedPermanently | Self::PermanentRedirect)
    }

    /// Whether the visitor's client repeats the method and the body at the destination (RFC 9110 section 15.4).
    pub const fn keeps_method(self) -> bool {
        matches!(self, Self::TemporaryRedirect | Self::PermanentRedirect)
    }
}

impl TryFrom<u16> for RedirectStatus {
    type Error = RedirectStatusError;

    fn try_from(code: u16) -> Result<Self, RedirectStatusError> {
        match code {
            302 => Ok(Self::Found),
            307 => Ok(Self::TemporaryRedirect),
            301 => Ok(Self::MovedPermanently),
            308 => Ok(Self::PermanentRedirect),
            _ => Err(RedirectStatusError),
        }
    }
}

impl From<RedirectStatus> for u16 {
    fn from(status: RedirectStatus) -> Self {
        status.code()
    }
}

/// What becomes of the query that a visitor brings along.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryMode {
    /// Names that the destination does not have yet are added: a visitor never overrides.
    #[default]
    FillMissing,
    /// It is left out.
    Drop,
    /// All of it is added behind the destination's own, names that are there already as well.
    Append,
    /// Its values take the place of the destination's.
    Override,
}

impl QueryMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::FillMissing, Self::Drop, Self::Append, Self::Override];

    /// The word in the API and in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FillMissing => "fill_missing",
            Self::Drop => "drop",
            Self::Append => "append",
            Self::Override => "override",
        }
    }
}

/// Why a link leads nowhere at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closed {
    /// It was switched off.
    Disabled,
    /// Its time has not come.
    NotStarted,
    /// Its time is over.
    Expired,
    /// It had as many clicks as it may have.
    Exhausted,
    /// An operator has blocked it.
    Blocked,
}

/// What decides whether a link leads anywhere; the fields of [`Link`] of these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Availability {
    /// See [`Link::enabled`].
    pub enabled: bool,
    /// See [`Link::is_blocked`].
    pub is_blocked: bool,
    /// See [`Link::is_exhausted`].
    pub is_exhausted: bool,
    /// See [`Link::starts_at`].
    pub starts_at: Option<DateTime<Utc>>,
    /// See [`Link::expires_at`].
    pub expires_at: Option<DateTime<Utc>>,
}

impl Availability {
    /// Why the link leads nowhere at `now`, or `None` when it leads to its URL.
    pub fn closed(&self, now: DateTime<Utc>) -> Option<Closed> {
        if self.is_blocked {
            return Some(Closed::Blocked);
        }
        if !self.enabled {
            return Some(Closed::Disabled);
        }
        if self.starts_at.is_some_and(|starts_at| now < starts_at) {
            return Some(Closed::NotStarted);
        }
        if self.expires_at.is_some_and(|expires_at| now >= expires_at) {
            return Some(Closed::Expired);
        }
        self.is_exhausted.then_some(Closed::Exhausted)
    }
}

impl Link {
    /// What decides whether it leads anywhere.
    pub fn availability(&self) -> Availability {
        let Self { enabled, is_blocked, is_exhausted, starts_at, expires_at, .. } = *self;
        Availability { enabled, is_blocked, is_exhausted, starts_at, expires_at }
    }

    /// Whether visitors are asked before they follow it: what looks at a link must not use up its only click. A honeypot is
    /// there for what looks at it.
    pub fn asks_first(&self) -> bool {
        self.max_clicks == Some(1) && self.recording != Recording::Nothing && self.kind != LinkKind::Honeypot
    }
}

/// The whole URL that people visit: under `public_url` when that is the domain's own host, else under the domain with
/// the same scheme and no port.
pub fn tracked_url(public_url: &Url, domain: &Host, slug: &Slug) -> String {
    let mut url = public_url.clone();
    if url.host_str() != Some(domain.as_str()) && url.set_host(Some(domain.as_str())).is_ok() {
        // cannot fail: a URL with a host may have a port
        let _ = url.set_port(None);
    }
    url.set_query(None);
    url.set_fragment(None);
    url.set_path(slug.as_str());
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracked_url_is_what_people_visit() {
        let cases = [
            ("http://localhost:8080", "localhost", "abc", "http://localhost:8080/abc"),
            ("http://localhost:8080", "go.example.com", "abc", "http://go.example.com/abc"),
            ("https://go.example.com/", "go.example.com", "åre", "https://go.example.com/%C3%A5re"),
        ];
        for (public_url, domain, slug, tracked) in cases {
            let public_url = public_url.parse().expect("a URL");
            let (domain, slug) = (domain.parse().expect("a host"), slug.parse().expect("a slug"));
            assert_eq!(tracked_url(&public_url, &domain, &slug), tracked);
        }
    }

    #[test]
    fn only_redirects_are_statuses_of_a_link() {
        assert_eq!(RedirectStatus::try_from(302), Ok(RedirectStatus::Found));
        assert_eq!(RedirectStatus::try_from(200), Err(RedirectStatusError));
    }
}
