//! How an endpoint stands to a click: whether it would get it, as both are now, and if not, why.
//!
//! `deliver` decided by what was set when the click came. What was set since may differ, so that what is told here of a click that
//! was delivered nowhere is the likely reason, not a record. The trace of a click says it in a sentence, and
//! [`diagnosis`](super::diagnosis) with what to do about it.

use chrono::{DateTime, SecondsFormat, Utc};

use model::EnrichedClick;
use model::event_type::LINK_CLICKED;
use store::endpoints::{Endpoint, State};
use webhook::Filter;
use webhook::filter::Refusal;

/// How an endpoint stands to a click.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It gets it.
    Wanted,
    /// It gets it once it is resumed.
    Paused(Option<String>),
    /// It gets it later: the subscriber asked for a pause until then.
    Waits(DateTime<Utc>),
    /// Nothing is sent to it.
    Disabled(Option<String>),
    /// It did not choose `link.clicked`.
    NotSubscribed,
    /// Its filter does not let the click through: this condition does not hold.
    Filtered(Refusal),
    /// It is owed clicks from a later moment on.
    TooOld(DateTime<Utc>),
    /// The contact was erased: nobody is told of the click any more.
    Erased,
}

impl Standing {
    /// How the endpoint stands to this click now; without one, to any.
    pub fn of(endpoint: &Endpoint, click: Option<&EnrichedClick>, now: DateTime<Utc>) -> Self {
        if click.is_some_and(|click| click.is_erased) {
            return Self::Erased;
        }
        if endpoint.state == State::Disabled {
            return Self::Disabled(endpoint.state_reason.clone());
        }
        if !endpoint.options.event_types.iter().any(|wanted| wanted.matches(LINK_CLICKED)) {
            return Self::NotSubscribed;
        }
        let filter = endpoint.options.filter.as_ref().and_then(|filter| Filter::parse(filter).ok());
        if let Some(refusal) = filter.zip(click).and_then(|(filter, click)| filter.refusal(click)) {
            return Self::Filtered(refusal);
        }
        if click.is_some_and(|click| click.click.clicked_at < endpoint.owed_from) {
            return Self::TooOld(endpoint.owed_from);
        }
        if endpoint.state == State::Paused {
            return Self::Paused(endpoint.state_reason.clone());
        }
        let paused_until = endpoint.health.as_ref().and_then(|health| health.paused_until);
        match paused_until.filter(|until| *until > now) {
            Some(until) => Self::Waits(until),
            None => Self::Wanted,
        }
    }

    /// Whether the endpoint gets the click, now or later.
    pub const fn is_match(&self) -> bool {
        matches!(self, Self::Wanted | Self::Paused(_) | Self::Waits(_))
    }

    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Paused(_) => "paused",
            Self::Waits(_) => "waits",
            Self::Disabled(_) => "disabled",
            Self::NotSubscribed => "not_subscribed",
            Self::Filtered(_) => "filtered",
            Self::TooOld(_) => "too_old",
            Self::Erased => "erased",
        }
    }

    /// A sentence for people.
    pub fn sentence(&self) -> String {
        let because = |reason: &Option<String>| reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
        let moment = |at: &DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        match self {
            Self::Wanted => "It gets this click.".to_owned(),
            Self::Paused(reason) => format!("It is paused{}. What it is owed waits.", because(reason)),
            Self::Waits(until) => format!("It asked for a pause until {}.", moment(until)),
            Self::Disabled(reason) => format!("It is disabled{}. Nothing is sent to it.", because(reason)),
            Self::NotSubscribed => format!("It did not choose {LINK_CLICKED}."),
            Self::Filtered(refusal) => format!("Its filter keeps this click back: {refusal}."),
            Self::TooOld(from) => format!("It gets clicks from {} on; this one is older.", moment(from)),
            Self::Erased => "The contact was erased: nobody is told of this click any more.".to_owned(),
        }
    }
}
