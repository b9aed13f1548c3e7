//! What expires is told of before it does: credentials by their file, certificates by whoever shows them.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use service::expiry::Watched;
use service::ops::Ops;
use tokio::time::timeout;

use crate::ops::{get, serve};

/// It only ends a test that fails. On a busy machine the first look finds nobody, and the second is a minute later.
const LIMIT: Duration = Duration::from_secs(120);

const CERTIFICATE: &[u8] = include_bytes!("../data/server.pem");
const KEY: &[u8] = include_bytes!("../data/server.key");

fn tls() -> Arc<ServerConfig> {
    let certificates = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(certificates, key).unwrap())
}

/// A server that greets, and shows its certificate to whoever goes on; its host and port.
fn greeting(host: &str, greet: fn(&mut TcpStream)) -> (String, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = tls();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            greet(&mut stream);
            let mut connection = ServerConnection::new(tls.clone()).unwrap();
            // who goes away has seen enough
            while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
        }
    });
    (host.to_owned(), port)
}

fn nats(stream: &mut TcpStream) {
    stream.write_all(b"INFO {\"server_id\":\"x\",\"tls_required\":true} \r\n").unwrap();
}

fn nats_without_tls(stream: &mut TcpStream) {
    stream.write_all(b"INFO {\"server_id\":\"x\"} \r\n").unwrap();
}

fn postgres(stream: &mut TcpStream) {
    let mut request = [0; 8];
    stream.read_exact(&mut request).unwrap();
    assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
    stream.write_all(b"S").unwrap();
}

/// The metrics, once there are so many of credentials.
async fn metrics_with(ops: Ops, credentials: usize) -> String {
    let served = serve(ops);
    let found = timeout(LIMIT, async {
        loop {
            let (_, body) = get(served.addr, "/metrics").await;
            if body.matches("{credential=").count() == credentials {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let found = found.await.unwrap();
    served.stop.cancel();
    served.server.await.unwrap().unwrap();
    found
}

#[tokio::test]
async fn a_metric_says_when_credentials_and_certificates_expire() {
    let creds = tempfile::NamedTempFile::new().unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp": 1893456000}"#);
    fs::write(creds.path(), format!("-----BEGIN NATS USER JWT-----\ne30.{claims}.e30\n")).unwrap();
    let ops = Ops::new();

    let watched = Watched {
        nats_creds: Some(creds.path().to_owned()),
        nats_servers: vec![greeting("127.0.0.1", nats_without_tls), greeting("127.0.0.1", nats)],
        database_servers: vec![greeting("localhost", postgres)],
    };
    ops.watch_expiry("test", watched).unwrap();
    let metrics = metrics_with(ops, 3).await;

    for line in [
        r#"clickwire_test_credential_expiry_timestamp_seconds{credential="nats_credentials"} 1893456000"#,
        // 2125-06-22 22:47:30
        r#"clickwire_test_credential_expiry_timestamp_seconds{credential="nats_certificate"} 4906306050"#,
        r#"clickwire_test_credential_expiry_timestamp_seconds{credential="database_certificate"} 4906306050"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}
