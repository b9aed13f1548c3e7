//! How a machine finds the addresses of a name: in its hosts file, and then by its name servers and search domains, as
//! `hosts: files dns` in `nsswitch.conf` says. Both files are read again when they have changed.
//!
//! The machine's own resolver does the same, on a thread that nothing calls back. A name server on the internet that never
//! answers holds it for half a minute, and whoever has a few hundred names there would hold every thread of the process: those
//! that hash passwords and write files, too. So that resolver is asked for the rest alone, on few threads: for names of the
//! local network that name servers do not know or fail for, and for all where it is not told what the name servers are.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::Hosts;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::warn;

use super::{Servers, addresses, in_order, resolvers, without_port};

/// Threads that the machine's own resolver holds at most; other names wait.
const THREADS_MAX: usize = 16;

const HOSTS_FILE: &str = "/etc/hosts";

/// Where it is written how the machine looks names up.
const FILES: [&str; 2] = [HOSTS_FILE, "/etc/resolv.conf"];

/// Looks names up as the machine does.
pub(super) struct Machine {
    limit: Duration,
    names_max: usize,
    setup: Mutex<Option<Arc<Setup>>>,
    threads: Arc<Semaphore>,
}

/// What its files say.
struct Setup {
    changed_at: [Option<SystemTime>; 2],
    hosts: Hosts,
    /// `None`: that cannot be read, or none of them can be asked.
    servers: Option<Servers>,
}

impl Machine {
    /// Name servers are asked for at most `names_max` names at a time, each within `limit`.
    pub(super) fn new(limit: Duration, names_max: usize) -> Self {
        let threads = Arc::new(Semaphore::new(THREADS_MAX));
        Self { limit, names_max, setup: Mutex::default(), threads }
    }

    /// The addresses of a name.
    pub(super) async fn ask(self: Arc<Self>, name: String) -> io::Result<Vec<SocketAddr>> {
        let setup = self.setup();
        let Some(servers) = &setup.servers else { return self.ask_its_resolver(name).await };
        let asked = Name::from_str_relaxed(&name).map_err(io::Error::other)?;
        // who stands there with one kind of address has no other
        let in_hosts = addresses_in(&setup.hosts, &asked);
        if !in_hosts.is_empty() {
            return Ok(in_hosts);
        }
        let ask = move |server| addresses(server, asked.clone());
        if !is_local(&name) {
            return in_order(servers, self.limit, ask).await.map_err(io::Error::other);
        }
        let limit = self.limit / 2;
        match timeout(limit, in_order(servers, limit, ask)).await {
            Ok(Ok(found)) => Ok(found),
            // name servers may fail for what another source has: the stub of systemd-resolved does for `.local`
            _ => self.ask_its_resolver(name).await,
        }
    }

    fn setup(&self) -> Arc<Setup> {
        let changed_at = changed_at();
        let mut kept = self.setup.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(setup) = kept.as_ref().filter(|setup| setup.changed_at == changed_at) {
            return Arc::clone(setup);
        }
        let servers = servers(self.limit, self.names_max).inspect_err(|error| {
            let error = error.to_string();
            warn!(error, "the machine's name servers cannot be asked: few names are looked up at a time");
        });
        let hosts = fs::read(HOSTS_FILE).and_then(|text| hosts(&text)).unwrap_or_else(|error| {
            let error = error.to_string();
            warn!(error, "{HOSTS_FILE} cannot be read: its names are not known");
            Hosts::default()
        });
        let setup = Arc::new(Setup { changed_at, hosts, servers: servers.ok() });
        *kept = Some(Arc::clone(&setup));
        setup
    }

    async fn ask_its_resolver(&self, name: String) -> io::Result<Vec<SocketAddr>> {
        let looking_up =
            move || -> io::Result<Vec<SocketAddr>> { Ok((name.as_str(), 0).to_socket_addrs()?.collect()) };
        on_a_thread(Arc::clone(&self.threads), looking_up).await?
    }
}

/// When the files were last changed.
fn changed_at() -> [Option<SystemTime>; 2] {
    FILES.map(|file| fs::metadata(file).and_then(|file| file.modified()).ok())
}

/// What a hosts file says, whatever the encoding of its comments.
fn hosts(text: &[u8]) -> io::Result<Hosts> {
    let mut hosts = Hosts::default();
    hosts.read_hosts_conf(String::from_utf8_lossy(text).as_bytes())?;
    Ok(hosts)
}

/// The machine's name servers.
pub(super) fn servers(limit: Duration, names_max: usize) -> Result<Servers, NetError> {
    let (config, options) = read_system_conf()?;
    resolvers(as_the_machine_does(config)?, &options, limit, names_max).map_err(|error| error.0)
}

/// The machine's own domain is searched only where no other is named. A link-local name server (`fe80::1%eth0`) is left out:
/// of which link is not kept in reading.
fn as_the_machine_does(config: ResolverConfig) -> Result<ResolverConfig, NetError> {
    let (domain, search, mut servers) = config.into_parts();
    let domain = domain.filter(|_| search.is_empty());
    servers.retain(|server| !matches!(server.ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
    if servers.is_empty() {
        return Err(NetError::from("all of them are link-local"));
    }
    Ok(ResolverConfig::from_parts(domain, search, servers))
}

fn addresses_in(hosts: &Hosts, name: &Name) -> Vec<SocketAddr> {
    let of_kind = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of_kind);
    let found: Vec<_> = found.flat_map(|found| found.answers().to_vec()).collect();
    without_port(found.iter().filter_map(|record| record.data.ip_addr()))
}

/// Whether a name is one of the local network: nobody on the internet has it, nor a name server for it.
fn is_local(name: &str) -> bool {
    name.trim_end_matches('.').rsplit_once('.').is_none_or(|(_, last)| last == "local")
}

/// Works on one of these threads. Who does not wait for it any more leaves it held until the work is done.
async fn on_a_thread<T: Send + 'static>(
    threads: Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let thread = threads.acquire_owned().await.expect("the semaphore is never closed");
    let done = tokio::task::spawn_blocking(move || {
        let _held = thread;
        work()
    });
    done.await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
