//! The signals that come from other clicks: each rule looks at one group of the newest click and names whom it shows.
//!
//! Most groups show nothing, and that is seen from their members alone: a popular link has one link, a person one browser.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use model::ClickId;
use model::automation::{Automation, MachineClass};
use smallvec::SmallVec;

use super::groups::{Groups, Member};
use super::{Clicks, Remembered};
use crate::automation::{DECISIVE, LIKELY, MEDIUM, STRONG, Signal};

/// So many links of one message, opened within [`BURST_WINDOW`], are opened by a program.
const BURST_LINKS_MIN: usize = 3;

/// See [`BURST_LINKS_MIN`].
const BURST_WINDOW: TimeDelta = TimeDelta::seconds(2);

/// Two different links of a recipient's message within this time mostly are too: few people come back from the first page so
/// soon, or open pages without looking at them.
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
    BurstPair,
    BurstReader,
    BurstSource,
    HoneypotNear,
    AgentSwitch,
}

/// Some of the signals of other clicks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LateSignals(u8);

impl Late {
    const ALL: [Self; 6] = [
        Self::BurstMessage,
        Self::BurstPair,
        Self::BurstReader,
        Self::BurstSource,
        Self::HoneypotNear,
        Self::AgentSwitch,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    const fn signal(self) -> Signal {
        let (code, weight) = match self {
            Self::BurstMessage => ("burst_message", DECISIVE),
            Self::BurstPair => ("burst_message", STRONG),
            Self::BurstReader => ("burst_message", STRONG),
            Self::BurstSource => ("burst_source", LIKELY),
            Self::HoneypotNear => ("honeypot_near", DECISIVE),
            Self::AgentSwitch => ("ua_switch", MEDIUM),
        };
        Signal { code, weight, class: MachineClass::Scanner }
    }

    /// Those among the reasons of a verdict.
    pub fn counted_in(automation: &Automation) -> LateSignals {
        let has = |late: &Self| {
            let signal = late.signal();
            automation.reasons.iter().any(|r| r.code == signal.code && r.weight == signal.weight)
        };
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
        let has = |late: Late| self.0 & late.bit() != 0;
        // a burst counts once, as the most that it is; a reason does not say which of the lesser ones it was
        let counts = |late: &Late| match late {
            Late::BurstPair => has(*late) && !has(Late::BurstMessage),
            Late::BurstReader => has(*late) && !has(Late::BurstMessage) && !has(Late::BurstPair),
            _ => has(*late),
        };
        Late::ALL.into_iter().filter(counts).map(Late::signal).collect()
    }
}

/// What the newest click shows of itself and of those before.
pub(super) fn shown_by(newest: ClickId, clicks: &Clicks, groups: &Groups) -> Vec<(ClickId, Late)> {
    let Some(click) = clicks.get(&newest) else { return Vec::new() };
    let mut shown = Vec::new();
    let mut show = |ids: BTreeSet<ClickId>, late| shown.extend(ids.into_iter().map(|id| (id, late)));
    let keys = &click.keys;
    if let Some(recipient) = Group::with_links(groups.members(keys.recipient), 2, clicks) {
        show(recipient.bursts(click.at, BURST_WINDOW, BURST_LINKS_MIN), Late::BurstMessage);
        show(recipient.bursts(click.at, PAIR_WINDOW, 2), Late::BurstPair);
    }
    if let Some(reader) = Group::with_links(groups.members(keys.reader), BURST_LINKS_MIN, clicks) {
        show(reader.bursts(click.at, BURST_WINDOW, BURST_LINKS_MIN), Late::BurstReader);
    }
    if let Some(source) = Group::with_links(groups.members(keys.source), SOURCE_LINKS_MAX + 1, clicks)
        && source.has_several_links_each(click.at)
    {
        show(source.bursts(click.at, SOURCE_WINDOW, SOURCE_LINKS_MAX + 1), Late::BurstSource);
    }
    let was_hidden_followed = [keys.honeypot, keys.message_honeypot].into_iter().any(|key| {
        let honeypots = Group::of(groups.members(key), clicks);
        !honeypots.near(click.at, HONEYPOT_WINDOW).0.is_empty()
    });
    if click.is_honeypot {
        let near = Group::of(groups.members(keys.network), clicks).near(click.at, HONEYPOT_WINDOW);
        show(near.ids_of_others_than_honeypots(), Late::HoneypotNear);
    } else if was_hidden_followed {
        show(BTreeSet::from([newest]), Late::HoneypotNear);
    }
    if let Some(same_link) = Group::with_agents(groups.members(keys.recipient_link), clicks) {
        show(same_link.near(click.at, SWITCH_WINDOW).first_of_several_agents(), Late::AgentSwitch);
    }
    shown
}

/// Clicks that belong together, oldest first.
struct Group<'a>(Vec<(ClickId, &'a Remembered)>);

