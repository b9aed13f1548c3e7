//! The signals that come from other clicks: each rule looks at one group of the newest click and
//! names whom it shows.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use model::automation::{Automation, MachineClass};
use model::{ClickId, LinkId};

use super::Remembered;
use super::groups::Groups;
use crate::automation::{DECISIVE, LIKELY, MEDIUM, Signal};

/// So many links of one message, opened for one recipient within [`BURST_WINDOW`], are opened by a program.
const BURST_LINKS_MIN: usize = 3;

/// See [`BURST_LINKS_MIN`].
const BURST_WINDOW: TimeDelta = TimeDelta::seconds(2);

/// Two different links within this time are too: a person has not come back from the first page yet.
const PAIR_WINDOW: TimeDelta = TimeDelta::seconds(1);

/// More links than this from one address within [`SOURCE_WINDOW`], at least two for each recipient.
const SOURCE_LINKS_MAX: usize = 5;

/// See [`SOURCE_LINKS_MAX`].
const SOURCE_WINDOW: TimeDelta = TimeDelta::seconds(1);

/// Who follows a message's hidden link has opened the others of that message by program, so long before and after.
const HONEYPOT_WINDOW: TimeDelta = TimeDelta::seconds(10);

/// A recipient's link that is opened by another system or browser so soon: the first was a scanner, perhaps.
const SWITCH_WINDOW: TimeDelta = TimeDelta::seconds(30);

/// A signal of other clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    BurstMessage,
    BurstSource,
    HoneypotNear,
    AgentSwitch,
}

/// Some of the signals of other clicks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LateSignals(u8);

impl Late {
    const ALL: [Self; 4] = [Self::BurstMessage, Self::BurstSource, Self::HoneypotNear, Self::AgentSwitch];

    const fn bit(self) -> u8 {
        match self {
            Self::BurstMessage => 1,
            Self::BurstSource => 2,
            Self::HoneypotNear => 4,
            Self::AgentSwitch => 8,
        }
    }

    const fn signal(self) -> Signal {
        let (code, weight) = match self {
            Self::BurstMessage => ("burst_message", DECISIVE),
            Self::BurstSource => ("burst_source", LIKELY),
            Self::HoneypotNear => ("honeypot_near", DECISIVE),
            Self::AgentSwitch => ("ua_switch", MEDIUM),
        };
        Signal { code, weight, class: MachineClass::Scanner }
    }

    /// Those among the reasons of a verdict.
    pub fn counted_in(automation: &Automation) -> LateSignals {
        let has = |late: &Self| automation.reasons.iter().any(|reason| reason.code == late.signal().code);
        Self::ALL.into_iter().filter(has).fold(LateSignals::default(), LateSignals::with)
    }
}

impl LateSignals {
    fn with(self, late: Late) -> Self {
        Self(self.0 | late.bit())
    }

    /// Whether it is new.
    pub fn add(&mut self, late: Late) -> bool {
        let before = *self;
        *self = self.with(late);
        *self != before
    }

    /// Those that are not among `told`.
    pub fn beyond(self, told: Self) -> Self {
        Self(self.0 & !told.0)
    }

    pub fn signals(self) -> Vec<Signal> {
        Late::ALL.into_iter().filter(|late| self.0 & late.bit() != 0).map(Late::signal).collect()
    }
}

/// What the newest click shows of itself and of those before.
pub(super) fn shown_by(
    newest: ClickId,
    clicks: &HashMap<ClickId, Remembered>,
    groups: &Groups,
) -> Vec<(ClickId, Late)> {
    let Some(click) = clicks.get(&newest) else { return Vec::new() };
    let of = |key| Group::of(groups.members(key), clicks);
    let mut shown = Vec::new();
    let recipient = of(click.keys.recipient).people();
    for (window, links_min) in [(BURST_WINDOW, BURST_LINKS_MIN), (PAIR_WINDOW, 2)] {
        for burst in recipient.windows_with(click.at, window) {
            if burst.links().len() >= links_min {
                shown.extend(burst.each(Late::BurstMessage));
            }
        }
    }
    for burst in of(click.keys.source).people().windows_with(click.at, SOURCE_WINDOW) {
        let (links, recipients) = (burst.links().len(), burst.recipients());
        if links > SOURCE_LINKS_MAX && recipients * 2 <= links {
            shown.extend(burst.each(Late::BurstSource));
        }
    }
    let near = of(click.keys.message_network).near(click.at, HONEYPOT_WINDOW);
    if click.is_honeypot {
        shown.extend(near.others_than_honeypots());
    } else if near.has_honeypot() {
        shown.push((newest, Late::HoneypotNear));
    }
    let same_link = of(click.keys.recipient_link).people().near(click.at, SWITCH_WINDOW);
    shown.extend(same_link.first_of_several_agents());
    shown
}

/// Clicks that belong together, oldest first.
struct Group<'a>(Vec<(ClickId, &'a Remembered)>);

impl<'a> Group<'a> {
    fn of(members: &[ClickId], clicks: &'a HashMap<ClickId, Remembered>) -> Self {
        if members.len() < 2 {
            return Self(Vec::new());
        }
        let mut found: Vec<_> = members.iter().filter_map(|id| Some((*id, clicks.get(id)?))).collect();
        found.sort_by_key(|(id, click)| (click.at, *id));
        Self(found)
    }

    /// Those that are no machine's by themselves: a preview beside a person's click shows nothing of the person.
    fn people(mut self) -> Self {
        self.0.retain(|(_, click)| !click.is_automated);
        self
    }

    fn near(mut self, at: DateTime<Utc>, window: TimeDelta) -> Self {
        self.0.retain(|(_, click)| (click.at - at).abs() <= window);
        self
    }

    /// Every span of this length that begins with a click and has `at` in it.
    fn windows_with(&self, at: DateTime<Utc>, window: TimeDelta) -> impl Iterator<Item = Group<'a>> {
        let begins = self.0.iter().map(|(_, click)| click.at);
        let begins: Vec<_> = begins.filter(|begin| *begin <= at && at <= *begin + window).collect();
        begins.into_iter().map(move |begin| {
            let within =
                |(_, click): &&(ClickId, &Remembered)| begin <= click.at && click.at <= begin + window;
            Group(self.0.iter().filter(within).copied().collect())
        })
    }

    fn links(&self) -> HashSet<LinkId> {
        self.0.iter().map(|(_, click)| click.link_id).collect()
    }

    fn recipients(&self) -> usize {
        self.0.iter().filter_map(|(_, click)| click.contact).collect::<HashSet<_>>().len()
    }

    fn each(&self, late: Late) -> impl Iterator<Item = (ClickId, Late)> {
        self.0.iter().map(move |(id, _)| (*id, late))
    }

    fn has_honeypot(&self) -> bool {
        self.0.iter().any(|(_, click)| click.is_honeypot)
    }

    fn others_than_honeypots(&self) -> impl Iterator<Item = (ClickId, Late)> {
        self.0.iter().filter(|(_, click)| !click.is_honeypot).map(|(id, _)| (*id, Late::HoneypotNear))
    }

    /// The first click, if a later one came from another system or browser.
    fn first_of_several_agents(&self) -> Option<(ClickId, Late)> {
        let (id, first) = self.0.first()?;
        self.0.iter().any(|(_, click)| click.agent != first.agent).then_some((*id, Late::AgentSwitch))
    }
}
