//! Certificates for tests; good from 2020 to 2120 unless they say otherwise. `data/` holds nothing that anybody trusts.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// Who signed them.
pub const AUTHORITY: &str = include_str!("../data/authority.pem");

/// A client's.
pub const CLIENT: &str = include_str!("../data/client.pem");

/// What belongs to it.
pub const CLIENT_KEY: &str = include_str!("../data/client-key.pem");

/// The same client's, of January 2020.
pub const CLIENT_EXPIRED: &str = include_str!("../data/client-expired.pem");

/// A key that belongs to none of them.
pub const OTHER_KEY: &str = include_str!("../data/other-key.pem");

/// A subscriber's own at 127.0.0.1, which no authority of the machine knows.
pub const SUBSCRIBER: &str = include_str!("../data/subscriber.pem");

/// What belongs to it.
pub const SUBSCRIBER_KEY: &str = include_str!("../data/subscriber-key.pem");

/// The TLS of a subscriber that serves who shows a certificate of the authority, and nobody else.
///
/// # Panics
/// Before the process has a provider of cryptography.
pub fn subscriber_config() -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(AUTHORITY)).expect("an authority");
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
    let key = PrivateKeyDer::from_pem_slice(SUBSCRIBER_KEY.as_bytes()).expect("a key");
    ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate(SUBSCRIBER)], key)
        .expect("they belong together")
}

/// The certificate that a text holds.
///
/// # Panics
/// When it holds none.
pub fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}
