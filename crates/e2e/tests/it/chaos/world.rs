//! Everything a click passes, two of each, with a network between that can be cut; and what befalls it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use chrono::Utc;
use serde_json::json;
use testkit::{Cut, FullStream, OwnDatabase, ScratchDir, TestNats, until};

use super::clock::Clock;
use super::plan::Fault;
use super::report::Suffered;
use super::strike::{Instance, Server, Strike};
use super::visitors::{LINKS, MESSAGES, Visitors};
use crate::services::{LIMIT, Services};
use crate::stack::{Database, Stack};

/// The running system.
pub struct World {
    /// The first of each service, and the servers.
    pub stack: Stack,
    second: Services,
    /// The ways from each process to each server; there is no other.
    cuts: BTreeMap<(Instance, Server), Cut>,
    clocks: BTreeMap<Instance, Clock>,
    /// Streams that take nothing at the moment.
    full: Vec<FullStream>,
    /// The most bytes of memory that each process had resident.
    pub resident_max: BTreeMap<Instance, u64>,
    /// What clocks need.
    _dir: ScratchDir,
}

impl World {
    /// Starts everything and waits until it is ready.
    pub async fn start() -> Self {
        let database = OwnDatabase::start().await;
        let nats = TestNats::start_cluster().await;
        let mut first = Services::new(database.url(), nats.url());
        let mut second = Services::new(database.url(), nats.url());
        for name in ["SEALING__KEY", "MINTING__KEY"] {
            let key = webhook::sealing::generate_key();
            first.set(name, &key);
            second.set(name, &key);
        }
        for services in [&mut first, &mut second] {
            services.set("NATS__REPLICAS", &TestNats::NODES.to_string());
            services.outlive_full_disks();
        }
        let dir = ScratchDir::new("clocks");
        let library = Clock::compile(dir.path());
        let (mut cuts, mut clocks) = (BTreeMap::new(), BTreeMap::new());
        for instance in Instance::all() {
            let services = if instance.number == 0 { &mut first } else { &mut second };
            let (cut, url) = through_cut(database.url()).await;
            services.set_for(instance.service, "DATABASE__URL", url);
            cuts.insert((instance, Server::Database), cut);
            let mut urls = Vec::new();
            for (node, url) in nats.node_urls().iter().enumerate() {
                let (cut, url) = through_cut(url).await;
                cuts.insert((instance, Server::Node(node)), cut);
                urls.push(url);
            }
            services.set_for(instance.service, "NATS__URL", urls.join(","));
            let state = dir.path().join(instance.to_string());
            clocks.insert(instance, Clock::give(services, instance.service, &library, &state));
        }
        let stack = Stack::start_around(Database::Own(database), nats, first).await;
        let (full, resident_max) = (Vec::new(), BTreeMap::new());
        let mut world = Self { stack, second, cuts, clocks, full, resident_max, _dir: dir };
        for instance in Instance::all().into_iter().filter(|instance| instance.number == 1) {
            world.services(instance).launch(instance.service);
        }
        world.all_ready().await;
        world
    }

    /// People who click on a new link, and gateways that open those of new messages.
    pub async fn visitors(&self) -> Visitors {
        let mut messages = Vec::new();
        for message in 0..MESSAGES {
            let (message_id, contact_id) = (format!("msg_{message}"), format!("cont_{message}"));
            let body = json!({"kind": "message", "message_id": message_id, "contact_id": contact_id});
            let mut slugs = Vec::new();
            for _ in 0..LINKS {
                slugs.push(self.stack.link(body.clone()).await.slug);
            }
            messages.push(slugs);
        }
        Visitors {
            client: self.stack.client.clone(),
            redirect_ports: [self.stack.services.redirect_port, self.second.redirect_port],
            slug: self.stack.link(json!({})).await.slug,
            messages,
        }
    }

    /// The wall clock of a process is wrong by so many seconds from now on.
    pub fn set_clock(&self, instance: Instance, seconds: i64) {
        self.clocks[&instance].set(seconds);
    }

    /// The database, which is this run's own.
    pub fn database(&self) -> &OwnDatabase {
        let Database::Own(database) = &self.stack.database else { panic!("it was started with its own") };
        database
    }

