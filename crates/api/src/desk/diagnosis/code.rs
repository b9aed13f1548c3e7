//! What can be found, as words for scripts. `deploy/TROUBLESHOOTING.md` explains each.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[doc = $what:literal])+ $variant:ident => $word:literal,)+) => {
        /// What was found. The words never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $what])+ $variant,)+
        }

        impl Code {
            /// Every code, in the order of a click's way.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

codes! {
    /// The link leads somewhere.
    Link => "link",
    /// No link was made with that URL.
    LinkNotFound => "link_not_found",
    /// It was put away.
    LinkArchived => "link_archived",
    /// Its domain was never shown to be the workspace's.
    DomainNotVerified => "domain_not_verified",
    /// An operator has it blocked, or its domain.
    LinkBlocked => "link_blocked",
    /// It was switched off.
    LinkDisabled => "link_disabled",
    /// It leads to where links are served.
    LinkLoops => "link_loops",
    /// It leads to an app that the workspace does not allow.
    LinkScheme => "link_scheme",
    /// Its time has not come.
    LinkNotStarted => "link_not_started",
    /// Its time is over.
    LinkExpired => "link_expired",
    /// It had as many clicks as it may have.
    LinkExhausted => "link_exhausted",
    /// The workspace records nothing.
    TrackingOff => "tracking_off",
    /// The link has nothing recorded.
    LinkTrackingOff => "link_tracking_off",
    /// Clicks of visitors who ask for privacy are not recorded.
    SignalsOff => "signals_off",
    /// No click has come as far as the database.
    NoClick => "no_click",
    /// The broker cannot be asked.
    BrokerAway => "broker_away",
    /// The broker does not let us ask.
    BrokerRefuses => "broker_refuses",
    /// Clicks wait for `enrich`.
    EnrichBehind => "enrich_behind",
    /// Clicks wait for `record`.
    RecordBehind => "record_behind",
    /// Clicks wait for `deliver`.
    DeliverBehind => "deliver_behind",
    /// The endpoint gets what it is owed.
    Endpoint => "endpoint",
    /// There is none.
    NoEndpoint => "no_endpoint",
    /// Nothing is sent to it.
    EndpointDisabled => "endpoint_disabled",
    /// What it is owed waits.
    EndpointPaused => "endpoint_paused",
    /// The subscriber asked for a pause.
    EndpointWaits => "endpoint_waits",
    /// It did not choose `link.clicked`.
    EventType => "event_type",
    /// Its filter keeps the click back.
    Filtered => "filtered",
    /// Its filter keeps machines' clicks back, and this is one.
    Automated => "automated",
    /// It is owed later clicks only.
    TooOld => "too_old",
    /// The contact was erased.
    Erased => "erased",
    /// Which click is looked at.
    Click => "click",
    /// It is owed to nobody.
    NoDelivery => "no_delivery",
    /// It is to be told of in a moment.
    OnItsWay => "on_its_way",
    /// It should have been told of.
    NotTold => "not_told",
    /// Something was away when it was enriched.
    Partial => "partial",
    /// The visitor has no public address.
    LocationNoPublicAddress => "location_no_public_address",
    /// The location files do not know the address.
    LocationNotFound => "location_not_found",
    /// There are no location files.
    LocationNoData => "location_no_data",
    /// Privacy settings, or the visitor's wish, left fields out.
    Redacted => "redacted",
    /// Evidence is waited for.
    Settling => "settling",
    /// It waits for its turn.
    RateLimited => "rate_limited",
    /// It waits, because its endpoint has not shown that it wants more than a little.
    Unverified => "unverified",
    /// It waits for what comes before it.
    InOrder => "in_order",
    /// A delivery has failed, and others wait for it.
    HeldUp => "held_up",
    /// It waits, because the endpoint fails.
    CircuitOpen => "circuit_open",
    /// It waits for a free slot.
    NoSlot => "no_slot",
    /// It waits for an endpoint that was removed.
    EndpointRemoved => "endpoint_removed",
    /// It waits, and was not tried.
    Pending => "pending",
    /// Its endpoint fetches it.
    Offered => "offered",
    /// 3xx
    AnswerRedirect => "answer_redirect",
    /// 401, 403
    AnswerRefused => "answer_refused",
    /// 404, 405
    AnswerNoRoute => "answer_no_route",
    /// 410
    AnswerGone => "answer_gone",
    /// 413
    AnswerTooLarge => "answer_too_large",
    /// 400, 415, 422
    AnswerUnreadable => "answer_unreadable",
    /// 429
    AnswerTooMany => "answer_too_many",
    /// 5xx
    AnswerError => "answer_error",
    /// Another status.
    AnswerOther => "answer_other",
    /// No whole answer in time.
    Timeout => "timeout",
    /// The name cannot be resolved.
    Dns => "dns",
    /// No connection.
    Connect => "connect",
    /// No encrypted connection.
    Tls => "tls",
    /// The address policy forbids the address.
    Blocked => "blocked",
    /// Not HTTP, or cut.
    Protocol => "protocol",
    /// The server of tokens gave none.
    Token => "token",
    /// The proxy of the installation failed.
    Proxy => "proxy",
    /// Nothing is kept that could be sent.
    EventLost => "event_lost",
    /// Another failure.
    Failed => "failed",
    /// It was given up.
    Dead => "dead",
    /// It was accepted, with a web page as its answer.
    HtmlAnswer => "html_answer",
    /// It was accepted.
    Delivered => "delivered",
}

impl Code {
    /// Whether it says that all is well, so that there is nothing to explain.
    pub const fn is_fine(self) -> bool {
        matches!(self, Self::Link | Self::Endpoint | Self::Click | Self::Delivered)
    }

    /// Whether it says that no click of the link is recorded: then there is none to wait for.
    pub const fn is_closed(self) -> bool {
        matches!(
            self,
            Self::LinkNotFound
                | Self::LinkArchived
                | Self::DomainNotVerified
                | Self::LinkBlocked
                | Self::LinkDisabled
                | Self::LinkLoops
                | Self::LinkScheme
                | Self::LinkNotStarted
                | Self::LinkExpired
                | Self::LinkExhausted
                | Self::TrackingOff
                | Self::LinkTrackingOff
        )
    }

    /// Whether it says that something has not come yet: then what waits on the streams is the likely cause.
    pub const fn is_awaited(self) -> bool {
        matches!(self, Self::NoClick | Self::NotTold | Self::OnItsWay | Self::NoSlot)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
