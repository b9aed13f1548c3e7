//! Person or machine: one file a signal, and [`verdict`] adds them up.
//!
//! Every click is kept and marked with its reasons; none is dropped for them. A signal speaks for itself: it
//! fires or it does not, with a weight. Real people in the browsers of apps must not trip any.
//!
//! Some signals only add to others, since people show them all the time: networks, a gateway's page. Some speak for a
//! person, and are asked for only where something speaks against one: a click that nothing speaks against has no
//! reasons.

mod asn_hosting;
mod asn_scanner;
mod ch_mismatch;
mod cut_off;
mod declared;
mod fetch_metadata_absent;
mod generic_words;
mod headless_browser;
mod honeypot;
mod language_and_hints;
mod meaning;
mod method_head;
mod missing_agent;
mod navigated;
mod no_accept_language;
mod no_system;
mod not_a_browser;
mod prefetch;
mod referrer_gateway;
mod too_soon;
mod verdict;

use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use model::automation::{Automation, MachineClass};
use model::click::{ClickedLink, Request};
use model::location::Location;

use crate::device::Described;

pub use self::declared::{Declared, KEPT_CRAWLERS, KEPT_LINK_FETCHERS, ListError};
use self::generic_words::GenericWords;
pub use self::meaning::of as meaning;
pub use self::verdict::RULESET;
pub(crate) use self::verdict::{DECISIVE, LIKELY, MEDIUM, STRONG};

/// A signal that fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Stable name, shown to people.
    pub code: &'static str,
    /// What it adds to the score; negative when it speaks for a person.
    pub weight: i16,
    /// The kind of machine that it tells of.
    pub class: MachineClass,
}

/// What a User-Agent and its hints show. The same for the same ones, so that it can be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// What speaks for a machine.
    pub signals: Vec<Signal>,
    /// The User-Agent is a browser's, as far as can be told from it.
    pub is_browser: bool,
    /// It is of a browser that tells HTTPS sites how and for what it asks.
    pub sends_fetch_metadata: bool,
    /// The hints name the platform of the User-Agent.
    pub hints_agree: bool,
}

/// What a click is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The request.
    pub request: &'a Request,
    /// What its User-Agent and hints show.
    pub agent: &'a Shown,
    /// The link that it asked for.
    pub link: Option<&'a ClickedLink>,
    /// When.
    pub clicked_at: Option<DateTime<Utc>>,
    /// Where the address is registered: the whole of it, before policy cut it.
    pub location: Option<&'a Location>,
}

impl<'a> Case<'a> {
    /// A request of which nothing else is known.
    pub const fn of_request(request: &'a Request, agent: &'a Shown) -> Self {
        Self { request, agent, link: None, clicked_at: None, location: None }
    }
}

/// The rules that judge. Holds compiled lists: make one, share it.
pub struct Rules {
    declared: ArcSwap<Declared>,
    generic_words: GenericWords,
}

impl Rules {
    /// Rules with these lists.
    pub fn new(declared: Declared) -> Self {
        Self { declared: ArcSwap::from_pointee(declared), generic_words: GenericWords::new() }
    }

    /// Judges by these lists from now on.
    pub fn use_declared(&self, declared: Declared) {
        self.declared.store(Arc::new(declared));
    }

    /// What a User-Agent shows, with what the device rules made of it. Of `request` only the hints and the name of an
    /// app are looked at.
    pub fn of_agent(&self, agent: Option<&str>, request: &Request, described: &Described) -> Shown {
        let only = |signal| Shown { signals: vec![signal], ..Shown::default() };
        let Some(agent) = agent.filter(|agent| !agent.trim().is_empty()) else {
            return only(missing_agent::SIGNAL);
        };
        if let Some(declared) =
            self.declared.load().signal(agent).or_else(|| declared::spider(agent, described))
        {
            return only(declared);
        }
        let words = self.generic_words.signal(agent);
        let shapes = [
            not_a_browser::signal(agent, described),
            no_system::signal(agent, described),
            cut_off::signal(agent, described),
        ];
        let mut signals: Vec<Signal> = words.into_iter().chain(shapes.into_iter().flatten()).collect();
        let is_browser = signals.is_empty();
        let platforms_agree = ch_mismatch::agree(agent, request);
        let hints = [headless_browser::signal(request), ch_mismatch::signal(platforms_agree)];
        signals.extend(hints.into_iter().flatten());
        Shown {
            signals,
            is_browser,
            sends_fetch_metadata: is_browser && fetch_metadata_absent::is_promised(agent, request, described),
            hints_agree: platforms_agree == Some(true),
        }
    }

    /// The verdict on a click.
    pub fn judge(&self, case: &Case<'_>) -> Automation {
        let request = case.request;
        let asked = [honeypot::signal(case), method_head::signal(request), prefetch::signal(request)];
        let doubts =
            [no_accept_language::signal(case), fetch_metadata_absent::signal(case), too_soon::signal(case)];
        let of_agent = case.agent.signals.iter().copied();
        let mut signals: Vec<Signal> =
            asked.into_iter().flatten().chain(of_agent).chain(doubts.into_iter().flatten()).collect();
        if !signals.is_empty() {
            let is_decided = signals.iter().any(|signal| signal.weight >= STRONG);
            let corroborating =
                [asn_scanner::signal(case), asn_hosting::signal(case), referrer_gateway::signal(case)];
            let for_a_person = [navigated::signal(case), language_and_hints::signal(case)];
            signals.extend(corroborating.into_iter().flatten());
            signals.extend(for_a_person.into_iter().flatten().filter(|_| !is_decided));
        }
        verdict::of(&signals)
    }
}

/// Whether the browser says that a person's touch took it to the link.
pub fn is_navigated(request: &Request) -> bool {
    navigated::is_complete(request)
}

/// A verdict with what other clicks have shown since. That a person navigated is held against it unless it is certain.
pub fn extended(automation: &Automation, late: &[Signal], is_navigated: bool) -> Automation {
    if late.is_empty() {
        return automation.clone();
    }
    let is_decided = late.iter().any(|signal| signal.weight >= DECISIVE);
    let is_counted = automation.reasons.iter().any(|reason| reason.code == navigated::SIGNAL.code);
    let navigated = (is_navigated && !is_decided && !is_counted).then_some(navigated::SIGNAL);
    verdict::extended(automation, late.iter().copied().chain(navigated))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod visits;
