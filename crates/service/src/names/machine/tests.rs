//! Addresses are found as the machine would find them, and no name holds up another.

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
