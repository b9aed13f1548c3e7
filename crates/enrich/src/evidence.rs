//! What clicks tell of each other: links of one message opened within two seconds, one address that opens many links, a
//! hidden link that was followed, a second program on the same link.
//!
//! A click that is already told of when such evidence comes is amended: told again, whole, under the same click id and a
//! higher revision, if its verdict changes. What is kept here is the last moments of this replica's partitions; who takes a
//! partition over reads them from the stream again.

mod groups;
mod late;
mod telling;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use foldhash::quality::RandomState;
use model::automation::{Automation, Verdict};
use model::link::LinkKind;
use model::{Click, ClickId, EnrichedClick, LinkId};
use tracing::warn;

use self::groups::{Groups, Keys, Member};
use self::late::{Late, LateSignals};
pub use self::telling::Telling;
use crate::automation::{Signal, extended, is_navigated};
use crate::first_clicks::Candidate;

/// How long a click is remembered: the longest time that any evidence looks at.
pub const WINDOW: TimeDelta = TimeDelta::seconds(30);

/// Most clicks that are remembered, about a kilobyte each. Beyond it the oldest are forgotten, and evidence that comes
/// later amends them no more: at 10,000 clicks a second more than two seconds are remembered, which a burst needs.
pub const REMEMBERED_MAX: usize = 24_576;

/// How long a click is remembered of whose change nobody could be told.
const UNTOLD_MAX: TimeDelta = TimeDelta::minutes(10);

/// What other clicks have shown, among the reasons of a verdict.
pub fn counted_in(automation: &Automation) -> Vec<Signal> {
    Late::counted_in(automation).signals()
}

/// Most messages of CLICKS, those of other partitions included, and of ENRICHED, that whoever takes partitions over reads again: the
/// newest. At 8,000 clicks a second they are those of two seconds, which a burst needs. Reading them must cost little, as
/// partitions may go to and fro while the broker is slow.
pub const RECALLED_MAX: usize = 16_384;

/// The clicks of the last moments.
#[derive(Default)]
pub struct Evidence {
    state: Mutex<State>,
}

/// Clicks by their ids. Each in memory of its own, so that the table is small and at hand.
type Clicks = HashMap<ClickId, Box<Remembered>, RandomState>;

#[derive(Default)]
struct State {
    clicks: Clicks,
    /// In the order in which they came.
    order: VecDeque<ClickId>,
    groups: Groups,
    /// Clicks with evidence that nobody has been told of.
    untold: HashSet<ClickId>,
}

/// A click of the last moments.
struct Remembered {
    at: DateTime<Utc>,
    /// When it came. One that comes late is remembered as long as the others, and so are those that come late with it.
    noted_at: DateTime<Utc>,
    link_id: LinkId,
    is_honeypot: bool,
    /// A hash of what it runs on.
    agent: u64,
    /// A hash of the part of it that all programs of a device share.
    system: u64,
    /// The browser of an app.
    is_in_app: bool,
    contact: Option<u64>,
    /// A machine's by its own signals.
    is_automated: bool,
    /// By its headers.
    is_navigated: bool,
    keys: Keys,
    candidate: Option<Candidate>,
    /// A machine's, as it was told or is going to be: it holds no place among first clicks any more.
    is_given_up: bool,
    late: LateSignals,
    /// Those that its first telling counts.
    first_told: LateSignals,
    /// Those that its newest telling counts.
    told: LateSignals,
    revision: u32,
    /// The newest telling, once it stands on ENRICHED.
    event: Option<Bytes>,
    /// The next telling, which is being published or could not be confirmed.
    attempt: Option<Box<EnrichedClick>>,
}

/// A click that is told of again, and the visitor whose first click it no longer is.
#[derive(Debug, Clone, PartialEq)]
pub struct Amendment {
    /// The whole click.
    pub click: EnrichedClick,
    /// What it holds as its visitor's first, as [`Evidence::note`] was told.
    pub candidate: Option<Candidate>,
}

