//! A subscriber that costs next to nothing: it answers 200 and notes when each body came.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Marks the visitor's number in the destination URL, which the body repeats.
pub const NUMBER_MARK: &str = "visitor=";

/// A running subscriber.
#[derive(Clone)]
pub struct Sink {
    addr: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    count: AtomicUsize,
    arrivals: Mutex<HashMap<u64, Instant>>,
}

impl Sink {
    /// Listens on a free port of loopback.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let sink = Self { addr: listener.local_addr()?, seen: Arc::default() };
        let seen = Arc::clone(&sink.seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&seen)));
            }
        });
        Ok(sink)
    }

    /// Where to post to; `name` tells endpoints apart.
    pub fn url(&self, name: usize) -> String {
        format!("http://{}/{name}", self.addr)
    }

    /// Webhooks so far.
    pub fn count(&self) -> usize {
        self.seen.count.load(Ordering::Relaxed)
    }

    /// When the webhook of the visitor with this number came first.
    pub fn arrival(&self, number: u64) -> Option<Instant> {
        self.seen.arrivals.lock().unwrap_or_else(PoisonError::into_inner).get(&number).copied()
    }

    /// Waits until `count` webhooks came; an error when `limit` passes without a new one.
    pub async fn wait_for(&self, count: usize, limit: Duration) -> anyhow::Result<()> {
        let (mut last, mut since) = (self.count(), Instant::now());
        while self.count() < count {
            if self.count() > last {
                (last, since) = (self.count(), Instant::now());
            }
            anyhow::ensure!(since.elapsed() < limit, "only {last} of {count} webhooks came");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

async fn answer(mut stream: TcpStream, seen: Arc<Seen>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        while let Some(length) = request_length(&buffer) {
            note(&buffer[..length], &seen);
            buffer.drain(..length);
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Length of the first whole request in the buffer.
fn request_length(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head]).ok()?;
    let body = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = head + body.unwrap_or(0);
    (buffer.len() >= length).then_some(length)
}

fn note(request: &[u8], seen: &Seen) {
    let now = Instant::now();
    seen.count.fetch_add(1, Ordering::Relaxed);
    if let Some(number) = number_in(request) {
        seen.arrivals.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_insert(now);
    }
}

/// The visitor's number, if one is marked.
pub fn number_in(bytes: &[u8]) -> Option<u64> {
    let at = bytes.windows(NUMBER_MARK.len()).position(|w| w == NUMBER_MARK.as_bytes())?;
    let digits = bytes[at + NUMBER_MARK.len()..].iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0_u64, |n, digit| n.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))))
}
