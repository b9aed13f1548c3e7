//! What fails, and when: a schedule that follows from its seed alone. Pure.

use std::fmt;
use std::time::Duration;

use crate::services::Service;

/// Milliseconds without a fault before the next, and how long one lasts: at least, and at most so many more.
const PAUSE_MS: (u64, u64) = (500, 2_000);
const LASTS_MS: (u64, u64) = (1_000, 3_000);

/// What the end of a fault is taken to need, when faults are counted for a run of some length.
const RECOVERY: Duration = Duration::from_millis(1_500);

/// One of so many faults is two things at once.
const TWO_IN: u64 = 3;

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
    Broker,
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
    /// All processes of a service are stopped and started, one after the other, as by an upgrade.
    Roll(Service),
    /// Killed as by a crash, and started again at the end.
    KillServer(Server),
    /// Connections stay open, nothing (of PostgreSQL: no new connection) is answered.
    FreezeServer(Server),
}

/// What fails at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// How long nothing fails before.
    pub pause: Duration,
    pub strikes: Vec<Strike>,
    pub lasts: Duration,
}

/// What can happen, as often as it does in one round. A round is dealt to its end before the next begins, so that a short
/// run has a bit of everything.
const ROUND: [fn(Instance, Server) -> Strike; 12] = [
    |instance, _| Strike::Kill(instance),
    |instance, _| Strike::Kill(instance),
    |instance, _| Strike::Kill(instance),
    |instance, _| Strike::Stop(instance),
    |instance, _| Strike::Freeze(instance),
    |instance, _| Strike::Freeze(instance),
    Strike::Cut,
    Strike::Cut,
    |instance, _| Strike::Roll(instance.service),
    |_, server| Strike::KillServer(server),
    |_, server| Strike::KillServer(server),
    |_, server| Strike::FreezeServer(server),
];

/// The faults of a run of about this length.
pub fn plan(seed: u64, length: Duration) -> Vec<Fault> {
    let mut dealer = Dealer { random: Random(seed), round: Vec::new() };
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

struct Dealer {
    random: Random,
    /// What is left of the present round.
    round: Vec<fn(Instance, Server) -> Strike>,
}

impl Dealer {
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
        if self.round.is_empty() {
            self.round = ROUND.to_vec();
        }
        let kind = self.round.swap_remove(self.random.index(self.round.len()));
        let instances = Instance::all();
        let instance = instances[self.random.index(instances.len())];
        let server = Server::ALL[self.random.index(Server::ALL.len())];
        kind(instance, server)
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
    pub const ALL: [Self; 2] = [Self::Database, Self::Broker];
}

impl Strike {
    /// Whether it ends one process by a kill, for who counts them.
    pub fn is_kill(self) -> bool {
        matches!(self, Self::Kill(_) | Self::KillServer(_))
    }

    /// Whether both can happen at once: they are about different processes, and neither waits until all is well.
    fn goes_with(self, other: Self) -> bool {
        let waits = [self, other].iter().any(|strike| matches!(strike, Self::Roll(_)));
        !waits && self.about() != other.about()
    }

    fn about(self) -> (Option<Instance>, Option<Server>) {
        match self {
            Self::Kill(instance) | Self::Stop(instance) | Self::Freeze(instance) | Self::Cut(instance, _) => {
                (Some(instance), None)
            }
            Self::Roll(_) => (None, None),
            Self::KillServer(server) | Self::FreezeServer(server) => (None, Some(server)),
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
        f.write_str(match self {
            Self::Database => "PostgreSQL",
            Self::Broker => "NATS",
        })
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(instance) => write!(f, "{instance} killed"),
            Self::Stop(instance) => write!(f, "{instance} stopped"),
            Self::Freeze(instance) => write!(f, "{instance} frozen"),
            Self::Cut(instance, server) => write!(f, "{instance} cut off from {server}"),
            Self::Roll(service) => write!(f, "{} restarted one by one", service.name()),
            Self::KillServer(server) => write!(f, "{server} killed"),
            Self::FreezeServer(server) => write!(f, "{server} frozen"),
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

    fn milliseconds(&mut self, (least, more): (u64, u64)) -> Duration {
        Duration::from_millis(least + self.below(more + 1))
    }
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

#[test]
fn a_seed_is_one_plan_and_another_seed_is_another() {
    assert_eq!(plan(7, TEN_MINUTES), plan(7, TEN_MINUTES));
    assert_ne!(plan(7, TEN_MINUTES), plan(8, TEN_MINUTES));
}

#[test]
fn a_longer_run_begins_like_a_shorter_one() {
    let short = plan(7, TEN_MINUTES / 10);

    assert_eq!(plan(7, TEN_MINUTES)[..short.len()], short);
}

#[test]
fn everything_that_can_happen_does_and_what_happens_at_once_is_about_two_processes() {
    let faults = plan(7, TEN_MINUTES);

    let strikes: Vec<Strike> = faults.iter().flat_map(|fault| fault.strikes.iter().copied()).collect();
    let kinds: std::collections::BTreeSet<String> = strikes
        .iter()
        .map(|strike| format!("{strike:?}").split('(').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(kinds.len(), 7, "{kinds:?}");
    for instance in Instance::all() {
        assert!(strikes.iter().any(|strike| strike.about().0 == Some(instance)), "{instance} is spared");
    }
    assert!(faults.iter().any(|fault| fault.strikes.len() == 2));
    for fault in faults.iter().filter(|fault| fault.strikes.len() > 1) {
        assert!(fault.strikes[0].goes_with(fault.strikes[1]), "{fault}");
    }
}
