//! Proxies that requests leave through: HTTP CONNECT and SOCKS5.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// `us:secret`
const CREDENTIALS: &str = "Proxy-Authorization: Basic dXM6c2VjcmV0";

/// How a proxy behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It connects whom it knows.
    Works,
    /// It says that the destination does not answer.
    Unreached,
    /// Its rules forbid it.
    Forbids,
    /// It hangs up.
    HangsUp,
}

/// A proxy that knows `us` with the password `secret`.
pub struct Proxy {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where it was asked to connect to.
    asked: Arc<Mutex<Vec<SocketAddr>>>,
    server: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Proxy {
    /// One that speaks SOCKS, or HTTP.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(is_socks: bool, mood: Mood) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), is_socks, mood).await
    }

    /// Like [`Proxy::start`], at this address.
    ///
    /// # Panics
    /// When it cannot be had.
    pub async fn start_at(addr: SocketAddr, is_socks: bool, mood: Mood) -> Self {
        let listener = TcpListener::bind(addr).await.expect("a port");
        let addr = listener.local_addr().expect("it is bound");
        let asked = Arc::<Mutex<Vec<SocketAddr>>>::default();
        let log = Arc::clone(&asked);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    if is_socks {
                        by_socks(stream, mood, &log).await
                    } else {
                        by_http(stream, mood, &log).await
                    }
                });
            }
        });
        Self { addr, asked, server }
    }

    /// Where it was asked to connect to, in order.
    pub fn asked(&self) -> Vec<SocketAddr> {
        self.asked.lock().expect("nobody panics with it in hand").clone()
    }
}

async fn by_http(mut stream: TcpStream, mood: Mood, asked: &Mutex<Vec<SocketAddr>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let to: SocketAddr = head.strip_prefix("CONNECT ")?.split(' ').next()?.parse().ok()?;
    asked.lock().expect("nobody panics with it in hand").push(to);
    let answer = match mood {
        Mood::HangsUp => return None,
        _ if !head.contains(CREDENTIALS) => "407 Proxy Authentication Required",
        Mood::Unreached => "502 Bad Gateway",
        Mood::Forbids => "403 Forbidden",
        Mood::Works => "200 Connection established",
    };
    stream.write_all(format!("HTTP/1.1 {answer}\r\nvia: test\r\n\r\n").as_bytes()).await.ok()?;
    if answer.starts_with("200") {
        let mut destination = TcpStream::connect(to).await.ok()?;
        copy_bidirectional(&mut stream, &mut destination).await.ok()?;
    }
    Some(())
}

async fn by_socks(mut stream: TcpStream, mood: Mood, asked: &Mutex<Vec<SocketAddr>>) -> Option<()> {
    let greeting = read::<2>(&mut stream).await?;
    let mut ways = vec![0_u8; greeting[1].into()];
    stream.read_exact(&mut ways).await.ok()?;
    // by user and password alone
    let way = if ways.contains(&2) { 2 } else { 0xff };
    stream.write_all(&[5, way]).await.ok()?;
    let said = read::<11>(&mut stream).await?;
    let is_known = said == *b"\x01\x02us\x06secret";
    stream.write_all(&[1, u8::from(!is_known)]).await.ok()?;
    let request = read::<10>(&mut stream).await?;
    assert_eq!(request[..4], [5, 1, 0, 1], "CONNECT to an IPv4 address");
    let [a, b, c, d] = [request[4], request[5], request[6], request[7]];
    let to = SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([request[8], request[9]])));
    asked.lock().expect("nobody panics with it in hand").push(to);
    let reply = match mood {
        Mood::HangsUp => return None,
        Mood::Works => 0,
        Mood::Forbids => 2,
        Mood::Unreached => 5,
    };
    stream.write_all(&[5, reply, 0, 1, 127, 0, 0, 1, 0, 80]).await.ok()?;
    if reply == 0 {
        let mut destination = TcpStream::connect(to).await.ok()?;
        copy_bidirectional(&mut stream, &mut destination).await.ok()?;
    }
    Some(())
}

async fn read<const N: usize>(stream: &mut TcpStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}
