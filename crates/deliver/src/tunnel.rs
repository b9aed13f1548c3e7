//! The connector of the clients that post through a proxy: from a URL to a connection, checked and encrypted as without one.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::destination::GuardedResolver;
use crate::proxy::{Proxy, TunnelError};
use crate::timings;

/// Of a name's addresses, so many are tried before it counts as unreachable.
const ADDRESSES_TRIED_MAX: usize = 3;

/// Why there is no connection, of whichever kind.
type BoxError = Box<dyn Error + Send + Sync>;

/// Connects through a proxy. Clones are the same.
#[derive(Clone)]
pub struct TunnelConnector {
    proxy: Proxy,
    resolver: GuardedResolver,
    tls: Arc<ClientConfig>,
    limit: Duration,
    answers: Answers,
}

/// Counts what the proxy has answered to anybody, by which one that says nothing is told from a destination that does not.
#[derive(Debug, Clone, Default)]
pub struct Answers(Arc<AtomicU64>);

/// A connection that was made. Responses tell it.
#[derive(Debug, Clone, Copy)]
pub struct ConnectedTo(pub IpAddr);

/// What is read from and written to.
pub struct Tunnel {
    stream: Stream,
    to: IpAddr,
}

enum Stream {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl TunnelConnector {
    /// Connects within `limit`, the handshake of https included, the look-up of the name apart.
    pub fn new(
        proxy: Proxy,
        resolver: GuardedResolver,
        mut tls: ClientConfig,
        limit: Duration,
        answers: Answers,
    ) -> Self {
        // one protocol is enough where every connection is one of the proxy's, too
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { proxy, resolver, tls: Arc::new(tls), limit, answers }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<Tunnel>, BoxError> {
        let is_https = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let addresses = self.addresses(&host).await?;
        let deadline = Instant::now() + self.limit;
        let (stream, to) = self.first(addresses, port, deadline).await?;
        let stream = if is_https {
            let name = ServerName::try_from(host)?;
            let handshake = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream);
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no encrypted connection in time");
            Stream::Encrypted(Box::new(timeout_at(deadline, handshake).await.map_err(late)??))
        } else {
            Stream::Plain(stream)
        };
        Ok(TokioIo::new(Tunnel { stream, to }))
    }

    /// Where a host is, by our own look-up and our own policy. The sender has asked about those that are addresses themselves.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, BoxError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let began = Instant::now();
        let addresses = self.resolver.clone().addresses(host.to_owned()).await?;
        timings::looked_up(began.elapsed());
        Ok(addresses.iter().map(SocketAddr::ip).collect())
    }

    /// The first of these addresses that the proxy reaches.
    async fn first(
        &self,
        addresses: Vec<IpAddr>,
        port: u16,
        deadline: Instant,
    ) -> Result<(TcpStream, IpAddr), TunnelError> {
        let mut unreached = TunnelError::Destination("the name has no addresses".to_owned());
        for to in addresses.into_iter().take(ADDRESSES_TRIED_MAX) {
            let before = self.answers.count();
            match timeout_at(deadline, self.proxy.connect(SocketAddr::new(to, port))).await {
                Ok(Ok(stream)) => {
                    self.answers.add();
                    return Ok((stream, to));
                }
                Ok(Err(error)) if error.is_the_proxys() => return Err(error),
                Ok(Err(error)) => {
                    self.answers.add();
                    unreached = error;
                }
                Err(_) if self.answers.count() == before => {
                    return Err(TunnelError::Silent(self.proxy.clone()));
                }
                // it answers others
                Err(_) => return Err(TunnelError::Destination("no answer in time".to_owned())),
            }
        }
        Err(unreached)
    }
}

impl Answers {
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Service<Uri> for TunnelConnector {
    type Response = TokioIo<Tunnel>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Tunnel>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl Connection for Tunnel {
    fn connected(&self) -> Connected {
        Connected::new().extra(ConnectedTo(self.to))
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
