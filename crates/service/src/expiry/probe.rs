//! The certificate that a server of NATS or PostgreSQL shows, looked at and nothing more.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// How long a server may take for the connection, and for each answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More of a greeting of NATS is not read.
const GREETING_BYTES_MAX: u64 = 64 * 1024;

/// What asks PostgreSQL for TLS: its length, and the code of an `SSLRequest` (PostgreSQL protocol, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// How a server is brought to speak TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    /// It says first whether it does.
    Nats,
    /// It is asked whether it does.
    Postgres,
}

/// When the certificate of a server expires, in seconds since 1970; `None` when it does not speak TLS.
pub(super) fn certificate_expires_at(host: &str, port: u16, greeting: Greeting) -> io::Result<Option<i64>> {
    let mut stream = connect(host, port)?;
    let speaks_tls = match greeting {
        Greeting::Nats => nats_speaks_tls(&stream)?,
        Greeting::Postgres => postgres_speaks_tls(&mut stream)?,
    };
    if !speaks_tls {
        return Ok(None);
    }
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::new(config()), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    connection.send_close_notify();
    // the server may have hung up; what was wanted is there
    let _ = connection.write_tls(&mut stream);
    let shown = connection.peer_certificates().and_then(|chain| chain.first());
    shown.map(expires_at).transpose()
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn nats_speaks_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut line = String::new();
    // nothing follows it before we have spoken: the buffer takes nothing that is the handshake's
    BufReader::new(stream.take(GREETING_BYTES_MAX)).read_line(&mut line)?;
    let greeting =
        line.strip_prefix("INFO ").and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok());
    let greeting = greeting.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a nats-server"))?;
    Ok(greeting["tls_required"] == true || greeting["tls_available"] == true)
}

fn postgres_speaks_tls(stream: &mut TcpStream) -> io::Result<bool> {
    stream.write_all(&SSL_REQUEST)?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer == *b"S")
}

pub(super) fn expires_at(certificate: &CertificateDer<'_>) -> io::Result<i64> {
    let certificate = Certificate::from_der(certificate).map_err(io::Error::other)?;
    let not_after = certificate.tbs_certificate.validity.not_after.to_unix_duration();
    i64::try_from(not_after.as_secs()).map_err(io::Error::other)
}

fn config() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Onlooker(provider)))
        .with_no_client_auth()
}

/// Takes every certificate, also an expired one: over this connection nothing is sent and nothing read. Whom to trust is
/// decided where messages go.
#[derive(Debug)]
struct Onlooker(Arc<CryptoProvider>);

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
