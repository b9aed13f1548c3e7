//! Everything a click passes, two of each, with a network between that can be cut; and what befalls it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{Cut, OwnDatabase, TestNats};

use super::plan::{Fault, Instance, Server, Strike};
use super::visitors::Visitors;
use crate::services::Services;
use crate::stack::{Database, Stack};

/// The running system.
pub struct World {
    /// The first of each service, and the servers.
    pub stack: Stack,
    second: Services,
    /// The ways from each process to each server; there is no other.
    cuts: BTreeMap<(Instance, Server), Cut>,
    /// The most bytes of memory that each process had resident.
    pub resident_max: BTreeMap<Instance, u64>,
}

impl World {
    /// Starts everything and waits until it is ready.
    pub async fn start() -> Self {
        let database = OwnDatabase::start().await;
        let nats = TestNats::start().await;
        let mut first = Services::new(database.url(), nats.url());
        let mut second = Services::new(database.url(), nats.url());
        for name in ["SEALING__KEY", "MINTING__KEY"] {
            let key = webhook::sealing::generate_key();
            first.set(name, &key);
            second.set(name, &key);
        }
        let mut cuts = BTreeMap::new();
        for instance in Instance::all() {
            let services = if instance.number == 0 { &mut first } else { &mut second };
            for (server, setting, url) in [
                (Server::Database, "DATABASE__URL", database.url()),
                (Server::Broker, "NATS__URL", nats.url()),
            ] {
                let (cut, url) = through_cut(url).await;
                services.set_for(instance.service, setting, url);
                cuts.insert((instance, server), cut);
            }
        }
        let stack = Stack::start_around(Database::Own(database), nats, first).await;
        let mut world = Self { stack, second, cuts, resident_max: BTreeMap::new() };
        for instance in Instance::all().into_iter().filter(|instance| instance.number == 1) {
            world.services(instance).launch(instance.service);
        }
        world.all_ready().await;
        world
    }

    /// People who click on a new link.
    pub async fn visitors(&self) -> Visitors {
        Visitors {
            client: self.stack.client.clone(),
            redirect_ports: [self.stack.services.redirect_port, self.second.redirect_port],
            slug: self.stack.link(json!({})).await.slug,
        }
    }

    /// The database, which is this run's own.
    pub fn database(&self) -> &OwnDatabase {
        let Database::Own(database) = &self.stack.database else { panic!("it was started with its own") };
        database
    }

    /// Lets a fault happen, ends it, and waits until all are ready. Returns how long that took from its end.
    pub async fn suffer(&mut self, fault: &Fault) -> Duration {
        tokio::time::sleep(fault.pause).await;
        for strike in &fault.strikes {
            self.begin(*strike).await;
        }
        tokio::time::sleep(fault.lasts).await;
        let ended = Instant::now();
        for strike in &fault.strikes {
            self.end(*strike).await;
        }
        self.all_ready().await;
        let recovery = ended.elapsed();
        self.note_memory();
        recovery
    }

    async fn begin(&mut self, strike: Strike) {
        match strike {
            Strike::Kill(instance) => self.services(instance).kill(instance.service).await,
            Strike::Stop(instance) => self.stop(instance).await,
            Strike::Freeze(instance) => self.services(instance).pause(instance.service),
            Strike::Cut(instance, server) => self.cuts[&(instance, server)].cut(),
            Strike::Roll(service) => {
                for instance in Instance::all().into_iter().filter(|instance| instance.service == service) {
                    self.stop(instance).await;
                    self.services(instance).launch(service);
                    self.services(instance).wait_ready(service).await;
                }
            }
            Strike::KillServer(Server::Database) => self.database().kill().await,
            Strike::KillServer(Server::Broker) => self.stack.nats.kill().await,
            Strike::FreezeServer(Server::Database) => self.database().pause(),
            Strike::FreezeServer(Server::Broker) => self.stack.nats.pause(),
        }
    }

    async fn end(&mut self, strike: Strike) {
        match strike {
            Strike::Kill(instance) | Strike::Stop(instance) => {
                self.services(instance).launch(instance.service);
            }
            Strike::Freeze(instance) => self.services(instance).resume(instance.service),
            Strike::Cut(instance, server) => self.cuts[&(instance, server)].heal(),
            Strike::Roll(_) => {}
            Strike::KillServer(Server::Database) => {
                let Database::Own(database) = &mut self.stack.database else {
                    panic!("it was started with its own")
                };
                database.restart().await;
            }
            Strike::KillServer(Server::Broker) => self.stack.nats.restart().await,
            Strike::FreezeServer(Server::Database) => self.database().resume(),
            Strike::FreezeServer(Server::Broker) => self.stack.nats.resume(),
        }
    }

    /// Asks a process to finish, and waits until it has. Beside another fault it may not do so properly, which costs nothing.
    async fn stop(&mut self, instance: Instance) {
        if !self.services(instance).stop(instance.service).await {
            eprintln!("{instance} did not finish properly");
        }
    }

    async fn all_ready(&mut self) {
        for instance in Instance::all() {
            self.services(instance).wait_ready(instance.service).await;
        }
    }

    fn note_memory(&mut self) {
        for instance in Instance::all() {
            let resident = self.services(instance).resident_bytes(instance.service).unwrap_or_default();
            let most = self.resident_max.entry(instance).or_default();
            *most = resident.max(*most);
        }
    }

    fn services(&mut self, instance: Instance) -> &mut Services {
        if instance.number == 0 { &mut self.stack.services } else { &mut self.second }
    }
}

/// A way to the server that a URL names, and the URL that leads through it.
async fn through_cut(url: &str) -> (Cut, String) {
    const HOST: &str = "127.0.0.1:";
    let (before, rest) = url.split_once(HOST).expect("servers of tests are on loopback");
    let (port, after) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let server: SocketAddr = format!("{HOST}{port}").parse().expect("an address");
    // away from the ports of outgoing connections, as the servers' own
    let cut = Cut::start(embedded::free_port(), server).await;
    let url = format!("{before}{}{after}", cut.addr());
    (cut, url)
}