impl Evidence {
    /// Notes clicks, and what they show of each other and of those before: their verdicts count it. A click that comes again
    /// is told of as it was the first time: its message has the same id. But one that has given its place among first clicks
    /// up asks for none: its message is not looked at again, and neither would the place be given up again.
    pub fn note(
        &self,
        clicks: &[Click],
        enriched: &mut [EnrichedClick],
        candidates: &mut [Option<Candidate>],
        now: DateTime<Utc>,
    ) {
        let mut state = self.state();
        let noted = clicks.iter().zip(&*enriched).zip(&*candidates);
        let new: Vec<_> = noted
            .map(|((click, enriched), candidate)| state.remember(click, enriched, candidate.as_ref(), now))
            .collect();
        for ((enriched, candidate), is_new) in enriched.iter_mut().zip(candidates).zip(new) {
            let Some(remembered) = state.clicks.get_mut(&enriched.click.id) else { continue };
            if is_new {
                remembered.told = remembered.late;
                remembered.first_told = remembered.late;
            } else if remembered.is_given_up {
                *candidate = None;
                enriched.is_first_click = Some(false);
            }
            let late = remembered.first_told.signals();
            enriched.automation = extended(&enriched.automation, &late, remembered.is_navigated);
        }
        state.forget(now);
    }

    /// Remembers a click that another replica has told of, from its newest telling: what it was before later clicks counted
    /// is `enriched`.
    pub fn recall(
        &self,
        click: &Click,
        enriched: &EnrichedClick,
        candidate: Option<&Candidate>,
        told: &Telling,
        now: DateTime<Utc>,
    ) {
        let mut state = self.state();
        state.remember(click, enriched, candidate, now);
        let State { clicks, untold, .. } = &mut *state;
        if let Some(remembered) = clicks.get_mut(&click.id)
            && (remembered.event.is_none() || remembered.revision < told.revision)
        {
            remembered.first_told = told.first;
            remembered.told = told.newest;
            remembered.revision = told.revision;
            remembered.is_given_up = told.is_automated;
            remembered.event = Some(told.event.clone());
            remembered.attempt = None;
            if remembered.late != remembered.told {
                untold.insert(click.id);
            }
        }
        state.forget(now);
    }

