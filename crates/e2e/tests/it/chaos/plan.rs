//! What fails, and when: a schedule that follows from its seed alone. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use bus::StreamName;

use super::strike::{Instance, NODES, Server, Strike};
use crate::services::Service;

/// Milliseconds without a fault before the next, and how long one lasts: at least, and at most so many more.
const PAUSE_MS: (u64, u64) = (500, 2_000);
const LASTS_MS: (u64, u64) = (1_000, 3_000);

/// What the end of a fault is taken to need, when faults are counted for a run of some length.
const RECOVERY: Duration = Duration::from_millis(2_000);

/// One of so many faults is two things at once.
const TWO_IN: u64 = 3;

/// How many strikes are dealt until one is of a kind that is wanted.
const DEALT_MAX: usize = 10_000;

/// By how many seconds a clock is set. A lease of a delivery lasts for five.
const STEPS: [i64; 4] = [-STEP_MAX, -10, 10, STEP_MAX];

/// By how many seconds a clock is wrong at most.
pub const STEP_MAX: i64 = 90;

/// What fails at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// How long nothing fails before.
    pub pause: Duration,
    pub strikes: Vec<Strike>,
    pub lasts: Duration,
}

/// What a strike may be about.
#[derive(Clone, Copy)]
struct Chosen {
    instance: Instance,
    server: Server,
    node: usize,
    seconds: i64,
    stream: StreamName,
}

type Kind = fn(Chosen) -> Strike;

/// What can happen, as often as it does in one round. A round is dealt to its end before the next begins, so that a run
/// of two minutes has nearly everything.
const ROUND: [Kind; 20] = [
    |chosen| Strike::Kill(chosen.instance),
    |chosen| Strike::Kill(chosen.instance),
    |chosen| Strike::Kill(chosen.instance),
    |chosen| Strike::Stop(chosen.instance),
    |chosen| Strike::Freeze(chosen.instance),
    |chosen| Strike::Freeze(chosen.instance),
    |chosen| Strike::Cut(chosen.instance, chosen.server),
    |chosen| Strike::Cut(chosen.instance, chosen.server),
    |chosen| Strike::Isolate(chosen.instance),
    |chosen| Strike::Roll(chosen.instance.service),
    |chosen| Strike::StepClock(chosen.instance, chosen.seconds),
    |chosen| Strike::FullDisk(Instance { service: Service::Redirect, ..chosen.instance }),
    |_| Strike::KillServer(Server::Database),
    |_| Strike::FreezeServer(Server::Database),
    |chosen| Strike::KillServer(Server::Node(chosen.node)),
    |chosen| Strike::KillServer(Server::Node(chosen.node)),
    |chosen| Strike::FreezeServer(Server::Node(chosen.node)),
    |chosen| Strike::Part(chosen.node),
    |_| Strike::KillBroker,
    |chosen| Strike::FullStream(chosen.stream),
];

/// The faults of a run of about this length, of these kinds alone if any are named.
///
/// # Panics
/// When there is no such kind.
pub fn plan(seed: u64, length: Duration, only: &[&str]) -> Vec<Fault> {
    let mut dealer = Dealer { random: Random(seed), round: Vec::new(), only };
    let (mut faults, mut planned) = (Vec::new(), Duration::ZERO);
    while planned < length {
        let fault = Fault {
            pause: dealer.random.milliseconds(PAUSE_MS),
            strikes: dealer.strikes(),
            lasts: dealer.random.milliseconds(LASTS_MS),
        };
        planned += fault.pause + fault.lasts + RECOVERY;
        faults.push(fault);
    }
    faults
}

struct Dealer<'a> {
    random: Random,
    /// What is left of the present round.
    round: Vec<Kind>,
    only: &'a [&'a str],
}

impl Dealer<'_> {
    /// One, or two that do not get into each other's way.
    fn strikes(&mut self) -> Vec<Strike> {
        let first = self.strike();
        if matches!(first, Strike::Roll(_)) || self.random.below(TWO_IN) > 0 {
            return vec![first];
        }
        let second = self.strike();
        if first.goes_with(second) { vec![first, second] } else { vec![first] }
    }

    fn strike(&mut self) -> Strike {
        let only = self.only;
        (0..DEALT_MAX)
            .map(|_| self.any_strike())
            .find(|strike| only.is_empty() || only.contains(&strike.kind()))
            .unwrap_or_else(|| panic!("no faults are called {only:?}"))
    }

    fn any_strike(&mut self) -> Strike {
        if self.round.is_empty() {
            self.round = ROUND.to_vec();
        }
        let kind = self.round.swap_remove(self.random.index(self.round.len()));
        kind(Chosen {
            instance: self.random.one_of(&Instance::all()),
            server: self.random.one_of(&Server::ALL),
            node: self.random.index(NODES),
            seconds: self.random.one_of(&STEPS),
            stream: self.random.one_of(&[StreamName::Clicks, StreamName::Enriched]),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strikes: Vec<String> = self.strikes.iter().map(ToString::to_string).collect();
        write!(f, "{} for {:.1} s", strikes.join(", "), self.lasts.as_secs_f64())
    }
}

/// splitmix64: a seed must mean the same with the next release of any library.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.index(all.len())]
    }

    fn milliseconds(&mut self, (least, more): (u64, u64)) -> Duration {
        Duration::from_millis(least + self.below(more + 1))
    }
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

#[test]
fn a_seed_is_one_plan_and_another_seed_is_another() {
    assert_eq!(plan(7, TEN_MINUTES, &[]), plan(7, TEN_MINUTES, &[]));
    assert_ne!(plan(7, TEN_MINUTES, &[]), plan(8, TEN_MINUTES, &[]));
}

#[test]
fn a_longer_run_begins_like_a_shorter_one() {
    let short = plan(7, TEN_MINUTES / 10, &[]);

    assert_eq!(plan(7, TEN_MINUTES, &[])[..short.len()], short);
}

#[test]
fn everything_that_can_happen_does_and_what_happens_at_once_is_about_two_processes() {
    let faults = plan(7, TEN_MINUTES, &[]);

    let strikes: Vec<Strike> = faults.iter().flat_map(|fault| fault.strikes.iter().copied()).collect();
    let kinds: BTreeSet<&str> = strikes.iter().map(|strike| strike.kind()).collect();
    assert_eq!(kinds.len(), 16, "{kinds:?}");
    for instance in Instance::all() {
        assert!(strikes.iter().any(|strike| strike.instance() == Some(instance)), "{instance} is spared");
    }
    for server in Server::ALL {
        assert!(strikes.iter().any(|strike| strike.servers() == [server]), "{server} is spared");
    }
    assert!(faults.iter().any(|fault| fault.strikes.len() == 2));
    for fault in faults.iter().filter(|fault| fault.strikes.len() > 1) {
        assert!(fault.strikes[0].goes_with(fault.strikes[1]), "{fault}");
    }
}

#[test]
fn a_plan_may_be_of_some_kinds_alone() {
    let faults = plan(7, TEN_MINUTES, &["stream full", "process killed"]);

    let strikes = faults.iter().flat_map(|fault| fault.strikes.iter());
    let kinds: BTreeSet<&str> = strikes.map(|strike| strike.kind()).collect();
    assert_eq!(kinds, BTreeSet::from(["process killed", "stream full"]));
}
