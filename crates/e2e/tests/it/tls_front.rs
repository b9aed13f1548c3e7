//! The TLS in front of a subscriber: who shows a certificate of the tests' authority gets through to it, and nobody else.

use std::sync::Arc;

use testkit::{Subscriber, certificates};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Passes on what comes; dropping it closes the port.
pub struct TlsFront {
    /// Where to send to instead of to the subscriber.
    pub url: String,
    server: JoinHandle<()>,
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl TlsFront {
    /// Stands before this subscriber.
    pub async fn start(subscriber: &Subscriber) -> Self {
        service::tls::install_provider();
        let acceptor = TlsAcceptor::from(Arc::new(certificates::subscriber_config()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}/hook", listener.local_addr().expect("it is bound"));
        let behind = reqwest::Url::parse(&subscriber.url()).expect("a URL");
        let behind = behind.socket_addrs(|| None).expect("an address")[0];
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                // an error means that one of the two went away
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    let mut behind = TcpStream::connect(behind).await?;
                    copy_bidirectional(&mut stream, &mut behind).await
                });
            }
        });
        Self { url, server }
    }
}
