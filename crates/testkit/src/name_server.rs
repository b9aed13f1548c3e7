//! A name server with a script, over UDP and TCP on one port of loopback. It answers as a recursive one does: with the
//! whole chain of aliases at once, unless it is told to give one link at a time.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

/// Longest chain of aliases that is followed for one answer: a circle ends here.
const ALIASES_MAX: usize = 64;

/// Ports that are tried until one is free for UDP and for TCP.
const PORTS_TRIED_MAX: usize = 20;

/// How a question about a name is answered. Everything has a TTL of 0.
#[derive(Debug, Clone)]
pub enum NameAnswer {
    /// With those of these addresses that are of the kind that was asked for.
    Addresses(Vec<IpAddr>),
    /// With these texts, when texts were asked for.
    Texts(Vec<String>),
    /// The name is another one's alias, whose answer follows at once.
    Alias(String),
    /// The name is another one's alias, and who wants to know more must ask again.
    Hop(String),
    /// There is no such name.
    Unknown,
    /// The server failed.
    Failure,
    /// Never.
    Silence,
    /// After this time with these addresses.
    Late(Duration, Vec<IpAddr>),
    /// Over UDP cut short without an address, over TCP with all of these.
    TooLong(Vec<IpAddr>),
}

type Script = dyn Fn(&str, usize) -> NameAnswer + Send + Sync;

/// A running name server. Dropping it closes its port.
pub struct NameServer {
    addr: SocketAddr,
    state: Arc<State>,
    servers: [JoinHandle<()>; 2],
}

struct State {
    script: Box<Script>,
    /// How often each name was asked for, by kind of address.
    asked: Mutex<HashMap<(String, RecordType), usize>>,
    over_tcp: AtomicUsize,
}

impl NameAnswer {
    /// These addresses.
    ///
    /// # Panics
    /// When one is not an address.
    pub fn addresses(addresses: &[&str]) -> Self {
        Self::Addresses(addresses.iter().map(|address| address.parse().expect(address)).collect())
    }
}

impl NameServer {
    /// Starts one. The script is asked with a name, without the dot at its end, and how often that name was asked
    /// for before (by the kind of address that is wanted, so that both halves of a look-up are told the same).
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(script: impl Fn(&str, usize) -> NameAnswer + Send + Sync + 'static) -> Self {
        let (tcp, udp) = bind().await;
        let addr = udp.local_addr().expect("it is bound");
        let state = Arc::new(State {
            script: Box::new(script),
            asked: Mutex::default(),
            over_tcp: AtomicUsize::new(0),
        });
        let servers = [
            tokio::spawn(serve_udp(Arc::new(udp), Arc::clone(&state))),
            tokio::spawn(serve_tcp(tcp, Arc::clone(&state))),
        ];
        Self { addr, state, servers }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How often the IPv4 addresses of a name were asked for.
    pub fn asked(&self, name: &str) -> usize {
        let asked = self.state.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(&(name.to_owned(), RecordType::A)).copied().unwrap_or_default()
    }

    /// How many questions came over TCP.
    pub fn asked_over_tcp(&self) -> usize {
        self.state.over_tcp.load(Ordering::SeqCst)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

async fn bind() -> (TcpListener, UdpSocket) {
    for _ in 0..PORTS_TRIED_MAX {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = tcp.local_addr().expect("it is bound");
        if let Ok(udp) = UdpSocket::bind(addr).await {
            return (tcp, udp);
        }
    }
    panic!("no port is free for UDP and for TCP");
}

async fn serve_udp(socket: Arc<UdpSocket>, state: Arc<State>) {
    let mut answers = JoinSet::new();
    let mut question = [0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut question).await else { continue };
        let (socket, state, question) =
            (Arc::clone(&socket), Arc::clone(&state), question[..length].to_vec());
        answers.spawn(async move {
            if let Some(answer) = state.answer(&question, false).await {
                // who asked may be gone
                let _ = socket.send_to(&answer, from).await;
            }
        });
        while answers.try_join_next().is_some() {}
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        // an error means that who asked has gone
        connections.spawn(async move { serve_connection(stream, &state).await });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(mut stream: TcpStream, state: &State) -> io::Result<()> {
    loop {
        let mut question = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut question).await?;
        state.over_tcp.fetch_add(1, Ordering::SeqCst);
        if let Some(answer) = state.answer(&question, true).await {
            stream.write_u16(u16::try_from(answer.len()).map_err(io::Error::other)?).await?;
            stream.write_all(&answer).await?;
        }
    }
}

impl State {
    /// The answer to a question; none when it is not one, or when the script says nothing.
    async fn answer(&self, question: &[u8], is_tcp: bool) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.metadata.recursion_desired = question.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        self.fill(&mut answer, &query, is_tcp).await?;
        answer.to_vec().ok()
    }

    async fn fill(&self, answer: &mut Message, query: &Query, is_tcp: bool) -> Option<()> {
        let mut name = query.name().clone();
        for _ in 0..ALIASES_MAX {
            match self.next(&name, query.query_type()) {
                NameAnswer::Addresses(addresses) => add(answer, &name, query.query_type(), &addresses),
                NameAnswer::Texts(texts) if query.query_type() == RecordType::TXT => {
                    for text in texts {
                        let data = RData::TXT(TXT::new(vec![text]));
                        answer.add_answer(Record::from_rdata(name.clone(), 0, data));
                    }
                }
                NameAnswer::Texts(_) => {}
                NameAnswer::Alias(target) => {
                    name = add_alias(answer, name, &target);
                    continue;
                }
                NameAnswer::Hop(target) => drop(add_alias(answer, name, &target)),
                NameAnswer::Unknown => answer.metadata.response_code = ResponseCode::NXDomain,
                NameAnswer::Failure => answer.metadata.response_code = ResponseCode::ServFail,
                NameAnswer::Silence => return None,
                NameAnswer::Late(delay, addresses) => {
                    tokio::time::sleep(delay).await;
                    add(answer, &name, query.query_type(), &addresses);
                }
                NameAnswer::TooLong(addresses) if is_tcp => {
                    add(answer, &name, query.query_type(), &addresses);
                }
                NameAnswer::TooLong(_) => answer.metadata.truncation = true,
            }
            break;
        }
        Some(())
    }

    fn next(&self, name: &Name, kind: RecordType) -> NameAnswer {
        let name = name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = asked.entry((name.clone(), kind)).or_default();
        let answer = (self.script)(&name, *asked);
        *asked += 1;
        answer
    }
}

fn add(answer: &mut Message, name: &Name, kind: RecordType, addresses: &[IpAddr]) {
    for address in addresses {
        let data = match (kind, address) {
            (RecordType::A, IpAddr::V4(address)) => RData::A(A(*address)),
            (RecordType::AAAA, IpAddr::V6(address)) => RData::AAAA(AAAA(*address)),
            _ => continue,
        };
        answer.add_answer(Record::from_rdata(name.clone(), 0, data));
    }
}

/// Adds one link of a chain and returns what it leads to.
fn add_alias(answer: &mut Message, name: Name, target: &str) -> Name {
    let target = Name::from_ascii(format!("{target}.")).expect("the script knows names");
    answer.add_answer(Record::from_rdata(name, 0, RData::CNAME(CNAME(target.clone()))));
    target
}
