//! A subscriber that speaks HTTP/2 is spoken to in it: many requests at a time, over one connection that is kept.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::delivery::DeliveryStatus;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use testkit::certificates::SUBSCRIBER_KEY;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::rig::Rig;

/// Whom the sender trusts here.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/data/subscriber.pem");

/// Requests; more than one connection of HTTP/1.1 could take at a time.
const CLICKS: usize = 50;

/// A subscriber that offers nothing but HTTP/2.
struct Http2 {
    url: String,
    connections: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Http2 {
    async fn start() -> Self {
        service::tls::install_provider();
        let certificate = CertificateDer::from_pem_file(CERTIFICATE).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(SUBSCRIBER_KEY.as_bytes()).expect("a key");
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}/hook", listener.local_addr().expect("it is bound"));
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(acceptor.clone(), stream));
            }
        });
        Self { url, connections, server }
    }
}

/// Answers 200 to every request of a connection.
async fn serve(acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        // the connection is looked after by `accept`
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(bytes)) = body.data().await {
                let _ = body.flow_control().release_capacity(bytes.len());
            }
            let _ = respond.send_response(http::Response::new(()), true);
        });
    }
}

#[tokio::test]
async fn who_speaks_http2_is_sent_everything_over_one_connection() {
    let rig = Rig::new().await;
    let subscriber = Http2::start().await;
    rig.endpoint(&subscriber.url).await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_clickwire-deliver"));
    command.envs(rig.environment()).env("SSL_CERT_FILE", CERTIFICATE).env_remove("SSL_CERT_DIR");
    let service = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn();
    let mut service = service.expect("the program that cargo built");
    // the first one makes the connection
    rig.publish(&rig.click()).await;
    rig.stand(DeliveryStatus::Delivered, 1).await;
    let first = subscriber.connections.load(Ordering::SeqCst);

    rig.publish_some(CLICKS).await;

    let delivered = rig.stand(DeliveryStatus::Delivered, CLICKS + 1).await;
    assert!(
        delivered.iter().all(|delivery| delivery.attempt_count == 1 && delivery.last_status == Some(200))
    );
    assert_eq!((first, subscriber.connections.load(Ordering::SeqCst)), (1, 1));
    service.kill().await.expect("it runs");
}
