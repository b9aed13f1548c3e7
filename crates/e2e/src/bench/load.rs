//! Two load generators that need nothing but sockets: one keeps a timetable, one asks for every link once.
//!
//! They run as processes of their own, so that they can be kept on another core than the server.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::figures::quantile;
use crate::visitors;

/// Connections of the timetable; a request whose turn has come waits when all of them are taken.
const CONNECTIONS: usize = 64;

/// Connections of [`touch`].
const TOUCHING: u64 = 16;

/// Longest answer that is read.
const ANSWER_BYTES: usize = 8 * 1024;

/// What a generator saw; it prints one and the bench reads it.
#[derive(Debug, Clone, Copy, serde::Deserialize, serde::Serialize)]
pub struct Seen {
    /// Answers.
    pub requests: u64,
    /// Answers a second.
    pub per_second: f64,
    /// From the planned moment to the answer, median, in µs.
    pub p50_us: f64,
    /// The same, 99th percentile.
    pub p99_us: f64,
}

/// The path of a link of the bench.
pub fn path(number: u64) -> String {
    format!("/b{number}")
}

/// A request as browsers send it.
pub fn request(number: u64, visitor: u64) -> String {
    format!(
        "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {}\r\n\
         Accept: text/html,application/xhtml+xml\r\nAccept-Language: sv-SE,sv;q=0.9,en;q=0.8\r\n\
         X-Forwarded-For: {}\r\n\r\n",
        path(number),
        visitors::user_agent(visitor),
        visitors::address(visitor),
    )
}

/// Sends `rate` requests a second for `seconds`, for random links below `links`, whether or not earlier ones have been
/// answered. Latency counts from the planned moment.
pub fn keep_timetable(addr: SocketAddr, rate: u32, seconds: u32, links: u64) -> anyhow::Result<Seen> {
    let total = u64::from(rate) * u64::from(seconds);
    // in turns: one that is left alone for long is closed
    let mut idle = (0..CONNECTIONS).map(|_| Connection::open(addr)).collect::<io::Result<VecDeque<_>>>()?;
    let mut busy: VecDeque<(Instant, Connection)> = VecDeque::new();
    let mut latencies = Vec::with_capacity(usize::try_from(total)?);
    let begin = Instant::now() + Duration::from_millis(50);
    let planned = |number: u64| begin + Duration::from_nanos(number * 1_000_000_000 / u64::from(rate));

    let mut sent = 0;
    while (latencies.len() as u64) < total {
        while sent < total && Instant::now() >= planned(sent) {
            let Some(mut connection) = idle.pop_front() else { break };
            // an odd multiplier spreads the numbers over all links
            let link = sent.wrapping_mul(2_654_435_761) % links;
            connection.send(request(link, sent).as_bytes())?;
            busy.push_back((planned(sent), connection));
            sent += 1;
        }
        let mut has_answer = false;
        for _ in 0..busy.len() {
            let Some((planned, mut connection)) = busy.pop_front() else { break };
            if connection.receive()? {
                latencies.push(planned.elapsed().as_secs_f64() * 1e6);
                idle.push_back(connection);
                has_answer = true;
            } else {
                busy.push_back((planned, connection));
            }
        }
        if !has_answer {
            // the broker may be on the same core
            std::thread::yield_now();
        }
    }
    Ok(seen(latencies, begin.elapsed()))
}

/// Asks once for every link from `first` to below `end`, over a few connections in a closed loop.
pub fn touch(addr: SocketAddr, first: u64, end: u64) -> anyhow::Result<Seen> {
    let begin = Instant::now();
    let visitors: Vec<_> =
        (0..TOUCHING).map(|visitor| std::thread::spawn(move || visit(addr, first + visitor, end))).collect();
    let mut latencies = Vec::new();
    for visitor in visitors {
        latencies.extend(visitor.join().map_err(|_| anyhow::anyhow!("a visitor panicked"))??);
    }
    Ok(seen(latencies, begin.elapsed()))
}

fn visit(addr: SocketAddr, first: u64, end: u64) -> anyhow::Result<Vec<f64>> {
    let mut connection = Connection::open(addr)?;
    connection.stream.set_nonblocking(false)?;
    let mut latencies = Vec::new();
    for number in (first..end).step_by(usize::try_from(TOUCHING)?) {
        let since = Instant::now();
        connection.send(request(number, number).as_bytes())?;
        while !connection.receive()? {}
        latencies.push(since.elapsed().as_secs_f64() * 1e6);
    }
    Ok(latencies)
}

fn seen(mut latencies: Vec<f64>, took: Duration) -> Seen {
    latencies.sort_by(f64::total_cmp);
    Seen {
        requests: latencies.len() as u64,
        per_second: latencies.len() as f64 / took.as_secs_f64(),
        p50_us: quantile(&latencies, 0.5),
        p99_us: quantile(&latencies, 0.99),
    }
}

/// A keep-alive connection with at most one request on its way.
struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(ANSWER_BYTES) })
    }

    fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.answer.clear();
        // a request is far smaller than an empty socket buffer
        self.stream.write_all(request).context("a request could not be sent")
    }

    /// Whether the answer is there, and is a redirect.
    fn receive(&mut self) -> anyhow::Result<bool> {
        let mut buffer = [0; ANSWER_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => anyhow::bail!("the server closed a connection"),
            Ok(read) => self.answer.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        anyhow::ensure!(self.answer.len() <= ANSWER_BYTES, "an answer is too long");
        if !is_whole(&self.answer) {
            return Ok(false);
        }
        let is_redirect = self.answer.starts_with(b"HTTP/1.1 302");
        anyhow::ensure!(is_redirect, "not a redirect: {}", String::from_utf8_lossy(&self.answer));
        Ok(true)
    }
}

/// Whether the head and as much of a body as it announces are there.
pub fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}
