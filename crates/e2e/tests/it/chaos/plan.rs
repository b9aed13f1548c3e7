//! What fails, and when: a schedule that follows from its seed alone. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use bus::StreamName;

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

/// Nodes of NATS, each with a copy of every stream.
const NODES: usize = testkit::TestNats::NODES;

/// One process of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    pub service: Service,
    /// 0 or 1: of each service but the API there are two.
    pub number: usize,
}

/// What the services stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    Database,
    /// One of the nodes of NATS, from 0.
    Node(usize),
}

/// One thing that happens to one process, or between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// Killed as by a crash, and started again at the end.
    Kill(Instance),
    /// Asked to finish, and started again at the end.
    Stop(Instance),
    /// Connections stay open, nothing is answered.
    Freeze(Instance),
    /// No connection between the two.
    Cut(Instance, Server),
    /// No connection to any server.
    Isolate(Instance),
    /// All processes of a service are stopped and started, one after the other, as by an upgrade.
    Roll(Service),
    /// Its wall clock goes wrong by so many seconds, and is set right at the end.
    StepClock(Instance, i64),
    /// Nothing that this redirect writes to disk finds room.
    FullDisk(Instance),
    /// Killed as by a crash, and started again at the end.
    KillServer(Server),
    /// Connections stay open, nothing (of PostgreSQL: no new connection) is answered.
    FreezeServer(Server),
    /// A node of NATS has no connection to the others, and clients have to it.
    Part(usize),
    /// All nodes of NATS are killed at once, and started again at the end.
    KillBroker,
    /// The stream takes nothing.
    FullStream(StreamName),
}

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

impl Instance {
    /// All processes of the run.
    pub fn all() -> Vec<Self> {
        let second = Service::ALL.into_iter().filter(|service| *service != Service::Api);
        let first = Service::ALL.into_iter().map(|service| Self { service, number: 0 });
        first.chain(second.map(|service| Self { service, number: 1 })).collect()
    }
}

impl Server {
    pub const ALL: [Self; 1 + NODES] = [Self::Database, Self::Node(0), Self::Node(1), Self::Node(2)];

    fn is_node(self) -> bool {
        matches!(self, Self::Node(_))
    }
}

impl Strike {
    /// How many processes it kills.
    pub fn kills(self) -> usize {
        match self {
            Self::Kill(_) | Self::KillServer(_) => 1,
            Self::KillBroker => NODES,
            _ => 0,
        }
    }

    /// What happens, whomever it happens to.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Kill(_) => "process killed",
            Self::Stop(_) => "process stopped",
            Self::Freeze(_) => "process frozen",
            Self::Cut(_, Server::Database) => "process cut off from PostgreSQL",
            Self::Cut(_, Server::Node(_)) => "process cut off from a node of NATS",
            Self::Isolate(_) => "process cut off from all servers",
            Self::Roll(_) => "service restarted one by one",
            Self::StepClock(..) => "clock of a process set",
            Self::FullDisk(_) => "disk of a redirect full",
            Self::KillServer(Server::Database) => "PostgreSQL killed",
            Self::KillServer(Server::Node(_)) => "node of NATS killed",
            Self::FreezeServer(Server::Database) => "PostgreSQL frozen",
            Self::FreezeServer(Server::Node(_)) => "node of NATS frozen",
            Self::Part(_) => "node of NATS cut off from the others",
            Self::KillBroker => "all nodes of NATS killed",
            Self::FullStream(_) => "stream full",
        }
    }

    /// Whether both can happen at once: they are about different processes, and neither waits until all is well.
    fn goes_with(self, other: Self) -> bool {
        let waits = [self, other].iter().any(|strike| matches!(strike, Self::Roll(_)));
        let is_shared = || self.servers().iter().any(|server| other.servers().contains(server));
        let is_same = || self.instance().is_some() && self.instance() == other.instance();
        !waits && !is_shared() && !is_same()
    }

    fn instance(self) -> Option<Instance> {
        match self {
            Self::Kill(instance)
            | Self::Stop(instance)
            | Self::Freeze(instance)
            | Self::Cut(instance, _)
            | Self::Isolate(instance)
            | Self::StepClock(instance, _)
            | Self::FullDisk(instance) => Some(instance),
            _ => None,
        }
    }

    /// The servers that it is about, or needs.
    fn servers(self) -> Vec<Server> {
        match self {
            Self::KillServer(server) | Self::FreezeServer(server) => vec![server],
            Self::Part(node) => vec![Server::Node(node)],
            // without the disk a click needs the broker: that both are gone is the loss that README names;
            // and it takes the broker to change a stream
            Self::FullDisk(_) | Self::KillBroker | Self::FullStream(_) => {
                Server::ALL.into_iter().filter(|server| server.is_node()).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.service.name(), self.number + 1)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => f.write_str("PostgreSQL"),
            Self::Node(node) => write!(f, "NATS {}", node + 1),
        }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(instance) => write!(f, "{instance} killed"),
            Self::Stop(instance) => write!(f, "{instance} stopped"),
            Self::Freeze(instance) => write!(f, "{instance} frozen"),
            Self::Cut(instance, server) => write!(f, "{instance} cut off from {server}"),
            Self::Isolate(instance) => write!(f, "{instance} cut off from all servers"),
            Self::Roll(service) => write!(f, "{} restarted one by one", service.name()),
            Self::StepClock(instance, seconds) => write!(f, "{instance} with its clock {seconds:+} s wrong"),
            Self::FullDisk(instance) => write!(f, "{instance} with a full disk"),
            Self::KillServer(server) => write!(f, "{server} killed"),
            Self::FreezeServer(server) => write!(f, "{server} frozen"),
            Self::Part(node) => write!(f, "{} cut off from the other nodes", Server::Node(*node)),
            Self::KillBroker => f.write_str("all nodes of NATS killed"),
            Self::FullStream(stream) => write!(f, "stream {stream} full"),
        }
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

#[test]
fn a_redirect_without_a_disk_keeps_its_broker() {
    let redirect = Instance { service: Service::Redirect, number: 0 };
    let full = Strike::FullDisk(redirect);

    for other in [
        Strike::KillServer(Server::Node(1)),
        Strike::FreezeServer(Server::Node(2)),
        Strike::Part(0),
        Strike::KillBroker,
        Strike::FullStream(StreamName::Clicks),
        Strike::Cut(redirect, Server::Node(0)),
        Strike::Kill(redirect),
        Strike::Roll(Service::Enrich),
    ] {
        assert!(!full.goes_with(other) && !other.goes_with(full), "{other}");
    }
    assert!(full.goes_with(Strike::KillServer(Server::Database)));
    assert!(full.goes_with(Strike::Kill(Instance { number: 1, ..redirect })));
}
