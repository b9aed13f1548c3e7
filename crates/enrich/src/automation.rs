//! Person or machine: one file a signal, and [`verdict`] adds them up.
//!
//! Every click is kept and marked with its reasons; none is dropped for them. A signal speaks for itself: it
//! fires or it does not, with a weight. Real people in the browsers of apps must not trip any.

mod declared;
mod generic_words;
mod method_head;
mod missing_agent;
mod not_a_browser;
mod prefetch;
mod verdict;

use model::automation::{Automation, MachineClass};
use model::click::Request;

use crate::device::Described;

pub use self::declared::{Declared, KEPT_CRAWLERS, KEPT_LINK_FETCHERS, ListError};
use self::generic_words::GenericWords;
pub use self::verdict::RULESET;

/// A signal that fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Stable name, shown to people.
    pub code: &'static str,
    /// What it adds to the score.
    pub weight: i16,
    /// The kind of machine that it tells of.
    pub class: MachineClass,
}

/// The rules that judge. Holds compiled lists: make one, share it.
pub struct Rules {
    declared: Declared,
    generic_words: GenericWords,
}

impl Rules {
    /// Rules with these lists.
    pub fn new(declared: Declared) -> Self {
        Self { declared, generic_words: GenericWords::new() }
    }

    /// The signals in a User-Agent and what the device rules made of it. The same for the same User-Agent, so
    /// that they can be remembered.
    pub fn of_agent(&self, agent: Option<&str>, described: &Described) -> Vec<Signal> {
        let Some(agent) = agent.filter(|agent| !agent.trim().is_empty()) else {
            return vec![missing_agent::SIGNAL];
        };
        let declared = self.declared.signal(agent).or_else(|| declared::spider(described));
        if let Some(declared) = declared {
            return vec![declared];
        }
        let words = self.generic_words.signal(agent);
        words.into_iter().chain(not_a_browser::signal(agent, described)).collect()
    }

    /// The verdict on a request whose User-Agent shows `of_agent`.
    pub fn judge(&self, request: &Request, of_agent: &[Signal]) -> Automation {
        let of_request = [method_head::signal(request), prefetch::signal(request)];
        let signals: Vec<Signal> = of_request.into_iter().flatten().chain(of_agent.iter().copied()).collect();
        verdict::of(&signals)
    }
}
