//! A visit that led nowhere: no such link, or one that is closed.

use chrono::{DateTime, Utc};

use crate::id::{LinkId, OrphanId, WorkspaceId};
use crate::link::Closed;

/// Longest path that an orphan tells, in bytes.
pub const PATH_BYTES_MAX: usize = 512;

/// A visit that led nowhere. It carries no address: nothing enriches it, so no policy would have been applied to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its id; also the message id on CLICKS.
    pub id: OrphanId,
    /// The redirect's clock.
    pub occurred_at: DateTime<Utc>,
    /// Whose domain it was, if anyone's.
    pub workspace_id: Option<WorkspaceId>,
    /// Why it led nowhere.
    pub reason: OrphanReason,
    /// Host that was asked.
    pub host: String,
    /// Path that was asked for, without its query, at most [`PATH_BYTES_MAX`].
    pub path: String,
    /// The link, when there is one.
    pub link_id: Option<LinkId>,
    /// `GET` or `HEAD`.
    pub method: String,
    /// User-Agent, at most [`crate::click::USER_AGENT_BYTES_MAX`].
    pub user_agent: Option<String>,
    /// Referer without its query, at most [`crate::click::REFERRER_BYTES_MAX`].
    pub referrer: Option<String>,
}

/// Why a visit led nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrphanReason {
    /// The domain itself, without a path.
    BaseUrl,
    /// No such slug under this host, or no such host.
    UnknownSlug,
    /// A path that cannot be a slug.
    BadPath,
    /// The link was switched off.
    Disabled,
    /// The link's time has not come.
    NotStarted,
    /// The link's time is over.
    Expired,
    /// The link had as many clicks as it may have.
    Exhausted,
    /// An operator has blocked the link.
    Blocked,
}

impl OrphanReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::BaseUrl,
        Self::UnknownSlug,
        Self::BadPath,
        Self::Disabled,
        Self::NotStarted,
        Self::Expired,
        Self::Exhausted,
        Self::Blocked,
    ];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BaseUrl => "base_url",
            Self::UnknownSlug => "unknown_slug",
            Self::BadPath => "bad_path",
            Self::Disabled => "disabled",
            Self::NotStarted => "not_started",
            Self::Expired => "expired",
            Self::Exhausted => "exhausted",
            Self::Blocked => "blocked",
        }
    }
}

impl From<Closed> for OrphanReason {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Disabled => Self::Disabled,
            Closed::NotStarted => Self::NotStarted,
            Closed::Expired => Self::Expired,
            Closed::Exhausted => Self::Exhausted,
            Closed::Blocked => Self::Blocked,
        }
    }
}
