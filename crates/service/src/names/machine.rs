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
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;
    use std::sync::mpsc;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::rdata::A;
    use hickory_resolver::proto::rr::{RData, Record};
    use tokio::net::UdpSocket;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
    use tokio::sync::oneshot;

    use super::*;

    /// Longer than anything here takes on a busy machine.
    const LIMIT: Duration = Duration::from_secs(60);

    /// Where `www.house.example` is.
    const HOUSE: [u8; 4] = [127, 0, 0, 2];

    #[derive(Clone, Copy)]
    enum Server {
        /// Knows `www.house.example`, and never answers when it is asked for another name.
        Knowing,
        /// Never answers.
        Silent,
        /// Answers nothing else.
        Failing(ResponseCode),
    }

    impl Server {
        /// Starts it, and tells the names that it is asked for.
        async fn start(self) -> (SocketAddr, UnboundedReceiver<String>) {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
            let addr = socket.local_addr().expect("it is bound");
            let (told, asked) = unbounded_channel();
            tokio::spawn(serve(socket, self, told));
            (addr, asked)
        }
    }

    async fn serve(socket: UdpSocket, server: Server, told: UnboundedSender<String>) {
        let mut bytes = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut bytes).await.expect("a question");
            let question = Message::from_vec(&bytes[..length]).expect("a question");
            let query = question.queries.first().expect("a question").clone();
            let name = query.name().to_ascii();
            // the test may be over
            let _ = told.send(name.clone());
            let code = match server {
                Server::Knowing if name == "www.house.example." => ResponseCode::NoError,
                Server::Failing(code) => code,
                Server::Knowing | Server::Silent => continue,
            };
            let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
            answer.metadata.recursion_available = true;
            answer.metadata.response_code = code;
            answer.add_query(query.clone());
            if code == ResponseCode::NoError && query.query_type() == RecordType::A {
                let data = RData::A(A(Ipv4Addr::from(HOUSE)));
                answer.add_answer(Record::from_rdata(query.name().clone(), 0, data));
            }
            let answer = answer.to_vec().expect("a message");
            socket.send_to(&answer, from).await.expect("it is sent");
        }
    }

    /// A machine with these name servers, these search domains and this hosts file.
    fn machine(servers: &[SocketAddr], search: &[&str], hosts_file: &str) -> Arc<Machine> {
        let servers = servers.iter().map(|server| {
            let mut connection = ConnectionConfig::udp();
            connection.port = server.port();
            NameServerConfig::new(server.ip(), true, vec![connection])
        });
        let search = search.iter().map(|domain| domain.parse().expect("a domain")).collect();
        let config = ResolverConfig::from_parts(None, search, servers.collect());
        let servers = resolvers(config, &ResolverOpts::default(), LIMIT, 1000).expect("resolvers");
        let hosts = hosts(hosts_file.as_bytes()).expect("a hosts file");
        let setup = Setup { changed_at: changed_at(), hosts, servers: Some(servers) };
        Arc::new(Machine { setup: Mutex::new(Some(Arc::new(setup))), ..Machine::new(LIMIT, 1000) })
    }

    fn at(address: [u8; 4]) -> [SocketAddr; 1] {
        [SocketAddr::from((address, 0))]
    }

    /// Lets time pass at once for whatever waits for it.
    async fn pass(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    #[test]
    fn names_that_are_never_answered_hold_no_thread_and_hold_up_no_other_name() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(1).build().expect("a runtime");
        runtime.block_on(async {
            let (server, mut asked) = Server::Knowing.start().await;
            let machine = machine(&[server], &[], "");
            let ask = |name: String| tokio::spawn(Arc::clone(&machine).ask(name));
            let slow: Vec<_> = (0..100).map(|number| ask(format!("{number}.slow.example"))).collect();
            let mut under_way = HashSet::new();
            while under_way.len() < slow.len() {
                under_way.insert(asked.recv().await.expect("the server runs"));
            }

            let found = ask("www.house.example".to_owned()).await.expect("it does not panic");
            let worked = tokio::task::spawn_blocking(|| true).await;

            assert_eq!(found.expect("it is known"), at(HOUSE));
            assert!(worked.expect("a thread is free"));
            assert!(slow.iter().all(|asking| !asking.is_finished()));
        });
    }

    #[tokio::test]
    async fn the_hosts_file_comes_first_and_then_search_domains() {
        let (server, mut asked) = Server::Knowing.start().await;
        let machine = machine(&[server], &["house.example"], "10.1.2.3 crm crm.house.example # ours\n");
        let ask = |name: &str| Arc::clone(&machine).ask(name.to_owned());

        let in_hosts = ask("crm").await.expect("it stands there");
        assert_eq!(in_hosts, at([10, 1, 2, 3]));
        assert!(asked.try_recv().is_err(), "nobody is asked for it, nor for another kind of address");
        let searched = ask("www").await.expect("it is known");
        assert_eq!(searched, at(HOUSE));
    }

    #[tokio::test]
    async fn a_server_is_asked_only_when_those_before_it_fail() {
        for code in [ResponseCode::Refused, ResponseCode::ServFail] {
            let (knowing, _asked) = Server::Knowing.start().await;
            let (failing, _asked) = Server::Failing(code).start().await;
            let (last, mut last_asked) = Server::Failing(code).start().await;
            let machine = machine(&[failing, knowing, last], &[], "");

            let found = machine.ask("www.house.example".to_owned()).await;

            assert_eq!(found.expect("the second knows it"), at(HOUSE), "{code}");
            assert!(last_asked.try_recv().is_err(), "{code}");
        }
    }

    #[tokio::test]
    async fn a_server_that_knows_of_no_such_name_is_believed_before_others() {
        let (knowing, mut asked) = Server::Knowing.start().await;
        let (denying, _asked) = Server::Failing(ResponseCode::NXDomain).start().await;

        let found = machine(&[denying, knowing], &[], "").ask("www.house.example".to_owned()).await;

        assert!(found.is_err(), "{found:?}");
        assert!(asked.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_server_that_keeps_silent_is_not_waited_for_to_the_end() {
        let (silent, mut asked) = Server::Silent.start().await;
        let (knowing, _asked) = Server::Knowing.start().await;
        let machine = machine(&[silent, knowing], &[], "");
        let asking = tokio::spawn(machine.ask("www.house.example".to_owned()));
        asked.recv().await.expect("it is asked");

        pass(LIMIT / 3).await;

        let found = asking.await.expect("it does not panic");
        assert_eq!(found.expect("the second knows it"), at(HOUSE));
    }

    /// The name is one of the local network by its form, and the machine's own resolver asks nobody for it: it is a number.
    #[tokio::test]
    async fn a_local_name_is_asked_of_the_machines_own_resolver_when_servers_fail_or_keep_silent() {
        let failing = Server::Failing(ResponseCode::ServFail);
        for (server, waited) in [(failing, Duration::ZERO), (Server::Silent, LIMIT / 2)] {
            let (server, mut asked) = server.start().await;
            let asking = tokio::spawn(machine(&[server], &[], "").ask("0x7f000001".to_owned()));
            asked.recv().await.expect("it is asked");

            pass(waited).await;

            let found = asking.await.expect("it does not panic");
            assert_eq!(found.expect("it is known"), at([127, 0, 0, 1]));
        }
    }

    #[test]
    fn a_hosts_file_is_read_whatever_the_encoding_of_its_comments() {
        let hosts = hosts(b"10.1.2.3 crm # B\xfcro\n10.1.2.4 wiki\n").expect("it is read");

        for (name, address) in [("crm", [10, 1, 2, 3]), ("wiki", [10, 1, 2, 4])] {
            assert_eq!(addresses_in(&hosts, &name.parse().expect("a name")), at(address));
        }
    }

    #[test]
    fn the_machines_own_domain_is_searched_only_where_no_other_is_named() {
        let own: Name = "own.example".parse().expect("a domain");
        let house: Name = "house.example".parse().expect("a domain");
        for (search, expected) in [(vec![house], None), (vec![], Some(&own))] {
            let servers = vec![NameServerConfig::udp(IpAddr::from([10, 0, 0, 53]))];
            let config = ResolverConfig::from_parts(Some(own.clone()), search, servers);
            let config = as_the_machine_does(config).expect("it has a server");
            assert_eq!(config.domain(), expected);
        }
    }

    #[test]
    fn link_local_name_servers_are_not_asked() {
        let asked = |servers: &[&str]| {
            let server = |ip: &&str| NameServerConfig::udp(ip.parse().expect("an address"));
            let servers = servers.iter().map(server).collect();
            let config = as_the_machine_does(ResolverConfig::from_name_servers(servers)).ok()?;
            Some(config.name_servers().iter().map(|server| server.ip.to_string()).collect::<Vec<_>>())
        };

        assert_eq!(
            asked(&["fe80::1", "fd00::53", "10.0.0.53"]),
            Some(vec!["fd00::53".to_owned(), "10.0.0.53".to_owned()])
        );
        assert_eq!(asked(&["fe80::1"]), None, "the machine's own resolver is asked then");
    }

    #[tokio::test]
    async fn a_thread_that_nobody_waits_for_any_more_is_held_until_its_work_is_done() {
        let threads = Arc::new(Semaphore::new(1));
        let (begun, has_begun) = oneshot::channel();
        let (end, is_over) = mpsc::channel::<()>();
        let work = move || {
            begun.send(()).expect("somebody waits");
            is_over.recv()
        };
        let mut asked = Box::pin(on_a_thread(Arc::clone(&threads), work));
        tokio::select! {
            _ = &mut asked => panic!("it is not done yet"),
            begun = has_begun => begun.expect("it begins"),
        }

        drop(asked);

        assert_eq!(threads.available_permits(), 0);
        drop(end);
        assert!(threads.acquire().await.is_ok(), "its turn is over with it");
    }

    #[test]
    fn names_of_the_local_network_are_told_from_others() {
        for (name, expected) in [
            ("crm", true),
            ("crm.", true),
            ("nas.local", true),
            ("api.default.svc.cluster.local.", true),
            ("hooks.example.com", false),
            ("local.example.com", false),
            ("notlocal", true),
            ("hooks.notlocal", false),
        ] {
            assert_eq!(is_local(name), expected, "{name}");
        }
    }
}
