//! What can happen to a process or a server, and what of it can happen at the same time. Pure.

use std::fmt;

use bus::StreamName;

use crate::services::Service;

/// Nodes of NATS, each with a copy of every stream.
pub const NODES: usize = testkit::TestNats::NODES;

/// One process of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    pub service: Service,
    /// 0 or 1: of each service there are two.
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

impl Instance {
    /// All processes of the run.
    pub fn all() -> Vec<Self> {
        let of = |number| Service::ALL.into_iter().map(move |service| Self { service, number });
        of(0).chain(of(1)).collect()
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
    pub fn goes_with(self, other: Self) -> bool {
        let waits = [self, other].iter().any(|strike| matches!(strike, Self::Roll(_)));
        let is_shared = || self.servers().iter().any(|server| other.servers().contains(server));
        let is_same = || self.instance().is_some() && self.instance() == other.instance();
        !waits && !is_shared() && !is_same()
    }

    pub fn instance(self) -> Option<Instance> {
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
    pub fn servers(self) -> Vec<Server> {
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