    /// Lets a fault happen, ends it, and waits until all are ready.
    pub async fn suffer(&mut self, fault: &Fault) -> Suffered {
        tokio::time::sleep(fault.pause).await;
        let began_at = Utc::now();
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
        Suffered { strikes: fault.strikes.clone(), began_at, ready_at: Utc::now(), recovery }
    }

    async fn begin(&mut self, strike: Strike) {
        match strike {
            Strike::Kill(instance) => self.services(instance).kill(instance.service).await,
            Strike::Stop(instance) => self.stop(instance).await,
            Strike::Freeze(instance) => self.services(instance).pause(instance.service),
            Strike::Cut(instance, server) => self.cuts[&(instance, server)].cut(),
            Strike::Isolate(instance) => self.cuts_of(instance).for_each(Cut::cut),
            Strike::StepClock(instance, seconds) => self.set_clock(instance, seconds),
            Strike::FullDisk(instance) => self.services(instance).fill_disk(instance.service),
            Strike::Roll(service) => {
                for instance in Instance::all().into_iter().filter(|instance| instance.service == service) {
                    self.stop(instance).await;
                    self.services(instance).launch(service);
                    self.services(instance).wait_ready(service).await;
                }
            }
            Strike::KillServer(Server::Database) => self.database().kill().await,
            Strike::KillServer(Server::Node(node)) => self.stack.nats.kill_node(node).await,
            Strike::FreezeServer(Server::Database) => self.database().pause(),
            Strike::FreezeServer(Server::Node(node)) => self.stack.nats.pause_node(node),
            Strike::Part(node) => self.stack.nats.part_node(node),
            Strike::KillBroker => self.stack.nats.kill().await,
            Strike::FullStream(stream) => self.full.push(self.stack.nats.fill(stream).await),
        }
    }

    async fn end(&mut self, strike: Strike) {
        match strike {
            Strike::Kill(instance) | Strike::Stop(instance) => {
                self.services(instance).launch(instance.service);
            }
            Strike::Freeze(instance) => self.services(instance).resume(instance.service),
            Strike::Cut(instance, server) => self.cuts[&(instance, server)].heal(),
            Strike::Isolate(instance) => self.cuts_of(instance).for_each(Cut::heal),
            Strike::StepClock(instance, _) => self.set_clock(instance, 0),
            Strike::FullDisk(instance) => {
                self.services(instance).empty_disk(instance.service);
                self.wait_published(instance).await;
            }
            Strike::Roll(_) => {}
            Strike::KillServer(Server::Database) => {
                let Database::Own(database) = &mut self.stack.database else {
                    panic!("it was started with its own")
                };
                database.restart().await;
            }
            Strike::KillServer(Server::Node(node)) => self.stack.nats.restart_node(node).await,
            Strike::FreezeServer(Server::Database) => self.database().resume(),
            Strike::FreezeServer(Server::Node(node)) => self.stack.nats.resume_node(node),
            Strike::Part(node) => self.stack.nats.join_node(node),
            Strike::KillBroker => self.stack.nats.restart().await,
            Strike::FullStream(_) => {
                for full in self.full.drain(..) {
                    self.stack.nats.make_room(full).await;
                }
            }
        }
    }

    /// Asks a process to finish, and waits until it has. Beside another fault it may not do so properly, which costs nothing.
    async fn stop(&mut self, instance: Instance) {
        if !self.services(instance).stop(instance.service).await {
            eprintln!("{instance} did not finish properly");
        }
    }

    /// Waits until no click of a redirect that had no disk is in its memory alone. Killed before, it would take them along.
    async fn wait_published(&mut self, redirect: Instance) {
        const NONE: &str = "clickwire_redirect_clicks_in_memory 0";
        let services = &*self.services(redirect);
        until(LIMIT, || async {
            let metrics = services.metrics(redirect.service).await?;
            metrics.lines().any(|line| line == NONE).then_some(())
        })
        .await;
    }

    async fn all_ready(&mut self) {
        for instance in Instance::all() {
            self.services(instance).wait_ready(instance.service).await;
        }
        self.stack.nats.wait_led().await;
    }

    fn cuts_of(&self, instance: Instance) -> impl Iterator<Item = &Cut> {
        self.cuts.iter().filter(move |((of, _), _)| *of == instance).map(|(_, cut)| cut)
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