impl<'a> Group<'a> {
    fn of(members: &[Member], clicks: &'a Clicks) -> Self {
        let mut found: Vec<_> =
            members.iter().filter_map(|member| Some((member.id, &**clicks.get(&member.id)?))).collect();
        found.sort_by_key(|(id, click)| (click.at, *id));
        Self(found)
    }

    /// People's clicks, if there are so many links among all.
    fn with_links(members: &[Member], links_min: usize, clicks: &'a Clicks) -> Option<Self> {
        let links = distinct(members.iter().map(|member| member.link_id));
        (links >= links_min).then(|| Self::of(members, clicks).people())
    }

    /// People's clicks, if not all are of one program.
    fn with_agents(members: &[Member], clicks: &'a Clicks) -> Option<Self> {
        let first = members.first()?.agent;
        members.iter().any(|member| member.agent != first).then(|| Self::of(members, clicks).people())
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

    /// The clicks of every span of this length that begins with a click, has `at` in it and so many links.
    fn bursts(&self, at: DateTime<Utc>, window: TimeDelta, links_min: usize) -> BTreeSet<ClickId> {
        let mut ids = BTreeSet::new();
        for (place, (_, first)) in self.0.iter().enumerate() {
            if first.at > at {
                break;
            }
            let end = first.at + window;
            if end < at {
                continue;
            }
            let span = self.0[place..].iter().take_while(|(_, click)| click.at <= end);
            if distinct(span.clone().map(|(_, click)| click.link_id)) >= links_min {
                ids.extend(span.map(|(id, _)| *id));
            }
        }
        ids
    }

    /// Whether those around `at` have opened two links for each recipient at least: people who share an address have one each.
    fn has_several_links_each(&self, at: DateTime<Utc>) -> bool {
        let around = || self.0.iter().filter(|(_, click)| (click.at - at).abs() <= SOURCE_WINDOW);
        let recipients = distinct(around().filter_map(|(_, click)| click.contact));
        recipients * 2 <= distinct(around().map(|(_, click)| click.link_id))
    }

    fn ids_of_others_than_honeypots(&self) -> BTreeSet<ClickId> {
        self.0.iter().filter(|(_, click)| !click.is_honeypot).map(|(id, _)| *id).collect()
    }

    /// The first click, if a later one came from another system or browser.
    fn first_of_several_agents(&self) -> BTreeSet<ClickId> {
        let first = self.0.first();
        let is_another = |first: &Remembered, click: &Remembered| {
            click.agent != first.agent && !is_handed_over(first, click)
        };
        let switches =
            |(_, first): &&(ClickId, &Remembered)| self.0.iter().any(|(_, click)| is_another(first, click));
        first.filter(switches).map(|(id, _)| *id).into_iter().collect()
    }
}

/// Whether a person may have opened in the device's browser what an app had shown in its own, or the other way round.
fn is_handed_over(one: &Remembered, other: &Remembered) -> bool {
    one.system == other.system && one.is_in_app != other.is_in_app
}

/// How many different values; of few.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> usize {
    let mut seen: SmallVec<[T; 8]> = SmallVec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen.len()
}
