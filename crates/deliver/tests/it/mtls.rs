//! Receivers that want to see a certificate of ours.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use model::EndpointId;
use model::delivery::DeliveryStatus;
use testkit::certificates::{self, AUTHORITY, CLIENT, CLIENT_KEY, SUBSCRIBER, certificate};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use webhook::ReceiverAuth;
use webhook::auth::ClientCertificate;

use crate::rig::Rig;

/// A receiver that answers who shows a certificate of the test's authority, and nobody else.
pub struct Receiver {
    pub url: String,
    connections: Arc<AtomicUsize>,
    /// The certificate of each request.
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    pub async fn start() -> Self {
        service::tls::install_provider();
        let acceptor = TlsAcceptor::from(Arc::new(certificates::subscriber_config()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}/hook", listener.local_addr().expect("it is bound"));
        let (connections, shown) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let (counter, log) = (Arc::clone(&connections), Arc::clone(&shown));
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&log)));
            }
        });
        Self { url, connections, shown, server }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn shown(&self) -> Vec<Vec<u8>> {
        self.shown.lock().expect("nobody panics with it in hand").clone()
    }
}

/// Answers 200 to every request of a connection.
async fn serve(acceptor: TlsAcceptor, stream: TcpStream, shown: Arc<Mutex<Vec<Vec<u8>>>>) -> Option<()> {
    let stream = acceptor.accept(stream).await.ok()?;
    let peer = stream.get_ref().1.peer_certificates()?.first()?.to_vec();
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        stream.read_exact(&mut vec![0_u8; length]).await.ok()?;
        shown.lock().expect("nobody panics with it in hand").push(peer.clone());
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.get_mut().write_all(answer).await.ok()?;
        stream.get_mut().flush().await.ok()?;
    }
}

fn shown_by_us(authorities: &str) -> ReceiverAuth {
    ReceiverAuth::Mtls(ClientCertificate {
        certificate_pem: CLIENT.to_owned(),
        private_key_pem: CLIENT_KEY.to_owned(),
        ca_pem: Some(authorities.to_owned()),
    })
}

pub async fn endpoint(rig: &Rig, receiver: &Receiver, authorities: &str) -> EndpointId {
    let (id, _) = rig.endpoint_with(&receiver.url, |options| options.max_in_flight = Some(1)).await;
    rig.let_in_by(id, &shown_by_us(authorities)).await;
    id
}

#[tokio::test]
async fn a_receiver_sees_the_certificate_and_is_checked_with_its_own_authority() {
    let rig = Rig::new().await;
    let receiver = Receiver::start().await;
    let id = endpoint(&rig, &receiver, SUBSCRIBER).await;
    let stranger = endpoint(&rig, &receiver, AUTHORITY).await;
    let running = rig.start().await;

    let attempt = rig.attempt(id).await;
    let mistrusted = rig.attempt(stranger).await;

    assert_eq!((attempt.status, attempt.error), (Some(200), None), "{:?}", attempt.error_detail);
    assert!(attempt.timings.tls_us.is_some());
    assert_eq!(receiver.shown(), [certificate(CLIENT).to_vec()]);
    assert_eq!(mistrusted.error.map(|error| error.as_str()), Some("tls"), "{:?}", mistrusted.error_detail);
    running.stop().await;
}

#[tokio::test]
async fn so_many_endpoints_keep_connections_of_their_own_and_no_more() {
    // of one that is let go of in between, at least every other request has to connect again
    for (most, connections) in [(2, 2..=2), (1, 4..=6)] {
        let rig = Rig::new().await;
        let receiver = Receiver::start().await;
        for _ in 0..2 {
            endpoint(&rig, &receiver, SUBSCRIBER).await;
        }
        let mut settings = rig.settings();
        settings.deliver.client_certificates_max = most;
        let running = rig.start_with(settings).await;

        for clicks in 1..=3 {
            rig.publish(&rig.click()).await;
            rig.stand(DeliveryStatus::Delivered, 2 * clicks).await;
        }

        assert_eq!(receiver.shown().len(), 6);
        assert!(connections.contains(&receiver.connections()), "most: {most}: {}", receiver.connections());
        running.stop().await;
    }
}