    /// These tellings stand on ENRICHED now: of clicks that were noted, or of amendments.
    pub fn told<'a>(&self, told: impl Iterator<Item = (&'a EnrichedClick, Bytes)>) {
        let mut state = self.state();
        let State { clicks, untold, .. } = &mut *state;
        for (click, event) in told {
            let Some(remembered) = clicks.get_mut(&click.click.id) else { continue };
            let revision = click.event_id.revision();
            if revision < remembered.revision {
                continue;
            }
            if revision > 0 {
                remembered.told = Late::counted_in(&click.automation);
                remembered.attempt = None;
            }
            remembered.revision = revision;
            remembered.event = Some(event);
            if remembered.late == remembered.told {
                untold.remove(&click.click.id);
            } else {
                untold.insert(click.click.id);
            }
        }
    }

    /// The clicks whose verdict has changed since they were told of, to be told of again. The same ones come, as they were, until
    /// [`Evidence::told`] says that they stand on ENRICHED: one that was not confirmed may stand there too, under its id.
    pub fn amendments(&self, now: DateTime<Utc>) -> Vec<Amendment> {
        let mut state = self.state();
        let State { clicks, untold, .. } = &mut *state;
        let mut amendments = Vec::new();
        untold.retain(|id| {
            let Some(remembered) = clicks.get_mut(id) else { return false };
            if remembered.attempt.is_none() {
                remembered.attempt = remembered.amendment(now).map(Box::new);
            }
            let Some(click) = &remembered.attempt else { return false };
            remembered.is_given_up |= click.automation.verdict == Verdict::Automated;
            amendments.push(Amendment { click: (**click).clone(), candidate: remembered.candidate.clone() });
            true
        });
        amendments
    }

    /// Whether there may be [`Evidence::amendments`].
    pub fn has_untold(&self) -> bool {
        !self.state().untold.is_empty()
    }

    /// Forgets what is older than any evidence looks at; to be called now and then, as nobody may come.
    pub fn forget(&self, now: DateTime<Utc>) {
        self.state().forget(now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether it is new.
    fn remember(
        &mut self,
        click: &Click,
        enriched: &EnrichedClick,
        candidate: Option<&Candidate>,
        now: DateTime<Utc>,
    ) -> bool {
        if self.clicks.contains_key(&click.id) {
            return false;
        }
        // a clock that runs ahead must not make the others old
        let at = click.clicked_at.min(now);
        let keys = self.groups.keys_of(click);
        let device = &enriched.device;
        let remembered = Remembered {
            at,
            noted_at: now,
            link_id: click.link.id,
            is_honeypot: click.link.kind == LinkKind::Honeypot,
            agent: self.groups.hash(&(device.kind, &device.os, &device.browser)),
            system: self.groups.hash(&(device.kind, &device.os)),
            is_in_app: device.in_app.is_some(),
            contact: click.link.labels.contact_id.as_ref().map(|contact| self.groups.hash(contact)),
            is_automated: enriched.automation.verdict == Verdict::Automated,
            // of the click as it came: privacy may have taken the headers from the enriched one
            is_navigated: is_navigated(&click.request),
            keys,
            candidate: candidate.cloned(),
            is_given_up: false,
            late: LateSignals::default(),
            first_told: LateSignals::default(),
            told: LateSignals::default(),
            revision: 0,
            event: None,
            attempt: None,
        };
        let member = Member { id: click.id, link_id: click.link.id, agent: remembered.agent };
        self.groups.add(member, &keys, remembered.is_honeypot);
        self.clicks.insert(click.id, Box::new(remembered));
        self.order.push_back(click.id);
        for (id, late) in late::shown_by(click.id, &self.clicks, &self.groups) {
            let Some(remembered) = self.clicks.get_mut(&id) else { continue };
            if remembered.late.add(late) && remembered.event.is_some() {
                self.untold.insert(id);
            }
        }
        true
    }

    fn forget(&mut self, now: DateTime<Utc>) {
        for _ in 0..self.order.len() {
            let Some(&id) = self.order.front() else { return };
            let noted_at = self.clicks.get(&id).map(|click| click.noted_at);
            let is_older_than = |age| noted_at.is_none_or(|noted_at| noted_at < now - age);
            let are_too_many = self.order.len() > REMEMBERED_MAX;
            if !is_older_than(WINDOW) && !are_too_many {
                return;
            }
            let is_kept = self.untold.contains(&id) && !is_older_than(UNTOLD_MAX) && !are_too_many;
            self.order.pop_front();
            if is_kept {
                // those behind it are not kept for its sake
                self.order.push_back(id);
                continue;
            }
            if let Some(click) = self.clicks.remove(&id) {
                self.groups.remove(id, &click.keys, click.is_honeypot);
            }
            self.untold.remove(&id);
        }
    }
}

impl Remembered {
    /// The click with what is known now, if that changes its verdict.
    fn amendment(&self, now: DateTime<Utc>) -> Option<EnrichedClick> {
        let event = self.event.as_ref()?;
        let told: EnrichedClick = match bus::Message::decode(event) {
            Ok(told) => told,
            Err(error) => {
                warn!(%error, "a click that we encoded cannot be decoded");
                return None;
            }
        };
        let late = self.late.beyond(self.told).signals();
        let automation = extended(&told.automation, &late, self.is_navigated);
        if automation.verdict == told.automation.verdict {
            return None;
        }
        told.amended(automation, now)
    }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
